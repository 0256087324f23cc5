//! `ekiben list`: which tasks there are.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use ekiben_actors::clock::{Clock, SystemClock};

use super::print;
use super::remote::{Exit, Remote, endpoint_name};
use super::tasks::because;
use super::terminal::{Cell, ago, has_colour, seconds, table};
use crate::client::task::{Task, TaskState};

/// The most tasks on one page of the API.
const PAGE_MAX: u64 = 1000;

/// List tasks, the newest first
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben list
  ekiben list --endpoint summarize --state failed --since 1h
  ekiben list --tag project=rice --limit 1000 --ids | ekiben cancel -
  ekiben list --all --json > tasks.jsonl          a JSON object a line")]
pub struct ListCommand {
    /// Those of this endpoint only
    #[arg(long, short, value_name = "ENDPOINT", value_parser = endpoint_name)]
    endpoint: Option<String>,
    /// Those in this state only: pending, in_progress, completed, failed or canceled
    #[arg(long, short, value_name = "STATE", value_parser = state)]
    state: Option<TaskState>,
    /// Those with this tag only; may be given several times
    #[arg(long = "tag", short, value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<String>,
    /// Those submitted since then only: a time such as 2026-11-25T13:00:00Z, or how long ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<DateTime<Utc>>,
    /// Those submitted before then only
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<DateTime<Utc>>,
    /// The most that are listed
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// List all that there are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Print their ids only, one a line
    #[arg(long, conflicts_with = "json")]
    ids: bool,
    #[command(flatten)]
    remote: Remote,
}

impl ListCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    /// Prints page by page, so that any number of tasks may be listed.
    pub async fn run(self) -> Exit {
        let client = self.remote.client()?;
        let mut left = if self.all { u64::MAX } else { self.limit };
        let mut cursor: Option<String> = None;
        let mut is_first = true;
        loop {
            let limit = left.min(PAGE_MAX).to_string();
            let mut filters = self.filters();
            filters.push(("limit", limit));
            filters.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let filters: Vec<(&str, &str)> = filters.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let (page, raw) = client.list(&filters).await?;
            if self.remote.json {
                let tasks = raw["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
                print(&tasks.iter().map(|task| format!("{task}\n")).collect::<String>());
            } else if self.ids {
                print(&page.tasks.iter().map(|task| format!("{}\n", task.id)).collect::<String>());
            } else if page.tasks.is_empty() && is_first {
                eprintln!("ekiben: no task fits");
            } else {
                print(&shown(&page.tasks));
            }
            is_first = false;
            left = left.saturating_sub(page.tasks.len() as u64);
            cursor = page.next_cursor;
            if cursor.is_none() || left == 0 {
                break;
            }
        }
        if cursor.is_some() && !self.all && !self.ids && !self.remote.json {
            eprintln!("ekiben: there are more; --limit N or --all lists them");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn filters(&self) -> Vec<(&'static str, String)> {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut filters = Vec::new();
        filters.extend(self.endpoint.clone().map(|endpoint| ("endpoint", endpoint)));
        filters.extend(self.state.map(|state| ("state", state.name().to_owned())));
        filters.extend(self.tags.iter().map(|tag| ("tag", tag.clone())));
        filters.extend(self.since.map(|since| ("submitted_after", time(since))));
        filters.extend(self.until.map(|until| ("submitted_before", time(until))));
        filters
    }
}

fn shown(tasks: &[Task]) -> String {
    let rows: Vec<Vec<Cell>> = tasks.iter().map(row).collect();
    table(&["TASK", "ENDPOINT", "STATE", "PRIORITY", "SUBMITTED", "RAN", "ABOUT"], &rows, has_colour())
}

fn row(task: &Task) -> Vec<Cell> {
    let ran = task.started_at.map(|started| {
        let until = task.finished_at.unwrap_or_else(|| SystemClock.now());
        seconds((until - started).as_seconds_f64().max(0.0))
    });
    let tags: Vec<String> = task.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let about = format!("{} {}", because(task).trim(), tags.join(" "));
    vec![
        Cell::plain(&task.id),
        Cell::plain(&task.endpoint),
        Cell::state(task.state),
        Cell::plain(task.priority.to_string()),
        Cell::plain(task.submitted_at.map(ago).unwrap_or_default()),
        Cell::plain(ran.unwrap_or_else(|| "-".to_owned())),
        Cell::plain(about.trim()),
    ]
}

fn state(text: &str) -> Result<TaskState, String> {
    let known = TaskState::ALL.into_iter().find(|state| state.name() == text.replace('-', "_"));
    known.ok_or_else(|| "the states are pending, in_progress, completed, failed and canceled".to_owned())
}

/// `key=value`, as the API has it in a query: `key:value`.
fn tag(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(format!("{key}:{value}")),
        _ => Err("write a tag like project=rice".to_owned()),
    }
}

/// A point in time, or how long ago it was.
fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let ago = crate::config::parse_time(text)
        .and_then(|ago| SystemClock.now().checked_sub_signed(chrono::TimeDelta::from_std(ago).ok()?));
    ago.ok_or_else(|| "write a time like 2026-11-25T13:00:00Z, or how long ago it was, like 90m".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_it_was() {
        assert_eq!(moment("2026-11-25T13:00:00+01:00").unwrap().to_rfc3339(), "2026-11-25T12:00:00+00:00");
        assert!(moment("90m").unwrap() < SystemClock.now() - Duration::from_secs(89 * 60));
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn tags_and_states_are_checked_before_the_service_is_asked() {
        assert_eq!(tag("a=b=c").unwrap(), "a:b=c");
        assert!(tag("a").is_err());
        assert_eq!(state("in-progress").unwrap(), TaskState::InProgress);
        assert!(state("done").is_err());
    }
}
