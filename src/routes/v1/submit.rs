//! Submitting a task: the input as the body with wishes in headers, or an envelope with both.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use ekiben_actors::body::Body;
use ekiben_actors::spool::{BlobName, Blobs};
use ekiben_actors::supervisor::{Recorded, Submit};
use ekiben_actors::task::{Headers, Input, NewTask, Task};
use tokio::time::timeout;

use super::{Answer, Call, Operation, Refusal, bodies, tasks};
use crate::app::Limits;
use crate::digest::Digester;
use crate::error::ApiError;
use crate::problem;
use crate::submission::{Envelope, Judge, Wishes};
use crate::{intake, wire};

pub const OPERATIONS: &[Operation] =
    &[Operation::new("POST", "/v1/endpoints/{endpoint}/tasks", "record a task; its input is the body", |call| {
        Box::pin(submit(call))
    })
    .with_body()];

/// Says that the idempotency key was known, and the task is not a new one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const PREFER: HeaderName = HeaderName::from_static("prefer");

async fn submit(mut call: Call) -> Answer {
    let mut body = call.take_body();
    let recorded = match record(&call, &mut body).await {
        Ok(recorded) => recorded,
        Err(error) => return Err(Refusal::Unread(error, body)),
    };
    let is_new = matches!(recorded, Recorded::New(_));
    let task = recorded.into_task();
    let status = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = match wait_preferred(call.headers()) {
        Some(wished) => answer_in_time(&call, task, status, wished).await?,
        None => tasks::recorded(status, &task),
    };
    if !is_new {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Takes the input in and records the task.
async fn record(call: &Call, body: &mut Payload) -> Result<Recorded, ApiError> {
    let endpoint = call.endpoint()?;
    let _pass = call.app.gates.submission()?;
    let judge = Judge { bounds: &call.app.submit, now: call.app.clock.now() };
    let mut wishes = Wishes::of_headers(call.headers(), judge)?;
    let mut task = NewTask::new(endpoint.name.clone(), Input::default());
    task.priority = endpoint.priority;
    task.input.headers = wire::kept_headers(call.headers(), &endpoint.kept_headers);
    if task.input.headers.content_type().is_some_and(Envelope::is) {
        open_envelope(call, body, &mut task, &mut wishes, judge).await?;
    } else {
        let digest = take_in(call, body, &mut task, wishes.idempotency_key.is_some()).await?;
        task.input_digest = digest.map(Digester::finish);
    }
    wishes.apply(&mut task);
    Ok(call.app.system.supervisor.send(Submit(task)).await??)
}

/// Takes the body in as the input.
async fn take_in(
    call: &Call,
    body: &mut Payload,
    task: &mut NewTask,
    has_key: bool,
) -> Result<Option<Digester>, ApiError> {
    let content_type = task.input.headers.content_type().unwrap_or_default();
    let mut digest = has_key.then(|| Digester::new(content_type));
    let (blobs, limits) = (call.app.system.blobs(), &call.app.limits);
    task.input.body = intake::receive(task.id, call.headers(), body, &blobs, limits, digest.as_mut()).await?;
    Ok(digest)
}

/// Takes the input and further wishes out of an envelope.
async fn open_envelope(
    call: &Call,
    body: &mut Payload,
    task: &mut NewTask,
    wishes: &mut Wishes,
    judge: Judge<'_>,
) -> Result<(), ApiError> {
    let limit = call.app.submit.envelope;
    let limits = Limits { body: limit, ..call.app.limits.clone() };
    let taken = intake::receive(task.id, call.headers(), body, &Blobs::in_memory(), &limits, None).await;
    let Body::Inline(bytes) = taken.map_err(|error| envelope_error(error, limit))? else {
        unreachable!("without a folder every body stays in memory")
    };
    let envelope = Envelope::read(&bytes)?;
    let input = bytes.slice_ref(envelope.input.get().as_bytes());
    envelope.add_to(wishes, judge)?;
    task.input.headers = json_headers(&task.input.headers);
    if wishes.idempotency_key.is_some() {
        let mut digest = Digester::new("application/json");
        digest.add(&input);
        task.input_digest = Some(digest.finish());
    }
    task.input.body = kept(call, task, input).await?;
    Ok(())
}

fn envelope_error(error: ApiError, limit: u64) -> ApiError {
    match error {
        ApiError::BodyTooLarge { .. } => ApiError::EnvelopeTooLarge { limit },
        other => other,
    }
}

/// The same headers, but the content is JSON.
fn json_headers(headers: &Headers) -> Headers {
    let mut all = Headers::of_type("application/json");
    for (name, value) in headers.iter().filter(|(name, _)| *name != Headers::CONTENT_TYPE) {
        all.add(name, value);
    }
    all
}

/// Puts bytes where an input of their size is kept.
async fn kept(call: &Call, task: &NewTask, bytes: Bytes) -> Result<Body, ApiError> {
    let mut spool = call.app.system.blobs().spool(BlobName::Input(task.id), call.app.limits.body);
    spool.write(&bytes).await?;
    Ok(spool.finish().await?)
}

// ---- Prefer: wait ----

/// How long the client would wait for the result (RFC 7240). Preferences that are not known, or make no sense, are
/// passed over: so says the RFC.
fn wait_preferred(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split(',')).filter_map(|part| part.split(';').next());
    let mut waits = preferences.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        name.trim().eq_ignore_ascii_case("wait").then(|| Duration::from_secs(seconds))
    });
    // The first counts: so says the RFC too.
    waits.next()
}

/// Answers with the result where it comes in time, and otherwise as without the preference, which is not applied
/// either while too many wait already. Whatever happens, the task is recorded.
async fn answer_in_time(call: &Call, task: Task, status: StatusCode, wished: Duration) -> Answer {
    let Ok(_pass) = call.app.gates.waiting() else { return Ok(tasks::recorded(status, &task)) };
    let wait = wished.min(call.app.submit.wait);
    let Ok(ended) = timeout(wait, call.app.system.wait(&task)).await else {
        return Ok(tasks::recorded(status, &tasks::as_it_stands(call, task).await));
    };
    let Ok(Some((ended, output))) = ended else { return Ok(tasks::recorded(status, &task)) };
    let answer = bodies::result(&ended, output).map(|result| result.whole(call.request.method()));
    let mut answer = answer.unwrap_or_else(|error| problem::answer(&error));
    let headers = answer.headers_mut();
    headers.insert(wire::TASK_ID, wire::task_id(ended.id));
    headers.insert(header::LOCATION, tasks::location(&ended));
    let applied = HeaderValue::from_str(&format!("wait={}", wait.as_secs())).expect("a number is visible");
    headers.insert(PREFERENCE_APPLIED, applied);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_found_among_other_preferences() {
        let wait = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            wait_preferred(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait(&["wait=20"]), Some(20));
        assert_eq!(wait(&["respond-async, Wait = 7 ; x=y"]), Some(7));
        assert_eq!(wait(&["return=minimal", "wait=\"3\", wait=9"]), Some(3));
        for none in ["", "wait", "wait=", "wait=-1", "wait=soon", "waiting=3"] {
            assert_eq!(wait(&[none]), None, "{none}");
        }
    }
}
