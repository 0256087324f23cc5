//! BentoML's task routes: submit, status, get, cancel, retry, and the synchronous call.

use std::sync::Arc;

use actix_web::web::{Payload, Query};
use actix_web::{Error, HttpRequest, HttpResponse, ResponseError};
use ekiben_actors::clock;
use ekiben_actors::registry::{Fetch, Status};
use ekiben_actors::supervisor::{Cancel, CancelAnswer, Retry, Submit};
use ekiben_actors::task::{Input, NewTask, State, Task, TaskId};
use tokio::time::timeout;

use crate::app::{App, Endpoint};
use crate::digest::Digester;
use crate::error::ApiError;
use crate::intake;
use crate::submission::Wishes;
use crate::wire::{self, Dialect};

/// Records a task and answers with its id, once it is durable.
pub async fn submit(request: &HttpRequest, body: Payload) -> Result<HttpResponse, Error> {
    let target = Target::of(request)?;
    let task = record(&target, request, body).await?;
    Ok(wire::task_and_state(task.id, task.state, target.dialect))
}

/// How a task stands.
pub async fn status(request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let (target, task) = asked(request)?;
    let question = Status { task, endpoint: target.endpoint.name.clone() };
    let found = target.app.system.registry.send(question).await??;
    let task = found.ok_or_else(|| target.unknown(task))?;
    Ok(wire::status(&task, target.dialect))
}

/// A finished task's result, as its executor gave it.
pub async fn get(request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let (target, task) = asked(request)?;
    let question = Fetch { task, endpoint: target.endpoint.name.clone() };
    let found = target.app.system.registry.send(question).await??;
    let (task, output) = found.ok_or_else(|| target.unknown(task))?;
    wire::result(&task, output, request.method())
}

/// Cancels a task that has not started.
pub async fn cancel(request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let (target, task) = asked(request)?;
    let command = Cancel { task, endpoint: target.endpoint.name.clone(), force: false };
    match target.app.system.supervisor.send(command).await?? {
        CancelAnswer::Canceled => Ok(wire::task_and_state(task, State::Canceled, target.dialect)),
        // Nobody asks for that here.
        CancelAnswer::Requested | CancelAnswer::Started => Err(ApiError::HasStarted(task)),
        CancelAnswer::Finished(state) => Err(ApiError::HasFinished(task, state)),
        CancelAnswer::Unknown => Err(target.unknown(task)),
    }
}

/// Records a new task with a finished one's input.
pub async fn retry(request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let (target, task) = asked(request)?;
    let command = Retry { of: task, endpoint: target.endpoint.name.clone() };
    let retried = target.app.system.supervisor.send(command).await?;
    let new = retried.map_err(|error| ApiError::of_retry(error, task, target.unknown(task)))?;
    Ok(wire::task_and_state(new.id, new.state, target.dialect))
}

/// Records a task, waits for it, and answers with its result. The task is like any other: it stays when the caller
/// goes away, or is told that it took too long.
pub async fn call(request: &HttpRequest, body: Payload) -> Result<HttpResponse, Error> {
    let target = Target::of(request)?;
    let task = record(&target, request, body).await?;
    let mut answer = result_of(&target, &task, request).await.unwrap_or_else(|error| error.error_response());
    answer.headers_mut().insert(wire::TASK_ID, wire::task_id(task.id));
    Ok(answer)
}

/// Takes the body in and records the task.
async fn record(target: &Target<'_>, request: &HttpRequest, body: Payload) -> Result<Task, Error> {
    let body = body.into_inner();
    let admitted = || Ok((target.app.gates.submission()?, Wishes::key_of_headers(request.headers())?));
    let (_pass, idempotency_key) = match admitted() {
        Ok(admitted) => admitted,
        Err(error) => return Err(intake::refusal_unread(error, body)),
    };
    let mut task = NewTask::new(target.endpoint.name.clone(), Input::default());
    task.priority = target.endpoint.priority;
    task.idempotency_key = idempotency_key;
    let (blobs, limits) = (target.app.system.blobs(), &target.app.limits);
    task.input.headers = wire::kept_headers(request.headers(), &target.endpoint.kept_headers);
    let content_type = task.input.headers.content_type().unwrap_or_default();
    let mut digest = task.idempotency_key.is_some().then(|| Digester::new(content_type));
    task.input.body = intake::take_in(task.id, request.headers(), body, &blobs, limits, digest.as_mut()).await?;
    task.input_digest = digest.map(Digester::finish);
    let recorded = target.app.system.supervisor.send(Submit(task)).await.map_err(ApiError::from)?;
    Ok(recorded.map_err(ApiError::from)?.into_task())
}

async fn result_of(target: &Target<'_>, task: &Task, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let waited = target.app.limits.sync_wait;
    let Ok(ended) = timeout(waited, target.app.system.wait(task)).await else {
        return Err(ApiError::StillRunning { task: task.id, endpoint: task.endpoint.clone(), waited });
    };
    let (task, output) = ended?.ok_or(ApiError::KeptForLater(task.id))?;
    wire::result(&task, output, request.method())
}

// ---- what a request is about ----

/// The endpoint a request is for, and the words its client knows.
struct Target<'a> {
    app: &'a App,
    endpoint: Arc<Endpoint>,
    dialect: Dialect,
}

impl<'a> Target<'a> {
    fn of(request: &'a HttpRequest) -> Result<Self, ApiError> {
        let app = App::of(request);
        let endpoint = app.endpoint_of(request.path()).ok_or(ApiError::NoRoute)?;
        Ok(Self { app, endpoint, dialect: Dialect::of(request.headers()) })
    }

    /// The answer about a task that is not there. An id of ours tells its age: where that is over what results are
    /// kept for, the client learns why.
    fn unknown(&self, task: TaskId) -> ApiError {
        let retention = self.endpoint.retention;
        let now = self.app.clock.now();
        let too_old = task.made_at().is_some_and(|made| clock::after(made, retention) < now);
        ApiError::TaskNotFound { kept: too_old.then_some(retention) }
    }
}

/// The target of a request about a task, and the task.
fn asked(request: &HttpRequest) -> Result<(Target<'_>, TaskId), ApiError> {
    let target = Target::of(request)?;
    let id = task_id(request.query_string()).ok_or(ApiError::TaskIdRequired)?;
    // What is no id of ours names no task: unknown, not malformed.
    let task = id.parse().map_err(|_| ApiError::TaskNotFound { kept: None })?;
    Ok((target, task))
}

/// The `task_id` of a query; of several the last, as in BentoML.
fn task_id(query: &str) -> Option<String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::from_query(query).ok()?;
    pairs.into_iter().rfind(|(name, _)| name == "task_id").map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_task_id_of_a_query_counts_however_it_is_written() {
        let cases = [
            ("", None),
            ("task=1", None),
            ("task_id", Some("")),
            ("task_id=", Some("")),
            ("task_id=a&x=1&task_id=b", Some("b")),
            ("task%5Fid=%61%00", Some("a\0")),
            ("task_id=%ED%A0%80", Some("\u{fffd}\u{fffd}\u{fffd}")),
            ("&&task_id=a=b&", Some("a=b")),
        ];
        for (query, expected) in cases {
            assert_eq!(task_id(query).as_deref(), expected, "{query}");
        }
    }
}
