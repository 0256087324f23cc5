//! One HTTP request to an upstream as an executor: the task's input goes out, the answer is the output.
//!
//! Bodies of any size are streamed, in and out. An attempt is one request: nothing is sent twice, no redirect is
//! followed, and the environment (proxies) is not asked. How long a run may take is not decided here; only
//! making a connection has a time of its own, because a wait for that is no work.
//!
//! - `request`: what is sent
//! - `template`: texts with places for the task's id and for secrets
//! - `health`: whether an upstream that was away is back
//! - `answer`: what is made of what comes back
//! - `trouble`: what is made of it when nothing usable does
//! - `page`: what the upstream says of itself
//! - `tls`: whom an https URL trusts; there with the feature `https`

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, Url};

use crate::executor::{Attempt, Executor};
use crate::task::{Failure, FailureCode, Outcome};

mod answer;
mod health;
mod page;
mod request;
mod template;
#[cfg(feature = "https")]
mod tls;
mod trouble;

use health::Health;
use template::Template;

pub use page::PageError;

/// How long a connection stays open with nothing to do. Below the patience of the usual servers (gunicorn: 2 s,
/// uvicorn and Node: 5 s), so that a request does not set out on a connection that is being closed.
const IDLE_CONNECTION_MAX: Duration = Duration::from_millis(1500);

const USER_AGENT: &str = concat!("ekiben/", env!("CARGO_PKG_VERSION"));

/// Which upstream is called, and how.
///
/// It has no `Debug`, as the URL may hold a password.
#[derive(Clone)]
pub struct HttpOptions {
    /// `http://` or `https://`; a template, as in the module `template`. A user and a password in it are sent as basic
    /// authentication.
    pub url: String,
    pub method: String,
    /// Headers that each request gets: names, and templates of values. They take the place of the input's own.
    pub headers: Vec<(String, String)>,
    /// Statuses of 400 or more after which a task may run again, whatever codes its retry policy names.
    pub retry_statuses: Vec<u16>,
    /// Asked before the next task when the upstream was away or had no room; it answers 2xx when it is well.
    pub health: Option<String>,
    /// A file of certificates in PEM of authorities to trust beside those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Headers of an answer to keep besides those that always are: content type, disposition and language,
    /// `etag` and `last-modified`.
    pub keep_headers: Vec<String>,
    /// How long to wait for a connection, TLS included.
    pub connect_timeout: Duration,
}

impl HttpOptions {
    /// How long to wait for a connection where nothing else is said.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

    /// A `POST` to the URL, and the defaults of everything else.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: "POST".to_owned(),
            headers: Vec::new(),
            retry_statuses: Vec::new(),
            health: None,
            ca_file: None,
            keep_headers: Vec::new(),
            connect_timeout: Self::CONNECT_TIMEOUT,
        }
    }
}

/// Why an upstream cannot be called as the options say. No message shows what may be secret in a URL.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{url} is not a URL: {reason}; it should look like http://host:port/path")]
    BadUrl { url: String, reason: String },
    #[error("the URL's scheme is \"{0}\", but only http and https can be called")]
    BadScheme(String),
    #[error("\"{0}\" is not a method a task can be sent with; POST is the usual one")]
    BadMethod(String),
    #[error("the URL cannot be used: {0}")]
    BadTemplate(String),
    #[error("the header \"{name}\" of the requests cannot be used: {reason}")]
    BadHeader { name: String, reason: String },
    #[error("the certificates in {path} cannot be used: {reason}")]
    BadCertificates { path: PathBuf, reason: String },
    #[error("the header \"{name}\" of an answer cannot be kept: {reason}")]
    BadKeepHeader { name: String, reason: &'static str },
    #[error("the URL's scheme is \"https\", but this program was built without the feature https")]
    NoHttps,
    #[error("https cannot be used: {0}; the machine needs certificate authorities, e.g. the package ca-certificates")]
    Tls(String),
    #[error("the HTTP client could not be set up: {0}")]
    Client(String),
}

/// Runs attempts by calling an upstream over HTTP/1.1.
#[derive(Clone)]
pub struct Http {
    upstream: Arc<Upstream>,
}

/// What every attempt needs to know of the upstream.
struct Upstream {
    client: Client,
    method: Method,
    /// The URL of an attempt is this one, filled in.
    template: Template,
    /// The URL as it is for some attempt.
    url: Url,
    /// The headers each request gets.
    headers: Vec<(HeaderName, Template)>,
    retry_statuses: Vec<u16>,
    health: Option<Health>,
    /// Host and port: the part of the URL that may be shown.
    host: String,
    /// The headers of an answer that are kept.
    keep: Vec<HeaderName>,
    connect_timeout: Duration,
}

impl Http {
    /// Checks the options and makes a client with connections of its own. Calls nobody yet.
    ///
    /// # Errors
    /// An option that cannot be used, or a machine without trusted certificates where the URL is https.
    pub fn new(options: HttpOptions) -> Result<Self, HttpError> {
        let template = Template::read(&options.url).map_err(HttpError::BadTemplate)?;
        let url = read_url(&template.sample())?;
        let client = new_client(&url, &options)?;
        let health = options.health.as_deref().map(|url| Health::new(url, client.clone())).transpose()?;
        let upstream = Upstream {
            client,
            method: read_method(&options.method)?,
            host: shown_host(&url),
            template,
            url,
            headers: request::own_headers(&options.headers)?,
            retry_statuses: options.retry_statuses.clone(),
            health,
            keep: answer::headers_to_keep(&options.keep_headers)?,
            connect_timeout: options.connect_timeout,
        };
        Ok(Self { upstream: Arc::new(upstream) })
    }
}

impl Executor for Http {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        let upstream = self.upstream.clone();
        Box::pin(async move {
            // Dropping the exchange closes its connection, which is all an upstream can be told of a cancellation.
            let cancellation = attempt.cancellation.clone();
            let exchange = upstream.exchange(attempt);
            cancellation.run_until_cancelled(exchange).await.unwrap_or(Outcome::Canceled)
        })
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("host", &self.upstream.host).finish_non_exhaustive()
    }
}

impl Upstream {
    async fn exchange(&self, attempt: Attempt) -> Outcome {
        if let Some(health) = &self.health
            && let Err(why) = health.is_back().await
        {
            let failure = Failure::new(FailureCode::Unreachable, format!("{} is not well: {why}", self.host));
            return Outcome::PutBack { failure, retry_after: None };
        }
        let outcome = self.sent_and_judged(attempt).await;
        if let Some(health) = &self.health {
            health.note(!matches!(outcome, Outcome::PutBack { .. } | Outcome::Crashed(_)));
        }
        outcome
    }

    async fn sent_and_judged(&self, attempt: Attempt) -> Outcome {
        let outputs = attempt.outputs.clone();
        let request = match self.request(attempt) {
            Ok(request) => request,
            Err(unsendable) => return unsendable,
        };
        match request.send().await {
            Ok(response) => self.outcome(response, &outputs).await,
            Err(error) => self.unanswered(error),
        }
    }
}

fn read_url(text: &str) -> Result<Url, HttpError> {
    let url =
        Url::parse(text).map_err(|error| HttpError::BadUrl { url: shown_text(text), reason: error.to_string() })?;
    match url.scheme() {
        "http" => Ok(url),
        "https" if cfg!(feature = "https") => Ok(url),
        "https" => Err(HttpError::NoHttps),
        other => Err(HttpError::BadScheme(other.to_owned())),
    }
}

/// A text that should have been a URL, less what may be secret in it.
fn shown_text(text: &str) -> String {
    let may_hold_a_password = text.contains('@');
    if may_hold_a_password {
        return "the text (not shown, it may hold a password)".to_owned();
    }
    let before_the_query = text.split(['?', '#']).next().unwrap_or_default();
    format!("\"{before_the_query}\"")
}

fn shown_host(url: &Url) -> String {
    let host = url.host_str().expect("a URL of http or https has a host");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn read_method(text: &str) -> Result<Method, HttpError> {
    let method = Method::from_bytes(text.as_bytes()).ok();
    // A tunnel is not an answer, and TRACE must not carry a body.
    let method = method.filter(|method| *method != Method::CONNECT && *method != Method::TRACE);
    method.ok_or_else(|| HttpError::BadMethod(text.to_owned()))
}

fn new_client(url: &Url, options: &HttpOptions) -> Result<Client, HttpError> {
    let client = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(IDLE_CONNECTION_MAX)
        .user_agent(HeaderValue::from_static(USER_AGENT));
    secured(client, url, options.ca_file.as_deref())?.build().map_err(|error| HttpError::Client(trouble::root(&error)))
}

#[cfg(feature = "https")]
fn secured(client: ClientBuilder, url: &Url, ca_file: Option<&Path>) -> Result<ClientBuilder, HttpError> {
    Ok(client.tls_backend_preconfigured(tls::configuration(url, ca_file)?))
}

#[cfg(not(feature = "https"))]
fn secured(client: ClientBuilder, _: &Url, _: Option<&Path>) -> Result<ClientBuilder, HttpError> {
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(options: HttpOptions) -> String {
        Http::new(options).expect_err("the options are wrong").to_string()
    }

    #[test]
    fn a_url_that_cannot_be_called_is_refused_with_the_way_out() {
        let cases = [
            ("/summarize", "\"/summarize\" is not a URL: relative URL without a base; it should look like"),
            ("http://", "\"http://\" is not a URL: empty host;"),
            ("http://host:port/", "\"http://host:port/\" is not a URL: invalid port number;"),
            ("ftp://host/", "the URL's scheme is \"ftp\", but only http and https can be called"),
        ];
        for (url, message) in cases {
            let refusal = refusal(HttpOptions::new(url));
            assert!(refusal.starts_with(message), "{refusal}");
        }
    }

    #[cfg(not(feature = "https"))]
    #[test]
    fn https_without_its_feature_is_refused() {
        assert!(refusal(HttpOptions::new("https://host/")).ends_with("built without the feature https"));
    }

    #[test]
    fn no_refusal_and_no_debug_view_shows_a_secret() {
        let bad =
            ["http://user:secret@host:port/", "http://host:port/?key=secret", "secret@host:port", "h://u:secret@"];
        for url in bad {
            let refusal = refusal(HttpOptions::new(url));
            assert!(!refusal.contains("secret"), "{refusal}");
        }
        let http = Http::new(HttpOptions::new("http://user:secret@host:81/?key=secret")).unwrap();
        assert_eq!(format!("{http:?}"), "Http { host: \"host:81\", .. }");
    }

    #[test]
    fn a_method_that_cannot_carry_a_task_is_refused() {
        for method in ["", "P OST", "CONNECT", "TRACE"] {
            let options = HttpOptions { method: method.to_owned(), ..HttpOptions::new("http://host/") };
            assert!(refusal(options).contains("is not a method a task can be sent with"), "{method}");
        }
    }

    #[test]
    fn a_header_that_must_not_be_kept_is_refused() {
        for name in ["Set-Cookie", "connection", "transfer-encoding", "content-length", "content-encoding", "not one"] {
            let keep_headers = vec![name.to_owned()];
            let refusal = refusal(HttpOptions { keep_headers, ..HttpOptions::new("http://host/") });
            assert!(refusal.starts_with(&format!("the header \"{name}\" of an answer cannot be kept")), "{refusal}");
        }
    }
}
