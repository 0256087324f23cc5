//! `ekiben endpoints`, `pause`, `resume` and `purge`: what is served, and how.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::remote::{Complaint, Exit, Remote, endpoint_name};
use super::terminal::{Cell, has_colour, seconds, table};
use crate::client::task::Endpoint;

/// List the endpoints with what waits, runs and has ended
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben endpoints
  ekiben endpoints --json | jq -r '.endpoints[].name'
  ekiben watch                           the same while it changes")]
pub struct EndpointsCommand {
    #[command(flatten)]
    remote: Remote,
}

/// Let an endpoint start no more tasks; they wait, and new ones are taken
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben pause summarize
  ekiben resume summarize                goes on")]
pub struct PauseCommand {
    #[command(flatten)]
    steered: Steered,
}

/// Let a paused endpoint start tasks again
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben resume summarize")]
pub struct ResumeCommand {
    #[command(flatten)]
    steered: Steered,
}

/// Cancel every task of an endpoint that waits
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben purge summarize                 asks before it does so
  ekiben purge summarize --yes")]
pub struct PurgeCommand {
    #[command(flatten)]
    steered: Steered,
    /// Do not ask whether that is meant
    #[arg(long, short)]
    yes: bool,
}

#[derive(Args, Debug)]
struct Steered {
    /// The endpoint
    #[arg(value_name = "ENDPOINT", value_parser = endpoint_name)]
    endpoint: String,
    #[command(flatten)]
    remote: Remote,
}

impl EndpointsCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    pub async fn run(self) -> Exit {
        let (endpoints, raw) = self.remote.client()?.endpoints().await?;
        Ok(self.remote.show(&raw, || shown(&endpoints)))
    }
}

impl PauseCommand {
    pub fn is_json(&self) -> bool {
        self.steered.remote.json
    }

    pub async fn run(self) -> Exit {
        self.steered.run("pause", |name, _| format!("{name} is paused; `ekiben resume {name}` lets it go on\n")).await
    }
}

impl ResumeCommand {
    pub fn is_json(&self) -> bool {
        self.steered.remote.json
    }

    pub async fn run(self) -> Exit {
        self.steered.run("resume", |name, _| format!("{name} goes on\n")).await
    }
}

impl PurgeCommand {
    pub fn is_json(&self) -> bool {
        self.steered.remote.json
    }

    pub async fn run(self) -> Exit {
        if !self.yes && !self.is_meant()? {
            return Ok(ExitCode::FAILURE);
        }
        let told = |name: &str, raw: &Value| format!("{name}: {} tasks canceled\n", raw["canceled"]);
        self.steered.run("purge", told).await
    }

    fn is_meant(&self) -> Result<bool, Complaint> {
        if !std::io::stdin().is_terminal() {
            return Err(Complaint::usage("purge asks before it cancels what waits; --yes says so beforehand"));
        }
        eprint!("Cancel every task that waits for {}? [y/N] ", self.steered.endpoint);
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        read.map_err(|error| Complaint::failed(format!("stdin cannot be read: {error}")))?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

impl Steered {
    async fn run(&self, verb: &str, told: impl FnOnce(&str, &Value) -> String) -> Exit {
        let raw = self.remote.client()?.steer(&self.endpoint, verb).await?;
        Ok(self.remote.show(&raw, || told(&self.endpoint, &raw)))
    }
}

/// A table of them.
pub fn shown(endpoints: &[Endpoint]) -> String {
    let heading =
        ["ENDPOINT", "WAITING", "RUNNING", "DONE", "FAILED", "CANCELED", "OLDEST", "IN/MIN", "OUT/MIN", "P50", "P99"];
    let rows: Vec<Vec<Cell>> = endpoints.iter().map(row).collect();
    table(&heading, &rows, has_colour())
}

fn row(endpoint: &Endpoint) -> Vec<Cell> {
    let count = |state: &str| Cell::plain(endpoint.counts.get(state).copied().unwrap_or_default().to_string());
    let time = |time: Option<f64>| Cell::plain(time.map_or_else(|| "-".to_owned(), seconds));
    let run = endpoint.run_seconds.as_ref();
    let rate = |rate: Option<f64>| Cell::plain(rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")));
    let rates = endpoint.rates.as_ref();
    let name = match endpoint.paused {
        true => Cell::warning(format!("{} (paused)", endpoint.name)),
        false => Cell::plain(&endpoint.name),
    };
    vec![
        name,
        count("pending"),
        Cell::plain(format!("{} of {}", endpoint.running, endpoint.concurrency)),
        count("completed"),
        count("failed"),
        count("canceled"),
        time(endpoint.oldest_waiting_seconds),
        rate(rates.and_then(|rates| rates.submitted_per_minute)),
        rate(rates.and_then(|rates| rates.finished_per_minute)),
        time(run.and_then(|run| run.p50)),
        time(run.and_then(|run| run.p99)),
    ]
}
