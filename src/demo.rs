//! The two endpoints that a service without a configuration offers: real work with no download.
//!
//! `denoise` takes the noise out of a recording, `detect_language` names the language of a text. Both run in this
//! process, in plain Rust. [`sample`] makes a recording to try the first on.

use std::sync::Arc;

use ekiben_actors::executor::{Attempt, Description, Executor};
use ekiben_actors::task::{FailureCode, Outcome};
use futures::future::BoxFuture;
use serde_json::Value;

mod cleaning;
mod denoise;
mod language;
mod multipart;
mod planes;
mod resample;
pub mod sample;
mod suppress;
mod wav;

use planes::Planes;

use crate::config::Demo;

/// What runs a demo endpoint, and what is told of it.
struct DemoEndpoint {
    description: &'static str,
    /// The JSON schemas, in the flat form that BentoML's client reads.
    input: Value,
    output: Value,
    executor: Arc<dyn Executor>,
}

/// What runs the endpoint that the settings name.
pub fn executor(which: Demo) -> Arc<dyn Executor> {
    Arc::new(match which {
        Demo::Denoise => denoise::endpoint(),
        Demo::DetectLanguage => language::endpoint(),
    })
}

impl Executor for DemoEndpoint {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        self.executor.run(attempt)
    }

    fn description(&self) -> Option<Description> {
        Some(Description {
            text: Some(self.description.to_owned()),
            input: Some(self.input.clone()),
            output: Some(self.output.clone()),
        })
    }
}

/// Why an input is not taken: what is wrong and, where there is one, the way out. It never repeats the input.
#[derive(Debug)]
struct Refusal(String);

impl Refusal {
    fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }

    /// The failure it makes, which a client gets as status 400.
    fn into_outcome(self) -> Outcome {
        Outcome::explained(FailureCode::BadInput, 400, self.0)
    }
}

#[cfg(test)]
mod testing {
    //! What the endpoints' tests share: an attempt without a task around it.

    use ekiben_actors::executor::{Attempt, Outputs, Report};
    use ekiben_actors::spool::{BlobName, Blobs};
    use ekiben_actors::task::{EndpointName, FailureCode, Input, Outcome, TaskId};
    use serde_json::Value;

    pub fn attempt(input: Input) -> Attempt {
        let task = TaskId::generate();
        Attempt {
            task,
            endpoint: EndpointName::new("demo").unwrap(),
            number: 1,
            timeout: None,
            input,
            cancellation: Default::default(),
            report: Report::unwatched(),
            outputs: Outputs::new(Blobs::in_memory(), BlobName::Output(task, 1), u64::MAX),
        }
    }

    /// The reason of an outcome that must be a refusal in the form clients get.
    pub fn refusal_of(outcome: Outcome) -> String {
        let Outcome::Failed(failure, Some(answer)) = outcome else { panic!("not a refusal: {outcome:?}") };
        let body: Value = serde_json::from_slice(&answer.body.read().unwrap()).unwrap();
        assert_eq!((failure.code, answer.status), (FailureCode::BadInput, 400));
        assert_eq!(body["error"], failure.message);
        failure.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_have_the_form_that_clients_read() {
        for which in [Demo::Denoise, Demo::DetectLanguage] {
            let described = executor(which).description().unwrap();
            let (input, output) = (described.input.unwrap(), described.output.unwrap());
            let properties = input["properties"].as_object().unwrap();
            for required in input["required"].as_array().unwrap() {
                assert!(properties.contains_key(required.as_str().unwrap()), "{which:?}: {required}");
            }
            assert!(output["type"].is_string(), "{which:?}");
        }
    }
}
