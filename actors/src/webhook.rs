//! Webhooks as data and as rules: what is told, to whom it may be told, how it is signed, and when it is tried again.
//!
//! Nothing here sends anything: the store keeps deliveries (`crate::store::Outbox`), the courier takes them round.
//!
//! A task that names a URL leaves a delivery when it ends. Whatever ends does so once, so its delivery goes by the same
//! id: that is the `webhook-id` of every try.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::task::{Batch, BatchId, NotATaskId, Task, TaskId, Timestamp};

mod address;
mod schedule;
mod signature;

pub use address::{Allowed, BadAllowance, Forbidden};
pub use schedule::{Answered, Next, Schedule};
pub use signature::{BadSecret, Secret, signatures};

/// The most bytes of a URL.
pub const URL_BYTES_MAX: usize = 2048;

/// The most tries of one delivery that are remembered: the latest.
pub const TRIES_KEPT: usize = 50;

/// Makes the bodies of messages.
#[derive(Clone)]
pub struct Render {
    /// Of the one that tells of a task's end.
    pub task: Arc<dyn Fn(&Task) -> String + Send + Sync>,
    /// Of the one that tells of a batch's.
    pub batch: Arc<dyn Fn(&Batch) -> String + Send + Sync>,
}

impl Default for Render {
    /// What ended, how, and when.
    fn default() -> Self {
        Self { task: Arc::new(plain_event), batch: Arc::new(plain_batch_event) }
    }
}

/// The name of a delivery: the id of what it tells the end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(TaskId);

impl DeliveryId {
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(TaskId::from_bytes(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl From<TaskId> for DeliveryId {
    fn from(task: TaskId) -> Self {
        Self(task)
    }
}

impl From<BatchId> for DeliveryId {
    fn from(batch: BatchId) -> Self {
        Self::from_bytes(*batch.as_bytes())
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeliveryId {
    type Err = NotATaskId;

    fn from_str(text: &str) -> Result<Self, NotATaskId> {
        text.parse().map(Self)
    }
}

/// What a delivery tells the end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Task,
    Batch,
}

/// A delivery to record, with the end it tells of.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    pub id: DeliveryId,
    pub about: Subject,
    pub url: String,
    /// What is sent, the same on every try.
    pub body: String,
    /// As the submission had it.
    pub traceparent: Option<String>,
}

impl NewDelivery {
    /// What the end of a task leaves; `None` where nobody asked to be told.
    pub fn of(task: &Task, render: &Render, traceparent: impl FnOnce() -> Option<String>) -> Option<Self> {
        let url = task.options.as_ref()?.webhook.clone()?;
        let (id, body) = (task.id.into(), (render.task)(task));
        Some(Self { id, about: Subject::Task, url, body, traceparent: traceparent() })
    }

    /// What the end of a batch leaves; `None` where nobody asked to be told.
    pub fn of_batch(batch: &Batch, webhook: Option<&str>, render: &Render) -> Option<Self> {
        let (id, url, body) = (batch.id.into(), webhook?.to_owned(), (render.batch)(batch));
        Some(Self { id, about: Subject::Batch, url, body, traceparent: None })
    }

    /// Whom it goes to, for the bound on how many go there at a time: a host and a port.
    pub fn host(&self) -> String {
        host_of(&self.url)
    }
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It will be tried, or tried again.
    Pending,
    /// It was answered with 2xx.
    Delivered,
    /// It was tried for as long as it is worth it.
    Failed,
    /// It was answered with 410: nobody wants it.
    Gone,
}

impl DeliveryState {
    pub const ALL: [DeliveryState; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Gone];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

/// A delivery and its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub about: Subject,
    pub url: String,
    pub state: DeliveryState,
    /// The latest, [`TRIES_KEPT`] at most, in the order they were made.
    pub tries: Vec<Try>,
    /// When the next try is due; `None` when there is none.
    pub next_at: Option<Timestamp>,
}

/// One request that was made, or that could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// In microseconds since 1970.
    #[serde(with = "micros")]
    pub at: Timestamp,
    /// The status of the answer; `None` where there was none.
    pub status: Option<u16>,
    /// What was wrong; `None` where nothing was.
    pub error: Option<String>,
    pub took_ms: u64,
}

/// Adds a try to a log, which keeps the latest.
pub fn note_try(log: &mut Vec<Try>, made: Try) {
    log.push(made);
    let surplus = log.len().saturating_sub(TRIES_KEPT);
    log.drain(..surplus);
}

/// A delivery that was taken out of the store to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    pub id: DeliveryId,
    /// The number of this taking; it grows with each.
    pub fence: u32,
    pub host: String,
    pub url: String,
    pub body: String,
    pub traceparent: Option<String>,
    /// When its tries began: with the end it tells of, or with its latest replay.
    pub begun_at: Timestamp,
    /// How many tries were made since then.
    pub tries: u32,
}

/// Why a URL cannot be a webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWebhook {
    #[error("webhooks are not set up here: there is no secret to sign them with; add one to webhooks.secrets")]
    NoSecret,
    #[error("the webhook {url:?} is not a URL: {reason}; write one such as \"https://example.com/hook\"")]
    NotAUrl { url: String, reason: String },
    #[error("the webhook's URL has the scheme \"{0}\"; only http and https are called")]
    Scheme(String),
    #[error("the webhook's URL has {0} bytes; the most is {URL_BYTES_MAX}")]
    TooLong(usize),
    #[error("the webhook's URL has a user or a password in it; take them out: messages are signed instead")]
    UserInfo,
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
}

/// Which webhooks submissions may name.
#[derive(Clone, Debug, Default)]
pub struct Admission(Option<Allowed>);

impl Admission {
    /// Those that go to a public address or to one that is allowed; none at all where there is nothing to sign with.
    pub fn new(allowed: Option<Allowed>) -> Self {
        Self(allowed)
    }

    /// # Errors
    /// Why nothing will ever be sent to that URL.
    pub fn check(&self, url: &str) -> Result<(), BadWebhook> {
        let allowed = self.0.as_ref().ok_or(BadWebhook::NoSecret)?;
        read_url(url, allowed).map(drop)
    }
}

/// Reads the URL of a webhook and checks all of it that can be checked without asking for names.
///
/// # Errors
/// Why nothing will ever be sent there.
pub fn read_url(text: &str, allowed: &Allowed) -> Result<Url, BadWebhook> {
    if text.len() > URL_BYTES_MAX {
        return Err(BadWebhook::TooLong(text.len()));
    }
    let not_a_url = |error: url::ParseError| BadWebhook::NotAUrl { url: text.to_owned(), reason: error.to_string() };
    let url = Url::parse(text).map_err(not_a_url)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadWebhook::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadWebhook::UserInfo);
    }
    let port = url.port_or_known_default().expect("http and https have known ports");
    // Whatever spelling it has, `127.1` or `0x7f000001`: this is the address that would be called.
    match url.host().expect("a URL of http or https has a host") {
        Host::Ipv4(address) => allowed.check(address.into(), port, None)?,
        Host::Ipv6(address) => allowed.check(address.into(), port, None)?,
        Host::Domain(_) => {}
    }
    Ok(url)
}

fn host_of(url: &str) -> String {
    let read = Url::parse(url).ok();
    let host = read.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    host.map_or_else(|| url.to_owned(), |(host, port)| format!("{host}:{port}"))
}

/// The message of a system that was not told how to tell of its tasks: what ended, how, and when.
pub fn plain_event(task: &Task) -> String {
    let at = task.finished_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
    let failure = task.failure.as_deref();
    let failure =
        failure.map(|failure| serde_json::json!({ "code": failure.code.as_str(), "message": failure.message }));
    let data = serde_json::json!({
        "id": task.id.to_string(),
        "endpoint": task.endpoint.as_str(),
        "state": task.state.as_str(),
        "failure": failure,
    });
    serde_json::json!({ "type": event_type(task), "timestamp": at, "data": data }).to_string()
}

/// The same of a batch.
pub fn plain_batch_event(batch: &Batch) -> String {
    let at = batch.finished_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
    let data = serde_json::json!({
        "id": batch.id.to_string(),
        "endpoint": batch.endpoint.as_str(),
        "state": batch.state.as_str(),
    });
    serde_json::json!({ "type": format!("batch.{}", batch.state), "timestamp": at, "data": data }).to_string()
}

/// What a message about a task's end is called, such as `task.completed`.
pub fn event_type(task: &Task) -> String {
    format!("task.{}", task.state)
}

/// Instants in microseconds since 1970.
mod micros {
    use chrono::DateTime;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::task::Timestamp;

    pub fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        at.timestamp_micros().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let micros = i64::deserialize(from)?;
        DateTime::from_timestamp_micros(micros).ok_or_else(|| D::Error::custom("a time beyond the calendar"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        read_url(url, &Allowed::default()).expect_err(url).to_string()
    }

    #[test]
    fn a_url_that_is_never_called_is_refused_with_the_reason() {
        assert!(refusal("/hook").starts_with("the webhook \"/hook\" is not a URL: relative URL without a base; write"));
        assert!(refusal("ftp://example.com/").contains("has the scheme \"ftp\""));
        assert!(refusal("http://ana:rice@example.com/").contains("a user or a password"));
        assert!(refusal("http://ana@example.com/").contains("a user or a password"));
        assert!(refusal(&format!("http://example.com/{}", "x".repeat(URL_BYTES_MAX))).contains("the most is 2048"));
        assert!(read_url("https://example.com/hook?a=b", &Allowed::default()).is_ok());
    }

    #[test]
    fn no_spelling_of_a_forbidden_address_gets_by() {
        let spellings = [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://017700000001/",
            "http://0/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://①②⑦.⓪.⓪.①/",
            "http://169.254.169.254/latest/meta-data/",
            "https://[fd00:ec2::254]/",
        ];
        for url in spellings {
            assert!(refusal(url).contains("webhooks.allow"), "{url}");
        }
    }

    #[test]
    fn a_host_is_told_from_another_by_its_port_too() {
        assert_eq!(host_of("http://Example.com/a?b"), "example.com:80");
        assert_eq!(host_of("https://example.com/"), "example.com:443");
        assert_eq!(host_of("http://[2001:db8::1]:81/"), "[2001:db8::1]:81");
    }

    #[test]
    fn a_log_keeps_the_latest_tries() {
        let mut log = Vec::new();
        for took_ms in 0..TRIES_KEPT as u64 + 3 {
            note_try(&mut log, Try { at: Timestamp::UNIX_EPOCH, status: None, error: None, took_ms });
        }
        assert_eq!((log.len(), log[0].took_ms), (TRIES_KEPT, 3));
        let kept = serde_json::to_string(&log).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Try>>(&kept).unwrap(), log);
    }
}
