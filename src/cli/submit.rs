//! `ekiben submit`: one task.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;

use super::options::PolicyFlags;
use super::remote::{Complaint, EXIT_CODES, Exit, Remote, endpoint_name};
use super::tasks::{self, until_ended};
use crate::client::Submitted;
use crate::client::submission::Submission;

const EXAMPLES: &str = "\
Examples:
  ekiben submit summarize --data '{\"text\": \"…\"}'       JSON from the command line
  ekiben submit denoise noisy.wav                        a file, with the content type its name tells
  curl -s https://example.org/a.txt | ekiben submit summarize -
  id=$(ekiben submit summarize request.json --priority high --tag project=rice)
  ekiben get $(ekiben submit summarize request.json --wait)";

/// Submit a task, and print its id
#[derive(Args, Debug)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct SubmitCommand {
    /// The endpoint
    #[arg(value_name = "ENDPOINT", value_parser = endpoint_name)]
    endpoint: String,
    /// The file with the input; - is stdin
    #[arg(value_name = "FILE", required_unless_present = "data")]
    file: Option<PathBuf>,
    /// The input itself, as JSON
    #[arg(long, short, value_name = "JSON", conflicts_with = "file")]
    data: Option<String>,
    /// The input's content type, instead of the one that its name or its bytes tell
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Submitting again with the same key and input gives the same task
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Wait until the task has ended; the exit code tells how
    #[arg(long, short)]
    wait: bool,
    #[command(flatten)]
    policy: PolicyFlags,
    #[command(flatten)]
    remote: Remote,
}

impl SubmitCommand {
    pub fn is_json(&self) -> bool {
        self.remote.json
    }

    pub async fn run(self) -> Exit {
        let client = self.remote.client()?;
        let (input, guessed) = self.input()?;
        let submission = Submission {
            content_type: self.content_type.clone().unwrap_or(guessed),
            input: input.into(),
            options: self.policy.options()?,
            idempotency_key: self.idempotency_key.clone(),
            wait: None,
        };
        let (task, raw) = match client.submit(&self.endpoint, &submission).await? {
            Submitted::Recorded { task, raw } => (*task, raw),
            // A service that waits unasked; it has ended all the same.
            Submitted::Ended { task, .. } => client.task(&task, None).await?,
        };
        let printed = self.remote.show(&raw, || format!("{}\n", task.id));
        if !self.wait {
            return Ok(printed);
        }
        let (task, _) = until_ended(&client, &task.id, None).await?;
        tasks::told(&task)
    }

    /// The input and what it seems to be.
    fn input(&self) -> Result<(Vec<u8>, String), Complaint> {
        if let Some(data) = &self.data {
            if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(data) {
                return Err(Complaint::usage(format!("--data is no JSON: {error}; in a shell, put it in '…'")));
            }
            return Ok((data.clone().into_bytes(), "application/json".to_owned()));
        }
        let file = self.file.as_ref().expect("clap asks for one of the two");
        if file.as_os_str() != "-" {
            let input = std::fs::read(file)
                .map_err(|error| Complaint::usage(format!("{} cannot be read: {error}", file.display())))?;
            let guessed = mime_guess::from_path(file).first_or_octet_stream();
            return Ok((input, guessed.essence_str().to_owned()));
        }
        let (mut stdin, mut input) = (std::io::stdin().lock(), Vec::new());
        if stdin.is_terminal() {
            eprintln!("ekiben: reading the input from the terminal; Ctrl-D ends it");
        }
        stdin.read_to_end(&mut input).map_err(|error| Complaint::failed(format!("stdin cannot be read: {error}")))?;
        let guessed = match std::str::from_utf8(&input) {
            Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => "application/json",
            Ok(_) => "text/plain; charset=utf-8",
            Err(_) => "application/octet-stream",
        };
        Ok((input, guessed.to_owned()))
    }
}
