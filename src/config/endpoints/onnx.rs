//! `type = "onnx"`: a model that runs in this process.

use std::path::PathBuf;

use crate::config::section::Section;
use crate::config::tree::Value;
use crate::config::{LocalModel, OutputFormat};

pub const KEYS: &[&str] = &["model", "threads", "output_format"];

/// The most threads of one run.
const THREADS_MAX: usize = 1024;

pub fn local_model(section: &mut Section) -> LocalModel {
    section.otherwise("threads", Value::Integer(0));
    section.otherwise("output_format", Value::Text("json".to_owned()));
    let threads = section.count("threads", 0..=THREADS_MAX);
    LocalModel {
        model: section.required("model", "\"model.onnx\"", PathBuf::new(), file),
        threads: (threads > 0).then_some(threads),
        output: section.choice("output_format", &[("json", OutputFormat::Json), ("npy", OutputFormat::Npy)]),
    }
}

fn file(value: &Value) -> Result<PathBuf, String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(PathBuf::from(text)),
        other => Err(format!("{other} is not the path of a file; write one such as \"model.onnx\"")),
    }
}
