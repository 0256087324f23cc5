//! The attempts of a task: where and when each ran, and how it ended.

use actix_web::http::StatusCode;
use ekiben_actors::registry::Attempts;
use ekiben_actors::store::StoreError;
use ekiben_actors::task::AttemptRecord;
use serde_json::{Value, json};

use super::{Answer, Call, Operation};
use crate::task_json::{FailureJson, time};
use crate::wire;

pub const OPERATIONS: &[Operation] =
    &[Operation::new("GET", "/v1/tasks/{task}/attempts", "how each run of it went", |call| Box::pin(attempts(call)))];

async fn attempts(call: Call) -> Answer {
    let task = call.task().await?.id;
    let attempts = call.app.system.registry.send(Attempts { task }).await.unwrap_or(Err(StoreError::Closed))?;
    let attempts: Vec<Value> = attempts.iter().map(shown).collect();
    Ok(wire::json(StatusCode::OK, json!({ "attempts": attempts }).to_string()))
}

fn shown(attempt: &AttemptRecord) -> Value {
    json!({
        "number": attempt.number,
        "node": attempt.node,
        "worker": attempt.worker,
        "started_at": time(attempt.started_at),
        "ended_at": attempt.ended_at.map(time),
        "outcome": attempt.outcome.as_str(),
        "failure": attempt.failure.as_ref().map(FailureJson::from),
        "log": attempt.log,
    })
}
