//! What goes wrong, as the contract answers it: a status, `{"error": …}`, and a time to try again where that helps.

use std::time::Duration;

use actix::MailboxError;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use ekiben_actors::spool::SpoolError;
use ekiben_actors::store::StoreError;
use ekiben_actors::supervisor::{RetryError, SubmitError};
use ekiben_actors::task::{EndpointName, State, TaskId};

use crate::wire::{self, brief};

/// How long a client is told to wait before it asks again about a task that has not finished.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long a client is told to wait when the store cannot serve it.
const STORE_AGAIN: Duration = Duration::from_secs(5);

/// Why a request is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    // ---- the request's head ----
    #[error("Not Found")]
    NoRoute,
    #[error("Method Not Allowed")]
    Method(&'static str),
    #[error("the request's head is larger than the limit of {limit} bytes")]
    HeadTooLarge { limit: usize },
    #[error("task_id is required")]
    TaskIdRequired,
    /// What a query says cannot be meant; the complaint names the value and the way out.
    #[error("{name} in the query: {complaint}")]
    BadQuery { name: String, complaint: String },

    /// What a submission asks for cannot be granted; the complaint names the value and the way out.
    #[error("{name}: {complaint}")]
    BadOption { name: String, complaint: String },
    #[error("as many submissions as may be are under way: {limit}")]
    TooManySubmissions { limit: usize },
    #[error("as many requests as may wait do so: {limit}")]
    TooManyWaiting { limit: usize },

    // ---- its body ----
    #[error("the envelope cannot be read: {0}")]
    BadEnvelope(String),
    #[error(
        "the envelope is larger than the limit of {limit} bytes; send the input as it is, with the options in headers"
    )]
    EnvelopeTooLarge { limit: u64 },
    #[error("the body is larger than the limit of {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("the body came too slowly: {received} bytes in {}", brief(*.within))]
    BodyTooSlow { received: u64, within: Duration },
    #[error("the body could not be read: {0}")]
    BodyBroken(&'static str),
    #[error("content-encoding \"{0}\" is not supported: send gzip, deflate or none")]
    Coding(String),
    #[error("the body could not be stored: {}", if *.full { "there is no room on the disk" } else { "the disk failed" })]
    BodyNotStored { full: bool },

    // ---- the task ----
    #[error("task_id not found{}", .kept.map(|kept| format!(": results are kept for {}", brief(kept))).unwrap_or_default())]
    TaskNotFound { kept: Option<Duration> },
    #[error("task {0} is not completed yet")]
    NotCompleted(TaskId),
    #[error("task {0} was canceled")]
    WasCanceled(TaskId),
    #[error("task {0} has already started")]
    HasStarted(TaskId),
    #[error("task {0} has already finished: it is {1}")]
    HasFinished(TaskId, State),
    #[error("the range is outside of what is there: {len} bytes")]
    RangeOutside { len: u64 },
    #[error("{message}")]
    TaskFailed { status: StatusCode, message: String },
    #[error("task {task} has not ended within {}; it goes on, and /{endpoint}/get will have its result", brief(*.waited))]
    StillRunning { task: TaskId, endpoint: EndpointName, waited: Duration },
    #[error("the service is shutting down; task {0} is kept and runs after the next start")]
    KeptForLater(TaskId),

    #[error("the last event id {0:?} is not one of ours, which look like 2.17")]
    BadEventId(String),

    // ---- the service ----
    #[error(transparent)]
    Refused(SubmitError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the service is stopping")]
    Stopping,
}

impl ApiError {
    /// Why a task could not be retried; `unknown` is the answer about one that is not there.
    pub fn of_retry(error: RetryError, of: TaskId, unknown: ApiError) -> Self {
        match error {
            RetryError::Unknown => unknown,
            RetryError::Unfinished(_) => ApiError::NotCompleted(of),
            RetryError::Refused(refusal) => refusal.into(),
        }
    }

    /// When it is worth trying again, where a time may help.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            ApiError::Refused(refusal) => match refusal {
                SubmitError::Draining { retry_after }
                | SubmitError::EndpointFull { retry_after, .. }
                | SubmitError::QueueFull { retry_after, .. } => Some(*retry_after),
                SubmitError::Store(_) => Some(STORE_AGAIN),
                SubmitError::UnknownEndpoint(_) | SubmitError::BadEndpoint(_) => None,
                SubmitError::OtherInput { .. } | SubmitError::OutOfBounds { .. } => None,
            },
            ApiError::NotCompleted(_) | ApiError::TooManySubmissions { .. } | ApiError::TooManyWaiting { .. } => {
                Some(ASK_AGAIN)
            }
            ApiError::BodyNotStored { .. } | ApiError::Store(_) => Some(STORE_AGAIN),
            ApiError::KeptForLater(_) | ApiError::Stopping => Some(STORE_AGAIN),
            _ => None,
        }
    }

    /// Adds the headers that go with the error, whatever form its answer has.
    pub fn add_headers(&self, response: &mut HttpResponse) {
        if let ApiError::Method(allowed) = self {
            response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
        }
        if let Some(pause) = self.retry_after() {
            let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
    }

    /// The word by which a program knows the error. It never changes.
    pub fn code(&self) -> &'static str {
        match self {
            ApiError::NoRoute => "no_such_route",
            ApiError::Method(_) => "method_not_allowed",
            ApiError::HeadTooLarge { .. } => "head_too_large",
            ApiError::TaskIdRequired => "task_id_required",
            ApiError::BadQuery { .. } => "bad_query",
            ApiError::BadEventId(_) => "bad_event_id",
            ApiError::BadOption { .. } => "invalid_option",
            ApiError::TooManySubmissions { .. } => "too_many_submissions",
            ApiError::TooManyWaiting { .. } => "too_many_waiting",
            ApiError::BadEnvelope(_) => "bad_envelope",
            ApiError::EnvelopeTooLarge { .. } => "body_too_large",
            ApiError::BodyTooLarge { .. } => "body_too_large",
            ApiError::BodyTooSlow { .. } => "body_too_slow",
            ApiError::BodyBroken(_) => "body_broken",
            ApiError::Coding(_) => "unsupported_coding",
            ApiError::BodyNotStored { .. } | ApiError::Store(_) => "store_failed",
            ApiError::TaskNotFound { .. } => "task_not_found",
            ApiError::NotCompleted(_) => "not_finished",
            ApiError::WasCanceled(_) => "canceled",
            ApiError::HasStarted(_) => "already_started",
            ApiError::HasFinished(..) => "already_finished",
            ApiError::RangeOutside { .. } => "range_not_satisfiable",
            ApiError::TaskFailed { .. } => "task_failed",
            ApiError::StillRunning { .. } => "still_running",
            ApiError::KeptForLater(_) | ApiError::Stopping => "shutting_down",
            ApiError::Refused(refusal) => match refusal {
                SubmitError::Draining { .. } => "shutting_down",
                SubmitError::UnknownEndpoint(_) | SubmitError::BadEndpoint(_) => "endpoint_not_found",
                SubmitError::EndpointFull { .. } | SubmitError::QueueFull { .. } => "queue_full",
                SubmitError::OtherInput { .. } => "idempotency_mismatch",
                SubmitError::OutOfBounds { .. } => "invalid_option",
                SubmitError::Store(_) => "store_failed",
            },
        }
    }

    /// The task, where the answer should name it in a field of its own.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            ApiError::StillRunning { task, .. } | ApiError::KeptForLater(task) => Some(*task),
            _ => None,
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            ApiError::NoRoute | ApiError::TaskNotFound { .. } => StatusCode::NOT_FOUND,
            ApiError::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::HeadTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ApiError::TaskIdRequired
            | ApiError::BadQuery { .. }
            | ApiError::BadEventId(_)
            | ApiError::BodyBroken(_)
            | ApiError::NotCompleted(_) => StatusCode::BAD_REQUEST,
            ApiError::BadOption { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            ApiError::BadEnvelope(_) => StatusCode::BAD_REQUEST,
            ApiError::TooManySubmissions { .. } | ApiError::TooManyWaiting { .. } => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::BodyTooLarge { .. } | ApiError::EnvelopeTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            ApiError::Coding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::WasCanceled(_) | ApiError::HasStarted(_) | ApiError::HasFinished(..) => StatusCode::CONFLICT,
            ApiError::RangeOutside { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            ApiError::TaskFailed { status, .. } => *status,
            ApiError::StillRunning { .. } => StatusCode::GATEWAY_TIMEOUT,
            ApiError::Refused(SubmitError::UnknownEndpoint(_) | SubmitError::BadEndpoint(_)) => StatusCode::NOT_FOUND,
            ApiError::Refused(SubmitError::OtherInput { .. } | SubmitError::OutOfBounds { .. }) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ApiError::BodyNotStored { .. } | ApiError::KeptForLater(_) | ApiError::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ApiError::Refused(_) | ApiError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let message = self.to_string();
        let mut response = match (self, self.task()) {
            (ApiError::NoRoute | ApiError::Method(_), _) => wire::plain(self.status_code(), message),
            (_, Some(task)) => wire::error_about(self.status_code(), &message, task),
            (_, None) => wire::error(self.status_code(), &message),
        };
        self.add_headers(&mut response);
        response
    }
}

impl From<SubmitError> for ApiError {
    fn from(refusal: SubmitError) -> Self {
        ApiError::Refused(refusal)
    }
}

impl From<SpoolError> for ApiError {
    fn from(error: SpoolError) -> Self {
        match &error {
            SpoolError::TooLarge { limit } => ApiError::BodyTooLarge { limit: *limit },
            SpoolError::Write { .. } => {
                // The path is the operator's business, not the client's.
                tracing::warn!(%error, "a submission was refused");
                ApiError::BodyNotStored { full: error.is_full() }
            }
        }
    }
}

/// An actor is gone, which happens only when the whole service goes.
impl From<MailboxError> for ApiError {
    fn from(_: MailboxError) -> Self {
        ApiError::Stopping
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Status, `Retry-After` and body.
    async fn answer(error: impl Into<ApiError>) -> (u16, Option<String>, String) {
        let response = error.into().error_response();
        let again = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        (status, again, String::from_utf8(body.to_vec()).unwrap())
    }

    fn later(error: &str) -> (u16, Option<String>, String) {
        (503, Some("5".into()), format!(r#"{{"error":"{error}"}}"#))
    }

    #[actix_web::test]
    async fn what_passes_is_503_with_a_time_to_try_again() {
        let full = SubmitError::Store(StoreError::Full("database or disk is full".into()));
        assert_eq!(
            answer(full).await,
            later("the task could not be recorded: no room to write: database or disk is full")
        );
        assert_eq!(answer(StoreError::Closed).await, later("the store is closed"));
        let retry_after = Duration::from_millis(1500);
        let queue = answer(SubmitError::QueueFull { limit: 7, retry_after }).await;
        assert_eq!(queue, (503, Some("2".into()), r#"{"error":"the queue is full: 7 tasks wait"}"#.into()));
    }

    #[actix_web::test]
    async fn a_full_disk_is_told_and_no_path_is() {
        let write = |kind: io::ErrorKind| SpoolError::Write { path: "/secret/place".into(), source: kind.into() };
        let full = answer(write(io::ErrorKind::StorageFull)).await;
        assert_eq!(full, later("the body could not be stored: there is no room on the disk"));
        let failed = answer(write(io::ErrorKind::PermissionDenied)).await;
        assert_eq!(failed, later("the body could not be stored: the disk failed"));
    }
}
