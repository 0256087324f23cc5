//! Tasks while they wait and run: how far they have come, where they stand in their line, their log; and waiting for
//! their end.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Query;
use ekiben_actors::registry::{Live as AskLive, Logs, Watch, Watched};
use ekiben_actors::store::StoreError;
use ekiben_actors::supervisor::{Foresee, Prospect, Within};
use ekiben_actors::system::System;
use ekiben_actors::task::{LogLine, Progress, State, Task};
use serde_json::{Map, Number, Value, json};
use tokio::time::timeout;

use super::{Answer, Call, Operation};
use crate::config::parse_time;
use crate::error::ApiError;
use crate::task_json::{Live, time};
use crate::wire;

pub const OPERATIONS: &[Operation] =
    &[Operation::new("GET", "/v1/tasks/{task}/logs", "the last lines of its log", |call| Box::pin(logs(call)))];

async fn logs(call: Call) -> Answer {
    let task = call.task().await?;
    let log = call.app.system.registry.send(Logs { task: task.id }).await.unwrap_or(Err(StoreError::Closed))?;
    let lines: Vec<Value> = log.tail.lines.iter().map(line).collect();
    let answer = json!({ "attempt": log.attempt, "lines": lines, "dropped": log.tail.dropped });
    Ok(wire::json(StatusCode::OK, answer.to_string()))
}

/// A line of a log as JSON.
pub fn line(line: &LogLine) -> Value {
    json!({ "at": time(line.at), "level": line.level.as_str(), "message": line.message })
}

// ---- waiting ----

/// The task that the path names, once it has ended, or as it is when the time is over that `wait` in the query says.
pub async fn awaited(call: &Call) -> Result<Task, ApiError> {
    let task = call.task().await?;
    let longest = call.app.watching.wait_max;
    let Some(wait) = wait_of(call.query())?.map(|wait| wait.min(longest)) else { return Ok(task) };
    if task.state.is_finished() || wait.is_zero() {
        return Ok(task);
    }
    let _pass = call.app.gates.waiting()?;
    let watched = call.app.system.registry.send(Watch { task: task.id }).await.unwrap_or(Err(StoreError::Closed))?;
    match watched {
        Watched::Finished(task) => Ok(task),
        Watched::Unknown => Err(ApiError::TaskNotFound { kept: None }),
        Watched::Unfinished(news) => match timeout(wait, news).await {
            Ok(Ok(task)) => Ok(task),
            // The time is over, or this node drains.
            Ok(Err(_)) | Err(_) => call.task().await,
        },
    }
}

fn wait_of(query: &str) -> Result<Option<Duration>, ApiError> {
    let Some(text) = in_query(query, "wait") else { return Ok(None) };
    let complaint = || format!("{text:?} is not a time; write one such as 30s");
    parse_time(&text).map(Some).ok_or_else(|| ApiError::BadQuery { name: "wait".to_owned(), complaint: complaint() })
}

/// The value of a name in a query; of several the last.
pub fn in_query(query: &str, wanted: &str) -> Option<String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::from_query(query).ok()?;
    pairs.into_iter().rfind(|(name, _)| name == wanted).map(|(_, value)| value)
}

// ---- what is told of a task beside its record ----

/// How far it has come, and when it will start and end, as far as that is known.
pub async fn of(system: &System, task: &Task) -> Live {
    let told = match task.state {
        State::Pending => None,
        State::InProgress | State::Completed | State::Failed | State::Canceled => {
            system.registry.send(AskLive { task: task.id }).await.unwrap_or_default()
        }
    };
    let prospect = match task.state {
        State::Pending | State::InProgress => {
            system.supervisor.send(Foresee { task: task.id }).await.unwrap_or_default()
        }
        State::Completed | State::Failed | State::Canceled => None,
    };
    let progress = told.and_then(|told| told.report.latest());
    Live { progress: progress.as_ref().map(progress_json), queue: prospect.as_ref().map(queue_json) }
}

/// How far an attempt has come, as JSON.
pub fn progress_json(progress: &Progress) -> Value {
    let counters: Map<String, Value> =
        progress.counters.iter().map(|(name, value)| (name.clone(), number(*value).into())).collect();
    // As short as it was written: the double nearest to 0.1 has many more digits.
    let fraction = progress.fraction.map(|fraction| f64::from((fraction * 1e6).round()) / 1e6);
    json!({ "fraction": fraction, "message": progress.message, "counters": counters })
}

/// A whole number without a fraction, as counts are.
fn number(value: f64) -> Number {
    const EXACT: f64 = (1u64 << 53) as f64;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Number::from(value as i64);
    }
    Number::from_f64(value).expect("only finite numbers are kept")
}

fn queue_json(prospect: &Prospect) -> Value {
    let estimate = prospect.estimate();
    let range = |within: Option<Within>| {
        within.map(|within| json!({ "earliest": time(within.earliest), "latest": time(within.latest) }))
    };
    // Who runs stands in no line any more.
    let position = Some(prospect.position).filter(|position| *position > 0);
    json!({ "position": position, "start": range(estimate.start), "finish": range(estimate.finish) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_as_settings_are_and_else_refused() {
        assert_eq!(wait_of("").unwrap(), None);
        assert_eq!(wait_of("wait=1s&wait=500ms").unwrap(), Some(Duration::from_millis(500)));
        for query in ["wait=30", "wait=", "wait=long"] {
            let refusal = wait_of(query).unwrap_err().to_string();
            assert!(refusal.contains("wait") && refusal.contains("such as 30s"), "{refusal}");
        }
    }

    #[test]
    fn counters_and_fractions_are_as_short_as_they_were_written() {
        let counters = [("loss", 0.25), ("tokens", 812.0), ("vast", 1e300)];
        let counters = counters.map(|(name, value)| (name.to_owned(), value)).into();
        let progress = Progress { fraction: Some(0.1), message: None, counters };
        let expected =
            json!({ "fraction": 0.1, "message": null, "counters": { "loss": 0.25, "tokens": 812, "vast": 1e300 } });
        assert_eq!(progress_json(&progress).to_string(), expected.to_string());
    }
}
