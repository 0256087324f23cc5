//! What keeps the tasks: the promises every store makes, as two traits.
//!
//! Two traits because two actors use it: the Supervisor gets the [`Queue`] and cannot settle, the Registry gets
//! the [`Ledger`] and cannot claim. Each promise in the doc comments below is pinned by a case in
//! `conformance`, which runs against every store.
//!
//! Callers just call: a store groups all calls that wait into one transaction and one sync. A store owns
//! *now*, by the clock it was opened with. It never decides what becomes of a task ([`crate::lifecycle`]
//! does); it applies the decision by compare-and-set on state and fence.
//!
//! **Leases** are held by nodes, not by tasks: a node renews one lease for all it holds, so that a million
//! waiting tasks cost one write a heartbeat. A task held by a node whose lease lapsed can be reclaimed.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::clock;
use crate::lifecycle::{Retention, Setback, Verdict};
use crate::measure::Histogram;
use crate::spool::Blobs;
use crate::task::{
    AttemptOutcome, AttemptRecord, EndpointName, Input, InputDigest, NewTask, Output, RunNotes, State, Task, TaskId,
    Timestamp,
};

pub mod conformance;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod faulty;
pub mod memory;
mod paging;

use paging::Pager;
pub use paging::{ListQuery, Page, WALK_MAX};

/// An answer of a store. It comes although nobody waits for it: dropping the future takes nothing back.
pub type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

/// The store could not do what was asked. Nothing was changed, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the quota on it, is full. Worth trying again when there is room.
    #[error("no room to write: {0}")]
    Full(String),
    /// Reading or writing failed.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// A node's right to run a task. The fence grows with every claim of the task and never shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub task: TaskId,
    pub fence: u32,
}

/// Where a new task waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this node: it is claimed in the same step as it is recorded. A task that is not due yet waits in the
    /// queue all the same.
    Here,
    /// In the queue, until some node claims it.
    Queue,
}

/// What `enqueue` and `resubmit` answer.
#[derive(Clone, Debug)]
pub struct Enqueued {
    pub task: Task,
    /// The lease, where the place was [`Place::Here`] and the task is new.
    pub lease: Option<Lease>,
    pub novelty: Novelty,
}

/// What a submission is to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// A task of its own, recorded now.
    New,
    /// Its idempotency key was known, and nothing says that its input is another one: the task is the first one of
    /// that key. A submission or a first task without a digest has nothing to compare.
    Replay,
    /// Its idempotency key was known, with another input. The task is the first one of that key.
    OtherInput,
}

impl Novelty {
    /// What the submission is, going by the digest of its input and that of the first task with its key.
    fn of_known_key(digest: Option<InputDigest>, first: Option<InputDigest>) -> Self {
        match (digest, first) {
            (Some(digest), Some(first)) if digest != first => Novelty::OtherInput,
            (Some(_) | None, Some(_) | None) => Novelty::Replay,
        }
    }
}

/// A wish to run a finished task's input once more, as a new task.
#[derive(Clone, Debug)]
pub struct Resubmit {
    pub of: TaskId,
    /// The endpoint the task must belong to.
    pub endpoint: EndpointName,
    /// The id of the new task.
    pub id: TaskId,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub enum Resubmitted {
    Enqueued(Enqueued),
    /// The task has not finished yet.
    Unfinished(State),
    /// There is no such task on that endpoint.
    Unknown,
}

/// How many more tasks of an endpoint this node would take.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub endpoint: EndpointName,
    pub max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub task: Task,
    pub lease: Lease,
}

/// What `claim` answers.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Those of one endpoint in the order they should start.
    pub tasks: Vec<Claimed>,
    /// When the next task of the endpoints asked for will be due, if any waits for its time.
    pub next_due: Option<Timestamp>,
}

/// What `cancel` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Canceled {
    /// It is canceled now; the call did it.
    Canceled(Task),
    /// A node holds it: only that node can say whether it has started.
    Held(State),
    /// It had completed, failed, or been canceled before.
    Finished(State),
    /// There is no such task on that endpoint.
    Unknown,
}

/// How long finished tasks are kept and how many crashes a task may see.
#[derive(Clone, Debug)]
pub struct ReclaimPolicy {
    pub crash_budget: u32,
    pub retention: Arc<Retention>,
}

/// What `reclaim` did.
#[derive(Clone, Debug, Default)]
pub struct Reclaims {
    /// How many tasks wait again that had not started.
    pub waiting: u64,
    /// Those whose attempt died with its node, and which wait again.
    pub crashed: Vec<Task>,
    /// Those whose crash budget is spent: failed as `lost`.
    pub lost: Vec<Task>,
    /// Those whose attempt died with its node when it was to be canceled by force.
    pub canceled: Vec<Task>,
}

impl Reclaims {
    pub fn is_empty(&self) -> bool {
        self.waiting == 0 && self.crashed.is_empty() && self.lost.is_empty() && self.canceled.is_empty()
    }
}

/// What `overdue` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// The tasks that are settled now; the call did it.
    pub settled: Vec<Task>,
    /// When the next time of a task that nobody holds will be over, if any has one.
    pub next: Option<Timestamp>,
}

/// Whether a start must be on disk before the attempt may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartDurability {
    /// It may ride with a later commit: a crash before that leaves the task pending. Answered at once, which may
    /// be before the fence is looked at; a start whose fence is lost is not recorded, whatever was answered.
    Lazy,
    /// Answered when it is durable.
    Durable,
}

/// What `start` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    Recorded,
    /// Another claim of the task came in between, or it was settled before: the attempt must not run.
    FenceLost,
}

/// What `settle` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Recorded; the task as it is now.
    Recorded(Task),
    /// Another claim of the task came in between, or it was settled before: the report is refused.
    FenceLost,
}

/// The run a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub attempt: u32,
    pub started_at: Timestamp,
}

/// A report on a leased task.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub lease: Lease,
    /// `None` when it never ran.
    pub run: Option<Run>,
    pub verdict: Verdict,
    /// How long the finished task is kept where it does not say so itself.
    pub keep: Duration,
    /// What the run told of itself.
    pub notes: RunNotes,
}

/// What `delete` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The call did it.
    Deleted(Pruned),
    /// The task has not finished yet.
    Unfinished(State),
    Unknown,
}

/// How many tasks of an endpoint are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub endpoint: EndpointName,
    pub state: State,
    pub tasks: u64,
}

/// A task that was deleted with all its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    pub id: TaskId,
    pub endpoint: EndpointName,
    pub state: State,
}

/// The task that a submission becomes when it is recorded.
fn recorded(new: &NewTask, now: Timestamp) -> Task {
    Task {
        priority: new.priority,
        due_at: clock::after(now, new.delay),
        input_bytes: new.input.body.len(),
        start_by: new.queue_ttl.map(|ttl| clock::after(now, ttl)),
        deadline: new.deadline.map(|deadline| clock::after(now, deadline)),
        options: (!new.options.is_empty()).then(|| Arc::new(new.options.clone())),
        ..Task::submitted(new.id, new.endpoint.clone(), now)
    }
}

/// The task that a finished one becomes when it is submitted once more. It has the priority, the options and, reckoned
/// anew, the times of that one.
fn resubmitted(original: &Task, id: TaskId, now: Timestamp) -> Task {
    let anew = |time: Option<Timestamp>| {
        time.map(|time| clock::after(now, (time - original.submitted_at).to_std().unwrap_or_default()))
    };
    Task {
        priority: original.priority,
        input_bytes: original.input_bytes,
        start_by: anew(original.start_by),
        deadline: anew(original.deadline),
        options: original.options.clone(),
        ..Task::submitted(id, original.endpoint.clone(), now)
    }
}

/// How an attempt ended that did not end its task.
fn ended_by(setback: &Setback) -> AttemptOutcome {
    match setback {
        Setback::Interrupted => AttemptOutcome::Interrupted,
        Setback::PutBack(_) => AttemptOutcome::PutBack,
        Setback::Crashed(_) => AttemptOutcome::Crashed,
        Setback::Failed(_) => AttemptOutcome::Failed,
    }
}

/// What the Supervisor does with the store.
pub trait Queue: Send + Sync + 'static {
    /// Records tasks, all or none; when it answers, they survive a crash. A task whose idempotency key is
    /// known to its endpoint is not recorded again: its first task is returned, and whether the input is the same. An id that is used already is
    /// [`StoreError::Failed`].
    fn enqueue(&self, tasks: Vec<(NewTask, Place)>) -> Answer<Vec<Enqueued>>;

    /// Records a new task with the stored input, headers, priority and options of a finished one, and its times reckoned
    /// anew.
    fn resubmit(&self, wish: Resubmit) -> Answer<Resubmitted>;

    /// Takes due tasks that nobody holds: of each endpoint the most urgent first, then the longest due, then
    /// the oldest; at most as many as wanted. Never hands one task to two claims. Each gets a higher fence.
    fn claim(&self, wanted: Vec<Wanted>) -> Answer<Claims>;

    /// Extends this node's lease on all it holds; nothing else does. A lease that has lapsed is whole again, but
    /// for what was reclaimed in between.
    fn renew(&self) -> Answer<()>;

    /// Settles as canceled a pending task that nobody holds; `keep` as in [`Settlement`].
    fn cancel(&self, task: TaskId, endpoint: EndpointName, keep: Duration) -> Answer<Canceled>;

    /// Decides about up to `max` tasks held by nodes whose lease has lapsed, by [`crate::lifecycle::reclaim`].
    /// Answers empty when there is none left.
    fn reclaim(&self, max: usize, policy: ReclaimPolicy) -> Answer<Reclaims>;

    /// Settles up to `max` pending tasks that nobody holds and whose own time is over, by
    /// [`crate::lifecycle::overdue`]; the longest over first, then the oldest.
    fn overdue(&self, max: usize, retention: Arc<Retention>) -> Answer<Overdue>;

    /// How many pending tasks wait, by endpoint, held or not.
    fn waiting(&self) -> Answer<Vec<(EndpointName, u64)>>;
}

/// What the Registry does with the store.
pub trait Ledger: Send + Sync + 'static {
    /// Records that an attempt starts, if the lease's fence still holds.
    fn start(&self, lease: Lease, run: Run, durability: StartDurability) -> Answer<Started>;

    /// Records that a task which has started is to be canceled, if the lease's fence still holds; durable when it
    /// answers. From then on it does not run again: what would put it back cancels it, whoever decides that.
    fn request_cancel(&self, lease: Lease) -> Answer<Settled>;

    /// Records a verdict once, if the lease's fence still holds; durable when it answers. A task that
    /// waits again is held by nobody.
    fn settle(&self, settlement: Settlement) -> Answer<Settled>;

    fn get(&self, task: TaskId) -> Answer<Option<Task>>;

    /// What is known of a task's attempts, in the order of their numbers: of many, the first few and the newest
    /// ([`AttemptRecord::KEPT_MAX`]). Empty for an unknown task.
    fn attempts(&self, task: TaskId) -> Answer<Vec<AttemptRecord>>;

    /// The stored input of a task; `None` for an unknown one.
    fn input(&self, task: TaskId) -> Answer<Option<Input>>;

    /// The stored output of a finished task; `None` where there is none.
    fn output(&self, task: TaskId) -> Answer<Option<Output>>;

    /// A page of tasks, newest id first, stable while tasks arrive.
    /// It may be shorter than asked for although more would follow: a store looks at a bounded number of tasks.
    fn list(&self, query: ListQuery) -> Answer<Page>;

    /// How many tasks there are, by endpoint and state; combinations with none may be left out.
    fn counts(&self) -> Answer<Vec<Count>>;

    /// Deletes a finished task at once, with its input, its output and its idempotency key.
    fn delete(&self, task: TaskId) -> Answer<Deleted>;

    /// Deletes up to `max` finished tasks whose time to be kept is over, with their inputs and outputs.
    fn prune(&self, max: usize) -> Answer<Vec<Pruned>>;
}

/// How a store works, for the metrics.
#[derive(Clone, Debug)]
pub struct StoreStats {
    /// Seconds a commit took, sync included.
    pub commit_seconds: Histogram,
    /// How many calls shared a commit.
    pub commit_calls: Histogram,
}

/// A whole store, as a system is given it.
pub trait Store: Queue + Ledger {
    /// Where this store's large bodies go.
    fn blobs(&self) -> Blobs;

    fn stats(&self) -> StoreStats;

    /// Writes what is still waiting and gives up what the node holds; every later call answers
    /// [`StoreError::Closed`]. A store that is dropped without it is closed all the same.
    fn close(&self) -> Answer<()>;
}
