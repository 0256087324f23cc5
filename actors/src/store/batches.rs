//! What a store promises about batches: begun, received line by line, closed, counted, read in the order of their lines.
//!
//! A batch is recorded before its first line, so that a sender who is cut off can go on. A line is recorded once: the
//! second time its custom id is known. How many tasks of a batch are in which state is kept with every change, in the
//! same step, so that nobody has to count a million rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::lifecycle::{self, Closing};
use crate::store::{self, Answer, Enqueued};
use crate::task::{
    Batch, BatchCounts, BatchId, BatchState, EndpointName, Member, NewTask, Priority, State, Task, Timestamp,
};

/// A batch, before it is recorded.
#[derive(Clone, Debug)]
pub struct NewBatch {
    pub id: BatchId,
    pub endpoint: EndpointName,
    /// Of those lines that name none.
    pub priority: Priority,
    /// How long it is kept once it is finished, or once nothing more comes.
    pub keep: Duration,
    /// Two batches of one endpoint with the same key are one, as long as it is stored.
    pub idempotency_key: Option<String>,
    /// A URL that is told when it is over.
    pub webhook: Option<String>,
}

/// What `begin_batch` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    pub batch: Batch,
    /// Whether the key was known: the batch is then the first one of that key.
    pub known: bool,
}

/// One line of a batch.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name within the batch.
    pub custom_id: String,
    /// The task that it becomes, on the batch's endpoint. An idempotency key of its own is not looked at; a digest of
    /// its input tells whether a line that comes again is the same.
    pub task: NewTask,
}

/// Some lines of a batch.
#[derive(Clone, Debug)]
pub struct Receive {
    pub batch: BatchId,
    pub lines: Vec<Line>,
    /// How many lines of this upload could not be taken so far.
    pub refused: u64,
}

/// What `receive` answers.
#[derive(Clone, Debug)]
pub enum Received {
    /// What became of each line, in their order; the new ones wait in the queue.
    Lines(Vec<Enqueued>),
    /// The batch takes no new lines, and there was one. Nothing was recorded.
    Closed(BatchState),
    /// There is no such batch.
    Unknown,
}

/// Which batches to list.
#[derive(Clone, Debug)]
pub struct BatchQuery {
    pub endpoint: Option<EndpointName>,
    /// The last id of the page before; `None` for the first page.
    pub after: Option<BatchId>,
    pub limit: usize,
}

/// Which tasks of a batch to read.
#[derive(Clone, Copy, Debug)]
pub struct MemberQuery {
    pub batch: BatchId,
    /// Where the page before ended; 0 for the first page.
    pub after: u64,
    /// How many are looked at.
    pub limit: usize,
    /// Of those that are looked at, the ones in that state are answered.
    pub state: Option<State>,
}

/// A page of a batch's tasks, in the order in which their lines were recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    pub tasks: Vec<Task>,
    /// Where to go on; `None` when all that are there now were looked at.
    pub next: Option<u64>,
}

/// What the Supervisor does with batches.
pub trait BatchQueue: Send + Sync + 'static {
    /// Records a batch without lines; when it answers, it survives a crash. One whose key is known to its endpoint is
    /// not recorded again.
    fn begin_batch(&self, batch: NewBatch) -> Answer<Begun>;

    /// Records the tasks of lines, all or none, in their order; when it answers, they survive a crash. A line whose
    /// custom id is known to the batch is not recorded again: its task is returned. An id that is used already is
    /// [`store::StoreError::Failed`]. All tasks wait in the queue.
    fn receive(&self, lines: Receive) -> Answer<Received>;

    /// Takes the sender's word that there are no more lines, by [`lifecycle::closed`], and how many lines of the latest
    /// upload could not be taken, where that is told. Answers with the batch as it is then; `None` for an unknown one.
    fn close_batch(&self, batch: BatchId, closing: Closing, refused: Option<u64>) -> Answer<Option<Batch>>;

    /// Up to `max` canceled batches that have pending tasks, the oldest first.
    fn batches_to_cancel(&self, max: usize) -> Answer<Vec<BatchId>>;
}

/// What the Registry does with batches.
pub trait BatchLedger: Send + Sync + 'static {
    fn batch(&self, batch: BatchId) -> Answer<Option<Batch>>;

    /// A page of batches, newest id first.
    fn batches(&self, query: BatchQuery) -> Answer<Vec<Batch>>;

    /// Tasks of a batch that are stored; none for an unknown one.
    fn members(&self, query: MemberQuery) -> Answer<Members>;

    /// Where a task stands in its batch, as [`MemberQuery::after`] takes it; `None` where there is no such task.
    fn position(&self, member: Member) -> Answer<Option<u64>>;
}

/// The batch that a new one becomes when it is recorded.
pub(super) fn begun(new: &NewBatch, now: Timestamp) -> Batch {
    Batch {
        id: new.id,
        endpoint: new.endpoint.clone(),
        state: BatchState::Receiving,
        priority: new.priority,
        created_at: now,
        finished_at: None,
        expires_at: clock::after(now, new.keep),
        refused: 0,
        counts: BatchCounts::default(),
        failures: BTreeMap::new(),
    }
}

/// The task that a line becomes when it is recorded.
pub(super) fn recorded(line: &Line, batch: BatchId, now: Timestamp) -> Task {
    let member = Member { batch, custom_id: line.custom_id.clone() };
    Task { batch: Some(Arc::new(member)), ..store::recorded(&line.task, now) }
}

/// Ends a batch of which nothing is unfinished any more; answers whether it did.
pub(super) fn finish_if_over(batch: &mut Batch, keep: Duration, now: Timestamp) -> bool {
    let over = lifecycle::finished(batch.state, batch.counts.unfinished()).filter(|_| batch.finished_at.is_none());
    let Some(state) = over else { return false };
    batch.state = state;
    batch.finished_at = Some(now);
    batch.expires_at = clock::after(now, keep);
    true
}

/// Under what a task is counted in its batch: its state, and why it did not complete.
pub(super) fn mark(task: &Task) -> (State, &'static str) {
    let reason = task.failure.as_ref().filter(|_| task.state.is_finished()).map_or("", |failure| failure.code.as_str());
    (task.state, reason)
}
