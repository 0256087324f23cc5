//! What every request handler shares: the actors' addresses, the endpoints by name, the limits of HTTP.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};
use actix_web::web::Data;
use ekiben_actors::clock::{Clock, SystemClock};
use ekiben_actors::system::System;
use ekiben_actors::task::{EndpointName, Priority};

use crate::config::{self, Config};
use crate::gates::Gates;
use crate::traffic::Traffic;

/// The state behind the routes, one for all workers.
pub struct App {
    pub system: System,
    pub limits: Limits,
    /// How far a submission may ask for other rules than its endpoint's.
    pub submit: config::Submit,
    pub gates: Gates,
    /// Set when the service stops taking tasks; told by `/readyz`. The Supervisor refuses by itself.
    pub draining: AtomicBool,
    /// Requests by route and answer, for the metrics.
    pub traffic: Traffic,
    pub watching: Watching,
    /// The clock by which a client is told that its result was kept long enough.
    pub clock: Arc<dyn Clock>,
    endpoints: RwLock<Served>,
}

/// The endpoints that are served: some may come while the service runs.
struct Served {
    /// In the order in which they are shown.
    settings: Vec<config::Endpoint>,
    by_name: HashMap<EndpointName, Arc<Endpoint>>,
}

impl Served {
    fn new(settings: Vec<config::Endpoint>) -> Self {
        let by_name = settings.iter().map(|endpoint| (endpoint.name.clone(), Arc::new(endpoint.into()))).collect();
        Self { settings, by_name }
    }
}

/// The bounds on what a request may bring and how long it may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a body, as sent and as unpacked.
    pub body: u64,
    /// Bytes of a request's target and headers.
    pub header_bytes: usize,
    /// How long a body may take before its rate is looked at.
    pub read_timeout: Duration,
    /// Bytes a second that a body must average; 0 asks only that it never pauses for `read_timeout`.
    pub read_rate_min: u64,
    /// How long a synchronous call waits for its task.
    pub sync_wait: Duration,
}

/// How those who wait for tasks are served.
#[derive(Clone, Debug)]
pub struct Watching {
    /// The longest that a request may wait for an end.
    pub wait_max: Duration,
    /// How long a stream of events may be silent.
    pub heartbeat: Duration,
}

/// An endpoint as the routes see it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub name: EndpointName,
    /// The headers of a submission that are kept with its task.
    pub kept_headers: Vec<HeaderName>,
    /// How long its finished tasks are kept.
    pub retention: Duration,
    /// Of tasks whose submission does not say.
    pub priority: Priority,
}

/// The headers that are kept with every task. Credentials are not among them, and the settings let no endpoint's
/// `forward_headers` name `authorization`, `cookie` or `proxy-authorization`.
const KEPT_HEADERS: [&str; 5] = ["content-type", "content-language", "accept-language", "traceparent", "tracestate"];

/// Headers that are about the submission's way to us, and would be wrong on any other: never kept.
const NEVER_KEPT: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TRANSFER_ENCODING,
];

impl App {
    /// The state of a service with these settings. The system must have the same endpoints.
    pub fn new(system: System, config: &Config) -> Self {
        Self {
            system,
            limits: Limits {
                body: config.limits.body,
                header_bytes: config.http.header_bytes,
                read_timeout: config.http.read_timeout,
                read_rate_min: config.http.read_rate_min,
                sync_wait: config.limits.sync_wait,
            },
            submit: config.submit.clone(),
            gates: Gates::new(config.http.submissions, config.http.waiting),
            draining: AtomicBool::new(false),
            traffic: Traffic::new(),
            watching: Watching { wait_max: config.http.poll_wait_max, heartbeat: config.http.events_heartbeat },
            clock: Arc::new(SystemClock),
            endpoints: RwLock::new(Served::new(config.endpoints.clone())),
        }
    }

    /// Serves one more endpoint, or another in place of the one of that name. The system must have it already.
    pub fn serve_too(&self, endpoint: config::Endpoint) {
        let mut served = self.endpoints.write().expect("nobody panics while holding it");
        served.by_name.insert(endpoint.name.clone(), Arc::new((&endpoint).into()));
        served.settings.retain(|known| known.name != endpoint.name);
        served.settings.push(endpoint);
    }

    /// The endpoints as they describe themselves now: what the settings say, then what the executor does.
    pub fn described(&self) -> Vec<config::Endpoint> {
        let mut described = self.endpoints.read().expect("nobody panics while holding it").settings.clone();
        for endpoint in &mut described {
            let Some(own) = self.system.description(&endpoint.name) else { continue };
            endpoint.input = endpoint.input.take().or(own.input);
            endpoint.output = endpoint.output.take().or(own.output);
            if endpoint.description.is_empty() {
                endpoint.description = own.text.unwrap_or_default();
            }
        }
        described
    }

    /// The state behind a request.
    pub fn of(request: &HttpRequest) -> &Data<Self> {
        request.app_data().expect("the routes are configured with it")
    }

    /// The endpoint a path begins with; `None` where it begins with the name of none.
    pub fn endpoint_of(&self, path: &str) -> Option<Arc<Endpoint>> {
        self.endpoint_named(path.strip_prefix('/')?.split('/').next()?)
    }

    /// The endpoint of that name.
    pub fn endpoint_named(&self, name: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.read().expect("nobody panics while holding it").by_name.get(name).cloned()
    }
}

impl From<&config::Endpoint> for Endpoint {
    fn from(endpoint: &config::Endpoint) -> Self {
        let forwarded = endpoint.kind.forward_headers().iter().map(String::as_str);
        let names = KEPT_HEADERS.into_iter().chain(forwarded);
        let mut kept_headers: Vec<HeaderName> = names.filter_map(|name| name.parse().ok()).collect();
        kept_headers.retain(|name| !NEVER_KEPT.contains(name));
        Self { name: endpoint.name.clone(), kept_headers, retention: endpoint.retention, priority: endpoint.priority }
    }
}
