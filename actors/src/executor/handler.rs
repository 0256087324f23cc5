//! A Rust function as an executor: async, or blocking on the pool for blocking work; raw, or JSON in and out.
//!
//! ```
//! use std::convert::Infallible;
//! use ekiben_actors::executor::handler::Handler;
//!
//! Handler::json(|text: String| async move { Ok::<_, Infallible>(text.to_uppercase()) });
//! ```
//!
//! What a function returns may lie in memory, whatever its size: here it is held to the output limit, and moved
//! to a file where it is large.

use std::fmt::{self, Display};
use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::task::spawn_blocking;

use crate::body::Body;
use crate::executor::{Attempt, Executor, Outputs};
use crate::task::{Failure, FailureCode, Outcome, Output};

/// Runs attempts by calling a function of this process.
#[derive(Clone)]
pub struct Handler {
    function: Arc<dyn Fn(Attempt) -> BoxFuture<'static, Outcome> + Send + Sync>,
}

impl Handler {
    /// An async function. It must not block its thread: for that there is [`Handler::blocking`].
    pub fn new<F, Running>(function: F) -> Self
    where
        F: Fn(Attempt) -> Running + Send + Sync + 'static,
        Running: Future<Output = Outcome> + Send + 'static,
    {
        Self { function: Arc::new(move |attempt| Box::pin(function(attempt))) }
    }

    /// A function that computes or waits without awaiting; it runs on a thread of its own meanwhile.
    ///
    /// Nothing can stop it from outside. Where it runs for long it should look at `attempt.cancellation` now and
    /// then, which also fires when the attempt is given up, e.g. because its time is over.
    pub fn blocking(function: impl Fn(Attempt) -> Outcome + Send + Sync + 'static) -> Self {
        let function = Arc::new(function);
        Self::new(move |attempt| run_blocking(function.clone(), attempt))
    }

    /// An async function from one type to another, which travel as JSON.
    ///
    /// Input that is not the JSON of a `T` is a failure `bad_input`, answered 400; an `Err` is a failure `failed`.
    pub fn json<T, R, E, F, Running>(function: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize,
        E: Display,
        F: Fn(T) -> Running + Send + Sync + 'static,
        Running: Future<Output = Result<R, E>> + Send + 'static,
    {
        let function = Arc::new(function);
        Self::new(move |attempt| {
            let function = function.clone();
            async move {
                match read_json(attempt.input.body).await {
                    Ok(input) => to_outcome(function(input).await),
                    Err(unreadable) => unreadable.into(),
                }
            }
        })
    }

    /// The same for a function that blocks: see [`Handler::blocking`] and [`Handler::json`].
    pub fn json_blocking<T, R, E, F>(function: F) -> Self
    where
        T: DeserializeOwned,
        R: Serialize,
        E: Display,
        F: Fn(T) -> Result<R, E> + Send + Sync + 'static,
    {
        Self::blocking(move |attempt| match parse_json(&attempt.input.body) {
            Ok(input) => to_outcome(function(input)),
            Err(unreadable) => unreadable.into(),
        })
    }
}

impl Executor for Handler {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        let (function, outputs) = (self.function.clone(), attempt.outputs.clone());
        // The function is called inside the future: a panic before its first await is then like any other.
        Box::pin(async move {
            let outcome = function(attempt).await;
            kept(outcome, &outputs).await
        })
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

async fn run_blocking<F>(function: Arc<F>, mut attempt: Attempt) -> Outcome
where
    F: Fn(Attempt) -> Outcome + Send + Sync + 'static,
{
    attempt.cancellation = attempt.cancellation.child_token();
    // Dropping this future cannot stop the thread, but it tells the function that nobody waits any more.
    let _given_up = attempt.cancellation.clone().drop_guard();
    let running = spawn_blocking(move || {
        let given_up_in_the_queue = attempt.cancellation.is_cancelled();
        if given_up_in_the_queue { Outcome::Canceled } else { function(attempt) }
    });
    match running.await {
        Ok(outcome) => outcome,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime goes down and took the function out of its queue.
            Err(_) => Outcome::Canceled,
        },
    }
}

/// Why an input did not become a value.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("the input could not be read: {0}")]
    Read(io::Error),
    #[error("{why}: {0}", why = misfit(.0))]
    NotTheJson(serde_json::Error),
}

fn misfit(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        Category::Io | Category::Syntax | Category::Eof => "the input is not JSON",
        Category::Data => "the input is JSON, but not what this endpoint takes",
    }
}

impl From<Unreadable> for Outcome {
    fn from(unreadable: Unreadable) -> Self {
        let error = match &unreadable {
            Unreadable::Read(_) => return Outcome::failed(FailureCode::Failed, unreadable.to_string()),
            Unreadable::NotTheJson(error) => error,
        };
        // The error may quote the input. Its sender may see that, but the failure's message goes to the log.
        let (line, column) = (error.line(), error.column());
        let message = format!("{} (line {line}, column {column})", misfit(error));
        let explained = serde_json::json!({ "error": unreadable.to_string() });
        let answer = Output::json(&explained).expect("text is always JSON").with_status(400);
        Outcome::Failed(Failure::new(FailureCode::BadInput, message), Some(answer))
    }
}

/// Reads a file, and parses what may be as large as one, where blocking is allowed.
async fn read_json<T: DeserializeOwned + Send + 'static>(body: Body) -> Result<T, Unreadable> {
    match body {
        Body::Inline(_) => parse_json(&body),
        Body::File(_) => {
            let parsed = spawn_blocking(move || parse_json(&body)).await;
            parsed.unwrap_or_else(|stopped| Err(Unreadable::Read(io::Error::other(stopped))))
        }
    }
}

fn parse_json<T: DeserializeOwned>(body: &Body) -> Result<T, Unreadable> {
    let bytes = body.read().map_err(Unreadable::Read)?;
    serde_json::from_slice(&bytes).map_err(Unreadable::NotTheJson)
}

fn to_outcome<R: Serialize, E: Display>(returned: Result<R, E>) -> Outcome {
    let result = match returned {
        Ok(result) => result,
        Err(error) => return Outcome::failed(FailureCode::Failed, error.to_string()),
    };
    match Output::json(&result) {
        Ok(output) => Outcome::Done(output),
        Err(error) => Outcome::failed(FailureCode::Failed, format!("the result could not be written as JSON: {error}")),
    }
}

/// The outcome with its output where outputs are kept, or the failure to keep it.
async fn kept(outcome: Outcome, outputs: &Outputs) -> Outcome {
    match outcome {
        Outcome::Done(output) => match kept_output(output, outputs).await {
            Ok(output) => Outcome::Done(output),
            Err(failure) => Outcome::Failed(failure, None),
        },
        // The failure says more than that its answer was too large, so it stands, without the answer.
        Outcome::Failed(failure, Some(answer)) => Outcome::Failed(failure, kept_output(answer, outputs).await.ok()),
        Outcome::Failed(failure, None) => Outcome::Failed(failure, None),
        Outcome::FailedForNow { failure, answer, retry_after } => {
            let answer = match answer {
                Some(answer) => kept_output(*answer, outputs).await.ok().map(Box::new),
                None => None,
            };
            Outcome::FailedForNow { failure, answer, retry_after }
        }
        Outcome::Canceled | Outcome::PutBack { .. } | Outcome::Crashed(_) => outcome,
    }
}

async fn kept_output(output: Output, outputs: &Outputs) -> Result<Output, Failure> {
    let own_file = outputs.blobs.path(outputs.name);
    let body = match output.body {
        Body::File(file) if own_file.as_deref() == Some(file.path()) => Body::File(file),
        // Another file, e.g. the input's, is copied: each is deleted in its own time.
        Body::File(_) | Body::Inline(_) => outputs.copy(output.body).await?,
    };
    Ok(Output { body, ..output })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::panic::AssertUnwindSafe;

    use futures::FutureExt;
    use tokio::runtime::Handle;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::executor::Report;
    use crate::spool::{BlobName, Blobs};
    use crate::task::{EndpointName, Input, TaskId};

    fn attempt(input: &str) -> Attempt {
        let task = TaskId::generate();
        Attempt {
            task,
            endpoint: EndpointName::new("test").unwrap(),
            number: 1,
            timeout: None,
            input: Input::new("application/json", input.to_owned()),
            cancellation: CancellationToken::new(),
            report: Report::unwatched(),
            outputs: Outputs::new(Blobs::in_memory(), BlobName::Output(task, 1), 1000),
        }
    }

    fn upper_case() -> [Handler; 2] {
        let upper_case = |text: String| Ok::<_, Infallible>(text.to_uppercase());
        [Handler::json(move |text: String| async move { upper_case(text) }), Handler::json_blocking(upper_case)]
    }

    fn text(output: &Output) -> String {
        String::from_utf8(output.body.read().unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn json_goes_in_and_out() {
        for handler in upper_case() {
            let Outcome::Done(output) = handler.run(attempt(r#""bento""#)).await else { panic!("not done") };
            assert_eq!(text(&output), r#""BENTO""#);
            assert_eq!((output.status, output.headers.content_type()), (200, Some("application/json")));
        }
    }

    #[tokio::test]
    async fn json_from_a_file_goes_in_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut input = Blobs::in_folder(folder.path(), 1).spool(BlobName::Input(TaskId::generate()), 100);
        input.write(br#""bento""#).await.unwrap();
        let body = input.finish().await.unwrap();
        assert!(matches!(body, Body::File(_)));
        for handler in upper_case() {
            let mut attempt = attempt("");
            attempt.input.body = body.clone();
            let Outcome::Done(output) = handler.run(attempt).await else { panic!("not done") };
            assert_eq!(text(&output), r#""BENTO""#);
        }
    }

    #[tokio::test]
    async fn input_that_does_not_fit_is_answered_400_and_quoted_to_its_sender_only() {
        let cases = [
            ("", "the input is not JSON", "EOF"),
            (r#""1234567"#, "the input is not JSON", "EOF"),
            ("1234567", "the input is JSON, but not what this endpoint takes", "1234567"),
        ];
        for handler in upper_case() {
            for (input, why, detail) in cases {
                let outcome = handler.run(attempt(input)).await;
                let Outcome::Failed(failure, Some(answer)) = outcome else { panic!("{outcome:?}") };
                assert_eq!((failure.code, answer.status), (FailureCode::BadInput, 400));
                assert!(failure.message.starts_with(why) && !failure.message.contains("1234567"), "{failure}");
                let answer: serde_json::Value = serde_json::from_str(&text(&answer)).unwrap();
                let explained = answer["error"].as_str().unwrap();
                assert!(explained.starts_with(why) && explained.contains(detail), "{explained}");
            }
        }
    }

    #[tokio::test]
    async fn an_err_is_a_failure_with_its_words() {
        let refuse = |_: String| Err::<(), _>("no rice left");
        for handler in [Handler::json(move |text| async move { refuse(text) }), Handler::json_blocking(refuse)] {
            let outcome = handler.run(attempt(r#""bento""#)).await;
            let Outcome::Failed(failure, None) = outcome else { panic!("{outcome:?}") };
            assert_eq!(failure, Failure::new(FailureCode::Failed, "no rice left"));
        }
    }

    #[tokio::test]
    async fn a_panic_comes_out_of_the_future_with_its_payload() {
        fn spill(_: Attempt) -> Outcome {
            panic!("spilt")
        }
        for handler in [Handler::new(|attempt| async { spill(attempt) }), Handler::blocking(spill)] {
            let running = handler.run(attempt(""));
            let panic = AssertUnwindSafe(running).catch_unwind().await.unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"spilt"));
        }
    }

    #[tokio::test]
    async fn a_blocking_function_learns_that_its_attempt_was_given_up() {
        let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
        let (ended, mut has_ended) = tokio::sync::mpsc::channel(1);
        let handler = Handler::blocking(move |attempt| {
            begun.blocking_send(()).unwrap();
            Handle::current().block_on(attempt.cancellation.cancelled());
            ended.blocking_send(()).unwrap();
            Outcome::Canceled
        });
        let running = tokio::spawn(handler.run(attempt("")));
        has_begun.recv().await.unwrap();
        running.abort();
        has_ended.recv().await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_over_the_limit_does_not_hide_the_failure() {
        let handler = Handler::new(|_| async {
            let answer = Output::new("text/plain", "x".repeat(1001)).with_status(500);
            Outcome::Failed(Failure::new(FailureCode::Failed, "why"), Some(answer))
        });
        let outcome = handler.run(attempt("")).await;
        assert!(matches!(&outcome, Outcome::Failed(failure, None) if failure.message == "why"), "{outcome:?}");
    }
}
