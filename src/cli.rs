//! The command line: which command, which settings, and the exit code.
//!
//! Nothing is decided here but that; serving is in [`crate::serve`], settings are in [`crate::config`]. The commands for
//! tasks ask a running service over HTTP (`client`): `submit`, `tasks` (status, get, wait, cancel, retry),
//! `list`, `logs`, `watch`, `endpoints` and `run`, with what they share in `remote`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Config, Loaded, Sources};
use crate::demo::sample::{SampleOptions, noisy_wav};
use crate::{serve, telemetry};

mod check;
mod endpoints;
mod list;
mod logs;
mod manual;
mod options;
mod print;
mod remote;
mod run;
mod submit;
mod tasks;
mod terminal;
mod watch;

use print::print;

const ABOUT: &str = "A durable async task queue for inference: submit over HTTP, fetch the result later.";

const LEARN_MORE: &str = "\
Examples, to serve:
  ekiben                                  serve with the defaults: two demo endpoints on 127.0.0.1:3000
  ekiben --config ekiben.toml             serve the endpoints of a file
  ekiben --bentoml http://127.0.0.1:3001  serve the routes of the BentoML service that runs there
  ekiben check --config ekiben.toml       is the file fit to run with? what would it serve?
  ekiben config --config ekiben.toml      which settings are in effect, and where does each come from?
  ekiben sample-wav noisy.wav             make an input for the demo endpoint `denoise`

Examples, for tasks; each command has more in its --help:
  id=$(ekiben submit denoise noisy.wav)   submit a file; the id is printed
  ekiben get $id --wait -o clean.wav      fetch the output once it is there
  ekiben list --state failed --since 1h   which tasks failed?
  ekiben watch                            what waits and runs, live
  ekiben run detect_language --input texts.jsonl --output results.jsonl
                                          every line of a file, any number; interrupt it and go on as you like

A whole file of settings may be as short as:
  [endpoints.summarize]
  type = \"http\"
  url = \"http://127.0.0.1:8000/summarize\"
  concurrency = 4

Settings come from these places, a later one over an earlier one:
  1. the defaults, compiled in            `ekiben config` shows them
  2. the file of --config                 or of the variable EKIBEN_CONFIG
  3. the environment                      EKIBEN__SECTION__KEY, e.g. EKIBEN__LIMITS__BODY=10MiB
                                          or EKIBEN__ENDPOINTS__SUMMARIZE__CONCURRENCY=8
  4. the flags --listen, --data and --bentoml

Exit codes:
  0    done; after SIGTERM or SIGINT: stopped in good order
  1    the settings are not fit to run with, or the service could not start
  2    the command line is wrong
  70   a part of the service failed, by a bug; a restart resumes from the store
  130  a second SIGINT ended it at once (143: a second SIGTERM); nothing acknowledged is lost
  The commands for tasks have further ones; see their --help";

#[derive(Debug, Parser)]
#[command(name = "ekiben", version, about = ABOUT, after_help = LEARN_MORE, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; this is also what `ekiben` alone does
    #[command(after_help = "Examples:\n  ekiben serve --config ekiben.toml --listen 0.0.0.0:3000")]
    Serve(Flags),
    /// Say whether the settings are fit to run with, with all that is wrong, and what would be served
    #[command(after_help = "Examples:\n  ekiben check --config ekiben.toml && systemctl reload-or-restart ekiben")]
    Check(Flags),
    /// Print the settings in effect as TOML, each with the place it came from; secrets are masked
    #[command(after_help = "Examples:\n  EKIBEN__LIMITS__BODY=10MiB ekiben config | grep -A9 limits")]
    Config(Flags),
    #[command(flatten)]
    Remote(Box<RemoteCommand>),
    /// Be a worker that serves a Python function: for the `command` of an endpoint of type "process"
    ///
    /// Runs `python3 -m ekiben worker TARGET`, so the Python must have the package `ekiben`.
    #[command(
        after_help = "Examples:\n  ekiben worker worker.py:classify\n  ekiben worker --python venv/bin/python package.module"
    )]
    Worker {
        /// The Python to run
        #[arg(long, env = "EKIBEN_PYTHON", default_value = "python3")]
        python: PathBuf,
        /// module, module:function, path/to/file.py or path/to/file.py:function, then what else the package takes
        #[arg(value_name = "TARGET", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        target: Vec<OsString>,
    },
    /// Write a small noisy recording, made on the spot, for trying the demo endpoint `denoise`
    #[command(after_help = "Examples:\n  ekiben sample-wav noisy.wav && ekiben submit denoise noisy.wav")]
    SampleWav {
        /// The WAV file to write
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    Completions(manual::CompletionsCommand),
    Man(manual::ManCommand),
}

/// Commands that ask a running service.
#[derive(Debug, Subcommand)]
enum RemoteCommand {
    Submit(Box<submit::SubmitCommand>),
    Run(Box<run::RunCommand>),
    Status(tasks::StatusCommand),
    Get(tasks::GetCommand),
    Wait(tasks::WaitCommand),
    Cancel(tasks::CancelCommand),
    Retry(tasks::RetryCommand),
    List(list::ListCommand),
    Logs(logs::LogsCommand),
    Watch(watch::WatchCommand),
    Endpoints(endpoints::EndpointsCommand),
    Pause(endpoints::PauseCommand),
    Resume(endpoints::ResumeCommand),
    Purge(endpoints::PurgeCommand),
}

impl RemoteCommand {
    fn carry_out(self) -> ExitCode {
        match self {
            Self::Submit(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Run(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Status(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Get(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Wait(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Cancel(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Retry(command) => remote::carry_out(command.is_json(), command.run()),
            Self::List(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Logs(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Watch(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Endpoints(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Pause(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Resume(command) => remote::carry_out(command.is_json(), command.run()),
            Self::Purge(command) => remote::carry_out(command.is_json(), command.run()),
        }
    }
}

#[derive(Args, Debug)]
struct Flags {
    /// The file of settings
    #[arg(long, value_name = "FILE", env = "EKIBEN_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The address to listen on, e.g. 0.0.0.0:3000; the setting http.listen
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// The folder in which tasks are kept; the setting store.data
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Serve every route of the BentoML service at this URL; an endpoint of type "bentoml" with the name bentoml
    #[arg(long, value_name = "URL")]
    bentoml: Option<String>,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    let (flags, command): (Flags, fn(Loaded) -> ExitCode) = match line.command {
        None => (line.flags, serve),
        Some(Command::Serve(flags)) => (flags, serve),
        Some(Command::Check(flags)) => (flags, |loaded| print(&check::report(&loaded.config))),
        Some(Command::Config(flags)) => (flags, |loaded| print(&loaded.to_toml())),
        Some(Command::Remote(command)) => return command.carry_out(),
        Some(Command::Completions(command)) => return command.run(CommandLine::command()),
        Some(Command::Man(command)) => return command.run(CommandLine::command()),
        Some(Command::Worker { python, target }) => return worker(&python, &target),
        Some(Command::SampleWav { file }) => return sample_wav(&file),
    };
    match Config::load(&sources(flags)) {
        Ok(loaded) => command(loaded),
        Err(problems) => {
            eprintln!("ekiben: {problems}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes the Python process; comes back only when that cannot be started.
fn worker(python: &Path, target: &[OsString]) -> ExitCode {
    let error = std::process::Command::new(python).args(["-m", "ekiben", "worker"]).args(target).exec();
    eprintln!("ekiben: {} cannot be started: {error}; name another one with --python", python.display());
    ExitCode::FAILURE
}

fn sample_wav(file: &Path) -> ExitCode {
    match std::fs::write(file, noisy_wav(&SampleOptions::default())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ekiben: {} could not be written: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}

fn sources(flags: Flags) -> Sources {
    let Flags { config, listen, data, bentoml } = flags;
    Sources { file: config, environment: std::env::vars_os().collect(), listen, data, bentoml }
}

fn serve(loaded: Loaded) -> ExitCode {
    let _log = telemetry::start(&loaded.config.log);
    serve::run(loaded.config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_an_example_in_its_help() {
        for command in CommandLine::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:\n"), "{name} has no examples");
            assert!(help.contains(&format!("ekiben {name}")), "the examples of {name} are of another command");
        }
    }

    #[test]
    fn every_example_of_a_command_for_tasks_is_a_command_line_that_is_taken() {
        let id = "0199a1b2c3d44e5f8a9b0c1d2e3f4a5b";
        for command in CommandLine::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().map(str::trim).filter(|line| line.starts_with("ekiben ")) {
                let words = line.split(" | ").next().unwrap_or_default().split("  ").next().unwrap_or_default();
                let words = words.split(" > ").next().unwrap_or_default().split(" && ").next().unwrap_or_default();
                let words = words.replace("0199…", id).replace(['\''], "");
                if words.contains("$(") || words.contains("--data") {
                    continue;
                }
                let parsed = CommandLine::try_parse_from(words.split_whitespace());
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn ekiben_alone_takes_the_flags_of_serve() {
        let line = CommandLine::try_parse_from(["ekiben", "--listen", "127.0.0.1:1", "--data", "d"]).unwrap();
        assert!(line.command.is_none());
        assert_eq!(line.flags.listen.as_deref(), Some("127.0.0.1:1"));
    }
}
