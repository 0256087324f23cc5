//! The durable store in a folder of one machine: SQLite for the tasks, plain files for large bodies.
//!
//! ```text
//!           ┌─ calls ─────► writer        one thread: all calls that wait in one transaction and one sync
//!  callers ─┼─ questions ─► readers       two threads with views of their own, which never wait for the writer
//!           └─ jobs ──────► housekeeper   the files of bodies: deletes, links, sweeps orphans
//! ```
//!
//! One process at a time uses a folder, by a lock. Each opening is an epoch: tasks held by an earlier one can be
//! reclaimed at once, since that process is gone. The writer's thread owns the others, the connections and the
//! lock, and ends them in order when the store is closed or dropped.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::ready;
use tokio::sync::oneshot;

use crate::clock::{self, Clock, SystemClock};
use crate::lifecycle::Retention;
use crate::measure::{BATCH_CALLS, Histogram, SHORT_SECONDS};
use crate::spool::Blobs;
use crate::store::{
    Answer, Canceled, Claims, Count, Deleted, Enqueued, Lease, Ledger, ListQuery, Overdue, Page, Place, Pruned, Queue,
    ReclaimPolicy, Reclaims, Resubmit, Resubmitted, Run, Settled, Settlement, StartDurability, Started, Store,
    StoreError, StoreStats, Wanted,
};
use crate::task::{AttemptRecord, EndpointName, Input, NewTask, Output, State, Task, TaskId};

mod attempts;
mod calls;
mod headers;
mod housekeeper;
mod inbox;
mod ledger;
mod lock;
mod pages;
mod queue;
mod reader;
mod rows;
mod schema;
mod starts;
mod statements;
mod tally;
mod threads;
mod writer;

use calls::{Asker, Call};
use housekeeper::Job;
use inbox::Inbox;
use lock::FolderLock;
use reader::Question;
pub use schema::OpenError;
use starts::ShownStarts;
use tally::{Counts, Endpoints};
use threads::Helpers;
use writer::Desk;

/// How an embedded store is opened.
#[derive(Clone)]
pub struct EmbeddedOptions {
    pub clock: Arc<dyn Clock>,
    /// How long the node's lease lasts from one renewal.
    pub lease: Duration,
    /// The most bytes of a body that lies in its row; a larger one gets a file.
    pub inline_max: usize,
    /// The most bytes the database file may take, less bodies in files; `None` leaves it to the disk.
    pub size_max: Option<u64>,
}

impl EmbeddedOptions {
    /// The default of `lease`.
    pub const LEASE: Duration = Duration::from_secs(30);
    /// The default of `inline_max`.
    pub const INLINE_MAX: usize = 64 * 1024;

    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, lease: Self::LEASE, inline_max: Self::INLINE_MAX, size_max: None }
    }
}

impl Default for EmbeddedOptions {
    /// By the machine's clock.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

/// Dropped, it writes what waits and ends its threads, and waits for that.
pub struct EmbeddedStore {
    calls: Arc<Inbox<Call>>,
    questions: Arc<Inbox<Question>>,
    jobs: Arc<Inbox<Job>>,
    shared: Arc<Shared>,
    blobs: Blobs,
    writer: Option<JoinHandle<()>>,
}

/// What all threads of a store look at.
struct Shared {
    counts: Counts,
    starts: ShownStarts,
    stats: Mutex<StoreStats>,
}

impl Shared {
    fn new(counts: Counts) -> Self {
        let stats =
            StoreStats { commit_seconds: Histogram::new(SHORT_SECONDS), commit_calls: Histogram::new(BATCH_CALLS) };
        Self { counts, starts: ShownStarts::default(), stats: Mutex::new(stats) }
    }

    fn observe_commit(&self, took: Duration, calls: usize) {
        let mut stats = self.stats.lock().expect("nobody panics while holding the figures");
        stats.commit_seconds.observe_duration(took);
        stats.commit_calls.observe(calls as f64);
    }
}

impl EmbeddedStore {
    /// Opens the store in a folder, which is created where it is not there.
    ///
    /// # Errors
    /// Another process uses the folder; the database is not ours, newer than us or damaged; the disk says no.
    /// The files are then as they were.
    pub fn open(folder: &Path, options: EmbeddedOptions) -> Result<Self, OpenError> {
        let blob_folder = folder.join("blobs");
        create(&blob_folder).map_err(|source| OpenError::Folder { path: blob_folder.clone(), source })?;
        let now = options.clock.now();
        let lock = FolderLock::take(folder, now)?;
        let database = folder.join("ekiben.db");
        let connection = schema::open_writer(&database, options.size_max)?;
        let begun = schema::begin_epoch(&connection, now).map_err(|error| schema::refusal(&database, error))?;
        // Listed before anybody can add to them: only these can be orphans.
        let suspects = housekeeper::bodies_in(&blob_folder)
            .map_err(|source| OpenError::Blobs { path: blob_folder.clone(), source })?;

        let endpoints = Endpoints::new(&begun.names);
        let shared = Arc::new(Shared::new(Counts::new(begun.names, begun.tally)));
        let blobs = Blobs::in_folder(&blob_folder, options.inline_max);
        let calls = Arc::new(Inbox::new());
        let mut helpers = Helpers::new();
        helpers.start_readers(&database, &shared, &blobs)?;
        helpers.start_housekeeper(&database, &shared, &blobs, &calls, suspects)?;
        let (questions, jobs) = (helpers.questions(), helpers.jobs());
        let desk = Desk {
            shared: shared.clone(),
            calls: calls.clone(),
            jobs: jobs.clone(),
            lease_until: clock::after(now, options.lease),
            lease: options.lease,
            clock: options.clock,
            blobs: blobs.clone(),
            epoch: begun.epoch,
            endpoints,
        };
        let writer = threads::start_writer(&database, connection, desk, helpers, lock)?;
        Ok(Self { calls, questions, jobs, shared, blobs, writer: Some(writer) })
    }

    /// Sends a call to the writer. Its answer comes whether or not the future is kept.
    fn call<T: Send + 'static>(&self, call: impl FnOnce(Asker<T>) -> Call) -> Answer<T> {
        let (asker, answer) = oneshot::channel();
        if let Err(call) = self.calls.push(call(asker)) {
            call.refuse(StoreError::Closed);
        }
        awaited(answer)
    }

    fn question<T: Send + 'static>(&self, question: impl FnOnce(Asker<T>) -> Question) -> Answer<T> {
        let (asker, answer) = oneshot::channel();
        if self.questions.push(question(asker)).is_err() {
            return Box::pin(ready(Err(StoreError::Closed)));
        }
        awaited(answer)
    }

    /// What is known in memory is answered at once.
    fn known<T: Send + 'static>(&self, answer: impl FnOnce(&Shared) -> T) -> Answer<T> {
        let closed = self.calls.is_closed();
        Box::pin(ready(if closed { Err(StoreError::Closed) } else { Ok(answer(&self.shared)) }))
    }
}

/// Creates a folder for good: a body in it is only safe if the folder itself is.
fn create(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    match folder.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn awaited<T: Send + 'static>(answer: oneshot::Receiver<Result<T, StoreError>>) -> Answer<T> {
    Box::pin(async move {
        let ended = || Err(StoreError::Failed("the store ended before it answered: a bug in it".to_owned()));
        answer.await.unwrap_or_else(|_| ended())
    })
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.calls.close();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so on its own.
            let _ = writer.join();
        }
    }
}

impl Queue for EmbeddedStore {
    fn enqueue(&self, tasks: Vec<(NewTask, Place)>) -> Answer<Vec<Enqueued>> {
        self.call(|asker| Call::Enqueue(tasks, asker))
    }

    /// Goes by way of the housekeeper, which sees to the input where it is in a file.
    fn resubmit(&self, wish: Resubmit) -> Answer<Resubmitted> {
        let (asker, answer) = oneshot::channel();
        if self.jobs.push(Job::Link(wish, asker)).is_err() {
            return Box::pin(ready(Err(StoreError::Closed)));
        }
        awaited(answer)
    }

    fn claim(&self, wanted: Vec<Wanted>) -> Answer<Claims> {
        self.call(|asker| Call::Claim(wanted, asker))
    }

    fn renew(&self) -> Answer<()> {
        self.call(Call::Renew)
    }

    fn cancel(&self, task: TaskId, endpoint: EndpointName, keep: Duration) -> Answer<Canceled> {
        self.call(|asker| Call::Cancel(task, endpoint, keep, asker))
    }

    fn reclaim(&self, max: usize, policy: ReclaimPolicy) -> Answer<Reclaims> {
        self.call(|asker| Call::Reclaim(max, policy, asker))
    }

    fn overdue(&self, max: usize, retention: Arc<Retention>) -> Answer<Overdue> {
        self.call(|asker| Call::Overdue(max, retention, asker))
    }

    fn waiting(&self) -> Answer<Vec<(EndpointName, u64)>> {
        self.known(|shared| {
            let mut counts = shared.counts.all();
            counts.retain(|count| count.state == State::Pending);
            counts.into_iter().map(|count| (count.endpoint, count.tasks)).collect()
        })
    }
}

impl Ledger for EmbeddedStore {
    fn start(&self, lease: Lease, run: Run, durability: StartDurability) -> Answer<Started> {
        self.call(|asker| Call::Start(lease, run, durability, asker))
    }

    fn request_cancel(&self, lease: Lease) -> Answer<Settled> {
        self.call(|asker| Call::RequestCancel(lease, asker))
    }

    fn settle(&self, settlement: Settlement) -> Answer<Settled> {
        self.call(|asker| Call::Settle(settlement, asker))
    }

    fn get(&self, task: TaskId) -> Answer<Option<Task>> {
        self.question(|asker| Question::Get(task, asker))
    }

    fn attempts(&self, task: TaskId) -> Answer<Vec<AttemptRecord>> {
        self.question(|asker| Question::Attempts(task, asker))
    }

    fn input(&self, task: TaskId) -> Answer<Option<Input>> {
        self.question(|asker| Question::Input(task, asker))
    }

    fn output(&self, task: TaskId) -> Answer<Option<Output>> {
        self.question(|asker| Question::Output(task, asker))
    }

    fn list(&self, query: ListQuery) -> Answer<Page> {
        self.question(|asker| Question::List(query, asker))
    }

    fn counts(&self) -> Answer<Vec<Count>> {
        self.known(|shared| shared.counts.all())
    }

    fn delete(&self, task: TaskId) -> Answer<Deleted> {
        self.call(|asker| Call::Delete(task, asker))
    }

    fn prune(&self, max: usize) -> Answer<Vec<Pruned>> {
        self.call(|asker| Call::Prune(max, asker))
    }
}

impl Store for EmbeddedStore {
    fn blobs(&self) -> Blobs {
        self.blobs.clone()
    }

    fn stats(&self) -> StoreStats {
        self.shared.stats.lock().expect("nobody panics while holding the figures").clone()
    }

    fn close(&self) -> Answer<()> {
        self.call(Call::Close)
    }
}
