//! `ekiben run`: a large volume through an endpoint, which may be interrupted and gone on with at any moment.
//!
//! ```text
//! input ─► Lines ─► Flights (so many at a time) ─► Results ─► output
//!                                                     └─► Journal, in steps, once they are safe
//! ```
//!
//! All of it happens in one loop on one thread, so that nothing here is shared. In memory are the lines under way and
//! no others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use ekiben_actors::clock::{Clock, SystemClock, stopwatch};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::options::{PolicyFlags, time};
use super::remote::{Complaint, Exit, Remote, Signals};
use crate::client::submission::Options;

mod answer;
mod done;
mod files;
mod flight;
mod folder;
mod gate;
mod journal;
mod lines;
mod pace;
mod progress;
mod results;
mod summary;

use answer::{Answered, Outcome};
use files::Files;
use flight::{Fatal, Flights, Place};
use gate::Trouble;
use journal::{Checkpoint, Header, Journal, JournalError};
use lines::{Form, Lines, Survey, survey};
use progress::{Progress, Standing, TICK};
use results::{Results, ResultsError};
use summary::Unit;

/// How often what was written is made safe, and that is recorded.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);

/// Most bytes of inputs that are under way at a time, but for one line that has more.
const INPUTS_MAX: u64 = 64 * 1024 * 1024;

/// When so many lines were answered and every one was refused, something is wrong with all of them.
const ALL_REFUSED: u64 = 100;

/// Open files beside the connections of the lines under way.
const OTHER_FILES: u64 = 64;

const EXAMPLES: &str = "\
Examples:
  ekiben run summarize --input prompts.jsonl --output results.jsonl
  ekiben run denoise --input recordings/ --output clean/
  ekiben run summarize --input prompts.jsonl --output results.jsonl --priority low --tag project=rice
  ekiben run summarize --input prompts.jsonl --output results.jsonl --retry-failed

Input: a file with a JSON value in each line, or a folder of files.
  {\"text\": \"a line is an input as it stands\"}
  {\"custom_id\": \"a\", \"input\": {\"text\": \"or a task\"}, \"priority\": \"high\", \"timeout\": \"30s\"}
Of a folder, each file is an input by its bytes, with the content type that its name tells; hidden files are left out.

Output: a line for each line, in the order they end, of which `sort -t: -k2n` makes the input's:
  {\"line\":1,\"task_id\":\"0199…\",\"state\":\"completed\",\"content_type\":\"application/json\",\"output\":{…}}
  {\"line\":2,\"custom_id\":\"a\",\"task_id\":\"0199…\",\"state\":\"failed\",\"failure\":{\"code\":\"timeout\",…}}
Of a folder, a folder of files; the lines about them are in OUTPUT/.ekiben-run/results.jsonl.

Interrupt it with Ctrl-C whenever you like, or lose the machine, the network or the service: the same command goes on
where it was, and no line is run twice. What it needs for that is beside the output, in OUTPUT.ekiben-run; delete it
when all is done. While the service is away, it waits for it.

Exit codes:
  0 every line completed · 1 some did not (see the output) · 2 the command line is wrong · 5 the service was away for
  too long · 130 interrupted";

/// Run every line of a file, or every file of a folder, as a task, and collect the results
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RunCommand {
    /// The endpoint
    #[arg(value_name = "ENDPOINT", value_parser = super::remote::endpoint_name)]
    endpoint: String,
    /// A file with a JSON value in each line, or a folder of files
    #[arg(long, short, value_name = "PATH")]
    input: PathBuf,
    /// The file for the results, or the folder for them where the input is one
    #[arg(long, short, value_name = "PATH")]
    output: PathBuf,
    /// How a line is to be understood
    #[arg(long, value_enum, default_value_t)]
    lines: Form,
    /// Most tasks that are unfinished at a time; each takes a connection
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    window: u32,
    /// How long the service may be away, or without room, before the run ends by itself
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    patience: Duration,
    /// Once every line has its answer, run those again that failed
    #[arg(long)]
    retry_failed: bool,
    /// Start over: forget what is in the output, and run every line anew
    #[arg(long, conflicts_with = "retry_failed")]
    fresh: bool,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    policy: PolicyFlags,
    #[command(flatten)]
    remote: Remote,
}

/// Why a run ended before its end.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Complaint(#[from] Complaint),
    #[error(transparent)]
    Fatal(#[from] Fatal),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error("{0} cannot be read: {1}")]
    Input(PathBuf, std::io::Error),
}

/// A run in the midst of it.
struct Run {
    command: RunCommand,
    unit: Unit,
    flights: Flights,
    lines: Lines,
    lines_path: PathBuf,
    trail: Trail,
    /// How many lines had their answer when it began.
    answered_before: u64,
    /// How many lines there are, once they are counted.
    total: Option<u64>,
    counting: Option<Counting>,
}

/// What a run leaves behind while it goes.
struct Trail {
    results: Results,
    journal: Journal,
    progress: Progress,
    /// When the last checkpoint was.
    checked: Instant,
}

/// How the loop ended.
enum Ended {
    AllAnswered,
    /// By a signal, of this number.
    Interrupted(u8),
}

impl RunCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    pub async fn run(self) -> Exit {
        self.try_run().await.map_err(|error| match error {
            RunError::Complaint(complaint) => complaint,
            RunError::Fatal(Fatal::Client(error)) => error.into(),
            error @ (RunError::Fatal(_) | RunError::Journal(_) | RunError::Results(_) | RunError::Input(..)) => {
                Complaint::failed(error.to_string())
            }
        })
    }

    async fn try_run(self) -> Result<ExitCode, RunError> {
        // Until it is open, a signal ends it as it ends any program: nothing is half done that matters.
        let mut run = Run::open(self).await?;
        let mut signals = Signals::listen()?;
        let ended = run.answer_all(&mut signals).await;
        run.end(ended, signals).await
    }
}

impl Run {
    /// Begins a run, or goes on with the one that the output is of.
    async fn open(mut command: RunCommand) -> Result<Self, RunError> {
        let client = command.remote.client()?;
        let input = fs::canonicalize(&command.input).map_err(|error| RunError::Input(command.input.clone(), error))?;
        command.endpoint = client.endpoint(&command.endpoint).await.map_err(Complaint::from)?.0.name;
        let is_folder = input.is_dir();
        let unit = if is_folder { Unit::Files } else { Unit::Lines };
        let files = Files::of(&command, &input, is_folder)?;
        let begun = if command.fresh { None } else { Journal::open(&files.journal)? };
        let (mut journal, mut results) = match begun {
            Some(journal) => {
                files::fits(&journal, &command, &input, client.server())?;
                let results = Results::open(&files.results, journal.checkpoint.results_bytes)?;
                (journal, results)
            }
            None => begin(&command, &input, client.server(), &files)?,
        };
        let (total, counting) = count(&files.lines, &journal, &results).await?;
        if command.retry_failed && total == Some(results.tally.answered) && results.tally.failed() > 0 {
            journal.next_round()?;
            results = results.drop_failed()?;
        }
        if let (false, Some(total)) = (command.quiet || results.tally.answered == 0, total) {
            eprintln!("ekiben: {}", summary::resumed(unit, &results.tally, total));
        }

        let mut options = Options::default();
        options.set("priority", "background").expect("it is an option");
        options.tag("run", &journal.header.id);
        let options = options.with(&command.policy.options()?);
        let place = match is_folder {
            true => Place::Folder { input, output: command.output.clone() },
            false => Place::Lines { large: files::beside(&command.output, "outputs") },
        };
        allow_files(u64::from(command.window) + OTHER_FILES);
        let lines = Lines::open(&files.lines).map_err(|error| RunError::Input(files.lines.clone(), error))?;
        let (run, round, form) = (journal.header.id.clone(), journal.round, command.lines);
        let flights = Flights::new(client, &command.endpoint, &run, round, form, options, place);
        let progress = Progress::new(&command.endpoint, command.quiet);
        let (lines_path, answered_before, checked) = (files.lines, results.tally.answered, stopwatch());
        let trail = Trail { results, journal, progress, checked };
        Ok(Self { command, unit, flights, lines, lines_path, trail, answered_before, total, counting })
    }

    /// Goes through all lines. At the first signal it stops where it is: what is under way goes on at the service.
    async fn answer_all(&mut self, signals: &mut Signals) -> Result<Ended, RunError> {
        let Self { command, flights, lines, lines_path, trail, total, counting, .. } = self;
        let window = command.window as usize;
        let mut under_way = FuturesUnordered::new();
        let (mut bytes_under_way, mut is_read) = (0, false);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            while !is_read && under_way.len() < window && bytes_under_way < INPUTS_MAX {
                match lines.read().map_err(|error| RunError::Input(lines_path.clone(), error))? {
                    None => is_read = true,
                    Some(line) if trail.results.done.contains(line.number) => {}
                    Some(line) => {
                        let bytes = flights.input_bytes(&line);
                        bytes_under_way += bytes;
                        let flight = flights.fly(line);
                        under_way.push(async move { (bytes, flight.await) });
                    }
                }
            }
            if is_read && under_way.is_empty() {
                return Ok(Ended::AllAnswered);
            }
            tokio::select! {
                signal = signals.next() => return Ok(Ended::Interrupted(signal)),
                Some((bytes, answered)) = under_way.next() => {
                    bytes_under_way -= bytes;
                    trail.take(&answered?)?;
                }
                counted = counted(counting) => {
                    *total = Some(counted.map_err(|error| RunError::Input(lines_path.clone(), error))?.lines);
                }
                _ = tick.tick() => trail.tick(lines, *total, flights.gate.trouble(), command.patience)?,
            }
        }
    }

    /// Makes all that was written safe, and says how things stand.
    async fn end(self, ended: Result<Ended, RunError>, mut signals: Signals) -> Result<ExitCode, RunError> {
        let trouble = self.flights.gate.trouble();
        let Trail { mut results, mut journal, mut progress, .. } = self.trail;
        progress.end(Standing::of(&results.tally, self.total, trouble.as_ref()));
        let (is_json, is_quiet, lines) = (self.command.remote.json, self.command.quiet, self.lines);
        let closing = tokio::task::spawn_blocking(move || {
            let checked = check(&mut results, &lines, &mut journal);
            (results, journal, checked)
        });
        let (results, journal, checked) = tokio::select! {
            closed = closing => closed.expect("closing does not panic"),
            // What is not safe yet is asked for again by the run that goes on.
            signal = signals.next() => std::process::exit(128 + i32::from(signal)),
        };
        let (ended, tally) = (ended?, &results.tally);
        checked?;
        let interrupted = matches!(ended, Ended::Interrupted(_));
        if is_json {
            println!("{}", summary::json(&journal.header, results.path(), tally, self.total, interrupted));
        }
        let code = match ended {
            Ended::Interrupted(signal) => {
                eprintln!("ekiben: {}", summary::interrupted(self.unit, tally, self.total));
                return Ok(ExitCode::from(128 + signal));
            }
            Ended::AllAnswered if tally.failed() > 0 => {
                eprintln!("ekiben: {}", summary::failed(self.unit, tally, results.path()));
                return Ok(ExitCode::FAILURE);
            }
            Ended::AllAnswered => ExitCode::SUCCESS,
        };
        if tally.answered == 0 {
            eprintln!("ekiben: {} has nothing in it, so there is nothing to do", self.command.input.display());
        }
        // Where there was nothing left to do, that was said.
        if !is_quiet && tally.answered > self.answered_before {
            eprintln!("ekiben: {}", summary::completed(self.unit, tally, progress.elapsed(), results.path()));
        }
        Ok(code)
    }
}

impl Trail {
    /// Records the answer of a line.
    fn take(&mut self, answered: &Answered) -> Result<(), RunError> {
        answered.record(&mut self.results)?;
        let tally = &self.results.tally;
        let all_refused = tally.refused == tally.answered && tally.answered == ALL_REFUSED;
        match &answered.outcome {
            Outcome::Refused { message, .. } if all_refused => {
                Err(Complaint::failed(summary::all_refused(message)).into())
            }
            _ => Ok(()),
        }
    }

    /// Shows how far things are, and makes safe what there is, now and then.
    fn tick(
        &mut self,
        lines: &Lines,
        total: Option<u64>,
        trouble: Option<Trouble>,
        patience: Duration,
    ) -> Result<(), RunError> {
        self.progress.show(Standing::of(&self.results.tally, total, trouble.as_ref()));
        self.results.flush()?;
        if let Some(trouble) = trouble.filter(|trouble| trouble.lasts() >= patience) {
            return Err(Complaint::away(summary::away(&trouble.why, patience)).into());
        }
        if self.checked.elapsed() >= CHECKPOINT_EVERY {
            self.checked = stopwatch();
            check(&mut self.results, lines, &mut self.journal)?;
        }
        Ok(())
    }
}

/// Begins a run anew, with nothing in its output.
fn begin(command: &RunCommand, input: &Path, server: &str, files: &Files) -> Result<(Journal, Results), RunError> {
    files::refuse_foreign(command, files)?;
    // First it is ours alone, then empty, and only then is the journal begun: one that says nothing yet is of no run.
    let mut journal = Journal::create(&files.journal)?;
    let results = Results::create(&files.results)?;
    if input.is_dir() {
        let listed = folder::list(input, &command.output, &files.lines);
        listed.map_err(|error| RunError::Input(input.to_owned(), error))?;
    }
    let id = Uuid::new_v4().simple().to_string();
    journal.begin(Header::new(id, &command.endpoint, server, input, SystemClock.now()))?;
    Ok((journal, results))
}

type Counting = JoinHandle<std::io::Result<Survey>>;

/// Counts the lines: now, where a run goes on, to make sure that its input is what it was; else while it runs.
async fn count(path: &Path, journal: &Journal, results: &Results) -> Result<(Option<u64>, Option<Counting>), RunError> {
    let (lines, prefix) = (path.to_owned(), journal.checkpoint.input_bytes);
    let counting = tokio::task::spawn_blocking(move || survey(&lines, prefix));
    if prefix == 0 && results.tally.answered == 0 {
        return Ok((None, Some(counting)));
    }
    let counted = counting.await.expect("counting does not panic");
    let counted = counted.map_err(|error| RunError::Input(path.to_owned(), error))?;
    if prefix > 0 && counted.digest.as_ref() != Some(&journal.checkpoint.input_digest) {
        return Err(Complaint::failed(summary::changed(path)).into());
    }
    Ok((Some(counted.lines), None))
}

/// Makes results safe, and records that they are.
fn check(results: &mut Results, lines: &Lines, journal: &mut Journal) -> Result<(), RunError> {
    let results_bytes = results.sync()?;
    let (input_bytes, input_digest) = lines.read_so_far();
    Ok(journal.check(Checkpoint { results_bytes, input_bytes, input_digest })?)
}

/// Waits until the lines are counted; for ever, once that is known.
async fn counted(counting: &mut Option<Counting>) -> std::io::Result<Survey> {
    match counting {
        None => std::future::pending().await,
        Some(task) => {
            let counted = task.await.expect("counting does not panic");
            *counting = None;
            counted
        }
    }
}

/// Has the system allow as many open files, as far as it lets us.
fn allow_files(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let raised = maximum.map_or(wanted, |maximum| wanted.min(maximum));
        // Where it is refused, fewer connections are open at a time, and some lines wait for another try.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    }
}
