//! Measures what it costs to run a task in a Python worker: the round trip of a task that does nothing, by the worker
//! protocol alone, and as a whole durable task from submission to completion, beside a Rust function that does as little.
//!
//! ```text
//! cargo bench --bench workers                some seconds
//! ```
//!
//! It needs `python3` on the path, and runs `tests/python/workers/noop.py` with the package of this repository. One task
//! at a time: it measures latency, not throughput.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ekiben_actors::clock::stopwatch;
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::executor::process::{Process, ProcessOptions};
use ekiben_actors::executor::{Attempt, Executor, Outputs, Report};
use ekiben_actors::prelude::{Endpoint, EndpointName, Input, Outcome, Output, State, TaskId};
use ekiben_actors::spool::{BlobName, Blobs};
use ekiben_actors::store::embedded::{EmbeddedOptions, EmbeddedStore};
use ekiben_actors::system::System;
use tokio_util::sync::CancellationToken;

use crate::machine::Bystander;

mod machine;

/// The service has it, so its numbers and these can be compared.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const TASKS: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    actix_web::rt::System::new().block_on(measure())
}

async fn measure() -> Result<(), Box<dyn Error>> {
    let bystander = Bystander::begin();
    println!("{}\n", machine::description());
    let worker = Process::new(EndpointName::new("noop")?, options())?;
    let folder = tempfile::tempdir()?;
    let system = System::builder(Arc::new(EmbeddedStore::open(folder.path(), EmbeddedOptions::default())?))
        .endpoint("python", Endpoint::shared(Arc::new(worker.clone())))?
        .endpoint(
            "rust",
            Endpoint::new(Handler::new(|_| async { Outcome::Done(Output::new("application/json", "null")) })),
        )?
        .start()
        .await?;
    println!("{:<44} {:>12} {:>12}", "microseconds, one at a time", "median", "99 %");
    for round in 1..=ROUNDS {
        row("protocol alone", round, &mut alone(&worker).await?);
        row("whole task in Python", round, &mut whole(&system, "python").await?);
        row("whole task in Rust", round, &mut whole(&system, "rust").await?);
    }
    system.drain(Duration::from_secs(10)).await;
    system.stop().await?;
    worker.close().await;
    println!("\n{}", bystander.report());
    Ok(())
}

fn options() -> ProcessOptions {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shown = |path: &str| root.join(path).display().to_string();
    let env = vec![("PYTHONPATH".to_owned(), shown("clients/python/src"))];
    ProcessOptions { env, ..ProcessOptions::new(["python3".to_owned(), shown("tests/python/workers/noop.py")]) }
}

/// The worker gets an attempt, and its answer is taken in.
async fn alone(worker: &Process) -> Result<Vec<f64>, String> {
    let mut took = Vec::with_capacity(TASKS);
    for _ in 0..TASKS {
        let began = stopwatch();
        let outcome = worker.run(attempt()).await;
        took.push(began.elapsed().as_secs_f64() * 1e6);
        if !matches!(outcome, Outcome::Done(_)) {
            return Err(format!("the worker failed: {outcome:?}"));
        }
    }
    Ok(took)
}

/// A task is recorded, run, and its result recorded and told.
async fn whole(system: &System, endpoint: &str) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut took = Vec::with_capacity(TASKS);
    for _ in 0..TASKS {
        let began = stopwatch();
        let task = system.submit(endpoint, input()).await?;
        let finished = system.wait(&task).await?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
        if finished.is_none_or(|(task, _)| task.state != State::Completed) {
            return Err(format!("a task of {endpoint} did not complete").into());
        }
    }
    Ok(took)
}

fn input() -> Input {
    Input::new("application/json", "{}")
}

fn attempt() -> Attempt {
    let task = TaskId::generate();
    Attempt {
        task,
        endpoint: EndpointName::new("noop").expect("it is a name"),
        number: 1,
        timeout: None,
        input: input(),
        cancellation: CancellationToken::new(),
        report: Report::unwatched(),
        outputs: Outputs::new(Blobs::in_memory(), BlobName::Output(task, 1), 1 << 20),
    }
}

fn row(what: &str, round: usize, took: &mut [f64]) {
    took.sort_by(f64::total_cmp);
    let (median, high) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{:<44} {median:>12.0} {high:>12.0}", format!("{what}, round {round}"));
}
