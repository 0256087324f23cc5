//! What a task is: its id, its endpoint, what came in, what came out, how it stands.
//!
//! Plain data. Nothing here waits, writes or asks the time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::body::Body;

mod attempt;
mod failure;
mod live;
mod options;

pub use attempt::{AttemptOutcome, AttemptRecord, RunNotes};
pub use failure::{Failure, FailureCode};
pub use live::{Level, LogLine, LogTail, Progress};
pub use options::TaskOptions;

/// An instant, in whole microseconds of UTC.
pub type Timestamp = DateTime<Utc>;

/// Names one submission: a UUID of version 7 (RFC 9562), so that ids sort by the time they were made.
///
/// Shown as 32 lower-case hex digits; read with or without hyphens and in either case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Uuid);

impl TaskId {
    /// A new id, greater than every id this process made before.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// When the id was made, to the millisecond; `None` for an id that is not a UUID of version 7.
    pub fn made_at(&self) -> Option<Timestamp> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    }

    /// No id that was made at or after that time is less, to the millisecond; every id made before is.
    pub fn least_at(time: Timestamp) -> Self {
        let millis = u64::try_from(time.timestamp_millis()).unwrap_or(0).min((1 << 48) - 1);
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        Self::from_bytes(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(self.0.as_simple(), f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not an id of a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a task id: 32 hex digits are expected, with or without hyphens")]
pub struct NotATaskId;

impl FromStr for TaskId {
    type Err = NotATaskId;

    /// Takes 32 hex digits, bare or with the four hyphens of a UUID. The braces and the `urn:` that the
    /// UUID library would also read are refused: they are not ids of ours.
    fn from_str(text: &str) -> Result<Self, NotATaskId> {
        let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if !plain {
            return Err(NotATaskId);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| NotATaskId)
    }
}

/// The name of a task endpoint: what stands in the URL, in the log and in the metrics.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointName(Arc<str>);

/// Why a text cannot name an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" cannot name an endpoint: a letter or _ first, then letters, digits, _ or -, at most {max} in all",
    max = EndpointName::LENGTH_MAX
)]
pub struct BadEndpointName(pub String);

impl EndpointName {
    /// The most characters a name may have.
    pub const LENGTH_MAX: usize = 64;

    /// Takes a name that needs no escaping in a URL and that clients can make an attribute of.
    pub fn new(name: &str) -> Result<Self, BadEndpointName> {
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let goes_on_well = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
        if starts_well && goes_on_well && name.len() <= Self::LENGTH_MAX {
            Ok(Self(Arc::from(name)))
        } else {
            Err(BadEndpointName(name.to_owned()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for EndpointName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// How a task stands. The five words are BentoML's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Not started: it waits for a slot, or for the time it is due.
    Pending,
    /// An attempt runs.
    InProgress,
    /// It ended with an output.
    Completed,
    /// It ended with a failure.
    Failed,
    /// It was canceled before it started.
    Canceled,
}

impl State {
    pub const ALL: [State; 5] = [State::Pending, State::InProgress, State::Completed, State::Failed, State::Canceled];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::InProgress => "in_progress",
            State::Completed => "completed",
            State::Failed => "failed",
            State::Canceled => "canceled",
        }
    }

    /// Whether the task has ended: a finished task never changes until it is pruned.
    pub fn is_finished(self) -> bool {
        match self {
            State::Pending | State::InProgress => false,
            State::Completed | State::Failed | State::Canceled => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The headers kept with an input or an output: names in lower case, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    pub const CONTENT_TYPE: &'static str = "content-type";

    pub fn new() -> Self {
        Self::default()
    }

    /// The usual case: a content type and nothing else.
    pub fn of_type(content_type: &str) -> Self {
        let mut headers = Self::new();
        headers.add(Self::CONTENT_TYPE, content_type);
        headers
    }

    /// Adds a header; a second one of the same name stands beside the first.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_ascii_lowercase(), value.to_owned()));
    }

    /// The first value of a header, whose name is given in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub fn content_type(&self) -> Option<&str> {
        self.get(Self::CONTENT_TYPE)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Roughly what they take in memory, for budgets.
    pub fn weight(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len() + size_of::<(String, String)>()).sum()
    }
}

/// What a client sent: a few headers and the bytes, as they came.
#[derive(Clone, Debug, Default)]
pub struct Input {
    pub headers: Headers,
    pub body: Body,
}

impl Input {
    pub fn new(content_type: &str, body: impl Into<Body>) -> Self {
        Self { headers: Headers::of_type(content_type), body: body.into() }
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// Those of `serde_json`: a map with keys that are not text, or the value's own.
    pub fn json(value: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::new("application/json", serde_json::to_vec(value)?))
    }
}

/// What an executor gave back, in the form a client will get it: an HTTP status, headers, bytes.
#[derive(Clone, Debug)]
pub struct Output {
    /// 200 to 299 for a result, 400 or more for the body of a failure.
    pub status: u16,
    pub headers: Headers,
    pub body: Body,
}

impl Output {
    /// A result with status 200.
    pub fn new(content_type: &str, body: impl Into<Body>) -> Self {
        Self { status: 200, headers: Headers::of_type(content_type), body: body.into() }
    }

    /// A value as JSON, with status 200.
    ///
    /// # Errors
    /// Those of `serde_json`: a map with keys that are not text, or the value's own.
    pub fn json(value: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::new("application/json", serde_json::to_vec(value)?))
    }

    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Roughly what it takes in memory, for budgets.
    pub fn weight(&self) -> usize {
        self.headers.weight() + self.body.weight()
    }
}

/// What an executor says of one attempt.
#[derive(Clone, Debug)]
pub enum Outcome {
    Done(Output),
    /// The failure, and where the executor has one, the answer to replay to the client (status 400 or more).
    Failed(Failure, Option<Output>),
    /// As `Failed`, of what may well pass by what the upstream says, whatever the code: the task runs again as often as
    /// its attempts allow.
    FailedForNow {
        failure: Failure,
        answer: Option<Box<Output>>,
        /// How long the upstream asked to wait.
        retry_after: Option<Duration>,
    },
    /// It stopped because its cancellation token fired.
    Canceled,
    /// Whoever was to run it has no room or is away, and nothing speaks against the task: it goes back to the queue,
    /// and its endpoint slows down. Once a task was put back too often it fails with this failure.
    PutBack {
        failure: Failure,
        /// How long the endpoint was asked to wait.
        retry_after: Option<Duration>,
    },
    /// The worker that ran it died: the task runs again until its crash budget is spent, and then fails with this
    /// failure.
    Crashed(Failure),
}

impl Outcome {
    pub fn failed(code: FailureCode, message: impl AsRef<str>) -> Self {
        Outcome::Failed(Failure::new(code, message), None)
    }

    /// A failure that we put into words, and those words as the answer a client gets: `{"error": …}` with a status.
    pub fn explained(code: FailureCode, status: u16, message: impl AsRef<str>) -> Self {
        let failure = Failure::new(code, message);
        let explained = serde_json::json!({ "error": failure.message });
        let answer = Output::json(&explained).expect("text is always JSON").with_status(status);
        Outcome::Failed(failure, Some(answer))
    }
}

/// How urgent a task is: 0 is served first. Within one priority the longest due goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Priority {
    pub const URGENT: Priority = Priority(0);
    pub const HIGH: Priority = Priority(2);
    pub const NORMAL: Priority = Priority(5);
    pub const LOW: Priority = Priority(7);
    pub const BACKGROUND: Priority = Priority(9);
    /// The least urgent that a client can ask for.
    pub const LAST: Priority = Self::BACKGROUND;

    /// Those that have a name, the most urgent first.
    pub const NAMED: [(&'static str, Priority); 5] = [
        ("urgent", Self::URGENT),
        ("high", Self::HIGH),
        ("normal", Self::NORMAL),
        ("low", Self::LOW),
        ("background", Self::BACKGROUND),
    ];
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

/// Text that is no priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no priority: urgent, high, normal, low, background, or a number from 0 (first) to 9 (last)")]
pub struct NotAPriority(pub String);

impl FromStr for Priority {
    type Err = NotAPriority;

    /// Takes a name, or a number from 0 to 9.
    fn from_str(text: &str) -> Result<Self, NotAPriority> {
        let named = Self::NAMED.iter().find(|(name, _)| *name == text).map(|(_, priority)| *priority);
        let number = || text.parse().ok().map(Priority).filter(|priority| *priority <= Self::LAST);
        named.or_else(number).ok_or_else(|| NotAPriority(text.to_owned()))
    }
}

/// A submission, before it is recorded.
#[derive(Clone, Debug)]
pub struct NewTask {
    pub id: TaskId,
    pub endpoint: EndpointName,
    pub input: Input,
    pub priority: Priority,
    /// How long the task waits before it is due; zero for at once.
    pub delay: Duration,
    /// How long from now it may wait for its first start; then it is canceled as `expired`.
    pub queue_ttl: Option<Duration>,
    /// How long from now the whole task may take, retries and all; then it fails as `deadline`.
    pub deadline: Option<Duration>,
    /// Two submissions to one endpoint with the same key are one task, as long as that task is stored.
    pub idempotency_key: Option<String>,
    /// Of the input, to tell whether a submission with a known key is the same one.
    pub input_digest: Option<InputDigest>,
    pub options: TaskOptions,
}

/// Stands for an input: equal for equal ones, in all likelihood different for different ones. Whoever submits decides
/// how it is made.
pub type InputDigest = [u8; 32];

impl NewTask {
    /// A submission with a fresh id and the defaults of everything else.
    pub fn new(endpoint: EndpointName, input: Input) -> Self {
        Self {
            id: TaskId::generate(),
            endpoint,
            input,
            priority: Priority::default(),
            delay: Duration::ZERO,
            queue_ttl: None,
            deadline: None,
            idempotency_key: None,
            input_digest: None,
            options: TaskOptions::default(),
        }
    }
}

/// All that is known of a task, less its input and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub endpoint: EndpointName,
    pub state: State,
    pub priority: Priority,
    /// The number of the latest attempt, counted from 1; 0 before the first.
    pub attempt: u32,
    /// How many attempts ended with the process that ran them.
    pub crashes: u32,
    /// How many attempts failed and were followed by another.
    pub failures: u32,
    pub submitted_at: Timestamp,
    /// When it may start.
    pub due_at: Timestamp,
    /// When the latest attempt started.
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// When a finished task will be pruned.
    pub expires_at: Option<Timestamp>,
    pub input_bytes: u64,
    pub output_bytes: u64,
    /// Why it failed, or was canceled by us.
    pub failure: Option<Box<Failure>>,
    /// When it is canceled as `expired` if it has never started.
    pub start_by: Option<Timestamp>,
    /// When it fails as `deadline` if it has not ended.
    pub deadline: Option<Timestamp>,
    /// What its submission asked for, where it asked for something.
    pub options: Option<Arc<TaskOptions>>,
    /// Whether a client has asked, by force, that the attempt which runs be stopped and the task canceled.
    pub cancel_requested: bool,
}

impl Task {
    /// A task as it is when it was just submitted.
    pub fn submitted(id: TaskId, endpoint: EndpointName, at: Timestamp) -> Self {
        Self {
            id,
            endpoint,
            state: State::Pending,
            priority: Priority::default(),
            attempt: 0,
            crashes: 0,
            failures: 0,
            submitted_at: at,
            due_at: at,
            started_at: None,
            finished_at: None,
            expires_at: None,
            input_bytes: 0,
            output_bytes: 0,
            failure: None,
            start_by: None,
            deadline: None,
            options: None,
            cancel_requested: false,
        }
    }

    /// How long it is kept once it is finished, where it says so itself.
    pub fn retention(&self) -> Option<Duration> {
        self.options.as_ref()?.retention
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_in_every_common_spelling_and_shown_in_one() {
        let shown = "0192f0c4a7b87c3e9d1f2a3b4c5d6e7f";
        let spellings = [shown, "0192F0C4A7B87C3E9D1F2A3B4C5D6E7F", "0192f0c4-a7b8-7c3e-9d1f-2a3b4c5d6e7f"];
        for spelling in spellings {
            assert_eq!(spelling.parse::<TaskId>().unwrap().to_string(), shown, "{spelling}");
        }
    }

    #[test]
    fn only_an_id_of_ours_tells_when_it_was_made() {
        let ours: TaskId = "0192f0c4a7b87c3e9d1f2a3b4c5d6e7f".parse().unwrap();
        assert_eq!(ours.made_at().map(|made| made.timestamp_millis()), Some(0x0192_f0c4_a7b8));
        for version in ['1', '4', '6'] {
            let foreign = format!("0192f0c4a7b8{version}c3e9d1f2a3b4c5d6e7f");
            assert_eq!(foreign.parse::<TaskId>().unwrap().made_at(), None, "{foreign}");
        }
    }

    #[test]
    fn the_least_id_of_a_time_parts_those_made_before_from_the_rest() {
        let id: TaskId = "0192f0c4a7b87c3e9d1f2a3b4c5d6e7f".parse().unwrap();
        let made = id.made_at().unwrap();
        assert!(TaskId::least_at(made) <= id);
        assert!(TaskId::least_at(made + chrono::TimeDelta::milliseconds(1)) > id);
        assert!(TaskId::least_at(DateTime::<Utc>::MIN_UTC) < TaskId::least_at(made));
        assert!(TaskId::least_at(DateTime::<Utc>::MAX_UTC) > id);
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        let strangers = [
            "",
            "x",
            "{0192f0c4-a7b8-7c3e-9d1f-2a3b4c5d6e7f}",
            "urn:uuid:0192f0c4-a7b8-7c3e-9d1f-2a3b4c5d6e7f",
            "0192f0c4a7b87c3e9d1f2a3b4c5d6e7",
            "0192f0c4a7b87c3e9d1f2a3b4c5d6e7f0",
            "0192f0c4a7b87c3e9d1f2a3b4c5d6e7\0",
            "٠192f0c4a7b87c3e9d1f2a3b4c5d6e7f",
        ];
        for stranger in strangers {
            assert_eq!(stranger.parse::<TaskId>(), Err(NotATaskId), "{stranger:?}");
        }
    }

    #[test]
    fn ids_sort_in_the_order_they_were_made() {
        let ids: Vec<TaskId> = (0..10_000).map(|_| TaskId::generate()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn an_endpoint_name_needs_no_escaping() {
        for good in ["summarize", "_x", "a-b_c9", &"n".repeat(EndpointName::LENGTH_MAX)] {
            assert!(EndpointName::new(good).is_ok(), "{good}");
        }
        let long = "n".repeat(EndpointName::LENGTH_MAX + 1);
        for bad in ["", "9lives", "-x", "a/b", "a b", "é", "a.b", "a%2f", &long] {
            assert!(EndpointName::new(bad).is_err(), "{bad}");
        }
    }
}
