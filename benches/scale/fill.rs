//! Fills a store with tasks that have ended and tasks that wait, by SQL of its own: through the service it would take
//! hours, and only what lies in the file matters here.

use std::path::Path;
use std::time::Duration;

use ekiben_actors::clock::{Clock, SystemClock, stopwatch};
use ekiben_actors::store::embedded::{EmbeddedOptions, EmbeddedStore};
use rusqlite::Connection;

/// The endpoints, in the order of their numbers. Tasks belong to them in turn.
pub const ENDPOINTS: [&str; 5] = ["summarize", "caption", "transcribe", "embed", "translate"];

/// One task in so many has failed, and as many were canceled.
const RARE: u64 = 50;

/// How many tags there are to find tasks by; each task has one of them.
pub const TAGS: u64 = 1000;

/// How far apart the submissions lie.
const MICROS_APART: i64 = 10_000;

/// How many rows go into one transaction.
const CHUNK: u64 = 200_000;

/// How many tasks lie in the store.
#[derive(Clone, Copy)]
pub struct Size {
    pub finished: u64,
    pub waiting: u64,
}

/// Makes a store in a folder that is not there yet, and fills it.
pub fn fill(folder: &Path, size: Size) -> Result<(), String> {
    // The store makes its own tables, so that the shape is today's.
    drop(EmbeddedStore::open(folder, EmbeddedOptions::default()).map_err(|error| error.to_string())?);
    write(folder, size).map_err(|error| format!("filling the store: {error}"))
}

fn write(folder: &Path, size: Size) -> rusqlite::Result<()> {
    let connection = Connection::open(folder.join("ekiben.db"))?;
    // Should the machine lose its power, the bench is run again.
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA temp_store = MEMORY;")?;
    for (index, name) in ENDPOINTS.iter().enumerate() {
        connection.execute("INSERT INTO endpoint (id, name) VALUES (?1, ?2)", (index as i64 + 1, name))?;
    }
    let all = size.finished + size.waiting;
    let began = SystemClock.now().timestamp_micros() - all as i64 * MICROS_APART;
    let watch = stopwatch();
    let mut told = Duration::ZERO;
    for first in (0..all).step_by(CHUNK as usize) {
        let last = (first + CHUNK).min(all);
        connection.execute_batch("BEGIN")?;
        for sql in [
            include_str!("tasks.sql"),
            include_str!("inputs.sql"),
            include_str!("outputs.sql"),
            include_str!("tags.sql"),
        ] {
            let mut statement = connection.prepare_cached(sql)?;
            let values: [(&str, i64); 8] = [
                (":first", first as i64),
                (":last", last as i64),
                (":finished", size.finished as i64),
                (":began", began),
                (":apart", MICROS_APART),
                (":endpoints", ENDPOINTS.len() as i64),
                (":rare", RARE as i64),
                (":tags", TAGS as i64),
            ];
            for (name, value) in values {
                if let Some(index) = statement.parameter_index(name)? {
                    statement.raw_bind_parameter(index, value)?;
                }
            }
            statement.raw_execute()?;
        }
        connection.execute_batch("COMMIT")?;
        if watch.elapsed() > told + Duration::from_secs(10) {
            told = watch.elapsed();
            eprintln!("{last} of {all} tasks are in the store after {:.0} s", told.as_secs_f64());
        }
    }
    connection.execute_batch(
        "INSERT INTO tally (endpoint, state, tasks) SELECT endpoint, state, count(*) FROM task GROUP BY endpoint, state;
         PRAGMA wal_checkpoint(TRUNCATE);",
    )
}
