//! The settings in effect, as plain data: what the rest of the program sees of files, environment and flags.
//!
//! The values come in layers, each over the one before: `config.default.toml`, which is compiled in and is also
//! the reference of every key; the file of `--config`; the environment (`EKIBEN__SECTION__KEY`); flags. The
//! layers are merged by `config/layers.rs`, checked and typed by `config/read.rs`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ekiben_actors::executor::batch::Form;
use ekiben_actors::lifecycle::RetryPolicy;
use ekiben_actors::task::{EndpointName, Priority};

mod endpoints;
mod layers;
mod problem;
mod read;
mod schema;
mod section;
mod show;
mod tree;
mod units;

use section::Setting;

pub use endpoints::endpoint_name;
pub use layers::Sources;
pub use problem::{Problem, Problems, nearest};
pub use show::without_secrets;
pub use units::{Size, parse_time, show_time};

/// Everything that can be set. Counts and times are as documented in `config.default.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub http: Http,
    pub submit: Submit,
    pub store: Store,
    pub results: Results,
    pub limits: Limits,
    pub log: Log,
    /// Those of the demo, where neither an endpoint nor a service was configured.
    pub endpoints: Vec<Endpoint>,
    /// BentoML services, whose routes become endpoints besides.
    pub services: Vec<Service>,
    /// Nothing was configured, so `endpoints` holds those of the demo.
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
    /// Submissions that are taken in at a time.
    pub submissions: usize,
    /// Requests that wait for a task at a time.
    pub waiting: usize,
    pub poll_wait_max: Duration,
    pub events_heartbeat: Duration,
    pub shutdown_grace: Duration,
}

/// How far a submission may ask for more than its endpoint's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Submit {
    pub delay: Duration,
    /// Of `queue_ttl` too.
    pub deadline: Duration,
    pub timeout: Duration,
    pub retention: Duration,
    pub max_attempts: u32,
    pub tags: usize,
    /// Bytes of a tag's name.
    pub tag_key: usize,
    pub tag_value: usize,
    /// How long it may ask to be answered with the result.
    pub wait: Duration,
    /// Bytes of an envelope, which is read in memory.
    pub envelope: u64,
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
    pub put_backs: u32,
    pub log_lines: usize,
    pub log_bytes: usize,
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
    /// How often and when its tasks run again that failed.
    pub retry: RetryPolicy,
    /// Of tasks whose submission does not say.
    pub priority: Priority,
    /// `None` where each task runs by itself.
    pub batch: Option<Batch>,
    /// Empty where nothing was said.
    pub description: String,
    /// The JSON schema of the input: an object with `properties`, or one with `root_input`. `None` takes anything.
    pub input: Option<serde_json::Value>,
    /// The JSON schema of the output. `None` promises nothing.
    pub output: Option<serde_json::Value>,
}

/// How tasks are gathered to run as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// At least 2.
    pub max_size: usize,
    pub max_wait: Duration,
    pub form: Form,
}

/// What runs an endpoint's tasks.
#[derive(Clone, Debug, PartialEq)]
pub enum EndpointKind {
    Http(Upstream),
    Process(Workers),
    Onnx(LocalModel),
    Demo(Demo),
    /// Answers the input at once: for measuring the service around it.
    Noop,
}

impl EndpointKind {
    /// How many attempts run at a time where the settings do not say.
    pub fn slots(&self) -> usize {
        match self {
            EndpointKind::Process(workers) => workers.max * workers.threads,
            EndpointKind::Http(_) | EndpointKind::Onnx(_) | EndpointKind::Demo(_) | EndpointKind::Noop => 1,
        }
    }

    /// Statuses of an upstream after which a task runs again.
    pub fn retry_statuses(&self) -> &[u16] {
        match self {
            EndpointKind::Http(upstream) => &upstream.retry_statuses,
            EndpointKind::Process(_) | EndpointKind::Onnx(_) | EndpointKind::Demo(_) | EndpointKind::Noop => &[],
        }
    }

    /// Headers of a submission that its tasks keep beside those that all do; in lower case.
    pub fn forward_headers(&self) -> &[String] {
        match self {
            EndpointKind::Http(upstream) => &upstream.forward_headers,
            EndpointKind::Process(_) | EndpointKind::Onnx(_) | EndpointKind::Demo(_) | EndpointKind::Noop => &[],
        }
    }
}

/// A model server that is asked over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// An absolute `http` or `https` URL with a host.
    pub url: String,
    /// `POST`, `PUT` or `PATCH`.
    pub method: String,
    /// Headers that each request gets: names in lower case, and values with places to fill in.
    pub headers: Vec<(String, String)>,
    /// Headers of the submission that are passed on, beside those always passed on; in lower case.
    pub forward_headers: Vec<String>,
    /// Headers of the answer that are kept, beside those always kept; in lower case.
    pub keep_headers: Vec<String>,
    pub connect_timeout: Duration,
    /// Statuses after which a task runs again, whatever codes its retry policy names.
    pub retry_statuses: Vec<u16>,
    /// Asked whether the upstream is back once it was away.
    pub health: Option<String>,
    /// Authorities to trust beside those the machine trusts.
    pub ca_file: Option<PathBuf>,
}

/// A BentoML service: each of its routes becomes an endpoint, by the rules that stand here.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// What it is called in the log; its endpoints have names of their own.
    pub name: EndpointName,
    /// How it is called. The URL is without a query and without a slash at its end; paths are added to it.
    pub upstream: Upstream,
    /// The routes that are served, by the names they have there; empty for all.
    pub routes: Vec<String>,
    /// What the names of its endpoints begin with, before those of the routes.
    pub prefix: String,
    /// How often it is asked for its routes while it answers.
    pub refresh: Duration,
    pub concurrency: usize,
    pub timeout: Duration,
    pub retention: Duration,
    pub queue: usize,
    pub retry: RetryPolicy,
    pub priority: Priority,
    pub batch: Option<Batch>,
}

impl Service {
    /// The endpoint of one route, which stands at `path` in the service. It describes itself.
    pub fn endpoint(&self, name: EndpointName, path: &str) -> Endpoint {
        Endpoint {
            name,
            kind: EndpointKind::Http(self.upstream(path)),
            concurrency: self.concurrency,
            timeout: self.timeout,
            retention: self.retention,
            queue: self.queue,
            retry: self.retry.clone(),
            priority: self.priority,
            batch: self.batch.clone(),
            description: String::new(),
            input: None,
            output: None,
        }
    }

    /// How the route at `path` is called.
    pub fn upstream(&self, path: &str) -> Upstream {
        let path = path.replace('{', "{{").replace('}', "}}");
        Upstream { url: format!("{}{path}", self.upstream.url), ..self.upstream.clone() }
    }
}

/// An ONNX model that runs in this process.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalModel {
    pub model: PathBuf,
    /// How many threads a run computes on; `None` is one for each core, shared with the other models.
    pub threads: Option<usize>,
    pub output: OutputFormat,
}

/// How a model's outputs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    Json,
    Npy,
}

/// Worker processes that we start.
#[derive(Clone, Debug, PartialEq)]
pub struct Workers {
    /// A program and its arguments.
    pub command: Vec<String>,
    pub task: Option<String>,
    /// How many there are at least.
    pub min: usize,
    /// How many there are at most; 1 or more.
    pub max: usize,
    /// How many attempts each runs at a time.
    pub threads: usize,
    pub env: Vec<(String, String)>,
    pub folder: Option<PathBuf>,
    /// The most bytes of memory of each.
    pub memory: Option<u64>,
    pub grace: Duration,
    pub start_timeout: Duration,
    /// How many attempts each runs in its life.
    pub max_tasks: Option<usize>,
    pub idle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    Denoise,
    DetectLanguage,
}

/// Names no endpoint may have, because routes of ours do.
pub const RESERVED_NAMES: [&str; 8] =
    ["metrics", "readyz", "livez", "healthz", "schema.json", "docs.json", "openapi.json", "v1"];

/// Settings that are fit to run with, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    settings: Vec<Setting>,
}

impl Loaded {
    /// The settings in effect as TOML, each with a comment that says where it came from; secrets masked.
    pub fn to_toml(&self) -> String {
        show::as_toml(&self.settings)
    }
}

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    /// All that is wrong with them, at once.
    pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
        read::config(layers::read(sources).map_err(Problems)?)
    }
}

impl Default for Config {
    /// What is in effect where nothing is written anywhere.
    fn default() -> Self {
        Self::load(&Sources::default()).expect("the defaults are fit to run with, by test").config
    }
}

#[cfg(test)]
mod tests {
    use ekiben_actors::task::FailureCode;

    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Problems> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Config::load(&Sources { file: Some(file.path().to_owned()), environment, ..Sources::default() })
    }

    /// What is wrong with a file, one line a problem, without the name of the file.
    fn problems(text: &str) -> Vec<String> {
        let problems = load(text, &[]).expect_err("something is wrong");
        let shown = problems.0.iter().map(|problem| {
            let shown = problem.to_string();
            match (shown.find(" ("), shown.find("): ")) {
                (Some(start), Some(end)) => format!("{}{}", &shown[..start], &shown[end + 1..]),
                _ => shown,
            }
        });
        shown.collect()
    }

    #[track_caller]
    fn assert_problem(text: &str, path: &str, says: &str) {
        let problems = problems(text);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].starts_with(&format!("{path}: ")) && problems[0].contains(says), "{problems:#?}");
    }

    #[test]
    fn with_nothing_written_the_demo_is_offered_with_the_documented_defaults() {
        let config = Config::default();
        let names: Vec<&str> = config.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        assert_eq!((config.demo, names), (true, vec!["denoise", "detect_language"]));
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:3000");
        assert_eq!(config.results.retention, Duration::from_secs(24 * 60 * 60));
        assert_eq!(config.limits.body, 100 << 20);
        assert!(config.http.workers >= 1);
    }

    #[test]
    fn the_shortest_useful_file_is_four_lines() {
        let short = r#"
            [endpoints.summarize]
            type = "http"
            url = "http://127.0.0.1:8000/summarize"
            concurrency = 4
        "#;
        let config = load(short, &[]).unwrap().config;
        assert!(!config.demo);
        let [summarize] = &config.endpoints[..] else { panic!("one endpoint: {config:?}") };
        assert_eq!((summarize.name.as_str(), summarize.concurrency), ("summarize", 4));
        assert_eq!((summarize.timeout, summarize.retention), (config.limits.run_time, config.results.retention));
        let EndpointKind::Http(upstream) = &summarize.kind else { panic!("an http endpoint: {summarize:?}") };
        assert_eq!((upstream.url.as_str(), upstream.method.as_str()), ("http://127.0.0.1:8000/summarize", "POST"));
    }

    #[test]
    fn a_bentoml_service_is_no_endpoint_itself_and_its_routes_go_by_its_rules() {
        let text = "[endpoints.s]\ntype = 'bentoml'\nurl = 'http://127.0.0.1:3001/'\nconcurrency = 4\nprefix = 's_'";
        let config = load(text, &[]).unwrap().config;
        assert_eq!((config.demo, &config.endpoints[..]), (false, &[][..]));
        let [service] = &config.services[..] else { panic!("one service: {config:?}") };
        assert_eq!((service.refresh, service.routes.len()), (Duration::from_secs(30), 0));
        let endpoint = service.endpoint(EndpointName::new("s_a").unwrap(), "/a/{b}");
        assert_eq!((endpoint.concurrency, endpoint.timeout), (4, config.limits.run_time));
        let EndpointKind::Http(upstream) = &endpoint.kind else { panic!("an http endpoint: {endpoint:?}") };
        assert_eq!(upstream.url, "http://127.0.0.1:3001/a/{{b}}");
        assert_eq!(upstream.health.as_deref(), Some("http://127.0.0.1:3001/readyz"));
    }

    #[test]
    fn a_file_without_endpoints_is_served_with_the_demo() {
        assert!(load("[http]\nlisten = \"127.0.0.1:0\"", &[]).unwrap().config.demo);
        assert!(load("[endpoints]", &[]).unwrap().config.demo);
    }

    #[test]
    fn an_endpoint_can_be_configured_by_the_environment_alone() {
        let environment =
            [("EKIBEN__ENDPOINTS__NOTHING__TYPE", "noop"), ("EKIBEN__ENDPOINTS__NOTHING__CONCURRENCY", "64")];
        let config = load("", &environment).unwrap().config;
        assert_eq!((config.endpoints[0].name.as_str(), config.endpoints[0].concurrency), ("nothing", 64));
        assert_eq!(config.endpoints[0].kind, EndpointKind::Noop);
    }

    #[test]
    fn what_endpoints_do_not_say_is_taken_from_the_sections_for_all() {
        let text = "[results]\nretention = '7d'\n[limits]\nrun_time = '5m'\nqueue_per_endpoint = 10\n\
                    [endpoints.a]\ntype = 'noop'\n\
                    [endpoints.b]\ntype = 'noop'\ntimeout = '1s'\nretention = '1h'\nqueue = 3";
        let endpoints = load(text, &[]).unwrap().config.endpoints;
        let of = |endpoint: &Endpoint| (endpoint.timeout.as_secs(), endpoint.retention.as_secs(), endpoint.queue);
        assert_eq!(of(&endpoints[0]), (300, 7 * 86_400, 10));
        assert_eq!(of(&endpoints[1]), (1, 3600, 3));
    }

    #[test]
    fn an_endpoint_retries_what_may_pass_once_it_has_attempts_and_statuses_as_often_as_crashes() {
        let text = "[limits]\ncrash_budget = 5\n[endpoints.a]\ntype = 'noop'\n\
                    [endpoints.b]\ntype = 'noop'\nmax_attempts = 4\nbackoff = '2s'\nbackoff_max = '1s'\n\
                    retry_on = ['bad_input', 'timeout']\n\
                    [endpoints.c]\ntype = 'http'\nurl = 'http://127.0.0.1:1/'\nretry_statuses = [502]\n\
                    [endpoints.d]\ntype = 'bentoml'\nurl = 'http://127.0.0.1:1'\nretry_statuses = [500]\nmax_attempts = 2";
        let config = load(text, &[]).unwrap().config;
        let [a, b, c] = &config.endpoints[..] else { panic!("three endpoints: {config:?}") };
        assert_eq!(a.retry, RetryPolicy::default());
        let seconds = Duration::from_secs;
        // A cap under the first bound is no cap.
        assert_eq!((b.retry.max_attempts, b.retry.backoff, b.retry.backoff_max), (4, seconds(2), seconds(2)));
        assert_eq!(b.retry.codes, [FailureCode::BadInput, FailureCode::Timeout]);
        assert_eq!((c.retry.max_attempts, &c.retry.codes[..]), (5, &[][..]));
        assert_eq!(config.services[0].retry.max_attempts, 2);

        let noop = "[endpoints.a]\ntype = 'noop'\n";
        let codes =
            "\"timout\" is no failure after which a task can run again; did you mean \"timeout\"? write some of";
        assert_problem(&format!("{noop}retry_on = ['timout']"), "endpoints.a.retry_on", codes);
        assert_problem(&format!("{noop}retry_on = ['deadline']"), "endpoints.a.retry_on", "\"deadline\" is no failure");
        assert_problem(&format!("{noop}max_attempts = 0"), "endpoints.a.max_attempts", "the least is 1");
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        assert_problem("[http]\nlistn = 'x'", "http.listn", "did you mean \"http.listen\"?");
        assert_problem("listen = 'x'", "listen", "did you mean \"http.listen\"?");
        assert_problem("[endpoint.a]\ntype = 'noop'", "endpoint", "did you mean \"endpoints\"?");
        let endpoint = "[endpoints.a]\ntype = 'noop'\nmax_concurrency = 3";
        assert_problem(endpoint, "endpoints.a.max_concurrency", "did you mean \"endpoints.a.concurrency\"?");
        assert_problem("[results]\nbanana = 1", "results.banana", "known here: retention, sweep_interval");
    }

    #[test]
    fn a_value_that_cannot_be_is_refused_with_its_bounds() {
        let endpoint = |key: &str| format!("[endpoints.a]\ntype = 'noop'\n{key}");
        assert_problem(&endpoint("concurrency = 0"), "endpoints.a.concurrency", "the least is 1, the most 10000");
        assert_problem(&endpoint("concurrency = -1"), "endpoints.a.concurrency", "-1 is out of bounds");
        assert_problem(&endpoint("timeout = 30"), "endpoints.a.timeout", "write \"30s\"");
        assert_problem(&endpoint("timeout = '0s'"), "endpoints.a.timeout", "the least is 1ms");
        assert_problem("[http]\nheader_bytes = '1MiB'", "http.header_bytes", "the least is 1KiB, the most 96KiB");
        assert_problem("[http]\nlisten = ':8080'", "http.listen", "write \"127.0.0.1:8080\"");
        assert_problem("[http]\nlisten = 3000", "http.listen", "3000 is not an address");
        assert_problem("[limits]\nbody = '12 parsecs'", "limits.body", "\"12 parsecs\" is not a size");
        assert_problem("[store]\ntype = 'memry'", "store.type", "did you mean \"memory\"?");
        assert_problem("[log]\nlevel = 'inof'", "log.level", "did you mean \"info\"?");
        assert_problem("[log]\nlevel = 'ekiben=loud'", "log.level", "is not a filter of levels");
        assert_problem("http = 3", "http", "write [http]");
    }

    #[test]
    fn a_problem_with_an_inherited_value_is_told_once() {
        let text = "[limits]\nrun_time = 'soon'\n[endpoints.a]\ntype = 'noop'\n[endpoints.b]\ntype = 'noop'";
        assert_problem(text, "limits.run_time", "\"soon\" is not a time");
    }

    #[test]
    fn an_endpoint_needs_a_name_that_is_fit_for_a_url_and_not_taken_by_a_route() {
        for reserved in RESERVED_NAMES {
            assert_eq!(problems(&format!("[endpoints.\"{reserved}\"]\ntype = 'noop'")).len(), 1, "{reserved}");
        }
        assert_problem("[endpoints.metrics]\ntype = 'noop'", "endpoints.metrics", "/metrics is a route");
        assert_problem("[endpoints.\"a b\"]\ntype = 'noop'", "endpoints.\"a b\"", "cannot name an endpoint");
    }

    #[test]
    fn an_endpoint_needs_a_type_and_what_its_type_needs() {
        assert_problem("[endpoints.a]\nurl = 'http://b'", "endpoints.a.type", "missing; write type = \"http\"");
        assert_problem("[endpoints.a]\ntype = 'http'", "endpoints.a.url", "missing; write url = ");
        assert_problem("[endpoints.a]\ntype = 'demo'", "endpoints.a.demo", "missing; write demo = ");
        assert_problem("[endpoints.a]\ntype = 'onnx'", "endpoints.a.model", "missing; write model = \"model.onnx\"");
        for url in ["localhost:8000", "/path", "ftp://host/", "http://", "http:// host", "3"] {
            assert_problem(
                &format!("[endpoints.a]\ntype = 'http'\nurl = '{url}'"),
                "endpoints.a.url",
                "write one such as",
            );
        }
    }

    #[test]
    fn a_key_of_another_type_is_refused_where_it_stands_beside_the_type() {
        assert_problem(
            "[endpoints.a]\ntype = 'noop'\nurl = 'http://b'",
            "endpoints.a.url",
            "of no use with type = \"noop\"",
        );
        assert_problem("[store]\ntype = 'memory'\ndata = 'd'", "store.data", "of no use with type = \"memory\"");
    }

    #[test]
    fn a_type_from_a_higher_layer_leaves_the_keys_of_the_old_type_without_effect() {
        let text = "[store]\ndata = 'd'\n[endpoints.a]\ntype = 'http'\nurl = 'http://b'";
        let environment = [("EKIBEN__STORE__TYPE", "memory"), ("EKIBEN__ENDPOINTS__A__TYPE", "noop")];
        let config = load(text, &environment).unwrap().config;
        assert_eq!((config.store, &config.endpoints[0].kind), (Store::Memory, &EndpointKind::Noop));
    }

    #[test]
    fn credentials_and_connection_headers_are_never_passed_on() {
        let forward =
            |header: &str| format!("[endpoints.a]\ntype = 'http'\nurl = 'http://b'\nforward_headers = ['{header}']");
        assert_problem(&forward("Authorization"), "endpoints.a.forward_headers", "never kept with a task");
        assert_problem(&forward("Transfer-Encoding"), "endpoints.a.forward_headers", "belongs to a connection");
        assert_problem(&forward("x y"), "endpoints.a.forward_headers", "is not the name of a header");
        let config = load(&forward("X-Request-Id"), &[]).unwrap().config;
        let EndpointKind::Http(upstream) = &config.endpoints[0].kind else { panic!("an http endpoint") };
        assert_eq!(upstream.forward_headers, ["x-request-id"]);
    }

    #[test]
    fn a_complaint_shows_no_secret_of_a_url() {
        let shown = problems("[endpoints.a]\ntype = 'http'\nurl = 'ftp://user:hush@host/?token=hush'").concat();
        assert!(shown.contains("ftp://***@host/?token=***") && !shown.contains("hush"), "{shown}");
    }
}
