//! What the Registry is told and asked, and what it answers.

use std::collections::HashMap;

use actix::Message;
use tokio::sync::oneshot;

use crate::executor::Report;
use crate::measure::{Histogram, TASK_SECONDS};
use crate::rate::Rate;
use crate::store::{
    Count, Deleted, Lease, ListQuery, Page, Run, Settled, Settlement, StartDurability, Started, StoreError,
};
use crate::task::{AttemptRecord, EndpointName, FailureCode, Input, LogTail, Output, State, Task, TaskId};

// ---- reports, from the Supervisor and the TaskActors ----

/// A task was recorded or claimed, and is about to be this node's.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Admitted(pub Task);

/// An attempt begins; the answer comes when that is as durable as asked.
#[derive(Message)]
#[rtype(result = "Result<Started, StoreError>")]
pub struct AttemptStarted {
    pub lease: Lease,
    pub run: Run,
    pub durability: StartDurability,
    /// What takes what the attempt tells.
    pub report: Report,
}

/// The report of a running attempt has something new.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Progressed {
    pub task: TaskId,
}

/// A client wants the attempt that runs stopped, and the task canceled; the answer comes when that is durable.
#[derive(Message)]
#[rtype(result = "Result<Settled, StoreError>")]
pub struct RequestCancel(pub Lease);

/// A verdict to record; the answer comes when it is durable.
#[derive(Message)]
#[rtype(result = "Result<Settled, StoreError>")]
pub struct Settle(pub Settlement);

/// A task was settled by the store itself: canceled while nobody held it, or lost.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SettledInStore(pub Task);

/// Deletes a finished task with all that is kept of it.
#[derive(Message)]
#[rtype(result = "Result<Deleted, StoreError>")]
pub struct Delete(pub TaskId);

/// No more news will come: whoever waits for a task is to be sent away.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DismissWatchers;

// ---- questions ----

/// How a task of that endpoint stands.
#[derive(Message)]
#[rtype(result = "Result<Option<Task>, StoreError>")]
pub struct Status {
    pub task: TaskId,
    pub endpoint: EndpointName,
}

/// How a task stands, whatever its endpoint.
#[derive(Message)]
#[rtype(result = "Result<Option<Task>, StoreError>")]
pub struct Find(pub TaskId);

/// What was sent in with a task.
#[derive(Message)]
#[rtype(result = "Result<Option<Input>, StoreError>")]
pub struct FetchInput(pub TaskId);

/// How a task of that endpoint stands, and its output where it has one.
#[derive(Message)]
#[rtype(result = "Result<Option<(Task, Option<Output>)>, StoreError>")]
pub struct Fetch {
    pub task: TaskId,
    pub endpoint: EndpointName,
}

/// What is known of the attempts of a task, in the order of their numbers; empty for an unknown one.
#[derive(Message)]
#[rtype(result = "Result<Vec<AttemptRecord>, StoreError>")]
pub struct Attempts {
    pub task: TaskId,
}

/// To be told when a task ends.
#[derive(Message)]
#[rtype(result = "Result<Watched, StoreError>")]
pub struct Watch {
    pub task: TaskId,
}

/// What `Watch` answers.
#[derive(Debug)]
pub enum Watched {
    Finished(Task),
    /// The task will come through here when it ends. The channel closes without it when this node drains.
    Unfinished(oneshot::Receiver<Task>),
    Unknown,
}

/// What a task's latest attempt told of itself, where that is at hand: while it runs, and as long as the finished task
/// is kept in memory.
#[derive(Message)]
#[rtype(result = "Option<Told>")]
pub struct Live {
    pub task: TaskId,
}

/// What `Live` answers.
#[derive(Debug)]
pub struct Told {
    /// The number of the attempt.
    pub attempt: u32,
    pub report: Report,
}

/// The last lines of the log of a task's latest attempt: those at hand, else those on record.
#[derive(Message)]
#[rtype(result = "Result<AttemptLog, StoreError>")]
pub struct Logs {
    pub task: TaskId,
}

/// What `Logs` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptLog {
    /// 0 where there was none.
    pub attempt: u32,
    pub tail: LogTail,
}

impl From<AttemptRecord> for AttemptLog {
    fn from(record: AttemptRecord) -> Self {
        let at = record.ended_at.unwrap_or(record.started_at);
        Self { attempt: record.number, tail: LogTail::read(record.log.as_deref().unwrap_or_default(), at) }
    }
}

/// A page of tasks.
#[derive(Message)]
#[rtype(result = "Result<Page, StoreError>")]
pub struct List(pub ListQuery);

/// How many tasks there are, by endpoint and state.
#[derive(Message)]
#[rtype(result = "Result<Vec<Count>, StoreError>")]
pub struct Counts;

/// What ended on this node since it started.
#[derive(Message)]
#[rtype(result = "Vec<EndpointMeasures>")]
pub struct MeasureTasks;

/// What ended on this node since it started, for one endpoint.
#[derive(Clone, Debug)]
pub struct EndpointMeasures {
    pub endpoint: EndpointName,
    /// How many tasks ended, by state and failure.
    pub finished: HashMap<(State, Option<FailureCode>), u64>,
    /// Seconds from due to started, one an attempt.
    pub queue_seconds: Histogram,
    /// Seconds from started to settled, one an attempt.
    pub run_seconds: Histogram,
    pub(super) finished_lately: Rate,
}

impl EndpointMeasures {
    pub(super) fn new(endpoint: EndpointName) -> Self {
        Self {
            endpoint,
            finished: HashMap::new(),
            queue_seconds: Histogram::new(TASK_SECONDS),
            run_seconds: Histogram::new(TASK_SECONDS),
            finished_lately: Rate::new(),
        }
    }

    /// How many ended within the last minute.
    pub fn finished_per_minute(&self) -> u64 {
        self.finished_lately.per_minute()
    }
}
