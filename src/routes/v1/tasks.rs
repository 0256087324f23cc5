//! One task: how it stands, canceling it, retrying it, deleting it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::web::Query;
use ekiben_actors::registry::{Delete, Find};
use ekiben_actors::store::{Deleted, StoreError};
use ekiben_actors::supervisor::{Cancel, CancelAnswer, Retry};
use ekiben_actors::task::Task;
use serde_json::json;

use super::{Answer, Call, Operation, live};
use crate::error::ApiError;
use crate::task_json::{self, Live};
use crate::wire;

pub const OPERATIONS: &[Operation] = &[
    Operation::new("GET", "/v1/tasks/{task}", "how a task stands", |call| Box::pin(get(call))),
    Operation::new("DELETE", "/v1/tasks/{task}", "delete a finished task and its data", |call| Box::pin(delete(call))),
    Operation::new("POST", "/v1/tasks/{task}/cancel", "cancel it", |call| Box::pin(cancel(call))),
    Operation::new("POST", "/v1/tasks/{task}/retry", "run its input again, as a new task", |call| {
        Box::pin(retry(call))
    }),
];

async fn get(call: Call) -> Answer {
    let task = live::awaited(&call).await?;
    let live = live::of(&call.app.system, &task).await;
    Ok(wire::json(StatusCode::OK, task_json::text(&task, live)))
}

async fn delete(call: Call) -> Answer {
    let task = call.task_id()?;
    let deleted = call.app.system.registry.send(Delete(task)).await.unwrap_or(Err(StoreError::Closed))?;
    match deleted {
        Deleted::Deleted(_) => Ok(HttpResponse::NoContent().finish()),
        Deleted::Unfinished(_) => Err(ApiError::NotCompleted(task).into()),
        Deleted::Unknown => Err(UNKNOWN.into()),
    }
}

async fn cancel(call: Call) -> Answer {
    let task = call.task().await?;
    let command = Cancel { task: task.id, endpoint: task.endpoint, force: is_forced(call.query())? };
    let result = match call.app.system.supervisor.send(command).await?? {
        CancelAnswer::Canceled => "canceled",
        CancelAnswer::Requested => "cancel_requested",
        CancelAnswer::Started => return Err(ApiError::HasStarted(task.id).into()),
        CancelAnswer::Finished(_) => "already_finished",
        CancelAnswer::Unknown => return Err(UNKNOWN.into()),
    };
    let task = call.task().await?;
    let answer = json!({ "result": result, "task": task_json::value(&task, Live::default()) });
    Ok(wire::json(StatusCode::OK, answer.to_string()))
}

/// Whether `force=true` is asked for.
fn is_forced(query: &str) -> Result<bool, ApiError> {
    let bad = |name: &str, complaint: String| ApiError::BadQuery { name: name.to_owned(), complaint };
    let Query(pairs) = Query::<Vec<(String, String)>>::from_query(query)
        .map_err(|error| bad("the query", format!("it cannot be read: {error}")))?;
    let mut forced = false;
    for (name, value) in pairs {
        forced = match (name.as_str(), value.as_str()) {
            ("force", "true") => true,
            ("force", "false") => false,
            ("force", _) => return Err(bad("force", format!("{value:?} is neither true nor false"))),
            _ => return Err(bad(&name, "there is no such parameter; cancel takes force=true".to_owned())),
        };
    }
    Ok(forced)
}

async fn retry(call: Call) -> Answer {
    let task = call.task().await?;
    let command = Retry { of: task.id, endpoint: task.endpoint };
    let retried = call.app.system.supervisor.send(command).await?;
    let new = retried.map_err(|error| ApiError::of_retry(error, task.id, UNKNOWN))?;
    Ok(recorded(StatusCode::ACCEPTED, &new))
}

const UNKNOWN: ApiError = ApiError::TaskNotFound { kept: None };

/// The answer about a task that was recorded.
pub fn recorded(status: StatusCode, task: &Task) -> HttpResponse {
    let mut response = shown(status, task);
    response.headers_mut().insert(LOCATION, location(task));
    response
}

/// Where a task is to be found.
pub fn location(task: &Task) -> HeaderValue {
    HeaderValue::from_str(&format!("/v1/tasks/{}", task.id)).expect("hex digits are visible")
}

/// The task as it is by now, as far as that can be told.
pub async fn as_it_stands(call: &Call, task: Task) -> Task {
    match call.app.system.registry.send(Find(task.id)).await {
        Ok(Ok(Some(task))) => task,
        Ok(Ok(None) | Err(_)) | Err(_) => task,
    }
}

fn shown(status: StatusCode, task: &Task) -> HttpResponse {
    wire::json(status, task_json::text(task, Live::default()))
}
