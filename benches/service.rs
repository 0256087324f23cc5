//! Measures the service as its clients see it: the real binary, durable, under load from another process, and
//! as a ratio to a bare actix-web JSON echo measured in the same run.
//!
//! ```text
//! cargo bench --bench service                 about two minutes
//! cargo bench --bench service -- --quick      under twenty seconds
//! ```
//!
//! This program is three: the one that starts the others and prints the table, and, by its first argument, the
//! echo and the load. An answer other than 200 with the expected body makes it fail. It measures no model and no
//! network: everything is on one machine, and the task that is run does nothing.

use std::process::ExitCode;

use crate::machine::Bystander;
use crate::rounds::Plan;

#[path = "service/child.rs"]
mod child;
#[path = "service/echo.rs"]
mod echo;
#[path = "service/generator.rs"]
mod generator;
#[path = "service/load.rs"]
mod load;
mod machine;
#[path = "service/report.rs"]
mod report;
#[path = "service/rounds.rs"]
mod rounds;
#[path = "service/wire.rs"]
mod wire;

/// The service has it, so the echo has it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Cargo adds `--bench` to whatever it is told to pass on.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--echo", workers] => echo(workers),
        ["--load", order] => load::main(order),
        ["--quick"] => measure(&Plan::QUICK),
        [] => measure(&Plan::WHOLE),
        _ => Err(format!("the only argument is --quick, not {arguments:?}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn echo(workers: &str) -> Result<(), String> {
    let workers = workers.parse().map_err(|error| format!("{workers} workers: {error}"))?;
    echo::main(workers).map_err(|error| format!("serving the echo: {error}"))
}

fn measure(plan: &Plan) -> Result<(), String> {
    let bystander = Bystander::begin();
    let samples = rounds::run(plan)?;
    report::print(plan, &samples);
    println!("\n{}", bystander.report());
    Ok(())
}
