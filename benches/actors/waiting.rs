//! What a waiting task costs in memory, beside its row in the database.
//!
//! Two processes hold the same tasks: one in the store alone, one in a system in which each has its actor. What
//! they need is told by the operating system, so everything is in it: actors, maps, the allocator's waste, the
//! database's cache.

use std::error::Error;
use std::fs;
use std::future::pending;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ekiben_actors::endpoint::Endpoint;
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::limits::Limits;
use ekiben_actors::store::embedded::{EmbeddedOptions, EmbeddedStore};
use ekiben_actors::store::{Place, Queue, Store};
use ekiben_actors::system::System;
use ekiben_actors::task::{EndpointName, Input, NewTask, Outcome};
use futures::stream::{self, StreamExt};
use tempfile::TempDir;

const ENDPOINT: &str = "stuck";

/// Held before the first reading, so that what is needed once is not counted.
const WARM_UP: usize = 1000;

const IN_FLIGHT: usize = 1000;

const MIB: f64 = (1 << 20) as f64;

/// Prints the table.
pub fn measure(sizes: &[usize]) -> Result<(), Box<dyn Error>> {
    println!("Memory of waiting tasks, embedded store");
    println!(
        "| waiting tasks | rows alone, bytes each | with actors, bytes each | beside the row, bytes each | whole process MiB |"
    );
    println!(
        "|--------------:|-----------------------:|------------------------:|---------------------------:|------------------:|"
    );
    for &tasks in sizes {
        let [rows, actors] = [hold("store", tasks)?, hold("system", tasks)?];
        let each = |held: &Held| held.grown / tasks as f64;
        println!(
            "| {tasks:>13} | {:>22.0} | {:>23.0} | {:>26.0} | {:>17.0} |",
            each(&rows),
            each(&actors),
            each(&actors) - each(&rows),
            actors.whole / MIB,
        );
    }
    Ok(())
}

/// Bytes of memory of a process that holds tasks.
struct Held {
    /// By how much it grew while it took them.
    grown: f64,
    /// All of it at the end.
    whole: f64,
}

/// Has a fresh process hold so many tasks.
fn hold(holder: &str, tasks: usize) -> Result<Held, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    let child = command.args(["--waiting", holder, &tasks.to_string()]).stderr(Stdio::inherit()).output()?;
    if !child.status.success() {
        return Err(format!("holding {tasks} tasks in the {holder} ended with {}", child.status).into());
    }
    let said = String::from_utf8(child.stdout)?;
    let readings: Vec<f64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    match readings[..] {
        [before, after] => Ok(Held { grown: after - before, whole: after }),
        _ => Err(format!("two readings were expected, not {said:?}").into()),
    }
}

/// The process that holds tasks: prints its memory before and after it took them.
pub fn child(holder: &str, tasks: &str) -> Result<(), Box<dyn Error>> {
    let tasks: usize = tasks.parse()?;
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = EmbeddedStore::open(folder.path(), EmbeddedOptions::default())?;
    actix::System::new().block_on(async {
        match holder {
            "store" => hold_in_store(store, tasks).await,
            "system" => hold_in_system(store, tasks).await,
            _ => Err(format!("tasks are held in the store or the system, not in {holder:?}").into()),
        }
    })
}

async fn hold_in_store(store: EmbeddedStore, tasks: usize) -> Result<(), Box<dyn Error>> {
    fill_store(&store, WARM_UP).await?;
    print_memory()?;
    fill_store(&store, tasks).await?;
    print_memory()?;
    Ok(store.close().await?)
}

async fn fill_store(store: &EmbeddedStore, tasks: usize) -> Result<(), Box<dyn Error>> {
    let endpoint = EndpointName::new(ENDPOINT)?;
    for begin in (0..tasks).step_by(IN_FLIGHT) {
        let batch = begin..tasks.min(begin + IN_FLIGHT);
        store.enqueue(batch.map(|_| (NewTask::new(endpoint.clone(), input()), Place::Here)).collect()).await?;
    }
    Ok(())
}

async fn hold_in_system(store: EmbeddedStore, tasks: usize) -> Result<(), Box<dyn Error>> {
    let never = Handler::new(|_| pending::<Outcome>());
    let all = tasks + WARM_UP;
    let limits = Limits { queue_max: all as u64, resident_max: all, ..Limits::default() };
    let builder = System::builder(Arc::new(store)).endpoint(ENDPOINT, Endpoint::new(never))?.limits(limits);
    let system = builder.start().await?;
    fill_system(&system, WARM_UP).await?;
    print_memory()?;
    fill_system(&system, tasks).await?;
    print_memory()?;
    system.drain(Duration::ZERO).await;
    Ok(system.stop().await?)
}

async fn fill_system(system: &System, tasks: usize) -> Result<(), Box<dyn Error>> {
    let mut submissions = stream::iter(0..tasks).map(|_| system.submit(ENDPOINT, input())).buffer_unordered(IN_FLIGHT);
    while let Some(submitted) = submissions.next().await {
        submitted?;
    }
    Ok(())
}

fn input() -> Input {
    Input::new("application/json", r#"{"text":"a short sentence"}"#)
}

/// Prints the resident set of this process in bytes.
fn print_memory() -> Result<(), Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let kibibytes: u64 = resident.ok_or("the operating system does not tell the resident set")?.parse()?;
    println!("{}", kibibytes * 1024);
    Ok(())
}
