//! What came of a line, and how it stands in the results.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use super::results::{FailureOf, ResultLine, Results, ResultsError};
use crate::client::task::TaskFailure;

/// A line with its answer.
#[derive(Debug)]
pub struct Answered {
    pub line: u64,
    pub file: Option<String>,
    pub custom_id: Option<String>,
    pub task: Option<String>,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    Completed {
        content_type: Option<String>,
        output: Output,
    },
    Failed(TaskFailure),
    Canceled(Option<TaskFailure>),
    /// No task was made of it.
    Refused {
        code: String,
        message: String,
    },
}

#[derive(Debug)]
pub enum Output {
    Bytes(Vec<u8>),
    File(String),
}

/// An output as it stands in a line of the results.
#[derive(Debug, Default)]
pub struct Shown<'a> {
    pub json: Option<Box<RawValue>>,
    pub base64: Option<String>,
    pub file: Option<&'a str>,
}

impl Answered {
    /// Adds it to the results.
    pub fn record(&self, results: &mut Results) -> Result<(), ResultsError> {
        let mut result = ResultLine::of(self.line, self.outcome.state());
        (result.file, result.custom_id) = (self.file.as_deref(), self.custom_id.as_deref());
        result.task_id = self.task.as_deref();
        let (output, failure) = self.outcome.shown();
        result.failure = failure;
        match output {
            None => results.add(&result),
            Some((content_type, output)) => {
                let shown = output.shown(content_type);
                result.content_type = content_type;
                (result.output, result.output_base64) = (shown.json.as_deref(), shown.base64.as_deref());
                result.output_file = shown.file;
                results.add(&result)
            }
        }
    }
}

impl Outcome {
    pub fn state(&self) -> &'static str {
        match self {
            Self::Completed { .. } => "completed",
            Self::Failed(_) => "failed",
            Self::Canceled(_) => "canceled",
            Self::Refused { .. } => "refused",
        }
    }

    /// The output with its content type, or the failure.
    pub fn shown(&self) -> (Option<(Option<&str>, &Output)>, Option<FailureOf<'_>>) {
        match self {
            Self::Completed { content_type, output } => (Some((content_type.as_deref(), output)), None),
            Self::Canceled(None) => (None, None),
            Self::Failed(TaskFailure { code, message, retryable, .. })
            | Self::Canceled(Some(TaskFailure { code, message, retryable, .. })) => {
                (None, Some(FailureOf { code, message, retryable: *retryable }))
            }
            Self::Refused { code, message } => (None, Some(FailureOf { code, message, retryable: false })),
        }
    }
}

impl Output {
    /// JSON as it is, but in one line; text as a text; all else in base64.
    pub fn shown(&self, content_type: Option<&str>) -> Shown<'_> {
        let bytes = match self {
            Self::File(name) => return Shown { file: Some(name), ..Shown::default() },
            Self::Bytes(bytes) => bytes,
        };
        let kind = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        let text = std::str::from_utf8(bytes).ok();
        let json = match text {
            // A line end within JSON is never part of a text.
            Some(text) if kind == "application/json" || kind.ends_with("+json") => {
                RawValue::from_string(text.trim().replace(['\n', '\r'], " ")).ok()
            }
            Some(text) if kind.starts_with("text/") => serde_json::value::to_raw_value(text).ok(),
            _ => None,
        };
        let base64 = json.is_none().then(|| BASE64_STANDARD.encode(bytes));
        Shown { json, base64, file: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_stands_in_one_line_as_what_it_is() {
        let shown = |bytes: &[u8], kind| {
            let output = Output::Bytes(bytes.to_vec());
            let shown = output.shown(Some(kind));
            (shown.json.map(|json| json.get().to_owned()), shown.base64)
        };
        let json = shown(b"{\n  \"a\": 1.50\r\n}\n", "application/json; charset=utf-8");
        assert_eq!(json, (Some("{   \"a\": 1.50  }".to_owned()), None), "its numbers are as they were");
        assert_eq!(shown(b"two\nlines", "text/plain"), (Some("\"two\\nlines\"".to_owned()), None));
        assert_eq!(
            shown(b"{", "application/json"),
            (None, Some("ew==".to_owned())),
            "what is no JSON is kept all the same"
        );
        assert_eq!(shown(&[0, 255], "audio/wav"), (None, Some("AP8=".to_owned())));
    }
}
