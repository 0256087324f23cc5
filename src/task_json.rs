//! A task as the native API shows it: every key is always there, and null where there is nothing to tell.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::SecondsFormat;
use ekiben_actors::task::{Failure, Task, Timestamp};
use serde::Serialize;
use serde_json::Value;

/// What is told of a task beside its record: nothing where it is not known.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// `{"fraction", "message", "counters"}`
    pub progress: Option<Value>,
    /// `{"position", "start", "finish"}`
    pub queue: Option<Value>,
}

/// The task as JSON.
pub fn text(task: &Task, live: Live) -> String {
    serde_json::to_string(&TaskJson::of(task, live)).expect("text and numbers are always JSON")
}

/// The same, to be a part of another answer.
pub fn value(task: &Task, live: Live) -> Value {
    serde_json::to_value(TaskJson::of(task, live)).expect("text and numbers are always JSON")
}

#[derive(Serialize)]
struct TaskJson<'a> {
    id: String,
    endpoint: &'a str,
    state: &'static str,
    priority: u8,
    attempt: u32,
    failures: u32,
    crashes: u32,
    submitted_at: String,
    due_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    expires_at: Option<String>,
    start_by: Option<String>,
    deadline: Option<String>,
    input_bytes: u64,
    output_bytes: u64,
    failure: Option<FailureJson<'a>>,
    tags: BTreeMap<&'a str, &'a str>,
    fairness_key: Option<&'a str>,
    timeout: Option<String>,
    max_attempts: Option<u32>,
    retention: Option<String>,
    cancel_requested: bool,
    batch: Option<String>,
    custom_id: Option<&'a str>,
    progress: Option<Value>,
    queue: Option<Value>,
}

impl<'a> TaskJson<'a> {
    fn of(task: &'a Task, live: Live) -> Self {
        let options = task.options.as_deref();
        let tags = options.into_iter().flat_map(|options| &options.tags);
        Self {
            id: task.id.to_string(),
            endpoint: task.endpoint.as_str(),
            state: task.state.as_str(),
            priority: task.priority.0,
            attempt: task.attempt,
            failures: task.failures,
            crashes: task.crashes,
            submitted_at: time(task.submitted_at),
            due_at: time(task.due_at),
            started_at: task.started_at.map(time),
            finished_at: task.finished_at.map(time),
            expires_at: task.expires_at.map(time),
            start_by: task.start_by.map(time),
            deadline: task.deadline.map(time),
            input_bytes: task.input_bytes,
            output_bytes: task.output_bytes,
            failure: task.failure.as_deref().map(FailureJson::from),
            tags: tags.map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            fairness_key: options.and_then(|options| options.fairness_key.as_deref()),
            timeout: options.and_then(|options| options.timeout).map(duration),
            max_attempts: options.and_then(|options| options.max_attempts),
            retention: options.and_then(|options| options.retention).map(duration),
            cancel_requested: task.cancel_requested,
            batch: None,
            custom_id: None,
            progress: live.progress,
            queue: live.queue,
        }
    }
}

/// Why a task or an attempt of it failed.
#[derive(Serialize)]
pub struct FailureJson<'a> {
    code: &'static str,
    message: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a str>,
}

impl<'a> From<&'a Failure> for FailureJson<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self {
            code: failure.code.as_str(),
            message: &failure.message,
            retryable: failure.code.is_retryable(),
            log: failure.log.as_deref(),
        }
    }
}

/// An instant as the native API writes it: RFC 3339, UTC, in microseconds.
pub fn time(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A duration as a setting would have it, such as `30s`.
pub fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
