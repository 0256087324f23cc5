//! `ekiben status`, `get`, `wait`, `cancel` and `retry`: tasks that are there.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ekiben_actors::clock::stopwatch;
use futures::{StreamExt, stream};
use serde_json::Value;

use super::print;
use super::remote::{CANCELED, Complaint, EXIT_CODES, Exit, Remote, UNFINISHED, task_id, time};
use super::terminal::{ago, clean, seconds};
use crate::client::task::{Task, TaskState};
use crate::client::{Client, ClientError, WAIT_MAX, content_type};

/// How many tasks are asked about at a time.
const AT_A_TIME: usize = 64;

/// How long after a question that the service could not answer it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The ids of tasks
#[derive(Args, Debug)]
struct Ids {
    /// The task, or several; - reads ids from stdin, one a line
    #[arg(value_name = "ID", required = true, value_parser = id_or_stdin)]
    ids: Vec<String>,
}

/// Tell how tasks stand
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben status 0199…
  ekiben status 0199… --json | jq -r .state")]
pub struct StatusCommand {
    #[command(flatten)]
    ids: Ids,
    #[command(flatten)]
    remote: Remote,
}

/// Write a task's output
#[derive(Args, Debug)]
#[command(after_help = format!("\
Examples:
  ekiben get 0199…                       to a terminal, if it is text
  ekiben get 0199… -o clean.wav
  ekiben get 0199… --wait | jq .

{EXIT_CODES}"))]
pub struct GetCommand {
    /// The task
    #[arg(value_name = "ID", value_parser = task_id)]
    id: String,
    /// The file to write; stdout where none is named
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Wait until the task has ended
    #[arg(long, short)]
    wait: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Wait until tasks have ended; the exit code tells how
#[derive(Args, Debug)]
#[command(after_help = format!("\
Examples:
  ekiben wait 0199… && ekiben get 0199…
  ekiben list --tag project=rice --state pending --ids | ekiben wait - --timeout 1h

Of several tasks, the exit code is 1 if one failed, else 3 if one was canceled.

{EXIT_CODES}"))]
pub struct WaitCommand {
    #[command(flatten)]
    ids: Ids,
    /// How long to wait at most
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    #[command(flatten)]
    remote: Remote,
}

/// Cancel tasks that wait; with --force those that run, too
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben cancel 0199…
  ekiben cancel 0199… --force            stops it even if it runs
  ekiben list --tag run=8f31… --state pending --ids | ekiben cancel -

What came of it is printed: canceled, cancel_requested (it runs, and is being stopped) or already_finished.")]
pub struct CancelCommand {
    #[command(flatten)]
    ids: Ids,
    /// Stop a task that runs, too
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Run the input of finished tasks again, as new tasks, and print their ids
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben retry 0199…
  ekiben list --endpoint summarize --state failed --ids | ekiben retry -")]
pub struct RetryCommand {
    #[command(flatten)]
    ids: Ids,
    #[command(flatten)]
    remote: Remote,
}

impl StatusCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    pub async fn run(self) -> Exit {
        let client = self.remote.client()?;
        for id in self.ids.all()? {
            let (task, raw) = client.task(&id, None).await?;
            self.remote.show(&raw, || described(&task));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl GetCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    pub async fn run(self) -> Exit {
        let client = self.remote.client()?;
        let (task, raw) = match self.wait {
            true => until_ended(&client, &self.id, None).await?,
            false => client.task(&self.id, None).await?,
        };
        if task.state != TaskState::Completed {
            if self.remote.json {
                print(&format!("{raw}\n"));
            }
            return told(&task);
        }
        let mut answer = client.accepted(client.output(&self.id).await?).await?;
        let kind = content_type(&answer).unwrap_or("application/octet-stream").to_owned();
        let lost = |error: &reqwest::Error| Complaint::from(client.lost(error));
        if let Some(path) = &self.output {
            let failed = |error| Complaint::failed(format!("{} cannot be written: {error}", path.display()));
            let mut file = std::fs::File::create(path).map_err(failed)?;
            while let Some(piece) = answer.chunk().await.map_err(|error| lost(&error))? {
                file.write_all(&piece).map_err(failed)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let is_terminal = std::io::stdout().is_terminal();
        if is_terminal && !is_text(&kind) {
            let bytes = task.output_bytes.unwrap_or_default();
            let problem =
                format!("the output is {bytes} bytes of {kind}, no text for a terminal; name a file with -o FILE");
            return Err(Complaint::failed(problem));
        }
        let mut stdout = std::io::stdout().lock();
        let mut ends_line = true;
        while let Some(piece) = answer.chunk().await.map_err(|error| lost(&error))? {
            ends_line = piece.ends_with(b"\n");
            match stdout.write_all(&piece) {
                Ok(()) => {}
                // Who reads has seen enough.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
                Err(error) => return Err(Complaint::failed(format!("stdout cannot be written: {error}"))),
            }
        }
        drop(stdout);
        Ok(print(if is_terminal && !ends_line { "\n" } else { "" }))
    }
}

impl WaitCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    pub async fn run(self) -> Exit {
        let client = self.remote.client()?;
        let ids = self.ids.all()?;
        let waiting = stopwatch();
        let left = || self.timeout.map(|timeout| timeout.saturating_sub(waiting.elapsed()));
        let waits = ids.iter().map(|id| async { until_ended(&client, id, left()).await });
        let mut waits = stream::iter(waits).buffer_unordered(AT_A_TIME);
        let (mut failed, mut canceled, mut unfinished) = (false, false, false);
        while let Some(ended) = waits.next().await {
            let (task, raw) = ended?;
            match task.state {
                TaskState::Pending | TaskState::InProgress => unfinished = true,
                TaskState::Completed => {}
                TaskState::Failed => failed = true,
                TaskState::Canceled => canceled = true,
            }
            self.remote.show(&raw, || format!("{} {}{}\n", task.id, task.state, because(&task)));
        }
        Ok(ExitCode::from(match (failed, canceled, unfinished) {
            (true, ..) => 1,
            (false, true, _) => CANCELED,
            (false, false, true) => UNFINISHED,
            (false, false, false) => 0,
        }))
    }
}

impl CancelCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    pub async fn run(self) -> Exit {
        let client = self.remote.client()?;
        let mut code = ExitCode::SUCCESS;
        for id in self.ids.all()? {
            match client.cancel(&id, self.force).await {
                Ok(raw) => {
                    let result = raw.get("result").and_then(Value::as_str).unwrap_or("canceled").to_owned();
                    self.remote.show(&raw, || format!("{id} {result}\n"));
                }
                // One that runs does not keep the others from being canceled.
                Err(error @ ClientError::Refused(_)) => {
                    let is_running = error.code() == Some("already_started") && !self.force;
                    let way_out = if is_running { "; --force stops it all the same" } else { "" };
                    eprintln!("ekiben: {}{way_out}", Complaint::from(error));
                    code = ExitCode::FAILURE;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(code)
    }
}

impl RetryCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    pub async fn run(self) -> Exit {
        let client = self.remote.client()?;
        for id in self.ids.all()? {
            let (task, raw) = client.retry(&id).await?;
            self.remote.show(&raw, || format!("{}\n", task.id));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Ids {
    /// All ids, those from stdin in the place of the `-`.
    fn all(&self) -> Result<Vec<String>, Complaint> {
        let mut all = Vec::new();
        for id in &self.ids {
            if id != "-" {
                all.push(id.clone());
                continue;
            }
            for line in std::io::stdin().lines() {
                let line = line.map_err(|error| Complaint::failed(format!("stdin cannot be read: {error}")))?;
                if !line.trim().is_empty() {
                    all.push(task_id(&line).map_err(|problem| Complaint::usage(format!("{line:?}: {problem}")))?);
                }
            }
        }
        Ok(all)
    }
}

fn id_or_stdin(text: &str) -> Result<String, String> {
    if text == "-" { Ok(text.to_owned()) } else { task_id(text) }
}

/// The task when it has ended, or as it is after that time. A service that goes away meanwhile is waited for.
pub async fn until_ended(client: &Client, id: &str, within: Option<Duration>) -> Result<(Task, Value), Complaint> {
    let waiting = stopwatch();
    let mut was_heard = false;
    loop {
        let left = within.map_or(WAIT_MAX, |within| within.saturating_sub(waiting.elapsed()));
        let asking = stopwatch();
        match client.task(id, Some(left.min(WAIT_MAX))).await {
            Ok((task, raw)) => {
                was_heard = true;
                let is_over = within.is_some_and(|within| waiting.elapsed() >= within);
                if task.state.has_ended() || is_over {
                    return Ok((task, raw));
                }
                // A service that is stopping answers at once, and is not to be asked without end.
                tokio::time::sleep(ASK_AGAIN.min(left).saturating_sub(asking.elapsed())).await;
            }
            Err(error) if was_heard && error.is_passing() => {
                if within.is_some_and(|within| waiting.elapsed() >= within) {
                    return Err(error.into());
                }
                tokio::time::sleep(error.retry_after().unwrap_or(ASK_AGAIN).min(WAIT_MAX)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The exit that a task's state stands for, with the reason for all but the good one.
pub fn told(task: &Task) -> Exit {
    let text = format!("task {} {}{}", task.id, spoken(task.state), because(task));
    match task.state {
        TaskState::Completed => Ok(ExitCode::SUCCESS),
        TaskState::Failed => Err(Complaint::failed(text)),
        TaskState::Canceled => Err(Complaint::canceled(text)),
        TaskState::Pending | TaskState::InProgress => {
            Err(Complaint::unfinished(format!("{text}; --wait waits for its end")))
        }
    }
}

fn spoken(state: TaskState) -> &'static str {
    match state {
        TaskState::Pending => "waits to be run",
        TaskState::InProgress => "is running",
        TaskState::Completed => "completed",
        TaskState::Failed => "failed",
        TaskState::Canceled => "was canceled",
    }
}

/// Of a failed task, why.
pub fn because(task: &Task) -> String {
    match &task.failure {
        Some(failure) if failure.message.is_empty() => format!(" ({})", failure.code),
        Some(failure) => format!(" ({}): {}", failure.code, clean(&failure.message)),
        None => String::new(),
    }
}

pub fn is_text(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/")
        || matches!(kind, "application/json" | "application/xml" | "application/jsonl" | "application/x-ndjson")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
}

/// A task for people, a line a thing.
fn described(task: &Task) -> String {
    let mut lines = vec![("task", task.id.clone()), ("endpoint", task.endpoint.clone())];
    lines.push(("state", format!("{}{}", task.state, because(task))));
    if task.cancel_requested {
        lines.push(("", "it is being stopped".to_owned()));
    }
    lines.push(("priority", task.priority.to_string()));
    if task.attempt > 0 {
        lines.push(("attempt", task.attempt.to_string()));
    }
    if let Some(progress) = &task.progress {
        let fraction = progress.fraction.map_or_else(String::new, |fraction| format!("{:.0} %", fraction * 100.0));
        let message = progress.message.as_deref().map(clean).unwrap_or_default();
        lines.push(("progress", format!("{fraction} {message}").trim().to_owned()));
    }
    if let Some(queue) = task.queue.as_ref().filter(|_| task.state == TaskState::Pending) {
        let position = queue.position.map_or_else(|| "unknown".to_owned(), |position| position.to_string());
        let range = queue.start.as_ref().and_then(|start| start.earliest.zip(start.latest));
        let start = range.map_or_else(String::new, |(first, last)| format!(", starts {} to {}", ago(first), ago(last)));
        lines.push(("position", format!("{position}{start}")));
    }
    let times = [
        ("submitted", task.submitted_at),
        ("due", task.due_at.filter(|due| task.state == TaskState::Pending && Some(*due) > task.submitted_at)),
        ("started", task.started_at),
        ("finished", task.finished_at),
        ("kept until", task.expires_at),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            lines.push((name, format!("{} ({})", time.format("%Y-%m-%d %H:%M:%S UTC"), ago(time))));
        }
    }
    if let (Some(started), Some(finished)) = (task.started_at, task.finished_at) {
        lines.push(("ran", seconds((finished - started).as_seconds_f64())));
    }
    lines.push(("input", format!("{} bytes", task.input_bytes)));
    if task.state == TaskState::Completed {
        lines.push(("output", format!("{} bytes", task.output_bytes.unwrap_or_default())));
    }
    for (key, value) in &task.tags {
        lines.push(("tag", clean(&format!("{key}={value}"))));
    }
    let log = task.failure.as_ref().and_then(|failure| failure.log.as_deref());
    let mut text = String::new();
    for (name, value) in lines {
        text.push_str(&format!("{name:11}{value}\n"));
    }
    for line in log.unwrap_or_default().lines() {
        text.push_str(&format!("  | {}\n", clean(line)));
    }
    text
}
