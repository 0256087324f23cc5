//! The settings in effect, as plain data: what the rest of the program sees of files, environment and flags.
//!
//! The values come in layers, each over the one before: `config.default.toml`, which is compiled in and is also
//! the reference of every key; the file of `--config`; the environment (`EKIBEN__SECTION__KEY`); flags. The
//! layers are merged by `config/layers.rs`, checked and typed by `config/read.rs`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ekiben_actors::task::EndpointName;

/// Everything that can be set. Counts and times are as documented in `config.default.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub http: Http,
    pub store: Store,
    pub results: Results,
    pub limits: Limits,
    pub log: Log,
    /// At least one: the demo's, where none was configured.
    pub endpoints: Vec<Endpoint>,
    /// No endpoint was configured, so `endpoints` holds those of the demo.
    pub demo: bool,
}

/// How we are reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    pub listen: SocketAddr,
    /// Threads that serve connections: at least 1 (the setting's 0 is resolved to the number of cores).
    pub workers: usize,
    pub connections: usize,
    pub keep_alive: Duration,
    pub read_timeout: Duration,
    /// Bytes a second that a body must average; 0 asks for nothing.
    pub read_rate_min: u64,
    pub header_bytes: usize,
    pub shutdown_grace: Duration,
}

/// Where tasks are kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Store {
    /// In a folder of this machine.
    Embedded(EmbeddedStore),
    /// Nowhere but in memory.
    Memory,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedStore {
    pub data: PathBuf,
    pub inline_max: usize,
    pub lease: Duration,
}

/// What becomes of finished tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// For endpoints that do not say otherwise: each [`Endpoint`] has its own, resolved.
    pub retention: Duration,
    pub sweep_interval: Duration,
}

/// The bounds on what we take in and hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub body: u64,
    pub output: u64,
    pub queue: usize,
    /// For endpoints that do not say otherwise: each [`Endpoint`] has its own, resolved.
    pub queue_per_endpoint: usize,
    pub registry_memory: usize,
    pub resident: usize,
    pub crash_budget: u32,
    /// For endpoints that do not say otherwise: each [`Endpoint`] has its own `timeout`, resolved.
    pub run_time: Duration,
    pub sync_wait: Duration,
}

/// How we tell what happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    /// In the syntax of `tracing_subscriber::EnvFilter`; checked.
    pub level: String,
    pub progress_interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people, in colour on a terminal.
    Text,
    /// An object a line.
    Json,
}

/// A task endpoint: what runs its tasks, and by which rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub name: EndpointName,
    pub kind: EndpointKind,
    pub concurrency: usize,
    pub timeout: Duration,
    pub retention: Duration,
    pub queue: usize,
    /// Empty where nothing was said.
    pub description: String,
    /// The JSON schema of the input: an object with `properties`, or one with `root_input`. `None` takes anything.
    pub input: Option<serde_json::Value>,
    /// The JSON schema of the output. `None` promises nothing.
    pub output: Option<serde_json::Value>,
}

/// What runs an endpoint's tasks.
#[derive(Clone, Debug, PartialEq)]
pub enum EndpointKind {
    Http(Upstream),
    Demo(Demo),
    /// Answers the input at once: for measuring the service around it.
    Noop,
}

/// A model server that is asked over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// An absolute `http` or `https` URL with a host.
    pub url: String,
    /// `POST`, `PUT` or `PATCH`.
    pub method: String,
    /// Headers of the submission that are passed on, beside those always passed on; in lower case.
    pub forward_headers: Vec<String>,
    /// Headers of the answer that are kept, beside those always kept; in lower case.
    pub keep_headers: Vec<String>,
    pub connect_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    Denoise,
    DetectLanguage,
}

/// Names no endpoint may have, because routes of ours do.
pub const RESERVED_NAMES: [&str; 8] =
    ["metrics", "readyz", "livez", "healthz", "schema.json", "docs.json", "openapi.json", "v1"];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Config {
    fn default() -> Self {
        let http = Http {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            connections: 10_000,
            keep_alive: Duration::from_secs(75),
            read_timeout: Duration::from_secs(30),
            read_rate_min: 1 << 10,
            header_bytes: 16 << 10,
            shutdown_grace: Duration::from_secs(30),
        };
        let embedded =
            EmbeddedStore { data: "./ekiben-data".into(), inline_max: 64 << 10, lease: Duration::from_secs(30) };
        let limits = Limits {
            body: 100 << 20,
            output: 1 << 30,
            queue: 1_000_000,
            queue_per_endpoint: 1_000_000,
            registry_memory: 256 << 20,
            resident: 100_000,
            crash_budget: 3,
            run_time: Duration::from_secs(60 * 60),
            sync_wait: Duration::from_secs(60 * 60),
        };
        Self {
            http,
            store: Store::Embedded(embedded),
            results: Results { retention: DAY, sweep_interval: Duration::from_secs(10) },
            limits,
            log: Log { format: LogFormat::Text, level: "info".into(), progress_interval: Duration::from_secs(1) },
            endpoints: Vec::new(),
            demo: true,
        }
    }
}
