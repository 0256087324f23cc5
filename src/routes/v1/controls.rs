//! What an operator does to an endpoint while it runs: pause, resume, purge, other concurrency.

use actix_web::http::StatusCode;
use ekiben_actors::store::StoreError;
use ekiben_actors::supervisor::{Pause, Purge, Resume, SetConcurrency};
use ekiben_actors::task::{EndpointName, TaskId};
use serde_json::{Value, json};

use super::{Answer, Call, Operation, Refusal, endpoints};
use crate::app::{App, Limits};
use crate::error::ApiError;
use crate::intake;
use crate::wire;

pub const OPERATIONS: &[Operation] = &[
    Operation::new("POST", "/v1/endpoints/{endpoint}/pause", "start none of its tasks", |call| Box::pin(pause(call))),
    Operation::new("POST", "/v1/endpoints/{endpoint}/resume", "start its tasks again", |call| Box::pin(resume(call))),
    Operation::new("POST", "/v1/endpoints/{endpoint}/purge", "cancel what waits", |call| Box::pin(purge(call))),
    Operation::new("PATCH", "/v1/endpoints/{endpoint}", "set its concurrency", |call| Box::pin(set(call))).with_body(),
];

/// The most bytes of a change.
const CHANGE_BYTES: u64 = 16 << 10;

async fn pause(call: Call) -> Answer {
    let endpoint = call.endpoint()?.name.clone();
    call.app.system.supervisor.send(Pause { endpoint: endpoint.clone() }).await??;
    shown(&call.app, &endpoint).await
}

async fn resume(call: Call) -> Answer {
    let endpoint = call.endpoint()?.name.clone();
    call.app.system.supervisor.send(Resume { endpoint: endpoint.clone() }).await??;
    shown(&call.app, &endpoint).await
}

async fn purge(call: Call) -> Answer {
    let endpoint = call.endpoint()?.name.clone();
    let canceled = call.app.system.supervisor.send(Purge { endpoint }).await??;
    Ok(wire::json(StatusCode::OK, json!({ "canceled": canceled }).to_string()))
}

async fn set(mut call: Call) -> Answer {
    let endpoint = call.endpoint()?.name.clone();
    let limits = Limits { body: call.app.limits.body.min(CHANGE_BYTES), ..call.app.limits.clone() };
    let (blobs, mut body) = (call.app.system.blobs(), call.take_body());
    let received = intake::receive(TaskId::generate(), call.headers(), &mut body, &blobs, &limits, None).await;
    let received = received.map_err(|error| Refusal::Unread(error, body))?;
    let text = received.read().map_err(|error| StoreError::Failed(error.to_string()))?;
    let concurrency = concurrency(&text).map_err(ApiError::BadChange)?;
    call.app.system.supervisor.send(SetConcurrency { endpoint: endpoint.clone(), concurrency }).await??;
    shown(&call.app, &endpoint).await
}

/// What a change asks for; `None` for what is configured.
fn concurrency(text: &[u8]) -> Result<Option<usize>, String> {
    const EXAMPLE: &str = "{\"concurrency\": 8}, or null for what is configured";
    let change: Value = serde_json::from_slice(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let Value::Object(change) = change else { return Err(format!("{change} is no object; write {EXAMPLE}")) };
    if let Some(key) = change.keys().find(|key| *key != "concurrency") {
        return Err(format!("\"{key}\" cannot be changed while the service runs; write {EXAMPLE}"));
    }
    match change.get("concurrency") {
        Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|slots| usize::try_from(slots).ok()) {
            Some(slots) => Ok(Some(slots)),
            None => Err(format!("{value} is no concurrency; write {EXAMPLE}")),
        },
        None => Err(format!("it changes nothing; write {EXAMPLE}")),
    }
}

/// The endpoint as it is now.
async fn shown(app: &App, endpoint: &EndpointName) -> Answer {
    Ok(wire::json(StatusCode::OK, endpoints::shown(app, endpoint).await?.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_cannot_be_meant_is_refused_with_the_way_out() {
        assert_eq!(concurrency(b"{\"concurrency\": 8}"), Ok(Some(8)));
        assert_eq!(concurrency(b"{\"concurrency\": null}"), Ok(None));
        let bad = ["", "8", "[]", "{}", "{\"paused\": true}", "{\"concurrency\": -1}", "{\"concurrency\": \"8\"}"];
        for text in bad {
            let complaint = concurrency(text.as_bytes()).unwrap_err();
            assert!(text.is_empty() || complaint.contains("{\"concurrency\": 8}"), "{text}: {complaint}");
        }
    }
}
