//! Whole tasks a second, from submission to settlement, with a handler that does nothing.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use ekiben_actors::clock::{SystemClock, stopwatch};
use ekiben_actors::endpoint::Endpoint;
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::registry::MeasureTasks;
use ekiben_actors::store::Store;
use ekiben_actors::store::embedded::{EmbeddedOptions, EmbeddedStore};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};
use ekiben_actors::system::System;
use ekiben_actors::task::{Input, Outcome, Output, State};
use futures::stream::{self, StreamExt};
use tempfile::TempDir;
use tokio::time::sleep;

const CALLERS: [usize; 3] = [1, 64, 1024];

const ENDPOINT: &str = "noop";

/// Runs at once, as in the service's bench.
const SLOTS: usize = 256;

/// A single caller has each task to itself, so it is given fewer.
const TASKS_A_CALLER_MAX: usize = 3_000;

/// Prints the table.
pub fn measure(tasks: usize, rounds: usize) -> Result<(), Box<dyn Error>> {
    println!("Whole tasks, a handler that does nothing; {rounds} rounds, medians");
    println!(
        "| store    | callers | tasks a second, submitted and settled | a second, each waited for | p50 ms | p99 ms |"
    );
    println!(
        "|----------|--------:|--------------------------------------:|--------------------------:|-------:|-------:|"
    );
    for kind in ["memory", "embedded"] {
        for callers in CALLERS {
            let tasks = tasks.min(TASKS_A_CALLER_MAX * callers);
            let mut samples = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                samples.push(actix::System::new().block_on(sample(kind, callers, tasks))?);
            }
            let median = |part: fn(&Sample) -> f64| {
                let mut parts: Vec<f64> = samples.iter().map(part).collect();
                parts.sort_by(f64::total_cmp);
                parts[parts.len() / 2]
            };
            println!(
                "| {kind:<8} | {callers:>7} | {:>37.0} | {:>25.0} | {:>6.3} | {:>6.3} |",
                median(|sample| sample.submitted),
                median(|sample| sample.waited_for),
                median(|sample| sample.p50_seconds) * 1e3,
                median(|sample| sample.p99_seconds) * 1e3,
            );
        }
    }
    Ok(())
}

struct Sample {
    /// Tasks a second when callers only submit, until the last is settled.
    submitted: f64,
    /// Tasks a second when each caller waits for its task and then submits the next.
    waited_for: f64,
    p50_seconds: f64,
    p99_seconds: f64,
}

/// A fresh system each time, so that no round finds what another left behind.
async fn sample(kind: &str, callers: usize, tasks: usize) -> Result<Sample, Box<dyn Error>> {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store: Arc<dyn Store> = match kind {
        "embedded" => Arc::new(EmbeddedStore::open(folder.path(), EmbeddedOptions::default())?),
        _ => Arc::new(MemoryStore::new(MemoryOptions::new(Arc::new(SystemClock)))),
    };
    let nothing = Handler::new(|attempt| async move {
        Outcome::Done(Output { status: 200, headers: attempt.input.headers, body: attempt.input.body })
    });
    let endpoint = Endpoint::new(nothing).concurrency(SLOTS);
    let system = System::builder(store).endpoint(ENDPOINT, endpoint)?.start().await?;

    let submitted = submit_all(&system, callers, tasks).await?;
    let waited_for = wait_for_each(&system, callers, tasks).await?;
    system.drain(Duration::from_secs(10)).await;
    system.stop().await?;
    Ok(Sample { submitted, ..waited_for })
}

/// Callers submit and go; answers tasks a second until the last is settled.
async fn submit_all(system: &System, callers: usize, tasks: usize) -> Result<f64, Box<dyn Error>> {
    let began = stopwatch();
    let mut submissions = stream::iter(0..tasks).map(|_| system.submit(ENDPOINT, input())).buffer_unordered(callers);
    while let Some(submitted) = submissions.next().await {
        submitted?;
    }
    wait_until_completed(system, tasks as u64).await?;
    Ok(tasks as f64 / began.elapsed().as_secs_f64())
}

/// Asks the Registry: often enough to be a small part of what is timed, seldom enough to be a small load.
async fn wait_until_completed(system: &System, tasks: u64) -> Result<(), Box<dyn Error>> {
    loop {
        let measures = system.registry.send(MeasureTasks).await?;
        let completed: u64 =
            measures.iter().filter_map(|measures| measures.finished.get(&(State::Completed, None))).sum();
        if completed >= tasks {
            return Ok(());
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Each caller submits a task, waits for its end, and only then submits the next.
async fn wait_for_each(system: &System, callers: usize, tasks: usize) -> Result<Sample, Box<dyn Error>> {
    let began = stopwatch();
    let mut lives = stream::iter(0..tasks).map(|_| whole_life(system)).buffer_unordered(callers);
    let mut latencies = Vec::with_capacity(tasks);
    while let Some(latency) = lives.next().await {
        latencies.push(latency?);
    }
    let waited_for = tasks as f64 / began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let [p50, p99] = [tasks / 2, tasks * 99 / 100].map(|rank| latencies[rank].as_secs_f64());
    Ok(Sample { submitted: f64::NAN, waited_for, p50_seconds: p50, p99_seconds: p99 })
}

async fn whole_life(system: &System) -> Result<Duration, Box<dyn Error>> {
    let began = stopwatch();
    let task = system.submit(ENDPOINT, input()).await?;
    match system.wait(&task).await? {
        Some((task, Some(_))) if task.state == State::Completed => Ok(began.elapsed()),
        other => Err(format!("a task ended otherwise than it should: {other:?}").into()),
    }
}

fn input() -> Input {
    Input::new("application/json", r#"{"text":"a short sentence"}"#)
}
