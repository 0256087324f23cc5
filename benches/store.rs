//! How fast the stores are: calls a second and how long one takes, by workload and number of callers.
//!
//! `cargo bench --bench store`, or with `-- --quick` to see only that it runs; a word picks workloads or stores
//! by name. Everything the embedded store answers here is on the disk, synced.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ekiben_actors::clock::{Clock, SystemClock, stopwatch};
use ekiben_actors::lifecycle::Verdict;
use ekiben_actors::store::embedded::{EmbeddedOptions, EmbeddedStore};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};
use ekiben_actors::store::{Lease, Ledger, ListQuery, Place, Run, Settlement, StartDurability, Store};
use ekiben_actors::task::{EndpointName, Input, NewTask, Output, RunNotes, TaskId};
use futures::future::join_all;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A store by name, opened in a folder it may use.
type Opener = (&'static str, fn(&Path) -> Arc<dyn Store>);

const STORES: &[Opener] = &[
    ("embedded", |folder| Arc::new(open_embedded(folder))),
    ("memory", |_| Arc::new(MemoryStore::new(MemoryOptions::new(Arc::new(SystemClock))))),
];

const CALLERS: &[usize] = &[1, 64, 1024];

/// The size of an input and of an output: a short text.
const BODY_BYTES: usize = 200;

/// Tasks recorded in one call where it is not measured.
const BULK: usize = 1000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Workload {
    /// Records a task.
    Insert,
    /// Settles a task that is held.
    Complete,
    /// Records a task, then settles it: two calls.
    Mixed,
    /// Records a task, starts it lazily, settles it: three calls.
    Whole,
    /// Asks for one task.
    Read,
    /// Asks for a page of fifty.
    List,
}

impl Workload {
    const ALL: [(&'static str, Workload); 6] = [
        ("insert", Workload::Insert),
        ("complete", Workload::Complete),
        ("mixed", Workload::Mixed),
        ("whole", Workload::Whole),
        ("read", Workload::Read),
        ("list", Workload::List),
    ];

    /// How many store calls one round makes.
    fn calls(self) -> usize {
        match self {
            Workload::Insert | Workload::Complete | Workload::Read | Workload::List => 1,
            Workload::Mixed => 2,
            Workload::Whole => 3,
        }
    }
}

/// How much to do: rounds of a run at most, and how long it may take at most.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    time: Duration,
    rows_to_reopen: usize,
}

const FULL: Effort = Effort { rounds: 200_000, time: Duration::from_millis(1000), rows_to_reopen: 1_000_000 };
const QUICK: Effort = Effort { rounds: 300, time: Duration::from_millis(50), rows_to_reopen: 3000 };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |store: &str, workload: &str| words.iter().all(|word| *word == store || *word == workload);
    let effort = if quick { QUICK } else { FULL };
    let runtime = Runtime::new().expect("a runtime can be started");

    println!("{:9} {:9} {:>7} {:>11} {:>9} {:>9}", "store", "workload", "callers", "calls/s", "p50", "p99");
    for (store, open) in STORES {
        for (name, workload) in Workload::ALL.into_iter().filter(|(name, _)| wanted(store, name)) {
            for callers in CALLERS {
                let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be created here");
                let opened = open(folder.path());
                let measured = runtime.block_on(measure(opened, workload, *callers, effort));
                measured.print(store, name, *callers);
            }
        }
    }
    if wanted("embedded", "reopen") {
        reopen(&runtime, effort.rows_to_reopen);
    }
}

fn open_embedded(folder: &Path) -> EmbeddedStore {
    let options = EmbeddedOptions::new(Arc::new(SystemClock));
    EmbeddedStore::open(folder, options).expect("a fresh folder can be opened")
}

/// What came of a run.
struct Measured {
    calls_a_second: f64,
    /// How long each round took, sorted.
    rounds: Vec<Duration>,
}

impl Measured {
    fn print(&self, store: &str, workload: &str, callers: usize) {
        let at = |share: f64| {
            let index = (self.rounds.len() as f64 * share) as usize;
            let round = self.rounds[index.min(self.rounds.len() - 1)];
            format!("{:.2} ms", round.as_secs_f64() * 1e3)
        };
        let Measured { calls_a_second, .. } = self;
        println!("{store:9} {workload:9} {callers:>7} {calls_a_second:>11.0} {:>9} {:>9}", at(0.5), at(0.99));
    }
}

/// Shared by all callers of a run.
struct Course {
    store: Arc<dyn Store>,
    workload: Workload,
    leases: Vec<Lease>,
    taken: AtomicUsize,
    rounds: usize,
    end: Instant,
}

async fn measure(store: Arc<dyn Store>, workload: Workload, callers: usize, effort: Effort) -> Measured {
    let leases = match workload {
        Workload::Complete | Workload::Read | Workload::List => fill(&*store, effort.rounds).await,
        Workload::Insert | Workload::Mixed | Workload::Whole => Vec::new(),
    };
    let began = stopwatch();
    let taken = AtomicUsize::new(0);
    let end = began + effort.time;
    let course = Arc::new(Course { store, workload, leases, taken, rounds: effort.rounds, end });
    let running: Vec<_> = (0..callers).map(|_| tokio::spawn(run(course.clone()))).collect();
    let mut rounds = Vec::new();
    for caller in running {
        rounds.extend(caller.await.expect("no caller panics"));
    }
    let took = began.elapsed().as_secs_f64();
    rounds.sort_unstable();
    Measured { calls_a_second: (rounds.len() * workload.calls()) as f64 / took, rounds }
}

/// One caller: one round after the other until all are taken or the time is over.
async fn run(course: Arc<Course>) -> Vec<Duration> {
    let mut rounds = Vec::new();
    loop {
        let number = course.taken.fetch_add(1, Ordering::Relaxed);
        let began = stopwatch();
        if number >= course.rounds || began >= course.end {
            return rounds;
        }
        round(&course, number).await;
        rounds.push(began.elapsed());
    }
}

async fn round(course: &Course, number: usize) {
    let store = &*course.store;
    match course.workload {
        Workload::Insert => drop(insert(store).await),
        Workload::Complete => complete(store, course.leases[number]).await,
        Workload::Mixed => {
            let lease = insert(store).await;
            complete(store, lease).await;
        }
        Workload::Whole => {
            let lease = insert(store).await;
            let run = Run { attempt: 1, started_at: SystemClock.now() };
            store.start(lease, run, StartDurability::Lazy).await.expect("a start is recorded");
            complete(store, lease).await;
        }
        Workload::Read => {
            let task = store.get(anywhere(&course.leases, number)).await.expect("a task is read");
            assert!(task.is_some());
        }
        Workload::List => {
            let after = Some(anywhere(&course.leases, number));
            let query = ListQuery { endpoint: Some(endpoint()), after, ..ListQuery::newest(50) };
            store.list(query).await.expect("a page is read");
        }
    }
}

async fn insert(store: &dyn Store) -> Lease {
    let enqueued = store.enqueue(vec![(new_task(), Place::Here)]).await.expect("a task is recorded");
    enqueued[0].lease.expect("a task that is due at once is held")
}

async fn complete(store: &dyn Store, lease: Lease) {
    let verdict = Verdict::Completed(Output::new("application/json", vec![b'o'; BODY_BYTES]));
    let run = Some(Run { attempt: 1, started_at: SystemClock.now() });
    let settlement = Settlement { lease, run, verdict, keep: Duration::from_secs(60), notes: RunNotes::default() };
    store.settle(settlement).await.expect("a task is settled");
}

async fn fill(store: &dyn Store, tasks: usize) -> Vec<Lease> {
    let bulks = (0..tasks.div_ceil(BULK)).map(|bulk| {
        let size = BULK.min(tasks - bulk * BULK);
        store.enqueue((0..size).map(|_| (new_task(), Place::Here)).collect())
    });
    let enqueued = join_all(bulks).await.into_iter().flat_map(|bulk| bulk.expect("tasks are recorded"));
    enqueued.map(|enqueued| enqueued.lease.expect("a task that is due at once is held")).collect()
}

/// A task somewhere among those recorded, another one each time.
fn anywhere(leases: &[Lease], number: usize) -> TaskId {
    leases[number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % leases.len()].task
}

fn endpoint() -> EndpointName {
    EndpointName::new("bench").expect("a good name")
}

fn new_task() -> NewTask {
    NewTask::new(endpoint(), Input::new("application/json", vec![b'i'; BODY_BYTES]))
}

/// How long it takes to open a store that holds many tasks, all of them held by the process before.
fn reopen(runtime: &Runtime, rows: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be created here");
    let store = open_embedded(folder.path());
    for _ in 0..10 {
        runtime.block_on(fill(&store, rows / 10));
    }
    drop(store);
    let began = stopwatch();
    let store = open_embedded(folder.path());
    let opened = began.elapsed();
    let claims = runtime.block_on(store.counts()).expect("an open store counts");
    println!("reopened with {} tasks in {:.1} ms", claims[0].tasks, opened.as_secs_f64() * 1e3);
}
