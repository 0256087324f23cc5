//! Tasks and endpoints as the API tells them, as much of it as the command line shows.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// A task. What is not applicable or not known is `None`.
#[derive(Clone, Debug, Deserialize)]
pub struct Task {
    pub id: String,
    pub endpoint: String,
    pub state: TaskState,
    #[serde(default)]
    pub priority: u8,
    #[serde(default)]
    pub attempt: u32,
    #[serde(default, deserialize_with = "instant")]
    pub submitted_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "instant")]
    pub due_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "instant")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "instant")]
    pub finished_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "instant")]
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub input_bytes: u64,
    #[serde(default)]
    pub output_bytes: Option<u64>,
    pub failure: Option<TaskFailure>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub cancel_requested: bool,
    pub progress: Option<Progress>,
    pub queue: Option<Queue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    Pending,
    InProgress,
    Completed,
    Failed,
    Canceled,
}

/// Why a task failed, as data.
#[derive(Clone, Debug, Deserialize)]
pub struct TaskFailure {
    pub code: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub retryable: bool,
    pub log: Option<String>,
}

/// How far a running attempt is.
#[derive(Clone, Debug, Deserialize)]
pub struct Progress {
    pub fraction: Option<f64>,
    pub message: Option<String>,
}

/// Where a task stands among those that wait, and when it is expected to start.
#[derive(Clone, Debug, Deserialize)]
pub struct Queue {
    pub position: Option<u64>,
    pub start: Option<Expected>,
}

/// An honest range of time.
#[derive(Clone, Debug, Deserialize)]
pub struct Expected {
    #[serde(default, deserialize_with = "instant")]
    pub earliest: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "instant")]
    pub latest: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct TaskPage {
    pub tasks: Vec<Task>,
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Endpoint {
    pub name: String,
    #[serde(default)]
    pub paused: bool,
    #[serde(default)]
    pub concurrency: u64,
    #[serde(default)]
    pub running: u64,
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
    pub oldest_waiting_seconds: Option<f64>,
    pub rates: Option<Rates>,
    pub run_seconds: Option<Quantiles>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Rates {
    pub submitted_per_minute: Option<f64>,
    pub finished_per_minute: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Quantiles {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

impl TaskState {
    pub const ALL: [TaskState; 5] = [Self::Pending, Self::InProgress, Self::Completed, Self::Failed, Self::Canceled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    pub fn has_ended(self) -> bool {
        match self {
            Self::Pending | Self::InProgress => false,
            Self::Completed | Self::Failed | Self::Canceled => true,
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name())
    }
}

fn instant<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
    Ok(Some(time.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_the_api_is_read_whatever_a_later_service_adds() {
        let text = r#"{"id":"01","endpoint":"e","state":"in_progress","priority":5,"attempt":1,"failures":0,
            "submitted_at":"2026-11-25T13:15:41.222358Z","due_at":null,"failure":null,"tags":{"k":"v"},
            "progress":{"fraction":0.4,"message":null,"counters":{}},"queue":null,"of_later":[1]}"#;
        let task: Task = serde_json::from_str(text).unwrap();
        assert_eq!(task.state, TaskState::InProgress);
        assert_eq!(task.submitted_at.unwrap().timestamp_subsec_micros(), 222_358);
        assert_eq!(task.progress.unwrap().fraction, Some(0.4));
    }
}
