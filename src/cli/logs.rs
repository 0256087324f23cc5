//! `ekiben logs`: the last lines that a task's attempt logged, and those that come.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::print;
use super::remote::{Exit, Remote, task_id};
use super::tasks::told;
use super::terminal::clean;
use super::watch::Follow;

/// Print what a task's latest attempt logged
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ekiben logs 0199…
  ekiben logs -f 0199…                   goes on until the task has ended, whose state is the exit code")]
pub struct LogsCommand {
    /// The task
    #[arg(value_name = "ID", value_parser = task_id)]
    id: String,
    /// Go on with the lines that come, until the task has ended
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Default, Deserialize)]
struct Logs {
    #[serde(default)]
    lines: Vec<Value>,
    #[serde(default)]
    dropped: u64,
}

impl LogsCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    pub async fn run(self) -> Exit {
        let client = self.remote.client()?;
        if self.follow {
            // The events begin with the lines that are kept.
            let mut follow = Follow::new(&client, &self.id);
            while let Some(event) = follow.next().await? {
                if event.kind == "log" {
                    self.tell(&event.value());
                }
            }
            return told(&client.task(&self.id, None).await?.0);
        }
        let raw = client.logs(&self.id).await?;
        if self.remote.json {
            return Ok(print(&format!("{raw}\n")));
        }
        let logs = Logs::deserialize(&raw).unwrap_or_default();
        if logs.dropped > 0 {
            eprintln!("ekiben: {} earlier lines are not kept", logs.dropped);
        }
        logs.lines.iter().for_each(|line| self.tell(line));
        Ok(ExitCode::SUCCESS)
    }

    fn tell(&self, line: &Value) {
        if self.remote.json {
            print(&format!("{line}\n"));
            return;
        }
        let text = |name: &str| line.get(name).and_then(Value::as_str).map(clean).unwrap_or_default();
        print(format!("{} {:5} {}", text("at"), text("level"), text("message")).trim_end());
        print("\n");
    }
}
