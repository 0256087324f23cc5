//! Keeps up with BentoML services: every route of one is an endpoint here, whose tasks are its synchronous calls.
//!
//! A service is asked for its `/schema.json` at start, and again and again while we run. One that is away is waited
//! for: its routes are remembered from the last time, and their tasks wait in the queue like any others. How a task
//! is sent, and put back when nobody is there, is the executor's for any HTTP upstream.
//!
//! - `schema`: what a service tells of itself
//! - `memory`: the same from the last time
//! - `route`: the executor of one route

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use ekiben_actors::executor::Executor;
use ekiben_actors::executor::http::{Http, HttpError, HttpOptions, PageError};
use ekiben_actors::system::System;
use ekiben_actors::task::EndpointName;

use crate::app::App;
use crate::config::{self, without_secrets};
use crate::executors;

mod memory;
mod route;
mod schema;

use memory::Memory;
use route::Call;
use schema::{Route, SchemaError};

/// How long a service may take to tell its routes. It is asked before we listen, so that this must be short.
const PATIENCE: Duration = Duration::from_secs(4);

/// The most bytes of a `/schema.json`; those of real services have some thousand.
const SCHEMA_MAX: usize = 4 << 20;

/// How long to wait before a service that is away is asked again: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// A service that is kept up with.
pub struct Service {
    settings: config::Service,
    schema: Http,
    /// `None` where nothing outlives the process.
    memory: Option<Memory>,
    /// The routes that are served.
    calls: HashMap<EndpointName, Arc<Call>>,
    /// The routes as they were last told or remembered.
    known: Vec<Route>,
    /// It answered when it was last asked.
    is_here: bool,
    /// What was warned of, and is not again.
    warned: HashSet<String>,
}

/// An endpoint that is to be served.
pub struct Found {
    pub settings: config::Endpoint,
    pub executor: Arc<dyn Executor>,
}

/// Why a service does not tell its routes.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error(transparent)]
    Page(#[from] PageError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl Service {
    /// Makes ready to ask. `data` is the folder in which routes are remembered, where there is one.
    ///
    /// # Errors
    /// The service cannot be called as its settings say.
    pub fn new(settings: config::Service, data: Option<&Path>) -> Result<Self, HttpError> {
        let options = HttpOptions { method: "GET".to_owned(), ..executors::http(&settings.upstream("/schema.json")) };
        Ok(Self {
            schema: Http::new(options)?,
            memory: data.map(|data| Memory::of(&settings, data)),
            settings,
            calls: HashMap::new(),
            known: Vec::new(),
            is_here: false,
            warned: HashSet::new(),
        })
    }

    pub fn name(&self) -> &EndpointName {
        &self.settings.name
    }

    /// Asks for the first time and answers with the endpoints to begin with: those the service has, or had the last
    /// time. Takes some seconds at most.
    pub async fn begin(&mut self) -> Vec<Found> {
        let (service, url) = (self.settings.name.clone(), self.shown_url());
        let routes = match self.ask().await {
            Ok(routes) => {
                self.is_here = true;
                tracing::info!(%service, %url, routes = routes.len(), "the BentoML service is there");
                self.remember(&routes).await;
                routes
            }
            Err(error) => {
                let routes = self.recall();
                let known = routes.len();
                let meanwhile = match known {
                    0 => "its routes are not known yet, and will be served when it comes",
                    _ => "its routes are known from the last time, and their tasks wait for it",
                };
                tracing::warn!(%service, %url, routes = known, %error, "the BentoML service is away; {meanwhile}");
                routes
            }
        };
        let found = self.take_up(&routes);
        self.known = routes;
        found
    }

    /// Keeps up with the service for as long as it is polled: serves the routes that come, tells of those that go.
    pub async fn watch(mut self, system: System, app: Data<App>) {
        let mut pause = if self.is_here { self.settings.refresh } else { PAUSE_MIN };
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.ask().await {
                Ok(routes) => {
                    self.note_presence();
                    self.serve(routes, &system, &app).await;
                    self.settings.refresh
                }
                Err(error) if self.is_here => {
                    self.note_absence(&error);
                    PAUSE_MIN
                }
                Err(_) => pause.saturating_mul(2).min(PAUSE_MAX),
            };
        }
    }

    async fn ask(&self) -> Result<Vec<Route>, Untold> {
        let document = self.schema.page(PATIENCE, SCHEMA_MAX).await?;
        Ok(schema::read(&document)?)
    }

    fn note_presence(&mut self) {
        if !self.is_here {
            self.is_here = true;
            tracing::info!(service = %self.settings.name, url = %self.shown_url(), "the BentoML service is there");
        }
    }

    fn note_absence(&mut self, error: &Untold) {
        self.is_here = false;
        let (service, url) = (&self.settings.name, self.shown_url());
        tracing::warn!(%service, %url, %error, "the BentoML service does not tell its routes; those known stay");
    }

    fn shown_url(&self) -> String {
        without_secrets(&self.settings.upstream.url).into_owned()
    }

    // ---- routes ----

    /// Serves what the service tells now.
    async fn serve(&mut self, routes: Vec<Route>, system: &System, app: &App) {
        for Found { settings, executor } in self.take_up(&routes) {
            let (service, endpoint) = (&self.settings.name, settings.name.clone());
            match system.add(endpoint.clone(), executors::policy(&settings, executor)).await {
                Ok(true) => {
                    app.serve_too(settings);
                    tracing::info!(%service, %endpoint, "a new endpoint, from a BentoML service");
                }
                Ok(false) => {
                    self.calls.remove(&endpoint);
                    self.warn_once(&endpoint, self.clash(&endpoint));
                }
                Err(error) => {
                    self.calls.remove(&endpoint);
                    self.warn_once(&endpoint, error.to_string());
                }
            }
        }
        if routes != self.known {
            self.remember(&routes).await;
            self.known = routes;
        }
    }

    /// Brings what is served up to date with the routes, and answers with the endpoints that are new.
    fn take_up(&mut self, routes: &[Route]) -> Vec<Found> {
        self.warn_of_absent(routes);
        let mut found = Vec::new();
        for route in routes {
            let named = &self.settings.routes;
            if !named.is_empty() && !named.contains(&route.name) {
                continue;
            }
            let written = format!("{}{}", self.settings.prefix, route.name);
            match self.taken_up(&written, route.clone()) {
                Ok(new) => found.extend(new),
                Err(why) => self.warn_once(&written, why),
            }
        }
        found
    }

    fn taken_up(&mut self, written: &str, route: Route) -> Result<Option<Found>, String> {
        let name = config::endpoint_name(written)
            .map_err(|why| format!("{why}; here, by `prefix` in [endpoints.{}]", self.settings.name))?;
        if let Some(call) = self.calls.get(&name) {
            let changed = call.update(&self.settings, route).map_err(|error| error.to_string())?;
            if changed {
                tracing::info!(service = %self.settings.name, endpoint = %name, "the BentoML service changed a route");
            }
            return Ok(None);
        }
        let settings = self.settings.endpoint(name.clone(), &route.path);
        let call = Arc::new(Call::new(&self.settings, route).map_err(|error| error.to_string())?);
        self.calls.insert(name, call.clone());
        Ok(Some(Found { settings, executor: call }))
    }

    /// What to do about a route that has the name of another endpoint.
    pub fn clash(&self, endpoint: &EndpointName) -> String {
        let service = &self.settings.name;
        format!(
            "another endpoint is called \"{endpoint}\" already; \
             write prefix = \"{service}_\", or `routes` without it, in [endpoints.{service}]"
        )
    }

    /// Routes that the settings name and the service lacks, and those that are served and it has no more.
    fn warn_of_absent(&mut self, routes: &[Route]) {
        let there: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        let named: Vec<String> = self.settings.routes.clone();
        for name in named.iter().filter(|name| !there.contains(&name.as_str()) && !there.is_empty()) {
            self.warn_once(name, format!("the service has no such route; it has {}", there.join(", ")));
        }
        let prefix = self.settings.prefix.len();
        let gone = |name: &&EndpointName| !there.contains(&&name.as_str()[prefix..]);
        let gone: Vec<EndpointName> = self.calls.keys().filter(gone).cloned().collect();
        for name in gone {
            self.warn_once(&name, "the service has this route no more; its tasks will fail".to_owned());
        }
    }

    fn warn_once(&mut self, route: &impl ToString, why: String) {
        let (service, route) = (&self.settings.name, route.to_string());
        if self.warned.insert(format!("{route}: {why}")) {
            tracing::warn!(%service, route, why, "a route of a BentoML service is not served as it should be");
        }
    }

    // ---- memory ----

    fn recall(&self) -> Vec<Route> {
        let recalled = self.memory.as_ref().map_or(Ok(Vec::new()), Memory::recall);
        recalled.unwrap_or_else(|error| {
            let service = &self.settings.name;
            tracing::warn!(%service, %error, "what is remembered of a BentoML service cannot be read");
            Vec::new()
        })
    }

    async fn remember(&self, routes: &[Route]) {
        let Some(memory) = self.memory.clone() else { return };
        let routes = routes.to_vec();
        let kept = tokio::task::spawn_blocking(move || memory.keep(&routes)).await;
        if let Err(error) = kept.map_err(std::io::Error::from).flatten() {
            let service = &self.settings.name;
            tracing::warn!(%service, %error, "the routes of a BentoML service could not be written down");
        }
    }
}
