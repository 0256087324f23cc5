//! Settings made into executors: the one place that names them all.

use std::sync::Arc;

use ekiben_actors::endpoint;
use ekiben_actors::executor::Executor;
use ekiben_actors::executor::batch::{Batch, BatchOptions};
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::executor::http::{Http, HttpError, HttpOptions};
#[cfg(feature = "onnx")]
use ekiben_actors::executor::onnx::{Onnx, OnnxError, OnnxOptions, OutputForm};
use ekiben_actors::executor::process::{Process, ProcessError, ProcessOptions};
use ekiben_actors::task::{EndpointName, Outcome, Output};

use crate::config::{self, Endpoint, EndpointKind, Upstream, Workers};
#[cfg(feature = "onnx")]
use crate::config::{LocalModel, OutputFormat};
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
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    #[cfg(not(feature = "onnx"))]
    #[error("type = \"onnx\" is not to be had: this program was built without the feature onnx")]
    NoOnnx,
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
    made(endpoint).map_err(|reason| ExecutorError { endpoint: endpoint.name.clone(), reason })
}

/// An endpoint as the actor system runs it: the executor, by the rules of the settings.
pub fn policy(endpoint: &Endpoint, executor: Arc<dyn Executor>) -> endpoint::Endpoint {
    let executor = match &endpoint.batch {
        Some(batch) => Arc::new(Batch::new(executor, gathered(batch, endpoint.concurrency))),
        None => executor,
    };
    endpoint::Endpoint::shared(executor)
        .concurrency(endpoint.concurrency)
        .timeout(endpoint.timeout)
        .retention(endpoint.retention)
        .queue_max(endpoint.queue as u64)
        .max_attempts(endpoint.retry.max_attempts)
        .backoff(endpoint.retry.backoff, endpoint.retry.backoff_max)
        .retry_on(endpoint.retry.codes.iter().copied())
}

fn made(endpoint: &Endpoint) -> Result<Arc<dyn Executor>, Reason> {
    Ok(match &endpoint.kind {
        EndpointKind::Http(upstream) => Arc::new(Http::new(http(upstream))?),
        #[cfg(feature = "onnx")]
        EndpointKind::Onnx(local) => Arc::new(Onnx::new(onnx(local, endpoint.concurrency))?),
        #[cfg(not(feature = "onnx"))]
        EndpointKind::Onnx(_) => return Err(Reason::NoOnnx),
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

/// How an upstream is called.
pub fn http(upstream: &Upstream) -> HttpOptions {
    HttpOptions {
        url: upstream.url.clone(),
        method: upstream.method.clone(),
        headers: upstream.headers.clone(),
        retry_statuses: upstream.retry_statuses.clone(),
        health: upstream.health.clone(),
        ca_file: upstream.ca_file.clone(),
        keep_headers: upstream.keep_headers.clone(),
        connect_timeout: upstream.connect_timeout,
    }
}

#[cfg(feature = "onnx")]
fn onnx(local: &LocalModel, concurrency: usize) -> OnnxOptions {
    let output = match local.output {
        OutputFormat::Json => OutputForm::Json,
        OutputFormat::Npy => OutputForm::Npy,
    };
    OnnxOptions { model: local.model.clone(), threads: local.threads, output, runs_max: concurrency }
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
