//! The model itself: loaded from its file, and run.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::Path;
use std::sync::Arc;

use rten::{LoadErrorKind, NodeId, RunOptions, ThreadPool, Value};
use rten_onnx::onnx::ModelProto;

use super::OnnxError;
use super::element::Given;
use super::envelope;
use super::signature::Signature;

/// A model that is ready to run.
pub struct Model {
    model: rten::Model,
    pub signature: Signature,
    /// In the order of the signature.
    inputs: Vec<NodeId>,
    /// `None` computes on the threads that all models share.
    threads: Option<Arc<ThreadPool>>,
}

impl Model {
    pub fn load(path: &Path, threads: Option<usize>) -> Result<Self, OnnxError> {
        let unsupported = |reason: String| OnnxError::Unsupported { path: path.to_owned(), reason };
        let signature = signature(path)?;
        let model = rten::Model::load_file(path).map_err(|error| match error.kind() {
            LoadErrorKind::OperatorInvalid => {
                unsupported(format!("{error}; the runtime does not have this operator so"))
            }
            _ => unsupported(error.to_string()),
        })?;
        let node =
            |name: &str| model.find_node(name).ok_or_else(|| unsupported(format!("\"{name}\" is not in its graph")));
        let inputs = signature.inputs.iter().map(|input| node(&input.name)).collect::<Result<_, _>>()?;
        let threads = threads.map(|threads| Arc::new(ThreadPool::with_num_threads(threads)));
        Ok(Self { model, signature, inputs, threads })
    }

    /// Computes the outputs, in the order of the signature. Blocks, and panics where the runtime does.
    ///
    /// # Errors
    /// The operator that failed and why, such as two inputs whose open lengths do not go together.
    pub fn run(&self, inputs: Vec<Value>) -> Result<Vec<Given>, String> {
        let inputs = self.inputs.iter().copied().zip(inputs.into_iter().map(Into::into)).collect();
        let options = RunOptions::default().with_thread_pool(self.threads.clone());
        let outputs =
            self.model.run(inputs, self.model.output_ids(), Some(options)).map_err(|error| error.to_string())?;
        let given = outputs.into_iter().zip(&self.signature.outputs).map(|(value, output)| {
            Given::of(value, output.element).ok_or_else(|| format!("the output \"{}\" is not a tensor", output.name))
        });
        given.collect()
    }
}

/// Reads what the model takes and gives. The weights are read, too, and forgotten.
fn signature(path: &Path) -> Result<Signature, OnnxError> {
    let not_onnx = |reason: String| OnnxError::NotOnnx { path: path.to_owned(), reason };
    let unread = |source| OnnxError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unread)?;
    // The runtime goes by the name, too.
    if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("onnx")) {
        return Err(not_onnx("its name does not end in .onnx".to_owned()));
    }
    let file = whole(file).map_err(unread)?.ok_or_else(|| not_onnx("it is cut, or something else".to_owned()))?;
    let model = ModelProto::parse_file(file).map_err(|error| not_onnx(error.to_string()))?;
    let graph = model.graph.ok_or_else(|| not_onnx("there is no graph in it".to_owned()))?;
    Signature::of(&graph).map_err(|reason| OnnxError::Unsupported { path: path.to_owned(), reason })
}

/// The file, at its beginning, if it is whole.
fn whole(mut file: File) -> io::Result<Option<File>> {
    let length = file.metadata()?.len();
    let whole = envelope::is_whole(BufReader::new(&file), length)?;
    file.rewind()?;
    Ok(whole.then_some(file))
}
