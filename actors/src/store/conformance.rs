//! The promises of a store, each as a case that any store can be held to.
//!
//! A case's name is the promise it pins. The cases know nothing of the store but its traits, wait for nothing
//! but answers, and move the time themselves. To add a store, open it on an empty place with the clock of a
//! [`Bench`] and [`LEASE`] as its lease, and run [`cases`]; a store that can be opened again on the data it left
//! is also held to [`durable_cases`]. Each case needs a store of its own and a tokio runtime.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::body::Body;
use crate::clock::{Clock, ManualClock};
use crate::lifecycle::{Retention, Setback, Verdict};
use crate::spool::BlobName;
use crate::store::{
    Answer, Canceled, Claimed, Claims, Count, Deleted, Enqueued, Lease, ListQuery, Novelty, Overdue, Page, Place,
    Pruned, ReclaimPolicy, Reclaims, Resubmit, Resubmitted, Run, Settled, Settlement, StartDurability, Started, Store,
    StoreError, WALK_MAX, Wanted,
};
use crate::task::{
    AttemptOutcome, AttemptRecord, EndpointName, Failure, FailureCode, Headers, Input, NewTask, Output, Priority,
    RunNotes, State, Task, TaskId, TaskOptions,
};

/// Lists cases by their names, so that a case and the name it is shown by cannot drift apart.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        vec![$(Case { name: stringify!($case), run: |bench| Box::pin($case(bench)) }),*]
    };
}

mod attempting;
mod bodies;
mod canceling;
mod claiming;
mod closing;
mod deleting;
mod leasing;
mod listing;
mod overdue;
mod pruning;
mod reopening;
mod resubmitting;
mod settling;
mod submitting;

/// The lease every store under test is opened with.
pub const LEASE: Duration = Duration::from_secs(30);

/// How long the cases keep a finished task.
const KEEP: Duration = Duration::from_secs(3600);
/// How many crashes the cases allow a task.
const CRASH_BUDGET: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);
/// More tasks than any case makes.
const ALL: usize = 10_000;

/// Opens the store again on what it left behind. The handle before was dropped.
pub type Reopen = Arc<dyn Fn() -> BoxFuture<'static, Arc<dyn Store>> + Send + Sync>;

/// An empty store and the clock it goes by.
pub struct Bench {
    pub store: Arc<dyn Store>,
    pub clock: Arc<ManualClock>,
    /// `None` for a store whose data does not outlive it.
    pub reopen: Option<Reopen>,
}

/// One promise and how it is checked: the run panics where it is broken.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub run: fn(Bench) -> BoxFuture<'static, ()>,
}

/// What every store promises.
pub fn cases() -> Vec<Case> {
    let themes = [
        submitting::cases(),
        claiming::cases(),
        settling::cases(),
        leasing::cases(),
        attempting::cases(),
        overdue::cases(),
        canceling::cases(),
        resubmitting::cases(),
        bodies::cases(),
        listing::cases(),
        pruning::cases(),
        deleting::cases(),
        closing::cases(),
    ];
    themes.concat()
}

/// What a store promises whose data outlives it; the bench must be able to reopen.
pub fn durable_cases() -> Vec<Case> {
    reopening::cases()
}

/// How the store before a reopening ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Closed,
    Dropped,
}

/// The verbs as most cases want them: on one endpoint, with the usual policy, and no failing.
impl Bench {
    async fn enqueue(&self, tasks: Vec<(NewTask, Place)>) -> Vec<Enqueued> {
        self.store.enqueue(tasks).await.unwrap()
    }

    async fn submit(&self, task: NewTask) -> Task {
        self.enqueue(vec![(task, Place::Queue)]).await.remove(0).task
    }

    /// Submits a task that this node holds from the beginning.
    async fn submit_here(&self, task: NewTask) -> Claimed {
        let Enqueued { task, lease, .. } = self.enqueue(vec![(task, Place::Here)]).await.remove(0);
        Claimed { task, lease: lease.expect("a new task that is due is held here") }
    }

    async fn claim(&self, max: usize) -> Vec<Claimed> {
        self.claims_of(&[endpoint()], max).await.tasks
    }

    async fn claims_of(&self, endpoints: &[EndpointName], max: usize) -> Claims {
        let wanted = endpoints.iter().map(|endpoint| Wanted { endpoint: endpoint.clone(), max });
        self.store.claim(wanted.collect()).await.unwrap()
    }

    async fn claim_one(&self) -> Claimed {
        self.claim(1).await.pop().expect("a task of the endpoint waits and is due")
    }

    /// A run that starts now.
    fn run(&self, attempt: u32) -> Run {
        Run { attempt, started_at: self.clock.now() }
    }

    async fn start(&self, lease: Lease, attempt: u32) -> Started {
        self.store.start(lease, self.run(attempt), StartDurability::Durable).await.unwrap()
    }

    /// Settles a task as if its first attempt had started now.
    async fn settle(&self, lease: Lease, verdict: Verdict) -> Settled {
        let run = Some(self.run(1));
        self.store.settle(Settlement { lease, run, verdict, keep: KEEP, notes: RunNotes::default() }).await.unwrap()
    }

    /// A task that has come to that verdict.
    async fn settled(&self, task: NewTask, verdict: Verdict) -> Task {
        let lease = self.submit_here(task).await.lease;
        match self.settle(lease, verdict).await {
            Settled::Recorded(task) => task,
            Settled::FenceLost => panic!("the fence of a task just submitted holds"),
        }
    }

    async fn cancel(&self, task: TaskId) -> Canceled {
        self.store.cancel(task, endpoint(), KEEP).await.unwrap()
    }

    /// Lets this node's lease lapse.
    fn lapse(&self) {
        self.clock.advance(LEASE + SECOND);
    }

    async fn reclaim(&self, max: usize) -> Reclaims {
        self.store.reclaim(max, reclaim_policy()).await.unwrap()
    }

    async fn overdue(&self, max: usize) -> Overdue {
        self.store.overdue(max, reclaim_policy().retention).await.unwrap()
    }

    async fn attempts(&self, id: TaskId) -> Vec<AttemptRecord> {
        self.store.attempts(id).await.unwrap()
    }

    async fn prune(&self) -> Vec<Pruned> {
        self.store.prune(ALL).await.unwrap()
    }

    async fn find(&self, id: TaskId) -> Option<Task> {
        self.store.get(id).await.unwrap()
    }

    /// A task that is known to be there.
    async fn get(&self, id: TaskId) -> Task {
        self.find(id).await.expect("the task is stored")
    }

    async fn input(&self, id: TaskId) -> Input {
        self.store.input(id).await.unwrap().expect("the task is stored")
    }

    async fn output(&self, id: TaskId) -> Option<Output> {
        self.store.output(id).await.unwrap()
    }

    /// Takes a body in as the HTTP side does, so that a store with a folder gets a large one as a file.
    async fn spool(&self, name: BlobName, bytes: &[u8]) -> Body {
        let mut spool = self.store.blobs().spool(name, u64::MAX);
        for chunk in bytes.chunks(64 * 1024) {
            spool.write(chunk).await.unwrap();
        }
        spool.finish().await.unwrap()
    }

    /// Ends the store and opens it again.
    async fn reopen(self, ending: Ending) -> Self {
        let Bench { store, clock, reopen } = self;
        match ending {
            Ending::Closed => store.close().await.unwrap(),
            Ending::Dropped => {}
        }
        drop(store);
        let open = reopen.clone().expect("durable cases are run only on stores that can reopen");
        Bench { store: open().await, clock, reopen }
    }
}

fn endpoint() -> EndpointName {
    endpoint_named("summarize")
}

fn other_endpoint() -> EndpointName {
    endpoint_named("translate")
}

fn endpoint_named(name: &str) -> EndpointName {
    EndpointName::new(name).unwrap()
}

fn new_task() -> NewTask {
    NewTask::new(endpoint(), Input::new("text/plain", "some input"))
}

fn new_task_on(endpoint: EndpointName) -> NewTask {
    NewTask { endpoint, ..new_task() }
}

fn new_task_with_key(key: &str) -> NewTask {
    NewTask { idempotency_key: Some(key.to_owned()), ..new_task() }
}

/// A task that can be found by these tags.
fn tagged(tags: &[(&str, &str)]) -> NewTask {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    NewTask { options: TaskOptions { tags, ..TaskOptions::default() }, ..new_task() }
}

fn delayed(delay: Duration) -> NewTask {
    NewTask { delay, ..new_task() }
}

fn done() -> Verdict {
    Verdict::Completed(Output::new("text/plain", "some output"))
}

fn failed() -> Verdict {
    Verdict::Failed(Failure::new(FailureCode::Failed, "it would not"), None)
}

fn again(delay: Duration) -> Verdict {
    Verdict::Again { delay, setback: Setback::Interrupted }
}

fn reclaim_policy() -> ReclaimPolicy {
    ReclaimPolicy { crash_budget: CRASH_BUDGET, retention: Arc::new(Retention::new(KEEP)) }
}

fn ids<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Vec<TaskId> {
    tasks.into_iter().map(|task| task.id).collect()
}

fn claimed_ids(claimed: &[Claimed]) -> Vec<TaskId> {
    ids(claimed.iter().map(|claimed| &claimed.task))
}

/// Bytes of every value, in no period that a store's pages or chunks could hide.
fn bytes_of_length(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 256 + i / 257) as u8).collect()
}

fn read(body: &Body) -> Bytes {
    body.read().unwrap()
}

/// Makes each call on a thread of its own; answers in the order they came.
async fn from_threads<T, Call>(calls: impl IntoIterator<Item = Call>) -> Vec<T>
where
    T: Send + 'static,
    Call: FnOnce() -> Answer<T> + Send + 'static,
{
    let mut threads = JoinSet::new();
    for call in calls {
        threads.spawn_blocking(|| Handle::current().block_on(call()).unwrap());
    }
    threads.join_all().await
}
