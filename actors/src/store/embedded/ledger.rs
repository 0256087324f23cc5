//! What the Registry's calls do, inside the writer's transaction.

use std::path::PathBuf;
use std::time::Duration;

use crate::body::Body;
use crate::clock;
use crate::lifecycle::{self, Verdict};
use crate::spool::BlobName;
use crate::store::{self, Deleted, Lease, Pruned, Run, Settled, Settlement, Started, StoreError};
use crate::task::{AttemptOutcome, Output, RunNotes, State, TaskId, Timestamp};

use super::attempts::Ended;
use super::calls::{Asker, Trouble, answer};
use super::headers;
use super::housekeeper::Job;
use super::queue::limit;
use super::rows::{Row, micros, state_number};
use super::starts::{UnwrittenStart, Which};
use super::writer::Writer;

/// The most bytes of a body in memory: SQLite takes no more in one value.
const INLINE_BYTES_MAX: u64 = 900_000_000;

/// How a task ends.
pub(super) struct Ending {
    /// One that ends a task.
    pub verdict: Verdict,
    /// How long it is kept where it does not say so itself.
    pub keep: Duration,
    /// The epoch that ran the attempt which ends it; `None` where none did.
    pub node: Option<i64>,
    /// What that attempt told of itself.
    pub notes: RunNotes,
}

impl Ending {
    /// Of a task that waited.
    pub fn unrun(verdict: Verdict, keep: Duration) -> Self {
        Self { verdict, keep, node: None, notes: RunNotes::default() }
    }
}

/// What was deleted, as it is answered, and which files are left to delete.
pub(super) struct Forgotten<T> {
    pub answer: T,
    pub files: Vec<PathBuf>,
}

impl Writer<'_> {
    /// Records a start with this group.
    pub fn start(&mut self, lease: Lease, run: Run) -> Result<Started, Trouble> {
        let Some(row) = self.held(lease)? else { return Ok(Started::FenceLost) };
        self.starts.supersede(&self.desk.shared.starts, lease);
        self.sql.start_task.execute((row.seq, run.attempt, micros(run.started_at)))?;
        self.group.tally.moved(row.endpoint, row.task.state, State::InProgress);
        Ok(Started::Recorded)
    }

    /// Takes note of a start, which is shown from now on and written later, or never: a settlement says the same.
    pub fn start_soon(&mut self, lease: Lease, run: Run) -> Result<Started, Trouble> {
        let Some(row) = self.held(lease)? else { return Ok(Started::FenceLost) };
        match row.task.state {
            State::Pending => {
                let start = UnwrittenStart::new(lease.fence, run, row.endpoint);
                let is_news = self.starts.add(&self.desk.shared.starts, lease.task, start);
                if is_news {
                    self.desk.shared.counts.change().moved(row.endpoint, State::Pending, State::InProgress);
                }
                Ok(Started::Recorded)
            }
            State::InProgress | State::Completed | State::Failed | State::Canceled => self.start(lease, run),
        }
    }

    pub fn request_cancel(&mut self, lease: Lease) -> Result<Settled, Trouble> {
        self.write_starts(Which::All)?;
        let held = self.held(lease)?.filter(|row| row.task.state == State::InProgress);
        let Some(mut row) = held else { return Ok(Settled::FenceLost) };
        self.sql.request_cancel.execute([row.seq])?;
        row.task.cancel_requested = true;
        Ok(Settled::Recorded(row.task))
    }

    pub fn settle(&mut self, settlement: Settlement) -> Result<Settled, Trouble> {
        let Settlement { lease, run, verdict, keep, notes } = settlement;
        let Some(mut row) = self.held(lease)? else { return Ok(Settled::FenceLost) };
        if let Verdict::Completed(output) | Verdict::Failed(_, Some(output)) = &verdict {
            self.refuse_body(&output.body, BlobName::Output(lease.task, lease.fence))?;
        }
        let before = row.task.state;
        let noted = self.starts.supersede(&self.desk.shared.starts, lease);
        let run = run.or(noted.map(|start| start.run));
        let ran = run.is_some() || before == State::InProgress;
        if let Some(run) = run {
            row.task.attempt = run.attempt;
            row.task.started_at = Some(run.started_at);
        }
        let node = ran.then_some(self.desk.epoch);
        match lifecycle::heeding_cancel(verdict, row.task.cancel_requested) {
            Verdict::Again { delay, setback } => {
                row.task.crashes += setback.crashes();
                row.task.failures += setback.failures();
                if ran {
                    let (outcome, failure) = (store::ended_by(&setback), setback.failure().cloned());
                    self.record_attempt(&row, Ended { node, outcome, failure, notes })?;
                }
                let due_at = clock::after(self.group.now, delay);
                self.put_back(&mut row, before, due_at)?;
            }
            verdict => self.finish(&mut row, before, Ending { verdict, keep, node, notes })?,
        }
        Ok(Settled::Recorded(row.task))
    }

    /// The row of a task if this process holds it under that lease.
    fn held(&mut self, lease: Lease) -> rusqlite::Result<Option<Row>> {
        let epoch = self.desk.epoch;
        Ok(self.row(lease.task)?.filter(|row| row.holder == Some(epoch) && row.fence == lease.fence))
    }

    /// Makes a task wait again, held by nobody. `before` is the state in the file.
    pub fn put_back(&mut self, row: &mut Row, before: State, due_at: Timestamp) -> Result<(), Trouble> {
        row.task.state = State::Pending;
        row.task.due_at = due_at;
        let task = &row.task;
        let started_at = task.started_at.map(micros);
        let params = (row.seq, task.attempt, started_at, task.crashes, task.failures, micros(due_at));
        self.sql.put_back_task.execute(params)?;
        self.group.tally.moved(row.endpoint, before, State::Pending);
        Ok(())
    }

    /// Ends a task. `before` is the state in the file.
    pub fn finish(&mut self, row: &mut Row, before: State, ending: Ending) -> Result<(), Trouble> {
        let Ending { verdict, keep, node, notes } = ending;
        let state = verdict.state();
        let (failure, output) = verdict.left();
        let task = &mut row.task;
        let now = self.group.now;
        let expires_at = clock::after(now, task.retention().unwrap_or(keep));
        task.state = state;
        task.finished_at = Some(now);
        task.expires_at = Some(expires_at);
        task.cancel_requested = false;
        task.failure = failure.map(Box::new);
        task.output_bytes = output.as_ref().map_or(0, |output| output.body.len());
        self.sql.finish_task.execute((
            row.seq,
            state_number(state),
            task.attempt,
            task.started_at.map(micros),
            task.crashes,
            micros(now),
            micros(expires_at),
            task.output_bytes as i64,
            output.as_ref().is_some_and(|output| matches!(output.body, Body::File(_))),
            task.failure.as_ref().map(|failure| failure.code.as_str()),
            task.failure.as_ref().map(|failure| failure.message.as_str()),
            task.failure.as_ref().and_then(|failure| failure.log.as_deref()),
            node,
            notes.worker.as_deref(),
        ))?;
        if let (Some(outcome), Some(_)) = (AttemptOutcome::that_ends(&row.task).filter(|_| node.is_some()), &notes.log)
        {
            let failure = row.task.failure.as_deref().cloned();
            self.record_attempt(row, Ended { node, outcome, failure, notes })?;
        }
        if let Some(output) = output {
            self.insert_output(row.seq, &output)?;
        }
        self.group.tally.moved(row.endpoint, before, state);
        Ok(())
    }

    fn insert_output(&mut self, seq: i64, output: &Output) -> Result<(), Trouble> {
        let headers = headers::encode(&output.headers);
        let body = match &output.body {
            Body::Inline(bytes) => Some(&bytes[..]),
            Body::File(file) => {
                self.adopt(file);
                None
            }
        };
        self.sql.insert_output.execute((seq, output.status, headers, body))?;
        Ok(())
    }

    /// Refuses a body that could not be found again, or that SQLite could not take.
    pub fn refuse_body(&self, body: &Body, name: BlobName) -> Result<(), Trouble> {
        let reason = match body {
            Body::Inline(bytes) if bytes.len() as u64 > INLINE_BYTES_MAX => {
                format!("a body of {} bytes in memory is over the bound of {INLINE_BYTES_MAX}", bytes.len())
            }
            Body::File(file) if self.desk.blobs.path(name).as_deref() != Some(file.path()) => {
                format!("the body in {} should lie in {}", file.path().display(), name.file_name())
            }
            Body::Inline(_) | Body::File(_) => return Ok(()),
        };
        let refusal = StoreError::Failed(format!("cannot record a body of task {}: {reason}", name.task()));
        Err(Trouble::Refused(refusal))
    }

    pub fn delete(&mut self, task: TaskId) -> Result<Forgotten<Deleted>, Trouble> {
        let untouched = |answer| Ok(Forgotten { answer, files: Vec::new() });
        let Some(row) = self.row(task)? else { return untouched(Deleted::Unknown) };
        if !row.task.state.is_finished() {
            return untouched(Deleted::Unfinished(self.desk.shared.starts.present(row).state));
        }
        let mut files = Vec::new();
        let deleted = self.forget(row, &mut files)?;
        Ok(Forgotten { answer: Deleted::Deleted(deleted), files })
    }

    pub fn prune(&mut self, max: usize) -> Result<Forgotten<Vec<Pruned>>, Trouble> {
        let (mut answer, mut files) = (Vec::new(), Vec::new());
        for row in self.expired(max)? {
            answer.push(self.forget(row, &mut files)?);
        }
        Ok(Forgotten { answer, files })
    }

    /// Deletes all rows of a finished task, and names the files that are left.
    fn forget(&mut self, row: Row, files: &mut Vec<PathBuf>) -> Result<Pruned, Trouble> {
        let Row { seq, endpoint, fence, input_in_file, output_in_file, task, .. } = row;
        self.sql.delete_task.execute([seq])?;
        self.sql.delete_input.execute([seq])?;
        self.sql.delete_output.execute([seq])?;
        self.sql.delete_attempts.execute((seq, 0, u32::MAX))?;
        for (key, value) in task.options.iter().flat_map(|options| &options.tags) {
            self.sql.delete_tag.execute((key, value, task.id.as_bytes()))?;
        }
        self.group.tally.add(endpoint, task.state, -1);
        let input = input_in_file.then_some(BlobName::Input(task.id));
        let output = output_in_file.then_some(BlobName::Output(task.id, fence));
        files.extend(input.into_iter().chain(output).filter_map(|name| self.desk.blobs.path(name)));
        Ok(Pruned { id: task.id, endpoint: task.endpoint, state: task.state })
    }

    fn expired(&mut self, max: usize) -> rusqlite::Result<Vec<Row>> {
        let names = self.desk.shared.counts.names();
        let params = (micros(self.group.now), limit(max));
        let rows = self.sql.expired_tasks.query_map(params, |row| Row::read(row, &names))?;
        rows.collect()
    }

    /// Rows first, and committed, then files: a crash in between leaves orphans, which the next opening sweeps.
    pub fn promise_after_deletion<T: Send + 'static>(
        &mut self,
        asker: Asker<T>,
        forgotten: Result<Forgotten<T>, Trouble>,
    ) -> rusqlite::Result<()> {
        let Forgotten { answer: with, files } = match forgotten {
            Ok(forgotten) if !forgotten.files.is_empty() => forgotten,
            forgotten => return self.promise(asker, forgotten.map(|forgotten| forgotten.answer)),
        };
        let jobs = self.desk.jobs.clone();
        self.promise_in_person(Box::new(move |committed| match committed {
            Ok(()) => {
                let done = Box::new(move || answer(asker, Ok(with)));
                if let Err(Job::Delete(_, done)) = jobs.push(Job::Delete(files, done)) {
                    done();
                }
            }
            Err(error) => answer(asker, Err(error.clone())),
        }));
        Ok(())
    }
}
