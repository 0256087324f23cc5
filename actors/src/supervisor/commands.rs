//! What the Supervisor can be told and asked, and what it answers.

use std::time::Duration;

use actix::Message;

use super::Prospect;
use crate::endpoint::Endpoint;
use crate::store::StoreError;
use crate::task::{BadEndpointName, EndpointName, NewTask, State, Task, TaskId};

/// Records a task and starts it as soon as a slot is free. Answered when the task is durable.
#[derive(Message)]
#[rtype(result = "Result<Recorded, SubmitError>")]
pub struct Submit(pub NewTask);

/// What `Submit` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    New(Task),
    /// The idempotency key was known: the first task of that key, as it is now.
    Before(Task),
}

impl Recorded {
    pub fn into_task(self) -> Task {
        match self {
            Recorded::New(task) | Recorded::Before(task) => task,
        }
    }
}

/// Why a submission was refused. Nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error("no new tasks are taken: the service is shutting down")]
    Draining { retry_after: Duration },
    #[error("there is no endpoint \"{0}\"")]
    UnknownEndpoint(EndpointName),
    #[error(transparent)]
    BadEndpoint(BadEndpointName),
    #[error("the queue of endpoint \"{endpoint}\" is full: {limit} tasks wait")]
    EndpointFull { endpoint: EndpointName, limit: u64, retry_after: Duration },
    #[error("the queue is full: {limit} tasks wait")]
    QueueFull { limit: u64, retry_after: Duration },
    #[error("the task asks for {option} = {asked}, but {bound}")]
    OutOfBounds { option: &'static str, asked: String, bound: String },
    #[error(
        "the idempotency key was used before on this endpoint, for task {first} with another input; send the same input \
         again, or another key"
    )]
    OtherInput { first: TaskId },
    #[error("the task could not be recorded: {0}")]
    Store(#[from] StoreError),
}

/// Submits a finished task's stored input once more, as a new task.
#[derive(Message)]
#[rtype(result = "Result<Task, RetryError>")]
pub struct Retry {
    pub of: TaskId,
    pub endpoint: EndpointName,
}

/// Why a retry was refused. Nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetryError {
    #[error("there is no such task")]
    Unknown,
    #[error("the task is {0}, so it cannot be retried yet")]
    Unfinished(State),
    #[error(transparent)]
    Refused(#[from] SubmitError),
}

/// Cancels a task that waits, and by force also one that runs: its attempt is told to stop, and given up when it has not
/// done so in [`crate::limits::Limits::stop_grace`].
#[derive(Clone, Message)]
#[rtype(result = "Result<CancelAnswer, StoreError>")]
pub struct Cancel {
    pub task: TaskId,
    pub endpoint: EndpointName,
    pub force: bool,
}

/// What `Cancel` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It is canceled, now or since before.
    Canceled,
    /// It runs, and is told to stop: it will be canceled, unless its result comes first. That is durable.
    Requested,
    /// It runs, and was to be canceled only if it did not.
    Started,
    /// It had completed or failed.
    Finished(State),
    /// There is no such task on that endpoint.
    Unknown,
}

/// Takes no new tasks, starts none, waits for what runs. What still runs after `grace` is told to stop and put
/// back. Answered when nothing runs any more; cancels are obeyed all the while.
#[derive(Message)]
#[rtype(result = "Drained")]
pub struct Drain {
    pub grace: Duration,
}

/// What `Drain` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Attempts that came to their end within the grace time.
    pub finished: u64,
    /// Attempts that were cut short: their tasks wait in the store.
    pub put_back: u64,
    /// Attempts whose end the store could not record: they count as interrupted at the next start.
    pub unsettled: u64,
}

/// Begins to run one more endpoint; what waits for it in the store is taken up. Answers whether it is new: one that
/// runs already is left as it is.
#[derive(Message)]
#[rtype(result = "Result<bool, StoreError>")]
pub struct AddEndpoint {
    pub name: EndpointName,
    pub endpoint: Endpoint,
}

/// Where a task stands in its line, and what can be told from of when it will start and end. `None` for one that does
/// not wait with an actor, nor runs, on this node: how many in the store go before it is not known.
#[derive(Message)]
#[rtype(result = "Option<Prospect>")]
pub struct Foresee {
    pub task: TaskId,
}

/// How busy each endpoint is on this node.
#[derive(Message)]
#[rtype(result = "Vec<LineMeasures>")]
pub struct MeasureLines;

/// How busy an endpoint is on this node.
#[derive(Clone, Debug)]
pub struct LineMeasures {
    pub endpoint: EndpointName,
    /// Tasks that have not started.
    pub waiting: u64,
    pub slots: usize,
    pub slots_used: usize,
    /// How many of the slots may be used just now: fewer while those who run the work have no room.
    pub slots_allowed: usize,
    /// How long the longest waiting task with an actor has been due.
    pub oldest_waiting: Duration,
    /// Tasks recorded by this node since it started.
    pub submitted: u64,
    /// Of those, how many within the last minute.
    pub submitted_per_minute: u64,
    /// Submissions refused because a queue was full.
    pub refused: u64,
}
