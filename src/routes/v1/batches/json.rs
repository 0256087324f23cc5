//! A batch as the native API shows it.

use ekiben_actors::task::{Batch, State};
use serde_json::{Map, Value, json};

use crate::task_json::time;

/// Every key is always there, and null where there is nothing to tell.
pub fn shown(batch: &Batch) -> Map<String, Value> {
    let counts: Map<String, Value> =
        State::ALL.iter().map(|state| (state.as_str().to_owned(), batch.counts.of(*state).into())).collect();
    let shown = json!({
        "id": batch.id.to_string(),
        "endpoint": batch.endpoint.as_str(),
        "state": batch.state.as_str(),
        "priority": batch.priority.0,
        "created_at": time(batch.created_at),
        "finished_at": batch.finished_at.map(time),
        "expires_at": time(batch.expires_at),
        "total": batch.counts.total(),
        "counts": counts,
        "failures": batch.failures,
        "refused": batch.refused,
    });
    match shown {
        Value::Object(fields) => fields,
        _ => unreachable!("it is written as an object"),
    }
}
