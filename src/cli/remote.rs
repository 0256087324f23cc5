//! What all commands for tasks have in common: the service they ask, how they complain, and what their exit codes are.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ekiben_actors::task::{EndpointName, TaskId};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::client::{Client, ClientError};

/// Told in the help of each command that may have them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0 done, completed · 1 failed, or it could not be done · 2 the command line is wrong · 3 canceled ·
  4 not finished (yet) · 5 the service cannot be reached · 130 interrupted";

const USAGE: u8 = 2;
pub const CANCELED: u8 = 3;
pub const UNFINISHED: u8 = 4;
const AWAY: u8 = 5;

/// Which service is asked, and how its answers are shown
#[derive(Args, Debug)]
#[command(next_help_heading = "The service")]
pub struct Remote {
    /// The service
    #[arg(long, value_name = "URL", env = "EKIBEN_SERVER", default_value = "http://127.0.0.1:3000")]
    pub server: String,
    /// Answer as JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// What a command comes to.
pub type Exit = Result<ExitCode, Complaint>;

/// Why a command could not do what it was asked for, in words that name the way out.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Complaint {
    text: String,
    /// The code of the service's problem, where it is one.
    problem: Option<String>,
    exit: u8,
}

impl Complaint {
    pub fn failed(text: impl Into<String>) -> Self {
        Self { text: text.into(), problem: None, exit: 1 }
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self { exit: USAGE, ..Self::failed(text) }
    }

    pub fn canceled(text: impl Into<String>) -> Self {
        Self { exit: CANCELED, ..Self::failed(text) }
    }

    pub fn unfinished(text: impl Into<String>) -> Self {
        Self { exit: UNFINISHED, ..Self::failed(text) }
    }

    pub fn away(text: impl Into<String>) -> Self {
        Self { exit: AWAY, ..Self::failed(text) }
    }

    /// Complains, on stderr.
    fn tell(&self, is_json: bool) -> ExitCode {
        if is_json {
            eprintln!("{}", json!({ "error": self.text, "code": self.problem }));
        } else {
            eprintln!("ekiben: {}", self.text);
        }
        ExitCode::from(self.exit)
    }
}

impl From<ClientError> for Complaint {
    fn from(error: ClientError) -> Self {
        let problem = error.code().filter(|code| !code.is_empty()).map(str::to_owned);
        let way_out = match &error {
            ClientError::Unreachable { .. } => {
                "\nIs ekiben running there? `ekiben` starts it here; --server URL or EKIBEN_SERVER name another place."
            }
            ClientError::Refused(refusal) if refusal.code == "endpoint_not_found" => {
                "; `ekiben endpoints` tells which there are"
            }
            ClientError::Refused(refusal) if refusal.code == "no_such_route" => {
                ": the service does not know this request; is it an older ekiben?"
            }
            _ => "",
        };
        let exit = match &error {
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => AWAY,
            ClientError::Refused(refusal) if refusal.code == "not_finished" => UNFINISHED,
            ClientError::Refused(_) | ClientError::Garbled { .. } => 1,
        };
        Self { text: format!("{error}{way_out}"), problem, exit }
    }
}

impl Remote {
    pub fn client(&self) -> Result<Client, Complaint> {
        Client::new(&self.server).map_err(Complaint::usage)
    }

    /// Shows an answer: as JSON in one line where that was asked for, else as `text` has it.
    pub fn show(&self, raw: &Value, text: impl FnOnce() -> String) -> ExitCode {
        if self.json { super::print(&format!("{raw}\n")) } else { super::print(&text()) }
    }
}

/// Carries a command out, on this thread.
pub fn carry_out(is_json: bool, command: impl Future<Output = Exit>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Complaint::failed(format!("the runtime cannot be started: {error}")).tell(is_json),
    };
    let exit = runtime.block_on(command);
    // A read of a terminal or a file that still waits would hold the process up.
    runtime.shutdown_background();
    exit.unwrap_or_else(|complaint| complaint.tell(is_json))
}

/// SIGINT and SIGTERM, for those who end in good order.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn listen() -> Result<Self, Complaint> {
        let listen =
            |kind| signal(kind).map_err(|error| Complaint::failed(format!("signals cannot be heard: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next one; its number.
    pub async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

/// The name of an endpoint on the command line.
pub fn endpoint_name(text: &str) -> Result<String, String> {
    EndpointName::new(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string())
}

/// The id of a task on the command line.
pub fn task_id(text: &str) -> Result<String, String> {
    let id: Result<TaskId, _> = text.trim().parse();
    id.map(|id| id.to_string())
        .map_err(|_| "an id of a task has 32 hex digits, as `ekiben submit` printed it".to_owned())
}

/// A time on the command line.
pub fn time(text: &str) -> Result<Duration, String> {
    crate::config::parse_time(text).ok_or_else(|| "write a time like 500ms, 30s, 10m or 24h".to_owned())
}
