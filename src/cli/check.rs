//! Tells in a few lines what would be served.

use std::fmt::Write;
use std::time::Duration;

use crate::config::{Config, Demo, Endpoint, EndpointKind, Service, Store, show_time, without_secrets};

/// What `ekiben check` says of settings that are fit to run with.
pub fn report(config: &Config) -> String {
    let store = match &config.store {
        Store::Embedded(store) => format!("tasks are kept in {}", store.data.display()),
        Store::Memory => "tasks are kept in memory only, and are gone when the process ends".to_owned(),
    };
    let mut report = format!("the settings are fit to run with\nlisten on http://{}\n{store}\n", config.http.listen);
    let heading = if config.demo { "endpoints, those of the demo as none is configured:" } else { "endpoints:" };
    report.push_str(heading);
    report.push('\n');
    let endpoints = config.endpoints.iter().map(|endpoint| (endpoint.name.as_str(), rules(endpoint)));
    let services = config.services.iter().map(|service| (service.name.as_str(), service_rules(service)));
    let lines: Vec<(&str, String)> = endpoints.chain(services).collect();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, rules) in lines {
        let _ = writeln!(report, "  {name:width$}  {rules}"); // A String takes it all.
    }
    report
}

/// Of a service nobody is asked: which routes it has shows when ekiben serves.
fn service_rules(service: &Service) -> String {
    let which = match &service.routes[..] {
        [] => "every route".to_owned(),
        [one] => format!("route {one}"),
        several => format!("routes {}", several.join(", ")),
    };
    let prefix = match service.prefix.as_str() {
        "" => String::new(),
        prefix => format!(", as {prefix}…"),
    };
    let url = without_secrets(&service.upstream.url);
    let kind = format!("bentoml {url}, {which}{prefix}");
    common(kind, service.concurrency, service.timeout, service.retention)
}

fn rules(endpoint: &Endpoint) -> String {
    let kind = match &endpoint.kind {
        EndpointKind::Http(upstream) => format!("http {} {}", upstream.method, without_secrets(&upstream.url)),
        EndpointKind::Onnx(local) => format!("onnx {}", local.model.display()),
        EndpointKind::Process(workers) => format!("process {}", workers.command.join(" ")),
        EndpointKind::Demo(Demo::Denoise) => "demo denoise".to_owned(),
        EndpointKind::Demo(Demo::DetectLanguage) => "demo detect_language".to_owned(),
        EndpointKind::Noop => "noop".to_owned(),
    };
    common(kind, endpoint.concurrency, endpoint.timeout, endpoint.retention)
}

fn common(kind: String, concurrency: usize, timeout: Duration, retention: Duration) -> String {
    let (timeout, retention) = (show_time(timeout), show_time(retention));
    format!("{kind}; {concurrency} at a time, up to {timeout} each, results kept {retention}")
}
