//! Tells in a few lines what would be served.

use std::fmt::Write;

use crate::config::{Config, Demo, Endpoint, EndpointKind, Store, show_time, without_secrets};

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
    let width = config.endpoints.iter().map(|endpoint| endpoint.name.as_str().len()).max().unwrap_or(0);
    for endpoint in &config.endpoints {
        let _ = writeln!(report, "  {:width$}  {}", endpoint.name.as_str(), rules(endpoint)); // A String takes it all.
    }
    report
}

fn rules(endpoint: &Endpoint) -> String {
    let kind = match &endpoint.kind {
        EndpointKind::Http(upstream) => format!("http {} {}", upstream.method, without_secrets(&upstream.url)),
        EndpointKind::Process(workers) => format!("process {}", workers.command.join(" ")),
        EndpointKind::Demo(Demo::Denoise) => "demo denoise".to_owned(),
        EndpointKind::Demo(Demo::DetectLanguage) => "demo detect_language".to_owned(),
        EndpointKind::Noop => "noop".to_owned(),
    };
    format!(
        "{kind}; {} at a time, up to {} each, results kept {}",
        endpoint.concurrency,
        show_time(endpoint.timeout),
        show_time(endpoint.retention),
    )
}
