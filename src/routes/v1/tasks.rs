//! Tasks: submitting them, asking about them, canceling and retrying them.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::Query;
use ekiben_actors::registry::{Fetch, FetchInput, List};
use ekiben_actors::store::{ListQuery, StoreError};
use ekiben_actors::supervisor::{Cancel, CancelAnswer, Retry, Submit};
use ekiben_actors::task::{EndpointName, Input, NewTask, Output, State, Task};
use serde_json::json;

use super::{Answer, Call, Operation, Refusal};
use crate::error::ApiError;
use crate::intake;
use crate::task_json::{self, Live};
use crate::wire;

pub const OPERATIONS: &[Operation] = &[
    Operation::new("POST", "/v1/endpoints/{endpoint}/tasks", "record a task", |call| Box::pin(submit(call)))
        .with_body(),
    Operation::new("GET", "/v1/tasks", "tasks, the newest first", |call| Box::pin(list(call))),
    Operation::new("GET", "/v1/tasks/{task}", "how a task stands", |call| Box::pin(get(call))),
    Operation::new("GET", "/v1/tasks/{task}/input", "what was sent in", |call| Box::pin(input(call))),
    Operation::new("GET", "/v1/tasks/{task}/output", "what came of it", |call| Box::pin(output(call))),
    Operation::new("POST", "/v1/tasks/{task}/cancel", "cancel it", |call| Box::pin(cancel(call))),
    Operation::new("POST", "/v1/tasks/{task}/retry", "run its input again, as a new task", |call| {
        Box::pin(retry(call))
    }),
];

/// The tasks on a page where the query does not say, and the most it may ask for.
const PAGE: usize = 50;
const PAGE_MAX: usize = 1000;

async fn submit(mut call: Call) -> Answer {
    let endpoint = call.endpoint()?;
    let mut task = NewTask::new(endpoint.name.clone(), Input::default());
    task.input.headers = wire::kept_headers(call.headers(), &endpoint.kept_headers);
    let (blobs, mut body) = (call.app.system.blobs(), call.take_body());
    let received = intake::receive(task.id, call.headers(), &mut body, &blobs, &call.app.limits).await;
    task.input.body = received.map_err(|error| Refusal::Unread(error, body))?;
    let task = call.app.system.supervisor.send(Submit(task)).await??;
    Ok(accepted(&task))
}

async fn list(call: Call) -> Answer {
    let Query(pairs) = Query::<Vec<(String, String)>>::from_query(call.query())
        .map_err(|error| ApiError::BadQuery { name: "the query", complaint: error.to_string() })?;
    let mut query = ListQuery { endpoint: None, state: None, after: None, limit: PAGE };
    for (name, value) in pairs {
        let bad = |name, expected: &str| ApiError::BadQuery { name, complaint: format!("{value:?} is not {expected}") };
        match name.as_str() {
            "endpoint" => {
                query.endpoint = Some(EndpointName::new(&value).map_err(|_| bad("endpoint", "an endpoint's name"))?)
            }
            "state" => {
                let known = State::ALL.into_iter().find(|state| state.as_str() == value);
                query.state = Some(known.ok_or_else(|| bad("state", "a state of a task"))?);
            }
            "cursor" => query.after = Some(value.parse().map_err(|_| bad("cursor", "a cursor of an earlier page"))?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                query.limit = limit.ok_or_else(|| bad("limit", "a number from 1 to 1000"))?;
            }
            _ => {}
        }
    }
    let limit = query.limit;
    let tasks = call.app.system.registry.send(List(query)).await.unwrap_or(Err(StoreError::Closed))?;
    let next = tasks.last().filter(|_| tasks.len() == limit).map(|last| last.id.to_string());
    let tasks: Vec<_> = tasks.iter().map(|task| task_json::value(task, Live::default())).collect();
    Ok(wire::json(StatusCode::OK, json!({ "tasks": tasks, "next_cursor": next }).to_string()))
}

async fn get(call: Call) -> Answer {
    let task = call.task().await?;
    Ok(shown(StatusCode::OK, &task))
}

async fn input(call: Call) -> Answer {
    let task = call.task().await?;
    let input = call.app.system.registry.send(FetchInput(task.id)).await.unwrap_or(Err(StoreError::Closed))?;
    // It was swept while we looked.
    let Input { headers, body } = input.ok_or(ApiError::TaskNotFound { kept: None })?;
    Ok(wire::replay(Output { status: 200, headers, body }, call.request.method()))
}

async fn output(call: Call) -> Answer {
    let task = call.task().await?;
    let question = Fetch { task: task.id, endpoint: task.endpoint };
    let found = call.app.system.registry.send(question).await.unwrap_or(Err(StoreError::Closed))?;
    let (task, output) = found.ok_or(ApiError::TaskNotFound { kept: None })?;
    Ok(wire::result(&task, output, call.request.method())?)
}

async fn cancel(call: Call) -> Answer {
    let task = call.task().await?;
    let command = Cancel { task: task.id, endpoint: task.endpoint };
    let result = match call.app.system.supervisor.send(command).await?? {
        CancelAnswer::Canceled => "canceled",
        CancelAnswer::Started => return Err(ApiError::HasStarted(task.id).into()),
        CancelAnswer::Finished(_) => "already_finished",
        CancelAnswer::Unknown => return Err(ApiError::TaskNotFound { kept: None }.into()),
    };
    let task = call.task().await?;
    let answer = json!({ "result": result, "task": task_json::value(&task, Live::default()) });
    Ok(wire::json(StatusCode::OK, answer.to_string()))
}

async fn retry(call: Call) -> Answer {
    let task = call.task().await?;
    let command = Retry { of: task.id, endpoint: task.endpoint };
    let retried = call.app.system.supervisor.send(command).await?;
    let unknown = ApiError::TaskNotFound { kept: None };
    let new = retried.map_err(|error| ApiError::of_retry(error, task.id, unknown))?;
    Ok(accepted(&new))
}

/// The answer about a task that was just recorded.
fn accepted(task: &Task) -> HttpResponse {
    let mut response = shown(StatusCode::ACCEPTED, task);
    let location = format!("/v1/tasks/{}", task.id);
    response.headers_mut().insert(LOCATION, location.parse().expect("hex digits are visible"));
    response
}

fn shown(status: StatusCode, task: &Task) -> HttpResponse {
    wire::json(status, task_json::text(task, Live::default()))
}
