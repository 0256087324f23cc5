//! Measures the actor system as an embedder has it, with no HTTP around it: whole tasks a second for a handler that
//! does nothing, and what a waiting task costs in memory.
//!
//! ```text
//! cargo bench --bench actors                 under two minutes
//! cargo bench --bench actors -- --quick      under twenty seconds
//! ```
//!
//! Nobody listens to the log here; the service's bench has it in its numbers.

use std::process::ExitCode;

use crate::machine::Bystander;

#[path = "actors/rate.rs"]
mod rate;
#[path = "actors/waiting.rs"]
mod waiting;

mod machine;

/// The service has it, so its numbers and these can be compared.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Cargo adds `--bench` to whatever it is told to pass on.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => measure(100_000, 3, &[100_000, 1_000_000]),
        ["--quick"] => measure(20_000, 1, &[100_000]),
        ["--waiting", holder, tasks] => waiting::child(holder, tasks),
        _ => Err(format!("the only argument is --quick, not {arguments:?}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn measure(tasks: usize, rounds: usize, waiting: &[usize]) -> Result<(), Box<dyn std::error::Error>> {
    let bystander = Bystander::begin();
    println!("{}\n", machine::description());
    rate::measure(tasks, rounds)?;
    println!();
    waiting::measure(waiting)?;
    println!("\n{}", bystander.report());
    Ok(())
}
