//! Settings made into executors: the one place that names them all.

use std::sync::Arc;

use ekiben_actors::executor::Executor;
use ekiben_actors::executor::batch::{Batch, BatchOptions};
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::executor::http::{Http, HttpError, HttpOptions};
use ekiben_actors::executor::process::{Process, ProcessError, ProcessOptions};
use ekiben_actors::task::{EndpointName, Outcome, Output};

use crate::config::{self, Endpoint, EndpointKind, Upstream, Workers};
use crate::demo;

/// Why an endpoint cannot be run as its settings say.
#[derive(Debug, thiserror::Error)]
#[error("endpoint \"{endpoint}\": {reason}")]
pub struct ExecutorError {
    endpoint: EndpointName,
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// What runs the tasks of an endpoint.
///
/// Must be called in a runtime: workers are started at once.
///
/// # Errors
/// What the settings name cannot be used.
pub fn of(endpoint: &Endpoint) -> Result<Arc<dyn Executor>, ExecutorError> {
    let made = made(endpoint).map_err(|reason| ExecutorError { endpoint: endpoint.name.clone(), reason })?;
    Ok(match &endpoint.batch {
        Some(batch) => Arc::new(Batch::new(made, gathered(batch, endpoint.concurrency))),
        None => made,
    })
}

fn made(endpoint: &Endpoint) -> Result<Arc<dyn Executor>, Reason> {
    Ok(match &endpoint.kind {
        EndpointKind::Http(upstream) => Arc::new(Http::new(http(upstream))?),
        EndpointKind::Process(workers) => Arc::new(Process::new(endpoint.name.clone(), process(workers, endpoint))?),
        EndpointKind::Demo(which) => demo::executor(*which),
        EndpointKind::Noop => Arc::new(Handler::new(|attempt| async move {
            Outcome::Done(Output { status: 200, headers: attempt.input.headers, body: attempt.input.body })
        })),
    })
}

fn gathered(batch: &config::Batch, concurrency: usize) -> BatchOptions {
    BatchOptions {
        max_size: batch.max_size,
        max_wait: batch.max_wait,
        batches: concurrency.div_ceil(batch.max_size),
        form: batch.form,
    }
}

fn http(upstream: &Upstream) -> HttpOptions {
    HttpOptions {
        url: upstream.url.clone(),
        method: upstream.method.clone(),
        headers: upstream.headers.clone(),
        health: upstream.health.clone(),
        ca_file: upstream.ca_file.clone(),
        keep_headers: upstream.keep_headers.clone(),
        connect_timeout: upstream.connect_timeout,
    }
}

fn process(workers: &Workers, endpoint: &Endpoint) -> ProcessOptions {
    ProcessOptions {
        task: workers.task.clone(),
        workers_min: workers.min,
        workers_max: workers.max,
        threads: workers.threads,
        env: workers.env.clone(),
        folder: workers.folder.clone(),
        memory: workers.memory,
        grace: workers.grace,
        start_timeout: workers.start_timeout,
        max_tasks: workers.max_tasks.map(|tasks| tasks as u64),
        idle: workers.idle,
        timeout: Some(endpoint.timeout),
        ..ProcessOptions::new(workers.command.clone())
    }
}
