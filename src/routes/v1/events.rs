//! The events of a task, as they happen: server-sent events, as the HTML standard has them, resumable by the id of the
//! last one that came.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use ekiben_actors::events::{Event, EventId, Happening};
use ekiben_actors::follower::Follower;
use ekiben_actors::store::StoreError;
use ekiben_actors::task::TaskId;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::live::{in_query, line, progress_json};
use super::{Answer, Call, Operation};
use crate::error::ApiError;
use crate::gates::Pass;
use crate::task_json::{FailureJson, time};

pub const OPERATIONS: &[Operation] =
    &[Operation::new("GET", "/v1/tasks/{task}/events", "what happens to it, as it happens", |call| {
        Box::pin(events(call))
    })];

/// After how many milliseconds a client that was cut off is to come back.
const RETRY: &str = "retry: 2000\n\n";

/// A comment, which keeps the connection alive and is no event.
const HEARTBEAT: &str = ": still there\n\n";

async fn events(call: Call) -> Answer {
    let task = call.task_id()?;
    let after = last_event_id(&call)?;
    let pass = call.app.gates.waiting()?;
    let follower = call.app.system.follow(task, after).await?.ok_or(ApiError::TaskNotFound { kept: None })?;
    let was_last = after.is_some_and(|after| after.step >= EventId::END && after.attempt >= follower.task().attempt);
    if follower.task().state.is_finished() && was_last {
        // By this a browser knows that it need not come back.
        return Ok(HttpResponse::NoContent().finish());
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")));
    response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    // Proxies of the nginx kind would hold the events back.
    response.insert_header(("x-accel-buffering", "no"));
    if call.request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let telling = Telling { follower, task, heartbeat: call.app.watching.heartbeat, begun: false, _pass: pass };
    Ok(response.streaming(stream::unfold(Some(telling), |telling| async { telling?.next().await })))
}

/// The event after which the client goes on. A header counts before the query, as browsers send it when they come back.
fn last_event_id(call: &Call) -> Result<Option<EventId>, ApiError> {
    let written = match call.headers().get("last-event-id") {
        Some(header) => Some(String::from_utf8_lossy(header.as_bytes()).into_owned()),
        None => in_query(call.query(), "last_event_id"),
    };
    match written.filter(|id| !id.is_empty()) {
        Some(id) => id.parse().map(Some).map_err(|_| ApiError::BadEventId(id)),
        None => Ok(None),
    }
}

/// A client that is told.
struct Telling {
    follower: Follower,
    task: TaskId,
    heartbeat: Duration,
    begun: bool,
    _pass: Pass,
}

impl Telling {
    /// The next piece of the stream, and the state after it; `None` after the last event, and when the node drains.
    async fn next(mut self) -> Option<(Result<Bytes, StoreError>, Option<Self>)> {
        if !self.begun {
            self.begun = true;
            return Some((Ok(Bytes::from_static(RETRY.as_bytes())), Some(self)));
        }
        let told = match timeout(self.heartbeat, self.follower.next()).await {
            Ok(told) => told,
            Err(_) => {
                // What was told may have been lost; a look finds out.
                let looked = self.follower.refresh().await;
                looked.map(|()| Some(Vec::new()))
            }
        };
        match told {
            Ok(Some(events)) if events.is_empty() => Some((Ok(Bytes::from_static(HEARTBEAT.as_bytes())), Some(self))),
            Ok(Some(events)) => Some((Ok(written(&events)), Some(self))),
            Ok(None) => None,
            Err(error) => {
                // The client comes back with the last id it has.
                tracing::warn!(task_id = %self.task, %error, "a stream of events was cut off: the store cannot be read");
                Some((Err(error), None))
            }
        }
    }
}

fn written(events: &[Event]) -> Bytes {
    let mut text = String::new();
    for event in events {
        let (id, name) = (event.id, event.what.name());
        // JSON has no line breaks, so it is one line of data.
        text.push_str(&format!("id: {id}\nevent: {name}\ndata: {}\n\n", data(event)));
    }
    text.into()
}

fn data(event: &Event) -> Value {
    let failure_json = |failure: &Option<_>| json!(failure.as_ref().map(FailureJson::from));
    let mut data = match &event.what {
        Happening::Submitted { at } | Happening::Started { at } => json!({ "at": time(*at) }),
        Happening::Progress(progress) => progress_json(progress),
        Happening::Log(told) => line(told),
        Happening::PutBack { at, outcome, failure } => {
            json!({ "at": at.map(time), "outcome": outcome.as_str(), "failure": failure_json(failure) })
        }
        Happening::Ended { at, failure, output_bytes, .. } => {
            json!({ "at": at.map(time), "failure": failure_json(failure), "output_bytes": output_bytes })
        }
    };
    data["attempt"] = event.id.attempt.into();
    data
}
