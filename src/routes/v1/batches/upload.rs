//! Lines of a batch on their way in: read one by one, recorded some hundreds at a time, each time in one durable step.
//!
//! A line that cannot be taken is told of at the end and keeps no other from being recorded; but the batch stays open,
//! so that the line can be sent again. Where the queue is full the upload waits for room and reads no further, so that
//! the sender waits too.

use std::time::Duration;

use actix_web::dev::Payload;
use bytes::Bytes;
use ekiben_actors::clock::stopwatch;
use ekiben_actors::spool::BlobName;
use ekiben_actors::store::Novelty;
use ekiben_actors::store::StoreError;
use ekiben_actors::store::batches::Line;
use ekiben_actors::supervisor::{BatchError, CloseBatch, ReceiveLines, TakenIn};
use ekiben_actors::task::{Batch, Input, Member, NewTask};
use serde_json::{Value, json};

use super::super::Call;
use crate::app::Limits;
use crate::digest::Digester;
use crate::error::ApiError;
use crate::intake::lines::{Lines, Next};
use crate::submission::{Envelope, Judge, Wishes};

/// The most lines and bytes of one durable step, by whichever is reached first.
const STEP_LINES: usize = 500;
const STEP_BYTES: usize = 4 << 20;

/// How long to wait before a full queue is asked again.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// How far an upload has come.
#[derive(Default)]
pub struct Report {
    /// Lines that were looked at.
    read: u64,
    /// Those that are tasks now.
    pub recorded: u64,
    /// Those that were tasks before.
    known: u64,
    /// Those that could not be taken.
    refused: u64,
    /// As many of them as are told of.
    bad: Vec<BadLine>,
}

struct BadLine {
    number: u64,
    custom_id: Option<String>,
    reason: String,
}

impl Report {
    pub fn shown(&self) -> Value {
        json!({ "read": self.read, "recorded": self.recorded, "known": self.known, "refused": self.refused })
    }

    pub fn bad_lines(&self) -> Value {
        let shown =
            self.bad.iter().map(|bad| json!({ "line": bad.number, "custom_id": bad.custom_id, "detail": bad.reason }));
        shown.collect()
    }
}

/// An upload to a batch.
pub struct Upload<'a> {
    call: &'a Call,
    batch: &'a Batch,
    report: &'a mut Report,
    /// The lines of the next step, with their numbers.
    step: Vec<(u64, Line)>,
    step_bytes: usize,
}

impl<'a> Upload<'a> {
    pub fn new(call: &'a Call, batch: &'a Batch, report: &'a mut Report) -> Self {
        Self { call, batch, report, step: Vec::new(), step_bytes: 0 }
    }

    /// Records all lines, and closes the batch unless it is to be kept open. Answers with the batch as it is then.
    ///
    /// # Errors
    /// What went wrong. What was recorded stays recorded, and the upload can be made again.
    pub async fn take_in(mut self, body: &mut Payload, keep_open: bool) -> Result<Batch, ApiError> {
        let app = &self.call.app;
        let limits = Limits { body: u64::MAX, ..app.limits.clone() };
        let mut lines = Lines::new(self.call.headers(), body, &limits, app.batches.line)?;
        loop {
            let next = match lines.next().await {
                Ok(next) => next,
                Err(error) => {
                    // What came whole is worth keeping: the sender goes on from there.
                    self.record_step().await?;
                    return Err(error);
                }
            };
            let number = lines.number();
            match next {
                Next::End => break,
                Next::Line(line) => self.take(number, &line).await?,
                Next::TooLong => {
                    self.report.read += 1;
                    let limit = app.batches.line;
                    self.refuse(number, None, format!("it is longer than the limit of {limit} bytes (batches.line)"));
                }
            }
            if self.report.refused > app.batches.bad_lines as u64 {
                self.record_step().await?;
                return Err(self.bad_lines(true));
            }
        }
        self.record_step().await?;
        if self.report.refused > 0 {
            return Err(self.bad_lines(false));
        }
        self.end(keep_open).await
    }

    async fn take(&mut self, number: u64, line: &Bytes) -> Result<(), ApiError> {
        self.report.read += 1;
        match self.read(line).await {
            Ok(read) => {
                self.step_bytes += line.len();
                self.step.push((number, read));
            }
            Err(NotTaken::Bad { custom_id, reason }) => self.refuse(number, custom_id, reason),
            Err(NotTaken::Ours(error)) => return Err(error),
        }
        if self.step.len() >= STEP_LINES || self.step_bytes >= STEP_BYTES {
            self.record_step().await?;
        }
        Ok(())
    }

    /// The task that a line asks for.
    async fn read(&self, line: &Bytes) -> Result<Line, NotTaken> {
        let envelope = Envelope::read_line(line).map_err(|error| NotTaken::bad(None, error))?;
        let custom_id = envelope.custom_id.clone().unwrap_or_default();
        if custom_id.is_empty() || custom_id.len() > Member::CUSTOM_ID_MAX {
            let (bytes, most) = (custom_id.len(), Member::CUSTOM_ID_MAX);
            let reason = format!("custom_id: it has {bytes} bytes; 1 to {most} are taken");
            return Err(NotTaken::Bad { custom_id: None, reason });
        }
        let app = &self.call.app;
        let input = line.slice_ref(envelope.input.get().as_bytes());
        let mut wishes = Wishes::default();
        let judge = Judge { bounds: &app.submit, now: app.clock.now(), webhooks: app.system.webhooks() };
        envelope.add_to(&mut wishes, judge).map_err(|error| NotTaken::bad(Some(&custom_id), error))?;
        if wishes.idempotency_key.is_some() {
            let reason = "idempotency_key: a line of a batch has its custom_id for that".to_owned();
            return Err(NotTaken::Bad { custom_id: Some(custom_id), reason });
        }
        if input.len() as u64 > app.limits.body {
            let reason = format!("input: it is larger than the limit of {} bytes (limits.body)", app.limits.body);
            return Err(NotTaken::Bad { custom_id: Some(custom_id), reason });
        }
        let mut digest = Digester::new("application/json");
        digest.add(&input);
        let mut task = NewTask {
            priority: self.batch.priority,
            input_digest: Some(digest.finish()),
            ..NewTask::new(self.batch.endpoint.clone(), Input::new("application/json", Bytes::new()))
        };
        wishes.apply(&mut task);
        let mut spool = app.system.blobs().spool(BlobName::Input(task.id), u64::MAX);
        spool.write(&input).await.map_err(|error| NotTaken::Ours(error.into()))?;
        task.input.body = spool.finish().await.map_err(|error| NotTaken::Ours(error.into()))?;
        Ok(Line { custom_id, task })
    }

    /// Records what was read since the step before, however many tries the queue's room takes.
    async fn record_step(&mut self) -> Result<(), ApiError> {
        self.step_bytes = 0;
        let step = std::mem::take(&mut self.step);
        let mut sent: Vec<(u64, String)> =
            step.iter().map(|(number, line)| (*number, line.custom_id.clone())).collect();
        let mut lines: Vec<Line> = step.into_iter().map(|(_, line)| line).collect();
        let mut waiting_since = stopwatch();
        while !lines.is_empty() {
            let TakenIn { taken, left, full } = self.send(lines).await?;
            lines = left;
            if !taken.is_empty() {
                waiting_since = stopwatch();
            }
            for (novelty, (number, custom_id)) in taken.iter().zip(sent.drain(..taken.len())) {
                self.note(*novelty, number, custom_id);
            }
            if let Some(full) = full {
                if waiting_since.elapsed() >= self.call.app.batches.wait {
                    return Err(full.into());
                }
                tokio::time::sleep(ROOM_PAUSE).await;
            }
        }
        Ok(())
    }

    async fn send(&self, lines: Vec<Line>) -> Result<TakenIn, ApiError> {
        let (batch, endpoint) = (self.batch.id, self.batch.endpoint.clone());
        let receive = ReceiveLines { batch, endpoint, lines, refused: self.report.refused };
        self.call.app.system.supervisor.send(receive).await?.map_err(|error| match error {
            BatchError::Unknown => ApiError::BatchNotFound,
            BatchError::Closed(state) => ApiError::BatchClosed(batch, state),
            BatchError::Refused(refusal) => refusal.into(),
        })
    }

    fn note(&mut self, novelty: Novelty, number: u64, custom_id: String) {
        match novelty {
            Novelty::New => self.report.recorded += 1,
            Novelty::Replay => self.report.known += 1,
            Novelty::OtherInput => {
                let reason = "custom_id: an earlier line of the batch has it, with another input".to_owned();
                self.refuse(number, Some(custom_id), reason);
            }
        }
    }

    fn refuse(&mut self, number: u64, custom_id: Option<String>, reason: String) {
        self.report.refused += 1;
        if self.report.bad.len() < self.call.app.batches.bad_lines.max(1) {
            self.report.bad.push(BadLine { number, custom_id, reason });
        }
    }

    /// The refusal of an upload with bad lines.
    fn bad_lines(&self, stopped: bool) -> ApiError {
        let refused = self.report.refused;
        let first = &self.report.bad[0];
        let read_on = if stopped { "; the lines after those were not looked at" } else { "" };
        let what = format!(
            "{refused} of {} lines could not be taken, the first of them line {}: {}{read_on}. The others are recorded, and \
             the batch is open: mend those lines and send them, or all, to /v1/batches/{}/lines; a line that was \
             recorded is not recorded twice",
            self.report.read, first.number, first.reason, self.batch.id
        );
        ApiError::BadLines { what }
    }

    async fn end(&self, keep_open: bool) -> Result<Batch, ApiError> {
        let (batch, app) = (self.batch.id, &self.call.app);
        let found = if keep_open {
            app.system.batch(batch).await
        } else {
            let close = CloseBatch { batch, refused: 0 };
            app.system.supervisor.send(close).await.unwrap_or(Err(StoreError::Closed))
        };
        found?.ok_or(ApiError::BatchNotFound)
    }
}

/// Why a line is no task.
enum NotTaken {
    Bad {
        custom_id: Option<String>,
        reason: String,
    },
    /// It is not the line's fault.
    Ours(ApiError),
}

impl NotTaken {
    fn bad(custom_id: Option<&str>, error: ApiError) -> Self {
        let reason = match error {
            ApiError::BadEnvelope(reason) => format!("the line cannot be read: {reason}"),
            other => other.to_string(),
        };
        NotTaken::Bad { custom_id: custom_id.map(str::to_owned), reason }
    }
}
