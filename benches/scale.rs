//! What a store that has grown large costs: pages of tasks, counts and status beside ten million finished and a million
//! waiting tasks, how long the service takes to start on them, and what memory it needs.
//!
//! ```text
//! cargo bench --bench scale                  ten million and one million: minutes to fill, and 8 GB of disk
//! cargo bench --bench scale -- --quick       a hundredth of that, to see that it runs
//! cargo bench --bench scale -- --folder DIR  keeps the filled store in DIR, or takes the one that is there
//! ```
//!
//! Each question is asked over HTTP, one at a time, of the real binary. Nothing else runs in it: its one slot an endpoint
//! is held by an upstream that never answers. Status is asked of a small store too, in turns with the large one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tempfile::TempDir;

use crate::fill::Size;
use crate::machine::Bystander;
use crate::questions::Times;
use crate::server::{Memory, Server};

#[path = "scale/fill.rs"]
mod fill;
mod machine;
#[path = "scale/questions.rs"]
mod questions;
#[path = "scale/server.rs"]
mod server;
#[allow(dead_code, reason = "shared with the bench of the service, which also writes requests of its own")]
#[path = "service/wire.rs"]
mod wire;

const WHOLE: Size = Size { finished: 10_000_000, waiting: 1_000_000 };
const QUICK: Size = Size { finished: 100_000, waiting: 10_000 };
const SMALL: Size = Size { finished: 1000, waiting: 100 };

fn main() -> ExitCode {
    // Cargo adds `--bench` to whatever it is told to pass on.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => measure(WHOLE, None),
        ["--quick"] => measure(QUICK, None),
        ["--folder", folder] => measure(WHOLE, Some(folder.into())),
        _ => Err(format!("the only arguments are --quick and --folder DIR, not {arguments:?}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn measure(size: Size, kept: Option<PathBuf>) -> Result<(), String> {
    let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| format!("making a folder: {error}"))?;
    let large_folder = kept.unwrap_or_else(|| home.path().join("large"));
    let small_folder = home.path().join("small");
    for (folder, size) in [(&large_folder, size), (&small_folder, SMALL)] {
        if !folder.join("ekiben.db").exists() {
            fill::fill(folder, size)?;
        }
    }
    let bystander = Bystander::begin();
    let large = Server::start(&large_folder)?;
    let small = Server::start(&small_folder)?;
    let at_start = large.memory()?;
    let times = questions::ask(&large, &small)?;
    print(&large_folder, &large, at_start, &times)?;
    drop((large, small));
    println!("\n{}", bystander.report());
    Ok(())
}

fn print(folder: &Path, large: &Server, at_start: Memory, times: &[Times]) -> Result<(), String> {
    let bytes = std::fs::metadata(folder.join("ekiben.db")).map_err(|error| error.to_string())?.len();
    println!("{}", machine::description());
    println!(
        "{} tasks that have ended, {} that wait; {} MB on disk",
        large.count("completed")? + large.count("failed")? + large.count("canceled")?,
        large.count("pending")?,
        bytes >> 20
    );
    println!(
        "ready {:.2} s after its start, with {} MB of memory",
        large.ready_after.as_secs_f64(),
        at_start.now >> 20
    );
    println!(
        "{} MB of memory after all questions, {} MB at most\n",
        large.memory()?.now >> 20,
        large.memory()?.most >> 20
    );
    println!("{:<58} {:>7} {:>9} {:>9} {:>9}", "question (milliseconds)", "asked", "median", "p99", "most");
    for Times { question, asked, median, p99, most } in times {
        println!("{question:<58} {asked:>7} {median:>9.2} {p99:>9.2} {most:>9.2}");
    }
    Ok(())
}
