//! The options of a submission, as flags.

use std::time::Duration;

use clap::Args;
use ekiben_actors::task::Priority;

use super::remote::Complaint;
pub use super::remote::time;
use crate::client::submission::Options;
use crate::config::show_time;

/// What a task asks for beside its endpoint's settings
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Options of the task")]
pub struct PolicyFlags {
    /// How urgent it is: urgent, high, normal, low, background, or 0 (first) to 9
    #[arg(long, value_name = "PRIORITY", value_parser = priority)]
    priority: Option<String>,
    /// Start it so much later at the earliest, e.g. 10m
    #[arg(long, value_name = "TIME", value_parser = time)]
    delay: Option<Duration>,
    /// A tag to find it by; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// How long a run of it may take
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    /// By when, from now, it must have ended, whatever happens
    #[arg(long, value_name = "TIME", value_parser = time)]
    deadline: Option<Duration>,
    /// By when, from now, it must have started
    #[arg(long, value_name = "TIME", value_parser = time)]
    queue_ttl: Option<Duration>,
    /// How often it may fail before it has failed; 1 for no second try
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: Option<u32>,
    /// How long it is kept once it has ended
    #[arg(long, value_name = "TIME", value_parser = time)]
    retention: Option<Duration>,
    /// Whose task it is: those who wait share an endpoint evenly
    #[arg(long, value_name = "KEY")]
    fairness_key: Option<String>,
    /// Where to tell that it has ended
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
}

impl PolicyFlags {
    /// The same as options of a submission; those that were not given are not among them.
    pub fn options(&self) -> Result<Options, Complaint> {
        let times = [
            ("delay", self.delay),
            ("timeout", self.timeout),
            ("deadline", self.deadline),
            ("queue_ttl", self.queue_ttl),
            ("retention", self.retention),
        ];
        let times = times.map(|(name, time)| (name, time.map(show_time)));
        let texts = [
            ("priority", self.priority.clone()),
            ("max_attempts", self.max_attempts.map(|attempts| attempts.to_string())),
            ("fairness_key", self.fairness_key.clone()),
            ("webhook", self.webhook.clone()),
        ];
        let mut options = Options::default();
        for (name, value) in times.into_iter().chain(texts) {
            if let Some(value) = value {
                options.set(name, &value).map_err(Complaint::usage)?;
            }
        }
        for (key, value) in &self.tags {
            options.tag(key, value);
        }
        Ok(options)
    }
}

fn priority(text: &str) -> Result<String, String> {
    let known: Result<Priority, _> = text.parse();
    known.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// `key=value`, of a tag.
fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write a tag like project=rice".to_owned()),
    }
}
