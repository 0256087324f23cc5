//! What `/metrics` tells, in Prometheus' text format: every metric is named once, here.
//!
//! Names and labels are a stable interface, told in the README. Units are base units; no task id is ever a label.
//! The numbers are asked of those who keep them, at each scrape.

use std::fmt;

use actix_web::HttpResponse;
use ekiben_actors::measure::Histogram;
use ekiben_actors::registry::{Counts, EndpointMeasures, MeasureTasks};
use ekiben_actors::store::{Count, StoreError, StoreStats};
use ekiben_actors::supervisor::{LineMeasures, MeasureLines};
use ekiben_actors::task::State;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::app::App;
use crate::error::ApiError;
use crate::traffic::{Answered, Took};

/// The content type of the answer.
pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// All numbers of one scrape.
#[derive(Debug)]
pub struct Snapshot {
    pub lines: Vec<LineMeasures>,
    pub endpoints: Vec<EndpointMeasures>,
    pub counts: Vec<Count>,
    pub store: StoreStats,
    pub answered: Vec<Answered>,
    pub took: Vec<Took>,
    /// Requests that wait for tasks.
    pub watchers: usize,
}

/// Answers a scrape.
pub async fn answer(app: &App) -> Result<HttpResponse, ApiError> {
    let (supervisor, registry) = (&app.system.supervisor, &app.system.registry);
    let snapshot = Snapshot {
        lines: supervisor.send(MeasureLines).await.map_err(|_| StoreError::Closed)?,
        endpoints: registry.send(MeasureTasks).await.map_err(|_| StoreError::Closed)?,
        counts: registry.send(Counts).await.unwrap_or(Err(StoreError::Closed))?,
        store: app.system.store_stats(),
        answered: app.traffic.answered(),
        took: app.traffic.took(),
        watchers: app.gates.waiting_now(),
    };
    let text = text(snapshot).expect("writing to a string does not fail");
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

/// The answer's body.
///
/// # Errors
/// None in practice: writing to a string does not fail.
pub fn text(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.encode_build(&mut encoder)?;
        self.encode_lines(&mut encoder)?;
        self.encode_tasks(&mut encoder)?;
        self.encode_store(&mut encoder)?;
        self.encode_http(&mut encoder)
    }
}

impl Snapshot {
    fn encode_build(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let mut family = gauge(encoder, "ekiben_build_info", "Always 1; the label is the version")?;
        family.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?.encode_gauge(&1_i64)
    }

    fn encode_lines(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let per_line = |family: &mut MetricEncoder, value: &dyn Fn(&LineMeasures) -> f64| -> fmt::Result {
            for line in &self.lines {
                family.encode_family(&[("endpoint", line.endpoint.as_str())])?.encode_gauge(&value(line))?;
            }
            Ok(())
        };
        let mut used = gauge(encoder, "ekiben_slots_used", "Attempts that run now")?;
        per_line(&mut used, &|line| line.slots_used as f64)?;
        let mut free = gauge(encoder, "ekiben_slots_free", "Attempts that could start now")?;
        per_line(&mut free, &|line| (line.slots - line.slots_used) as f64)?;
        let help = "Attempts that may run now: fewer than the slots while an upstream has no room";
        let mut allowed = gauge(encoder, "ekiben_slots_allowed", help)?;
        per_line(&mut allowed, &|line| line.slots_allowed as f64)?;
        let help = "How long the longest waiting task that has an actor has been due";
        let mut oldest = gauge(encoder, "ekiben_oldest_waiting_seconds", help)?;
        per_line(&mut oldest, &|line| line.oldest_waiting.as_secs_f64())?;

        let mut submitted = counter(encoder, "ekiben_tasks_submitted", "Tasks recorded since the process started")?;
        for line in &self.lines {
            count(&mut submitted, &[("endpoint", line.endpoint.as_str())], line.submitted)?;
        }
        let mut refused = counter(encoder, "ekiben_tasks_refused", "Submissions refused because a queue was full")?;
        for line in &self.lines {
            count(&mut refused, &[("endpoint", line.endpoint.as_str())], line.refused)?;
        }
        Ok(())
    }

    fn encode_tasks(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let mut stored = gauge(encoder, "ekiben_tasks", "Tasks in the store, by state")?;
        for count in &self.counts {
            let labels = [("endpoint", count.endpoint.as_str()), ("state", count.state.as_str())];
            stored.encode_family(&labels)?.encode_gauge(&(count.tasks as f64))?;
        }
        let help = "Tasks that ended since the process started, by outcome and, for a failure, its code";
        let mut finished = counter(encoder, "ekiben_tasks_finished", help)?;
        for measures in &self.endpoints {
            for ((state, code), tasks) in &measures.finished {
                let code = code.map_or("", |code| code.as_str());
                let labels = [("endpoint", measures.endpoint.as_str()), ("outcome", outcome(*state)), ("code", code)];
                count(&mut finished, &labels, *tasks)?;
            }
        }
        let mut queued = histogram(encoder, "ekiben_task_queue_seconds", "From due to started, one an attempt")?;
        for measures in &self.endpoints {
            observe(&mut queued, &[("endpoint", measures.endpoint.as_str())], &measures.queue_seconds)?;
        }
        let mut ran = histogram(encoder, "ekiben_task_run_seconds", "From started to settled, one an attempt")?;
        for measures in &self.endpoints {
            observe(&mut ran, &[("endpoint", measures.endpoint.as_str())], &measures.run_seconds)?;
        }
        Ok(())
    }

    fn encode_store(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "How long a commit of the store took, its sync included";
        let mut seconds = histogram(encoder, "ekiben_store_commit_seconds", help)?;
        encode_histogram(&mut seconds, &self.store.commit_seconds)?;
        let mut calls = histogram(encoder, "ekiben_store_commit_calls", "How many calls shared a commit")?;
        encode_histogram(&mut calls, &self.store.commit_calls)
    }

    fn encode_http(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Requests answered, by route, method and class of status";
        let mut requests = counter(encoder, "ekiben_http_requests", help)?;
        for answered in &self.answered {
            let labels = [("route", answered.route), ("method", answered.method), ("status", answered.status)];
            count(&mut requests, &labels, answered.requests)?;
        }
        let help = "From the head of a request to the head of its answer";
        let mut seconds = histogram(encoder, "ekiben_http_request_seconds", help)?;
        for took in &self.took {
            let labels = [("route", took.route)];
            let mut family = seconds.encode_family(&labels)?;
            let requests = took.buckets.iter().map(|(_, requests)| requests).sum();
            family.encode_histogram::<NoLabelSet>(took.sum, requests, &took.buckets, None)?;
        }
        let help = "Requests that wait for tasks now, for their end or their events";
        gauge(encoder, "ekiben_http_waiting", help)?.encode_gauge(&(self.watchers as f64))
    }
}

fn outcome(state: State) -> &'static str {
    debug_assert!(state.is_finished(), "only what has ended is counted");
    state.as_str()
}

type Labels<'a> = [(&'a str, &'a str)];

fn gauge<'a>(encoder: &'a mut DescriptorEncoder, name: &'a str, help: &str) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

/// The format itself adds `_total` to the name.
fn counter<'a>(encoder: &'a mut DescriptorEncoder, name: &'a str, help: &str) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn histogram<'a>(
    encoder: &'a mut DescriptorEncoder,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Histogram)
}

fn count(family: &mut MetricEncoder, labels: &Labels, value: u64) -> fmt::Result {
    family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

fn observe(family: &mut MetricEncoder, labels: &Labels, histogram: &Histogram) -> fmt::Result {
    encode_histogram(&mut family.encode_family(&labels)?, histogram)
}

fn encode_histogram(metric: &mut MetricEncoder, histogram: &Histogram) -> fmt::Result {
    let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
    metric.encode_histogram::<NoLabelSet>(histogram.sum(), histogram.count(), &buckets, None)
}
