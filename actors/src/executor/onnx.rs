//! An ONNX model that runs in this process: tensors in, tensors out, by the plain-Rust runtime `rten` on the CPU.
//!
//! What the model takes and gives is read from its file; an input that does not fit is a failure `bad_input`, answered
//! 400 with what was expected and what came. The content type says how an input is written: `application/x-npy` or
//! `application/npy`, `application/octet-stream`, and JSON for every other and for none.
//!
//! A run computes on threads of its own and cannot be interrupted. An attempt that is canceled, or whose time is over,
//! ends at once, while its run goes on unheard; the run keeps its permit meanwhile, so that runs which nobody waits for
//! never pile up beside the others. A panic of the runtime fails the one attempt.
//!
//! - `signature`, `element`: what the model takes and gives
//! - `json`, `npy`, `raw`: how tensors are written
//! - `schema`: what is told of the endpoint
//! - `envelope`, `model`: loading and running; `run`: so many at a time

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use futures::future::BoxFuture;
use rten::Value;

use crate::executor::{Attempt, Description, Executor};
use crate::spool::SpoolError;
use crate::task::{FailureCode, Outcome, Output};

mod element;
mod envelope;
mod json;
mod model;
mod npy;
mod raw;
mod run;
mod schema;
mod signature;

use element::Given;
use model::Model;
use run::Runs;
use signature::Port;

/// Which model is run, and how.
#[derive(Clone, Debug)]
pub struct OnnxOptions {
    /// A file whose name ends in `.onnx`; weights in files of their own are looked for beside it.
    pub model: PathBuf,
    /// How many threads a run computes on. `None`: one for each physical core, shared with all models that say so.
    pub threads: Option<usize>,
    pub output: OutputForm,
    /// The most runs at a time, those counted that go on after their attempt was given up.
    pub runs_max: usize,
}

/// How outputs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputForm {
    /// An object of nested lists by name.
    Json,
    /// One file in NumPy's format, of a model with one output.
    Npy,
}

impl OnnxOptions {
    /// A model, answered in JSON, on all cores and with a run for each.
    pub fn new(model: impl Into<PathBuf>) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self { model: model.into(), threads: None, output: OutputForm::Json, runs_max: cores }
    }
}

/// Why a model cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    #[error("the model {path} cannot be read: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not an ONNX model: {reason}")]
    NotOnnx { path: PathBuf, reason: String },
    #[error("the model {path} cannot be run here: {reason}")]
    Unsupported { path: PathBuf, reason: String },
    #[error("the model {path} has {outputs} outputs, and .npy holds one; choose JSON")]
    NotOneOutput { path: PathBuf, outputs: usize },
}

/// Runs attempts by running a model.
#[derive(Clone)]
pub struct Onnx {
    work: Arc<Work>,
    runs: Runs,
}

/// What every run needs.
struct Work {
    model: Model,
    output: OutputForm,
}

impl Onnx {
    /// Loads the model, which blocks on the disk and takes its memory until the last clone is dropped.
    ///
    /// # Errors
    /// The file is missing or no ONNX model, or the model uses what the runtime does not have: an operator, a type.
    pub fn new(options: OnnxOptions) -> Result<Self, OnnxError> {
        let model = Model::load(&options.model, options.threads)?;
        let outputs = model.signature.outputs.len();
        if options.output == OutputForm::Npy && outputs != 1 {
            return Err(OnnxError::NotOneOutput { path: options.model, outputs });
        }
        let work = Arc::new(Work { model, output: options.output });
        Ok(Self { work, runs: Runs::at_most(options.runs_max) })
    }
}

impl Executor for Onnx {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        let work = self.work.clone();
        Box::pin(self.runs.clone().run(attempt, move |attempt| work.done(&attempt)))
    }

    fn description(&self) -> Option<Description> {
        let signature = &self.work.model.signature;
        let told = |ports: &[Port]| {
            let ports: Vec<_> = ports.iter().map(|port| format!("{} ({})", port.name, port.told())).collect();
            ports.join(", ")
        };
        Some(Description {
            text: Some(format!(
                "An ONNX model: takes {}, gives {}.",
                told(&signature.inputs),
                told(&signature.outputs)
            )),
            input: Some(schema::input(signature)),
            output: Some(schema::output(signature, self.work.output)),
        })
    }
}

impl fmt::Debug for Onnx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Onnx")
    }
}

impl Work {
    /// One run, from the input's bytes to the output's.
    fn done(&self, attempt: &Attempt) -> Outcome {
        let bytes = match attempt.input.body.read() {
            Ok(bytes) => bytes,
            Err(error) => {
                return Outcome::failed(FailureCode::Failed, format!("the input could not be read: {error}"));
            }
        };
        let inputs = match self.read(attempt.input.headers.content_type(), &bytes) {
            Ok(inputs) => inputs,
            Err(told) => return Outcome::explained(FailureCode::BadInput, 400, told),
        };
        drop(bytes);
        match self.model.run(inputs) {
            Ok(outputs) => self.written(&outputs, attempt.outputs.limit()),
            Err(reason) => Outcome::failed(FailureCode::Failed, format!("the model failed: {reason}")),
        }
    }

    /// A value for every input of the model. The error is fit for the log: it quotes nothing that was sent.
    fn read(&self, content_type: Option<&str>, bytes: &[u8]) -> Result<Vec<Value>, String> {
        let inputs = &self.model.signature.inputs;
        let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/x-npy" | "application/npy" => Ok(vec![npy::read(bytes, only(inputs)?)?]),
            "application/octet-stream" => Ok(vec![raw::read(bytes, only(inputs)?)?]),
            _ => json::read(bytes, inputs),
        }
    }

    fn written(&self, outputs: &[Given], limit: u64) -> Outcome {
        let mut body = Bounded { bytes: Vec::new(), limit };
        let (content_type, written) = match self.output {
            OutputForm::Json => {
                let names = self.model.signature.outputs.iter().map(|output| output.name.as_str());
                let by_name: Vec<_> = names.zip(outputs).collect();
                ("application/json", json::write(&by_name, &mut body))
            }
            OutputForm::Npy => ("application/x-npy", body.write_all(&npy::write(&outputs[0]))),
        };
        match written {
            Ok(()) => Outcome::Done(Output::new(content_type, body.bytes)),
            Err(_) => Outcome::Failed(SpoolError::TooLarge { limit }.into(), None),
        }
    }
}

/// The one input of a model that a body without names is for.
fn only(inputs: &[Port]) -> Result<&Port, String> {
    match inputs {
        [input] => Ok(input),
        inputs => Err(format!("the model has the inputs {}: send them as JSON", json::names(inputs))),
    }
}

/// Bytes in memory that end with an error where the limit is reached: a tensor takes several times its memory as text.
struct Bounded {
    bytes: Vec<u8>,
    limit: u64,
}

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + more.len()) as u64 > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
