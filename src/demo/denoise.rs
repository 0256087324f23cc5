//! The demo endpoint `denoise`: a WAV in, the same WAV without the noise out.
//!
//! The file is the body itself or the file part of a form, which is how BentoML's client sends it. A block is
//! read, cleaned and written at a time, so a file of any length costs the same few MiB of memory. Between two
//! blocks it looks whether it should stop.

use std::io;

use bytes::Bytes;
use ekiben_actors::body::Body;
use ekiben_actors::executor::{Attempt, Executor};
use ekiben_actors::spool::SpoolError;
use ekiben_actors::task::{Failure, FailureCode, Headers, Outcome, Output};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::cleaning::Cleaning;
use super::multipart::FilePart;
use super::{DemoEndpoint, Refusal};

/// Bytes of the body that are cleaned in one go: a fraction of a second of sound, milliseconds of work.
const BLOCK: usize = 64 * 1024;

/// The property of the input, and so the name of the form's part, that holds the file.
const AUDIO: &str = "audio";

/// Cleans WAV files.
struct Denoise;

pub fn endpoint() -> DemoEndpoint {
    DemoEndpoint {
        description: "Removes the noise from speech: a WAV file in, the cleaned WAV file out.",
        input: input_schema(),
        output: json!({"type": "file", "format": "audio", "content_type": "audio/wav"}),
        executor: std::sync::Arc::new(Denoise),
    }
}

fn input_schema() -> Value {
    json!({
        "type": "object",
        "title": "Input",
        "properties": {
            AUDIO: {"type": "file", "format": "audio", "content_type": "audio/wav", "title": "Audio"},
        },
        "required": [AUDIO],
    })
}

impl Executor for Denoise {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            match denoise(attempt).await {
                Ok(output) => Outcome::Done(output),
                Err(Stop::Refused(refusal)) => refusal.into_outcome(),
                Err(Stop::Failed(failure)) => Outcome::Failed(failure, None),
                Err(Stop::Canceled) => Outcome::Canceled,
            }
        })
    }
}

/// Why there is no output.
enum Stop {
    Refused(Refusal),
    Failed(Failure),
    Canceled,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Failed(Failure::new(FailureCode::Failed, format!("the input could not be read: {error}")))
    }
}

impl From<SpoolError> for Stop {
    fn from(error: SpoolError) -> Self {
        Stop::Failed(error.into())
    }
}

async fn denoise(attempt: Attempt) -> Result<Output, Stop> {
    let mut spool = attempt.outputs.spool();
    let mut work = Work::on(&attempt)?;
    loop {
        if attempt.cancellation.is_cancelled() {
            return Err(Stop::Canceled);
        }
        let step = work.step().await?;
        spool.write(&step.cleaned).await?;
        attempt.report.progress(step.fraction);
        match step.work {
            Some(rest) => work = rest,
            None => break,
        }
    }
    Ok(Output { status: 200, headers: output_headers(), body: spool.finish().await? })
}

fn output_headers() -> Headers {
    let mut headers = Headers::of_type("audio/wav");
    headers.add("content-disposition", "attachment; filename=\"denoised.wav\"");
    headers
}

/// What is left to do on one body.
struct Work {
    body: Body,
    /// How far the body is read.
    offset: u64,
    /// Set where the body is a form.
    part: Option<FilePart>,
    cleaning: Cleaning,
}

/// What came of one block; without `work` it was the last.
struct Step {
    cleaned: Vec<u8>,
    fraction: f32,
    work: Option<Work>,
}

impl Work {
    fn on(attempt: &Attempt) -> Result<Self, Refusal> {
        let content_type = attempt.input.headers.content_type().unwrap_or_default();
        // Any other type is taken for the file itself: curl calls what it sends a form unless it is told not to.
        let part = FilePart::of_type(content_type, AUDIO)?;
        Ok(Self { body: attempt.input.body.clone(), offset: 0, part, cleaning: Cleaning::new() })
    }

    /// Cleans the next block, on a thread that may block. The work moves there and back, so that an attempt that
    /// is dropped stops after the block it is at.
    async fn step(self) -> Result<Step, Stop> {
        match spawn_blocking(|| self.clean_block()).await {
            Ok(step) => step,
            // The TaskActor makes a failure of it.
            Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
            Err(_) => Err(Stop::Canceled),
        }
    }

    fn clean_block(mut self) -> Result<Step, Stop> {
        let mut cleaned = Vec::with_capacity(2 * BLOCK);
        let block = read_block(&self.body, self.offset)?;
        self.offset += block.len() as u64;
        match &mut self.part {
            Some(part) => {
                let mut file = Vec::with_capacity(BLOCK);
                part.push(&block, &mut file)?;
                self.cleaning.push(&file, &mut cleaned)?;
            }
            None => self.cleaning.push(&block, &mut cleaned)?,
        }
        if self.offset < self.body.len() {
            let fraction = self.offset as f32 / self.body.len() as f32;
            return Ok(Step { cleaned, fraction, work: Some(self) });
        }
        if let Some(part) = self.part {
            part.finish()?;
        }
        self.cleaning.finish(&mut cleaned)?;
        Ok(Step { cleaned, fraction: 1.0, work: None })
    }
}

fn read_block(body: &Body, offset: u64) -> io::Result<Bytes> {
    match body {
        Body::File(file) => file.read_at(offset, BLOCK),
        Body::Inline(bytes) => {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            Ok(bytes.slice(start..bytes.len().min(start + BLOCK)))
        }
    }
}

#[cfg(test)]
mod tests;
