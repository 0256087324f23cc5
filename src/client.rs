//! A client of the API under `/v1`, for the command line: typed verbs over one HTTP client.
//!
//! A verb is one request and is not repeated here: whether to ask again is the caller's to decide, by
//! [`ClientError::is_passing`]. Answers are handed on as JSON, too, so that what a later service adds is not lost.

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub mod events;
pub mod submission;
pub mod task;

use submission::Submission;
use task::{Endpoint, Task, TaskPage};

/// How long it may take to reach the service.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the service may be silent in the middle of an answer, beyond what it was asked to wait.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The longest that one request asks the service to wait for a task.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// Most bytes of an answer that is read as JSON: a page of a thousand tasks is well below.
const JSON_MAX: usize = 64 * 1024 * 1024;

/// Most bytes of a refusal that are read.
const REFUSAL_MAX: usize = 64 * 1024;

/// The header that names the task of an answer which is a task's output.
const TASK_ID: &str = "ekiben-task-id";

/// The header of an answer that waited, as it was asked to.
const APPLIED: &str = "preference-applied";

/// Asks one service.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Without a slash at its end.
    server: String,
}

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("{server} cannot be reached: {cause}")]
    Unreachable { server: String, cause: String },
    /// The connection broke while the answer was awaited or read: whether the request was heard is not known.
    #[error("the connection to {server} broke: {cause}")]
    Broken { server: String, cause: String },
    /// The service said no.
    #[error("{0}")]
    Refused(Refusal),
    /// What answers there is no ekiben that we understand.
    #[error("{server} answered something that is not understood: {what}; is it ekiben, and of this version?")]
    Garbled { server: String, what: String },
}

/// What the service said instead of doing what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    pub status: StatusCode,
    /// Of the kinds that the API lists; empty where a proxy answered in its stead.
    pub code: String,
    pub detail: String,
    pub retry_after: Option<Duration>,
}

/// What a submission was answered.
#[derive(Debug)]
pub enum Submitted {
    /// It is recorded, or was before; it has not ended yet, or was not waited for.
    Recorded { task: Box<Task>, raw: Value },
    /// It has ended within the time that was asked to wait; the answer is its output, or why there is none.
    Ended { task: String, answer: Response },
}

impl Client {
    /// A client of the service at `server`; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong with the URL.
    pub fn new(server: &str) -> Result<Self, String> {
        let url = match Url::parse(server) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            _ => return Err(format!("{server:?} is no URL of a service; write it like http://127.0.0.1:3000")),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("the URL of a service ends with its path, but {server:?} goes on after it"));
        }
        // It is there already when the program has done so before; either is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let is_own_machine = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let http = reqwest::Client::builder();
        // A proxy of the environment is for other machines.
        let http = if is_own_machine { http.no_proxy() } else { http };
        let http = http
            .user_agent(concat!("ekiben/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(WAIT_MAX + SILENCE_MAX)
            // An output is wanted as it is, and a redirect would carry a submission to who knows where.
            .no_gzip()
            .no_deflate()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .build()
            .map_err(|error| format!("the HTTP client cannot be made: {}", causes(&error)))?;
        Ok(Self { http, server: url.as_str().trim_end_matches('/').to_owned() })
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    /// Submits a task. The answer comes once it is durable or, where the submission waits, once it has ended.
    ///
    /// # Errors
    ///
    /// A refusal is one of the submission: that of a task which has ended is in its answer.
    pub async fn submit(&self, endpoint: &str, submission: &Submission) -> Result<Submitted, ClientError> {
        let request = self.request(Method::POST, &["endpoints", endpoint, "tasks"], &[]);
        let answer = self.exchange(submission.fill(request)).await?;
        let task = answer.headers().get(TASK_ID).and_then(|id| id.to_str().ok());
        let is_recorded = answer.status() == StatusCode::ACCEPTED && !answer.headers().contains_key(APPLIED);
        if let (Some(task), false) = (task, is_recorded) {
            return Ok(Submitted::Ended { task: task.to_owned(), answer });
        }
        let raw: Value = self.json(self.accepted(answer).await?).await?;
        Ok(Submitted::Recorded { task: Box::new(self.understood(&raw)?), raw })
    }

    /// A task as it is or, with a time to wait, as it is when it ends or that time is over.
    pub async fn task(&self, id: &str, wait: Option<Duration>) -> Result<(Task, Value), ClientError> {
        let wait = wait.map(|wait| format!("{}ms", wait.min(WAIT_MAX).as_millis()));
        let query: Vec<(&str, &str)> = wait.iter().map(|wait| ("wait", wait.as_str())).collect();
        self.typed(self.request(Method::GET, &["tasks", id], &query)).await
    }

    /// The output of a task, with whatever status it has: of a failed task, it is that of its failure.
    pub async fn output(&self, id: &str) -> Result<Response, ClientError> {
        self.exchange(self.request(Method::GET, &["tasks", id, "output"], &[])).await
    }

    /// Cancels a task, one that runs only by force. The answer has `result` and `task`.
    pub async fn cancel(&self, id: &str, force: bool) -> Result<Value, ClientError> {
        let query: &[(&str, &str)] = if force { &[("force", "true")] } else { &[] };
        self.value(self.request(Method::POST, &["tasks", id, "cancel"], query)).await
    }

    /// Runs a finished task again, as a new one.
    pub async fn retry(&self, id: &str) -> Result<(Task, Value), ClientError> {
        self.typed(self.request(Method::POST, &["tasks", id, "retry"], &[])).await
    }

    /// A page of the tasks that fit, newest first.
    pub async fn list(&self, filters: &[(&str, &str)]) -> Result<(TaskPage, Value), ClientError> {
        self.typed(self.request(Method::GET, &["tasks"], filters)).await
    }

    /// The last lines that a task's attempt logged.
    pub async fn logs(&self, id: &str) -> Result<Value, ClientError> {
        self.value(self.request(Method::GET, &["tasks", id, "logs"], &[])).await
    }

    /// Opens the stream of a task's events, after the event that was seen last.
    pub async fn events(&self, id: &str, seen: Option<&str>) -> Result<events::Events, ClientError> {
        let mut request = self.request(Method::GET, &["tasks", id, "events"], &[]);
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let answer = self.accepted(self.exchange(request).await?).await?;
        Ok(events::Events::new(answer, self.server.clone()))
    }

    pub async fn endpoints(&self) -> Result<(Vec<Endpoint>, Value), ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            endpoints: Vec<Endpoint>,
        }
        let (answer, raw): (Answer, Value) = self.typed(self.request(Method::GET, &["endpoints"], &[])).await?;
        Ok((answer.endpoints, raw))
    }

    pub async fn endpoint(&self, name: &str) -> Result<(Endpoint, Value), ClientError> {
        self.typed(self.request(Method::GET, &["endpoints", name], &[])).await
    }

    /// Has an endpoint do what `verb` says: `pause`, `resume` or `purge`.
    pub async fn steer(&self, name: &str, verb: &str) -> Result<Value, ClientError> {
        self.value(self.request(Method::POST, &["endpoints", name, verb], &[])).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = Url::parse(&self.server).expect("it was one when the client was made");
        url.path_segments_mut().expect("http URLs have a path").pop_if_empty().push("v1").extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url)
    }

    /// Sends a request and takes the head of its answer, whatever that says.
    async fn exchange(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        request.send().await.map_err(|error| self.lost(&error))
    }

    /// Makes an error of an answer that is a refusal.
    pub async fn accepted(&self, answer: Response) -> Result<Response, ClientError> {
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer).await) }
    }

    async fn value(&self, request: RequestBuilder) -> Result<Value, ClientError> {
        let answer = self.accepted(self.exchange(request).await?).await?;
        self.json(answer).await
    }

    async fn typed<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<(T, Value), ClientError> {
        let raw = self.value(request).await?;
        Ok((self.understood(&raw)?, raw))
    }

    fn understood<T: DeserializeOwned>(&self, raw: &Value) -> Result<T, ClientError> {
        T::deserialize(raw).map_err(|error| self.garbled(error.to_string()))
    }

    async fn json(&self, answer: Response) -> Result<Value, ClientError> {
        let body = self.read(answer, JSON_MAX).await?;
        serde_json::from_slice(&body).map_err(|error| self.garbled(error.to_string()))
    }

    /// Reads an answer to its end, which is an error past `most` bytes.
    pub async fn read(&self, mut answer: Response, most: usize) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.lost(&error))? {
            if body.len() + piece.len() > most {
                return Err(self.garbled(format!("an answer of more than {most} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    async fn refused(&self, answer: Response) -> ClientError {
        let (status, retry_after) = (answer.status(), retry_after(&answer));
        let is_problem = content_type(&answer).is_some_and(|kind| kind.starts_with("application/problem+json"));
        let body = match self.read(answer, REFUSAL_MAX).await {
            Ok(body) => body,
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Broken { .. })) => return error,
            Err(_) => Vec::new(),
        };
        #[derive(Deserialize)]
        struct Problem {
            #[serde(default)]
            code: String,
            #[serde(default)]
            detail: String,
        }
        let (code, detail) = match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if is_problem && !problem.detail.is_empty() => (problem.code, problem.detail),
            _ => (String::new(), format!("{} answered {status}", self.server)),
        };
        ClientError::Refused(Refusal { status, code, detail, retry_after })
    }

    /// Words an error of the transport.
    pub fn lost(&self, error: &reqwest::Error) -> ClientError {
        let (server, cause) = (self.server.clone(), causes(error));
        if error.is_connect() {
            ClientError::Unreachable { server, cause }
        } else {
            ClientError::Broken { server, cause }
        }
    }

    fn garbled(&self, what: String) -> ClientError {
        ClientError::Garbled { server: self.server.clone(), what }
    }
}

impl ClientError {
    /// Whether the same request may well succeed a little later, with no change to it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Refused(refusal) => matches!(refusal.status.as_u16(), 408 | 429 | 502 | 503 | 504),
            Self::Garbled { .. } => false,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Garbled { .. } => None,
        }
    }

    /// Of a refusal, its kind.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Garbled { .. } => None,
        }
    }
}

pub fn content_type(answer: &Response) -> Option<&str> {
    answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// How long a body is said to be.
pub fn content_length(answer: &Response) -> Option<u64> {
    answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The seconds of `Retry-After`; a date is passed over, as we never send one.
fn retry_after(answer: &Response) -> Option<Duration> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// An error and what caused it, of which the last says the most: "connection refused".
fn causes(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_put_after_that_of_the_service_and_names_cannot_leave_theirs() {
        let client = Client::new("http://127.0.0.1:1/queue/").unwrap();
        let request = client.request(Method::GET, &["tasks", "../a b"], &[("tag", "k:a&b")]).build().unwrap();
        assert_eq!(request.url().as_str(), "http://127.0.0.1:1/queue/v1/tasks/..%2Fa%20b?tag=k%3Aa%26b");
    }

    #[test]
    fn what_is_no_url_of_a_service_is_refused_with_the_way_to_write_one() {
        for url in ["127.0.0.1:3000", "ftp://a", "http://", "localhost", "http://a/?b"] {
            assert!(Client::new(url).unwrap_err().contains("URL of a service"), "{url}");
        }
    }
}
