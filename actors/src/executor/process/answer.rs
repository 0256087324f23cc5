//! What is made of what a worker says: progress, lines for the log, and how attempts end.

use tokio::io::AsyncRead;

use super::frame::{FrameError, FrameReader};
use super::message::FromWorker;
use super::worker::Worker;
use crate::body::Body;
use crate::executor::Outputs;
use crate::spool::SpoolError;
use crate::task::{Failure, FailureCode, Headers, Outcome, Output};

/// Headers of a connection or of the framing of a message; they are said anew when an output is fetched.
const NEVER_KEPT: [&str; 8] =
    ["connection", "content-length", "keep-alive", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade"];

/// Why a worker is not heard any further.
#[derive(Debug, PartialEq, Eq)]
pub enum Deaf {
    /// Its channel ended, in the middle of a frame perhaps: it has most likely died.
    Closed,
    /// It broke a rule of the protocol; says which.
    Breach(String),
}

impl From<FrameError> for Deaf {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::HeaderLength(_) => Deaf::Breach(error.to_string()),
            FrameError::Broken(_) => Deaf::Closed,
        }
    }
}

/// Hears a worker out, and does as it says.
pub async fn hear<R: AsyncRead + Unpin>(worker: &Worker, frames: &mut FrameReader<R>) -> Deaf {
    loop {
        if let Err(deaf) = hear_one(worker, frames).await {
            return deaf;
        }
    }
}

async fn hear_one<R: AsyncRead + Unpin>(worker: &Worker, frames: &mut FrameReader<R>) -> Result<(), Deaf> {
    let header = frames.header().await?.ok_or(Deaf::Closed)?;
    let message = serde_json::from_slice(&header);
    let message = message.map_err(|error| Deaf::Breach(format!("it sent a strange message: {error}")))?;
    obey(worker, frames, message).await
}

async fn obey<R: AsyncRead + Unpin>(
    worker: &Worker,
    frames: &mut FrameReader<R>,
    message: FromWorker,
) -> Result<(), Deaf> {
    match message {
        FromWorker::Hello(_) => return Err(Deaf::Breach("it said hello twice".to_owned())),
        // Threads of an attempt may speak on for a moment after it has ended.
        FromWorker::Progress { id, .. } | FromWorker::Log { id, .. } if worker.has_ended(id) => {}
        FromWorker::Progress { id, fraction, message, counters } => {
            let (_, report) = known(id, worker.teller(id))?;
            if let Some(message) = message {
                report.message(&message);
            }
            for (name, value) in counters.unwrap_or_default() {
                report.counter(&name, value);
            }
            if let Some(fraction) = fraction {
                report.progress(fraction);
            }
        }
        FromWorker::Log { id, level, message } => {
            worker.group.log.message(level, &known(id, worker.teller(id))?, &message);
        }
        FromWorker::Done { id, status, headers } => {
            let status = within(status.unwrap_or(200), 200..=299)?;
            let outputs = known(id, worker.outputs(id))?;
            let body = taken_in(frames, &outputs).await?;
            let outcome = match (kept(headers), body) {
                (Ok(headers), Ok(body)) => Outcome::Done(Output { status, headers, body }),
                (Err(failure), _) | (_, Err(failure)) => Outcome::Failed(failure, None),
            };
            worker.settle(id, outcome);
        }
        FromWorker::Failed { id, code, message, status, headers } => {
            let has_answer = status.is_some() || headers.is_some() || frames.body_left() > 0;
            let code = failure_code(&code);
            let usual = if code == FailureCode::BadInput { 400 } else { 500 };
            let status = within(status.unwrap_or(usual), 400..=599)?;
            let outputs = known(id, worker.outputs(id))?;
            let body = taken_in(frames, &outputs).await?;
            // The failure says more than that its answer cannot be had, so it stands, without the answer.
            let answer = kept(headers).and_then(|headers| Ok(Output { status, headers, body: body? }));
            let answer = answer.ok().filter(|_| has_answer);
            let message = if message.is_empty() { "the worker gave no reason" } else { &message };
            worker.settle(id, Outcome::Failed(Failure::new(code, message), answer));
        }
        FromWorker::Canceled { id } => {
            known(id, worker.teller(id))?;
            worker.settle(id, Outcome::Canceled);
        }
    }
    Ok(())
}

fn known<T>(id: u64, found: Option<T>) -> Result<T, Deaf> {
    found.ok_or_else(|| Deaf::Breach(format!("it spoke of the attempt {id}, which it does not have")))
}

fn within(status: u16, allowed: std::ops::RangeInclusive<u16>) -> Result<u16, Deaf> {
    if allowed.contains(&status) {
        return Ok(status);
    }
    let (least, most) = (allowed.start(), allowed.end());
    Err(Deaf::Breach(format!("it sent the status {status}, where {least} to {most} are allowed")))
}

fn failure_code(word: &str) -> FailureCode {
    match word {
        "bad_input" => FailureCode::BadInput,
        "out_of_memory" => FailureCode::OutOfMemory,
        "too_large" => FailureCode::TooLarge,
        _ => FailureCode::Failed,
    }
}

/// The headers of a result, or the failure of one that HTTP cannot carry.
fn kept(headers: Option<Vec<(String, String)>>) -> Result<Headers, Failure> {
    let Some(written) = headers else { return Ok(Headers::of_type("application/json")) };
    let mut headers = Headers::new();
    for (name, value) in written {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_value = |letter: char| letter == '\t' || !letter.is_control();
        if name.is_empty() || !name.bytes().all(is_name) || !value.chars().all(is_value) {
            let message = format!("the worker answered with a header {name:?} that HTTP cannot carry");
            return Err(Failure::new(FailureCode::BadOutput, message));
        }
        if !NEVER_KEPT.contains(&name.to_ascii_lowercase().as_str()) {
            headers.add(&name, &value);
        }
    }
    Ok(headers)
}

/// Takes the body of the current frame in, a piece at a time. Of one that cannot be kept the rest is passed over, so
/// that the worker can go on.
async fn taken_in<R: AsyncRead + Unpin>(
    frames: &mut FrameReader<R>,
    outputs: &Outputs,
) -> Result<Result<Body, Failure>, FrameError> {
    if frames.body_left() > outputs.limit() {
        while frames.chunk().await?.is_some() {}
        return Ok(Err(SpoolError::TooLarge { limit: outputs.limit() }.into()));
    }
    let mut spool = outputs.spool();
    while let Some(chunk) = frames.chunk().await? {
        if let Err(error) = spool.write(chunk).await {
            while frames.chunk().await?.is_some() {}
            return Ok(Err(error.into()));
        }
    }
    Ok(spool.finish().await.map_err(Failure::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> Option<Vec<(String, String)>> {
        Some(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn headers_are_kept_less_those_of_a_connection() {
        assert_eq!(kept(None).unwrap().content_type(), Some("application/json"));
        assert_eq!(kept(Some(Vec::new())).unwrap(), Headers::new());
        assert_eq!(kept(header("Content-Type", "a/b")).unwrap().content_type(), Some("a/b"));
        assert_eq!(kept(header("Content-Length", "5")).unwrap(), Headers::new());
    }

    #[test]
    fn a_header_that_http_cannot_carry_is_a_bad_output() {
        for (name, value) in [("", "a"), ("a b", "a"), ("a", "b\r\nc"), ("é", "a")] {
            assert_eq!(kept(header(name, value)).unwrap_err().code, FailureCode::BadOutput);
        }
    }

    #[test]
    fn a_status_out_of_bounds_is_a_breach() {
        assert!(within(299, 200..=299).is_ok());
        let rule = "it sent the status 404, where 200 to 299 are allowed";
        assert_eq!(within(404, 200..=299), Err(Deaf::Breach(rule.to_owned())));
    }
}
