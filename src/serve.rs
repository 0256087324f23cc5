//! Serves: opens the store, starts the actors, listens, and at a signal drains and ends in good order.
//!
//! ```text
//! open the store ─► start the actors ─► listen ─► … ─► a signal ─► drain ─► stop listening ─► close the store
//! ```

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{HttpServer, web};
use ekiben_actors::clock::{Clock, SystemClock, stopwatch};
use ekiben_actors::executor::http::HttpError;
use ekiben_actors::limits::Limits;
use ekiben_actors::store::Store;
use ekiben_actors::store::embedded::{EmbeddedOptions, EmbeddedStore, OpenError};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};
use ekiben_actors::system::{StartError, System};
use ekiben_actors::task::EndpointName;
use futures::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::bentoml::{Found, Service};
use crate::config::{self, Config};
use crate::executors::{self, ExecutorError};
use crate::routes;

/// How long connections may take to finish once nothing runs any more, and how long the rest of a refused body is
/// still heard, so that its sender gets to read the answer.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// Ended because one of our own actors failed: a bug, which a restart gets over.
const EXIT_FAILED: u8 = 70;

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error("endpoint \"{0}\": {1}")]
    Service(EndpointName, HttpError),
    #[error("a route of the BentoML service \"{service}\" cannot be served: {clash}")]
    Clash { service: EndpointName, clash: String },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{address} cannot be listened on: {source}; choose another with --listen ADDR:PORT")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("signals cannot be listened for: {0}")]
    Signals(io::Error),
}

/// Serves until a signal ends it, and answers with the process's exit code: 0 after a drain, 1 when it could not
/// start, 70 when an actor failed, 130 or 143 when a second signal cut the drain short.
pub fn run(config: Config) -> ExitCode {
    match actix_web::rt::System::new().block_on(serve(Arc::new(config))) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(%error, "the service could not start");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Arc<Config>) -> Result<ExitCode, ServeError> {
    let mut signals = Signals::new().map_err(ServeError::Signals)?;
    let began = stopwatch();
    let store = open_store(&config)?;
    tracing::info!(opened_in_ms = began.elapsed().as_millis() as u64, "the store is open");
    let (services, found) = begin_services(&config).await?;
    let system = start_system(&config, store, &found).await?;
    let app = web::Data::new(App::new(system.clone(), &config));
    found.into_iter().for_each(|found| app.serve_too(found.settings));
    let (server, address) = listen(&config, app.clone())?;
    let handle = server.handle();
    actix_web::rt::spawn(server);
    tell_where(&config, &app, address);
    let watch = |service: Service| actix_web::rt::spawn(service.watch(system.clone(), app.clone()));
    let watchers: Vec<_> = services.into_iter().map(watch).collect();

    let ended = tokio::select! {
        signal = signals.next() => Ended::Signal(signal),
        actor = system.failure() => Ended::Failure(actor),
    };
    watchers.iter().for_each(|watcher| watcher.abort());
    match ended {
        Ended::Signal(signal) => Ok(end(&config, &app, &system, handle, signal, signals).await),
        Ended::Failure(actor) => {
            tracing::error!(actor, "an actor failed; the process ends, and a restart resumes from the store");
            Ok(ExitCode::from(EXIT_FAILED))
        }
    }
}

enum Ended {
    Signal(SignalKind),
    Failure(&'static str),
}

// ---- starting ----

/// Asks the BentoML services, all at once, and answers with them and the endpoints they have to begin with.
async fn begin_services(config: &Config) -> Result<(Vec<Service>, Vec<Found>), ServeError> {
    let data = match &config.store {
        config::Store::Embedded(embedded) => Some(embedded.data.as_path()),
        config::Store::Memory => None,
    };
    let mut services = Vec::new();
    for settings in &config.services {
        let service = Service::new(settings.clone(), data);
        services.push(service.map_err(|error| ServeError::Service(settings.name.clone(), error))?);
    }
    let found = join_all(services.iter_mut().map(Service::begin)).await;
    let mut taken: HashSet<EndpointName> = config.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    for (service, found) in services.iter().zip(&found) {
        for Found { settings, .. } in found {
            if !taken.insert(settings.name.clone()) {
                let clash = service.clash(&settings.name);
                return Err(ServeError::Clash { service: service.name().clone(), clash });
            }
        }
    }
    Ok((services, found.into_iter().flatten().collect()))
}

async fn start_system(config: &Config, store: Arc<dyn Store>, found: &[Found]) -> Result<System, ServeError> {
    let mut builder = System::builder(store).retention(config.results.retention).limits(limits(config));
    for endpoint in &config.endpoints {
        let policy = executors::policy(endpoint, executors::of(endpoint)?);
        builder = builder.endpoint(endpoint.name.as_str(), policy).map_err(StartError::Name)?;
    }
    for Found { settings, executor } in found {
        let policy = executors::policy(settings, executor.clone());
        builder = builder.endpoint(settings.name.as_str(), policy).map_err(StartError::Name)?;
    }
    Ok(builder.start().await?)
}

fn open_store(config: &Config) -> Result<Arc<dyn Store>, OpenError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match &config.store {
        config::Store::Memory => {
            tracing::warn!("tasks are kept in memory only: a restart loses them");
            Ok(Arc::new(MemoryStore::new(MemoryOptions::new(clock))))
        }
        config::Store::Embedded(embedded) => {
            let options = EmbeddedOptions {
                clock,
                lease: embedded.lease,
                inline_max: embedded.inline_max,
                ..EmbeddedOptions::default()
            };
            Ok(Arc::new(EmbeddedStore::open(&embedded.data, options)?))
        }
    }
}

fn limits(config: &Config) -> Limits {
    let lease = match &config.store {
        config::Store::Embedded(embedded) => embedded.lease,
        config::Store::Memory => MemoryOptions::LEASE,
    };
    Limits {
        queue_max: config.limits.queue as u64,
        resident_max: config.limits.resident,
        registry_memory: config.limits.registry_memory,
        output_max: config.limits.output,
        crash_budget: config.limits.crash_budget,
        put_backs: config.limits.put_backs,
        max_attempts: config.submit.max_attempts,
        run_time_max: config.submit.timeout,
        retention_max: config.submit.retention,
        progress_interval: config.log.progress_interval,
        log_lines: config.limits.log_lines,
        log_bytes: config.limits.log_bytes,
        sweep_interval: config.results.sweep_interval,
        heartbeat: lease / 3,
        ..Limits::default()
    }
}

fn listen(config: &Config, app: web::Data<App>) -> Result<(Server, SocketAddr), ServeError> {
    let http = &config.http;
    let named = |source| ServeError::Listen { address: http.listen, source };
    let server = HttpServer::new(move || routes::application(app.clone()))
        .workers(http.workers)
        .max_connections(http.connections.div_ceil(http.workers))
        .keep_alive(http.keep_alive)
        .client_request_timeout(http.read_timeout)
        .client_disconnect_timeout(CLOSING_TIME)
        .shutdown_timeout(CLOSING_TIME.as_secs())
        .disable_signals()
        .bind(http.listen)
        .map_err(named)?;
    let address = server.addrs()[0];
    Ok((server.run(), address))
}

fn tell_where(config: &Config, app: &App, address: SocketAddr) {
    if config.demo {
        tracing::info!(
            "no endpoint is configured, so the two demo endpoints are offered; see README for the first steps"
        );
    }
    for endpoint in app.described() {
        tracing::info!(endpoint = %endpoint.name, concurrency = endpoint.concurrency, "endpoint");
    }
    tracing::info!(address = %address, version = env!("CARGO_PKG_VERSION"), "listening on http://{address}");
}

// ---- ending ----

/// Drains, then closes: what runs may finish within the grace time, what does not is put back. A second signal
/// ends at once, which loses nothing either: the next start takes up what was cut short.
async fn end(
    config: &Config,
    app: &App,
    system: &System,
    server: ServerHandle,
    signal: SignalKind,
    mut signals: Signals,
) -> ExitCode {
    let grace = config.http.shutdown_grace;
    app.draining.store(true, Ordering::Release);
    let draining = system.drain(grace);
    tracing::info!(
        signal = name(signal),
        grace = %humantime::format_duration(grace),
        "draining: no new tasks are taken"
    );
    let orderly = async {
        let drained = draining.await;
        tracing::info!(
            finished = drained.finished,
            put_back = drained.put_back,
            unsettled = drained.unsettled,
            "drained"
        );
        server.stop(true).await;
        if let Err(error) = system.stop().await {
            tracing::warn!(%error, "the store could not be closed in good order");
        }
    };
    tokio::select! {
        () = orderly => {
            tracing::info!("ended");
            ExitCode::SUCCESS
        }
        second = signals.next() => {
            tracing::warn!(signal = name(second), "a second signal: ending at once");
            // By the shell's custom, 128 and the signal's number.
            ExitCode::from(128 + u8::try_from(second.as_raw_value()).expect("signals have small numbers"))
        }
    }
}

/// SIGINT and SIGTERM, as they come.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}

fn name(signal: SignalKind) -> &'static str {
    if signal == SignalKind::interrupt() { "SIGINT" } else { "SIGTERM" }
}
