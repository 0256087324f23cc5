//! The service under test, and two clients: a real one, and one that writes its bytes by hand.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpServer;
use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use ekiben::app::App;
use ekiben::config::{self, Config, EndpointKind, Upstream};
use ekiben::routes::application;
use ekiben_actors::clock::SystemClock;
use ekiben_actors::endpoint::Endpoint;
use ekiben_actors::executor::Attempt;
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::lifecycle::RetryPolicy;
use ekiben_actors::spool::{BlobName, Blobs};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};
use ekiben_actors::system::System;
use ekiben_actors::task::{EndpointName, Failure, FailureCode, Headers, Level, Outcome, Output, Priority, TaskId};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// A service with these endpoints:
/// `echo` gives back what it gets; `gate` the same, but waits for [`Service::open_gate`]; `heads` tells which headers
/// came with a task; `fail` fails as its input says; `large` gives its input back from a file; `report` is as `gate`, and
/// tells of itself before it waits.
pub struct Service {
    pub address: SocketAddr,
    pub app: Data<App>,
    pub http: reqwest::Client,
    gate: Arc<Semaphore>,
    server: ServerHandle,
    _folder: tempfile::TempDir,
}

pub const LONG: Duration = Duration::from_secs(30);

impl Service {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            endpoints: ["echo", "gate", "heads", "fail", "large", "report"].map(endpoint).to_vec(),
            demo: false,
            ..Config::default()
        };
        change(&mut config);
        let folder = tempfile::tempdir().unwrap();
        let gate = Arc::new(Semaphore::new(0));
        let system = start_system(&config, gate.clone(), folder.path()).await;
        let app = Data::new(App::new(system, &config));
        let served = app.clone();
        let server = HttpServer::new(move || application(served.clone()))
            .workers(1)
            .disable_signals()
            .client_disconnect_timeout(LONG)
            .shutdown_timeout(0)
            .bind(("127.0.0.1", 0))
            .unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let http = client_builder().redirect(reqwest::redirect::Policy::none()).timeout(LONG).build().unwrap();
        let service = Self { address, app, http, gate, server: handle, _folder: folder };
        // The server begins when it is first polled; a test that then blocks this thread would never hear from it.
        service.ask("GET", "/livez").await;
        service
    }

    /// Lets one task of `gate` through.
    pub fn open_gate(&self) {
        self.gate.add_permits(1);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn ask(&self, method: &str, path: &str) -> Response {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, self.url(path)).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Response {
        self.http.post(self.url(path)).body(body).send().await.unwrap()
    }

    /// Submits, and answers with the task's id.
    pub async fn submit(&self, endpoint: &str, body: impl Into<reqwest::Body>) -> String {
        task_id(self.post(&format!("/{endpoint}/submit"), body).await).await
    }

    /// Waits until a task is in that state, and answers with its whole status.
    pub async fn until(&self, endpoint: &str, id: &str, state: &str) -> Value {
        for _ in 0..LONG.as_millis() {
            let status = self.ask("GET", &format!("/{endpoint}/status?task_id={id}")).await;
            let status: Value = status.json().await.unwrap();
            if status["status"] == state {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("task {id} did not come to be {state}");
    }

    /// Submits, waits for the task's end in that state, and answers with what `get` does.
    pub async fn result_of(&self, endpoint: &str, body: impl Into<reqwest::Body>, state: &str) -> Response {
        let id = self.submit(endpoint, body).await;
        self.until(endpoint, &id, state).await;
        self.ask("GET", &format!("/{endpoint}/get?task_id={id}")).await
    }

    pub fn connect(&self) -> Raw {
        Raw::connect(self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Nobody waits for the server's end.
        drop(self.server.stop(false));
    }
}

fn endpoint(name: &str) -> config::Endpoint {
    config::Endpoint {
        name: EndpointName::new(name).unwrap(),
        kind: EndpointKind::Noop,
        concurrency: 1,
        timeout: LONG,
        retention: Duration::from_secs(24 * 60 * 60),
        retry: RetryPolicy::default(),
        queue: 100,
        priority: Priority::default(),
        batch: None,
        description: String::new(),
        input: None,
        output: None,
    }
}

/// Makes an endpoint one that forwards these headers.
pub fn forwarding(endpoint: &mut config::Endpoint, names: &[&str]) {
    endpoint.kind = EndpointKind::Http(Upstream {
        headers: Vec::new(),
        retry_statuses: Vec::new(),
        health: None,
        ca_file: None,
        url: "http://127.0.0.1:9/".into(),
        method: "POST".into(),
        forward_headers: names.iter().map(|name| (*name).to_owned()).collect(),
        keep_headers: Vec::new(),
        connect_timeout: LONG,
    });
}

async fn start_system(config: &Config, gate: Arc<Semaphore>, folder: &std::path::Path) -> System {
    let store = MemoryStore::new(MemoryOptions::new(Arc::new(SystemClock)));
    let mut system = System::builder(Arc::new(store));
    for endpoint in &config.endpoints {
        let executor = executor(endpoint.name.as_str(), gate.clone(), folder);
        let endpoint_of_actors = Endpoint::new(executor).timeout(LONG).queue_max(endpoint.queue as u64);
        system = system.endpoint(endpoint.name.as_str(), endpoint_of_actors).unwrap();
    }
    system.start().await.unwrap()
}

fn executor(name: &str, gate: Arc<Semaphore>, folder: &std::path::Path) -> Handler {
    match name {
        "echo" => Handler::new(|attempt| async { Outcome::Done(echo(attempt)) }),
        "gate" => Handler::new(move |attempt| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Outcome::Done(echo(attempt))
            }
        }),
        "report" => Handler::new(move |attempt| {
            let gate = gate.clone();
            async move {
                attempt.report.log(Level::Warning, "hot");
                attempt.report.counter("tokens", 3.0);
                attempt.report.message("half way");
                attempt.report.progress(0.5);
                gate.acquire().await.unwrap().forget();
                Outcome::Done(echo(attempt))
            }
        }),
        "heads" => Handler::new(|attempt| async move {
            let headers: Vec<(&str, &str)> = attempt.input.headers.iter().collect();
            Outcome::Done(Output::json(&headers).unwrap())
        }),
        "fail" => Handler::new(|attempt| async move { fail(&attempt.input.body.read().unwrap()) }),
        "large" => {
            let blobs = Blobs::in_folder(folder, 0);
            Handler::new(move |attempt| {
                let blobs = blobs.clone();
                async move { from_file(attempt, &blobs).await }
            })
        }
        other => panic!("no function for {other}"),
    }
}

fn echo(attempt: Attempt) -> Output {
    let mut headers = Headers::new();
    if let Some(content_type) = attempt.input.headers.content_type() {
        headers.add(Headers::CONTENT_TYPE, content_type);
    }
    Output { status: 200, headers, body: attempt.input.body }
}

/// A failure code's word fails so; a number is the status of an answer to replay; `panic!` panics.
fn fail(input: &[u8]) -> Outcome {
    let word = std::str::from_utf8(input).unwrap();
    assert_ne!(word, "panic!", "told to");
    match (FailureCode::from_word(word), word.parse()) {
        (Some(code), _) => Outcome::failed(code, "told to"),
        (None, Ok(status)) => {
            let answer = Output::new("text/x-why", "because").with_status(status);
            Outcome::Failed(Failure::new(FailureCode::Upstream4xx, "told to"), Some(answer))
        }
        (None, Err(_)) => panic!("no such failure: {word}"),
    }
}

async fn from_file(attempt: Attempt, blobs: &Blobs) -> Outcome {
    let mut spool = blobs.spool(BlobName::Output(attempt.task, 1), u64::MAX);
    spool.write(&attempt.input.body.read().unwrap()).await.unwrap();
    let mut headers = Headers::of_type("application/x-large");
    headers.add("content-disposition", "attachment; filename=\"large.bin\"");
    Outcome::Done(Output { status: 200, headers, body: spool.finish().await.unwrap() })
}

pub async fn task_id(response: Response) -> String {
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    answer["task_id"].as_str().unwrap().to_owned()
}

/// Checks an answer that is an error of ours.
pub async fn assert_error(response: Response, status: u16, error: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "error": error }));
}

/// An id that nobody has.
pub fn unknown_id() -> String {
    TaskId::generate().to_string()
}

// ---- by hand ----

/// A connection whose bytes the test writes itself.
pub struct Raw {
    pub stream: TcpStream,
    read: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Raw {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request with a body of a declared length.
    pub fn post(&mut self, path: &str, headers: &str, body: &[u8]) {
        self.send(format!("POST {path} HTTP/1.1\r\nhost: t\r\n{headers}content-length: {}\r\n\r\n", body.len()));
        self.send(body);
    }

    /// Reads one answer; `with_body` is false for an answer to HEAD.
    pub fn answer(&mut self, with_body: bool) -> RawAnswer {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            assert_ne!(self.fill(), 0, "the connection ended within a head");
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
        let headers: HashMap<String, String> = lines.map(pair).collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let length = if with_body { length } else { 0 };
        while self.read.len() < length {
            assert_ne!(self.fill(), 0, "the connection ended within a body");
        }
        RawAnswer { status, headers, body: self.read.drain(..length).collect() }
    }

    /// Whether the server ends the connection, with nothing more said.
    pub fn ends(&mut self) -> bool {
        self.read.is_empty() && self.fill() == 0
    }

    fn fill(&mut self) -> usize {
        let mut chunk = [0; 4096];
        let read = self.stream.read(&mut chunk).unwrap();
        self.read.extend_from_slice(&chunk[..read]);
        read
    }
}

impl RawAnswer {
    pub fn error(&self) -> String {
        let answer: Value = serde_json::from_slice(&self.body).unwrap();
        answer["error"].as_str().unwrap().to_owned()
    }
}

/// A plain HTTP client, in the making.
fn client_builder() -> reqwest::ClientBuilder {
    // Installed already by another test, as likely as not.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
