//! What goes over the wire: JSON shapes, both generations of status words, time stamps, ids of requests, and a
//! stored output as the response it is.
//!
//! The small answers are written by hand: they are the hot path, and every value in them but an error's text is
//! known to need no escaping.

use std::cell::Cell;
use std::fmt::Write;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use chrono::{SecondsFormat, SubsecRound};
use ekiben_actors::body::Body;
use ekiben_actors::spool;
use ekiben_actors::task::{Failure, FailureCode, Headers, Output, State, Task, TaskId, Timestamp};

use crate::error::ApiError;

/// The header that numbers a request; ours, whatever the client sent.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-bentoml-request-id");

/// The header that names the task of a synchronous call.
pub const TASK_ID: HeaderName = HeaderName::from_static("ekiben-task-id");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

// ---- answers ----

pub fn json(status: StatusCode, body: impl Into<Bytes>) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, JSON)).body(body.into())
}

pub fn plain(status: StatusCode, body: impl Into<Bytes>) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, PLAIN)).body(body.into())
}

/// `{"error": …}`.
pub fn error(status: StatusCode, message: &str) -> HttpResponse {
    json(status, format!(r#"{{"error":{}}}"#, quoted(message)))
}

/// The same with the task it is about.
pub fn error_about(status: StatusCode, message: &str, task: TaskId) -> HttpResponse {
    json(status, format!(r#"{{"error":{},"task_id":"{task}"}}"#, quoted(message)))
}

/// The answer to submit, cancel and retry.
pub fn task_and_state(task: TaskId, state: State, dialect: Dialect) -> HttpResponse {
    json(StatusCode::OK, format!(r#"{{"task_id":"{task}","status":"{}"}}"#, dialect.word(state)))
}

/// The answer to status.
pub fn status(task: &Task, dialect: Dialect) -> HttpResponse {
    json(StatusCode::OK, status_text(task, dialect))
}

fn status_text(task: &Task, dialect: Dialect) -> String {
    let mut text = String::with_capacity(256);
    let written = write!(text, r#"{{"task_id":"{}","status":"{}""#, task.id, dialect.word(task.state));
    written.expect("text can be written to");
    push_time(&mut text, "created_at", Some(task.submitted_at), push_bare_time);
    push_time(&mut text, "executed_at", task.started_at, push_bare_time);
    push_time(&mut text, "completed_at", task.finished_at, push_offset_time);
    write!(text, r#","attempt":{}"#, task.attempt).expect("text can be written to");
    if let Some(failure) = &task.failure {
        text.push_str(r#","error":"#);
        text.push_str(&quoted(&failure.to_string()));
        push_failure(&mut text, failure);
    }
    text.push('}');
    text
}

/// The failure as data: what a program can decide by.
fn push_failure(text: &mut String, failure: &Failure) {
    let (code, retryable, message) = (failure.code, failure.code.is_retryable(), quoted(&failure.message));
    let written = write!(text, r#","failure":{{"code":"{code}","message":{message},"retryable":{retryable}"#);
    written.expect("text can be written to");
    if let Some(log) = &failure.log {
        text.push_str(r#","log":"#);
        text.push_str(&quoted(log));
    }
    text.push('}');
}

fn push_time(text: &mut String, name: &str, time: Option<Timestamp>, push: fn(&mut String, Timestamp)) {
    write!(text, r#","{name}":"#).expect("text can be written to");
    match time {
        Some(time) => {
            text.push('"');
            push(text, time);
            text.push('"');
        }
        None => text.push_str("null"),
    }
}

/// UTC in whole seconds and without an offset, as existing clients parse it.
fn push_bare_time(text: &mut String, time: Timestamp) {
    write!(text, "{:?}", time.trunc_subsecs(0).naive_utc()).expect("text can be written to");
}

fn push_offset_time(text: &mut String, time: Timestamp) {
    text.push_str(&time.to_rfc3339_opts(SecondsFormat::Millis, false));
}

/// A text as JSON has it, in its quotes.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is always JSON")
}

// ---- results ----

/// A finished task's answer, as it came from its executor; for a task that has none, why not.
///
/// # Errors
/// The task has not finished, was canceled, or failed without an answer to replay.
pub fn result(task: &Task, output: Option<Output>, method: &Method) -> Result<HttpResponse, ApiError> {
    Ok(replay(answer_of(task, output)?, method))
}

/// What there is to replay of a finished task, or why there is nothing.
///
/// # Errors
/// As for [`result`].
pub fn answer_of(task: &Task, output: Option<Output>) -> Result<Output, ApiError> {
    match (task.state, output) {
        (State::Pending | State::InProgress, _) => Err(ApiError::NotCompleted(task.id)),
        (State::Canceled, _) => Err(ApiError::WasCanceled(task.id)),
        (State::Completed, Some(output)) => Ok(output),
        // It was swept while we looked.
        (State::Completed, None) => Err(ApiError::TaskNotFound { kept: None }),
        // What is below 400 is a result to every client.
        (State::Failed, Some(answer)) if answer.status >= 400 => Ok(answer),
        (State::Failed, _) => Err(failure(task)),
    }
}

fn failure(task: &Task) -> ApiError {
    match &task.failure {
        Some(failure) => {
            ApiError::TaskFailed { status: failure_status(failure.code), message: failure.message.clone() }
        }
        None => ApiError::TaskFailed { status: StatusCode::INTERNAL_SERVER_ERROR, message: "the task failed".into() },
    }
}

/// The status of a failure that left no answer to replay.
fn failure_status(code: FailureCode) -> StatusCode {
    match code {
        FailureCode::BadInput => StatusCode::BAD_REQUEST,
        FailureCode::Failed | FailureCode::Panic | FailureCode::Lost => StatusCode::INTERNAL_SERVER_ERROR,
        FailureCode::Exited | FailureCode::Killed | FailureCode::OutOfMemory => StatusCode::INTERNAL_SERVER_ERROR,
        FailureCode::Upstream4xx | FailureCode::Upstream5xx => StatusCode::BAD_GATEWAY,
        FailureCode::BadOutput | FailureCode::TooLarge | FailureCode::Protocol => StatusCode::BAD_GATEWAY,
        FailureCode::Unreachable | FailureCode::Saturated => StatusCode::SERVICE_UNAVAILABLE,
        FailureCode::Timeout | FailureCode::Expired | FailureCode::Deadline => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// An output as the response it is: its status, its headers, its bytes.
pub fn replay(output: Output, method: &Method) -> HttpResponse {
    // An interim status would leave the client waiting for the real one.
    let status = StatusCode::from_u16(output.status).ok().filter(|status| !status.is_informational());
    let mut response = HttpResponse::build(status.unwrap_or(StatusCode::BAD_GATEWAY));
    for (name, value) in output.headers.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
            && !is_about_the_way(&name)
        {
            response.append_header((name, value));
        }
    }
    match output.body {
        Body::Inline(bytes) => response.body(bytes),
        // The length is told, and the file stays unread.
        Body::File(file) if *method == Method::HEAD => {
            response.body(SizedStream::new(file.len(), futures::stream::empty::<io::Result<Bytes>>()))
        }
        Body::File(file) => response.body(SizedStream::new(file.len(), spool::chunks(Body::File(file)))),
    }
}

/// Headers that are this connection's own, not the output's.
fn is_about_the_way(name: &HeaderName) -> bool {
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::DATE, header::SERVER].contains(name)
}

// ---- words of the client ----

/// The generation of status words that a client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// BentoML's clients before 1.4.14: `success`, `failure`, `cancelled`, and no `pending`.
    Old,
    New,
}

impl Dialect {
    pub fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        match agent.and_then(|agent| agent.strip_prefix("BentoML HTTP Client/")) {
            Some(version) if is_before_1_4_14(version) => Dialect::Old,
            Some(_) | None => Dialect::New,
        }
    }

    pub fn word(self, state: State) -> &'static str {
        match (self, state) {
            (Dialect::New, state) => state.as_str(),
            (Dialect::Old, State::Pending | State::InProgress) => "in_progress",
            (Dialect::Old, State::Completed) => "success",
            (Dialect::Old, State::Failed) => "failure",
            (Dialect::Old, State::Canceled) => "cancelled",
        }
    }
}

/// Whether a version of Python's kind is before 1.4.14, whose own pre-releases are. A version that cannot be read,
/// or is 0 (as builds that do not know theirs are), tells nothing.
fn is_before_1_4_14(version: &str) -> bool {
    let mut rest = version.trim();
    let mut release = [0_u32; 3];
    for (place, number) in release.iter_mut().enumerate() {
        let digits = match (place, rest.strip_prefix('.')) {
            (0, _) => rest,
            (_, Some(after)) if after.starts_with(|digit: char| digit.is_ascii_digit()) => after,
            (_, _) => break,
        };
        let end = digits.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(digits.len());
        match digits[..end].parse() {
            Ok(parsed) => *number = parsed,
            Err(_) => return false,
        }
        rest = &digits[end..];
    }
    if release[0] == 0 || rest.starts_with('!') {
        return false;
    }
    let suffix = rest.trim_start_matches(['.', '-', '_']);
    let is_pre_release = ["a", "b", "c", "rc", "pre", "dev"].iter().any(|word| suffix.starts_with(word));
    release < [1, 4, 14] || (release == [1, 4, 14] && is_pre_release)
}

// ---- words of ours ----

/// The headers of a submission that are kept with its task: those named, where their value is plain text.
pub fn kept_headers(headers: &HeaderMap, names: &[HeaderName]) -> Headers {
    let mut kept = Headers::new();
    for name in names {
        for value in headers.get_all(name).filter_map(|value| value.to_str().ok()) {
            kept.add(name.as_str(), value);
        }
    }
    kept
}

/// A duration in one short word, as a setting would have it: `24h`, `90m`, `30s`, `7d`.
pub fn brief(duration: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
    let seconds = duration.as_secs();
    if duration.subsec_millis() != 0 || seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    // A single day is better known as 24 hours.
    let unit = UNITS.iter().find(|(unit, word)| seconds.is_multiple_of(*unit) && (*word != "d" || seconds > *unit));
    match unit {
        Some((unit, word)) => format!("{}{word}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

/// A task's id as the value of a header.
pub fn task_id(task: TaskId) -> HeaderValue {
    HeaderValue::from_str(&task.to_string()).expect("hex digits are visible")
}

/// Sixteen hex digits that no other request has, in all likelihood.
pub fn request_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let id = random();
    let mut text = [0; 16];
    for (place, digit) in text.iter_mut().enumerate() {
        *digit = DIGITS[(id >> (4 * place) & 0xf) as usize];
    }
    HeaderValue::from_bytes(&text).expect("hex digits are visible")
}

/// The next of a thread's sequence that starts at random (splitmix64). Not for secrets.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use ekiben_actors::task::{EndpointName, Failure};

    use super::*;

    fn task(state: State, failure: Option<Failure>) -> Task {
        let submitted_at = DateTime::from_timestamp(1_764_034_279, 123_456_000).unwrap();
        let (started, finished) = (state != State::Pending, state.is_finished());
        let endpoint = EndpointName::new("echo").unwrap();
        Task {
            state,
            attempt: u32::from(started),
            started_at: started.then(|| submitted_at + TimeDelta::milliseconds(900)),
            finished_at: finished.then(|| submitted_at + TimeDelta::milliseconds(2000)),
            failure: failure.map(Box::new),
            ..Task::submitted(TaskId::from_bytes([0xab; 16]), endpoint, submitted_at)
        }
    }

    #[test]
    fn a_status_has_the_form_that_existing_clients_parse() {
        const ID: &str = "abababababababababababababababab";
        let pending = format!(
            r#"{{"task_id":"{ID}","status":"pending","created_at":"2025-11-25T01:31:19","executed_at":null,"completed_at":null,"attempt":0}}"#
        );
        assert_eq!(status_text(&task(State::Pending, None), Dialect::New), pending);
        let failure = Failure::new(FailureCode::Timeout, "the \"rice\" took too long").with_log("washing\nboiling\n");
        let failed = format!(
            r#"{{"task_id":"{ID}","status":"failure","created_at":"2025-11-25T01:31:19","executed_at":"2025-11-25T01:31:20","completed_at":"2025-11-25T01:31:21.123+00:00","attempt":1,"error":"timeout: the \"rice\" took too long","failure":{{"code":"timeout","message":"the \"rice\" took too long","retryable":true,"log":"washing\nboiling"}}}}"#
        );
        assert_eq!(status_text(&task(State::Failed, Some(failure)), Dialect::Old), failed);
    }

    #[test]
    fn versions_before_1_4_14_are_told_from_later_and_odd_ones() {
        let before = [
            "1.4.13",
            "1.4.0",
            "1.4",
            "1",
            "1.3.99",
            "1.2.0a1",
            "1.4.13.post5+gabc",
            "1.4.14a1",
            "1.4.14rc1",
            "1.4.14.dev3+gabc",
        ];
        for version in before {
            assert!(is_before_1_4_14(version), "{version}");
        }
        let later = ["1.4.14", "1.4.14.post1", "1.4.14+local", "1.4.14.1", "1.4.40", "1.5", "2", "1.10.0", "1.5.0a1"];
        let odd = ["", "0+unknown", "0.13.1", "v1.4.13", "1!1.4.13", "x", "-1", ".4", "99999999999.1", "1.99999999999"];
        for version in later.into_iter().chain(odd) {
            assert!(!is_before_1_4_14(version), "{version}");
        }
    }

    #[test]
    fn only_a_bentoml_client_of_old_is_spoken_to_in_old_words() {
        let dialect = |agent: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
            Dialect::of(&headers)
        };
        assert_eq!(dialect("BentoML HTTP Client/1.4.13"), Dialect::Old);
        for agent in ["BentoML HTTP Client/1.4.14", "bentoml/1.4.13", "curl/8.0", "", "python-httpx/0.27 (1.4.13)"] {
            assert_eq!(dialect(agent), Dialect::New, "{agent}");
        }
        assert_eq!(Dialect::of(&HeaderMap::new()), Dialect::New);
    }

    #[test]
    fn a_duration_is_told_in_one_short_word() {
        let cases = [
            (0, "0ms"),
            (20, "20ms"),
            (1500, "1500ms"),
            (30_000, "30s"),
            (90_000, "90s"),
            (5_400_000, "90m"),
            (3_600_000, "1h"),
            (86_400_000, "24h"),
            (172_800_000, "2d"),
            (604_800_000, "7d"),
            (108_000_000, "30h"),
        ];
        for (millis, word) in cases {
            assert_eq!(brief(Duration::from_millis(millis)), word);
        }
    }

    #[test]
    fn ids_of_requests_are_sixteen_hex_digits_and_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| request_id().to_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 16 && u64::from_str_radix(id, 16).is_ok()));
    }

    #[test]
    fn the_headers_of_an_output_do_not_reach_into_the_connection() {
        let mut output = Output::new("text/plain", "rice").with_status(101);
        for (name, value) in [
            ("Content-Length", "99"),
            ("connection", "close"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("bad name", "1"),
            ("x-b", "a\nb"),
        ] {
            output.headers.add(name, value);
        }
        let response = replay(output, &Method::GET);
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let headers: Vec<_> =
            response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers.len(), 3);
        assert!(headers.contains(&("content-type", b"text/plain")) && headers.contains(&("x-a", b"2")));
    }
}
