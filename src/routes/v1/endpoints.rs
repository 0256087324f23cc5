//! The endpoints: what each is, how it is doing, and what its tasks get where they do not ask for anything.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use ekiben_actors::measure::Histogram;
use ekiben_actors::registry::{Counts, EndpointMeasures, MeasureTasks};
use ekiben_actors::store::{Count, StoreError};
use ekiben_actors::supervisor::{LineMeasures, MeasureLines};
use ekiben_actors::task::{EndpointName, State};
use serde_json::{Map, Value, json};

use super::{Answer, Call, Operation};
use crate::app::App;
use crate::config::Endpoint;
use crate::error::ApiError;
use crate::task_json::duration;
use crate::wire;

pub const OPERATIONS: &[Operation] = &[
    Operation::new("GET", "/v1/endpoints", "the endpoints, and how each is doing", |call| Box::pin(list(call))),
    Operation::new("GET", "/v1/endpoints/{endpoint}", "one of them", |call| Box::pin(get(call))),
];

async fn list(call: Call) -> Answer {
    let figures = Figures::of(&call.app).await?;
    let endpoints: Vec<Value> = call.app.described().iter().map(|endpoint| figures.show(endpoint)).collect();
    Ok(wire::json(StatusCode::OK, json!({ "endpoints": endpoints }).to_string()))
}

async fn get(call: Call) -> Answer {
    let name = &call.endpoint()?.name;
    Ok(wire::json(StatusCode::OK, shown(&call.app, name).await?.to_string()))
}

/// An endpoint that is served, as the API shows it now.
///
/// # Errors
/// It is served no longer, or the service is stopping.
pub async fn shown(app: &App, name: &EndpointName) -> Result<Value, ApiError> {
    let figures = Figures::of(app).await?;
    let described = app.described();
    let endpoint = described.iter().find(|endpoint| endpoint.name == *name).ok_or(ApiError::NoRoute)?;
    Ok(figures.show(endpoint))
}

/// All that is counted of the endpoints at one time.
struct Figures {
    lines: HashMap<EndpointName, LineMeasures>,
    tasks: HashMap<EndpointName, EndpointMeasures>,
    counts: Vec<Count>,
}

impl Figures {
    async fn of(app: &App) -> Result<Self, ApiError> {
        let (supervisor, registry) = (&app.system.supervisor, &app.system.registry);
        let lines = supervisor.send(MeasureLines).await?;
        let tasks = registry.send(MeasureTasks).await?;
        let counts = registry.send(Counts).await.unwrap_or(Err(StoreError::Closed))?;
        Ok(Self {
            lines: lines.into_iter().map(|line| (line.endpoint.clone(), line)).collect(),
            tasks: tasks.into_iter().map(|tasks| (tasks.endpoint.clone(), tasks)).collect(),
            counts,
        })
    }

    fn show(&self, endpoint: &Endpoint) -> Value {
        let line = self.lines.get(&endpoint.name);
        let tasks = self.tasks.get(&endpoint.name);
        let oldest = line.filter(|line| line.waiting > 0).map(|line| line.oldest_waiting.as_secs_f64());
        json!({
            "name": endpoint.name.as_str(),
            "description": endpoint.description,
            "input_schema": endpoint.input,
            "output_schema": endpoint.output,
            "paused": false,
            "concurrency": line.map_or(endpoint.concurrency, |line| line.slots),
            "running": line.map_or(0, |line| line.slots_used),
            "counts": self.counts_of(&endpoint.name),
            "oldest_waiting_seconds": oldest,
            "rates": {
                "submitted_per_minute": line.map_or(0, |line| line.submitted_per_minute),
                "finished_per_minute": tasks.map_or(0, EndpointMeasures::finished_per_minute),
            },
            "run_seconds": tasks.and_then(|tasks| quantiles(&tasks.run_seconds)),
            "queue_seconds": tasks.and_then(|tasks| quantiles(&tasks.queue_seconds)),
            "defaults": {
                "timeout": duration(endpoint.timeout),
                "retention": duration(endpoint.retention),
                "max_attempts": endpoint.retry.max_attempts,
                "priority": endpoint.priority.0,
            },
        })
    }

    fn counts_of(&self, name: &EndpointName) -> Value {
        let mut counts: Map<String, Value> =
            State::ALL.into_iter().map(|state| (state.as_str().to_owned(), 0.into())).collect();
        for count in self.counts.iter().filter(|count| count.endpoint == *name) {
            counts.insert(count.state.as_str().to_owned(), count.tasks.into());
        }
        counts.into()
    }
}

/// As near as the histogram's bounds allow; `None` where nothing was measured.
fn quantiles(histogram: &Histogram) -> Option<Value> {
    let (p50, p90, p99) = (histogram.quantile(0.5)?, histogram.quantile(0.9)?, histogram.quantile(0.99)?);
    Some(json!({ "p50": p50, "p90": p90, "p99": p99 }))
}
