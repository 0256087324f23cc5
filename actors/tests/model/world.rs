//! What a sequence of steps has brought about so far, and how a step is taken on a store.
//!
//! Each step is taken on both stores from the same knowledge; only then is something learnt from the answer.
//! An answer is kept as text, and after every step all that a store shows is looked at as well. What the
//! promises leave open is left out: the wording of errors, the order of sets, what a lazy start answers.

use std::fmt::Debug;
use std::time::Duration;

use ekiben_actors::clock::Clock;
use ekiben_actors::lifecycle::{Retention, Setback, Verdict};
use ekiben_actors::spool::BlobName;
use ekiben_actors::store::conformance::Bench;
use ekiben_actors::store::{
    Lease, ListQuery, Place, ReclaimPolicy, Reclaims, Resubmit, Resubmitted, Run, Settlement, StartDurability, Store,
    StoreError, Wanted,
};
use ekiben_actors::task::{
    EndpointName, Failure, FailureCode, Headers, Input, NewTask, Output, Priority, RunNotes, State, TaskId, TaskOptions,
};
use proptest::sample::Index;

use crate::steps::{End, OVER_THE_LEASE, Step, Submission, Times, Why};

const ALL: usize = 100_000;

/// The tasks and leases there ever were.
#[derive(Default)]
pub struct World {
    tasks: Vec<(TaskId, usize)>,
    leases: Vec<Lease>,
    steps: u32,
}

/// What a step showed: the answer, then the store as a whole; and what can be named from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    answer: String,
    store: String,
    tasks: Vec<(TaskId, usize)>,
    leases: Vec<Lease>,
}

impl Seen {
    fn answer(answer: impl Debug) -> Self {
        Self { answer: format!("{answer:?}"), ..Self::default() }
    }
}

impl World {
    /// Adds what an answer told to what is known.
    pub fn learn(&mut self, seen: &Seen) {
        self.steps += 1;
        self.tasks.extend(&seen.tasks);
        self.leases.extend(&seen.leases);
    }

    /// Takes a step on a store; answers with the bench as it is then.
    pub async fn take(&self, step: &Step, bench: Bench) -> (Bench, Seen) {
        let (bench, mut seen) = match step {
            Step::Advance(pause) => {
                bench.clock.advance(*pause);
                (bench, Seen::default())
            }
            Step::Restart { close } => restart(bench, *close).await,
            step => {
                let seen = self.call(step, &bench).await;
                (bench, seen)
            }
        };
        seen.store = snapshot(&*bench.store).await;
        (bench, seen)
    }

    async fn call(&self, step: &Step, bench: &Bench) -> Seen {
        let store = &*bench.store;
        match step {
            Step::Enqueue(submissions) => self.enqueue(submissions, store).await,
            Step::Resubmit { of, endpoint, here } => self.resubmit(*of, *endpoint, *here, store).await,
            Step::Claim { max } => claim(max, store).await,
            Step::Renew => Seen::answer(plain(store.renew().await)),
            Step::Cancel { task, endpoint, keep } => {
                let (task, own) = self.task(*task);
                let endpoint = endpoint_of(endpoint.unwrap_or(own));
                Seen::answer(plain(store.cancel(task, endpoint, *keep).await))
            }
            Step::Reclaim => Seen::answer(plain(store.reclaim(ALL, policy()).await.map(in_order))),
            Step::Overdue { max } => Seen::answer(plain(store.overdue(*max, policy().retention).await)),
            Step::RequestCancel { lease } => Seen::answer(plain(store.request_cancel(self.lease(*lease)).await)),
            Step::Start { lease, durable } => self.start(*lease, *durable, bench).await,
            Step::Settle { lease, ran, end, keep, worker, log } => {
                let lease = self.lease(*lease);
                let run = ran.then(|| run_of(lease, bench));
                let notes = RunNotes {
                    worker: worker.then(|| format!("pid {}", lease.fence)),
                    log: log.then(|| format!("of attempt {}", lease.fence)),
                };
                let settlement = Settlement { lease, run, verdict: verdict(end, lease), keep: *keep, notes };
                Seen::answer(plain(store.settle(settlement).await))
            }
            Step::Read { task } => read(self.task(*task).0, store).await,
            Step::List { endpoint, states, tags, from, after, limit } => {
                let query = ListQuery {
                    endpoint: endpoint.map(endpoint_of),
                    states: states.iter().map(|state| State::ALL[*state]).collect(),
                    tags: tags_of(*tags),
                    from: from.map(|from| self.task(from).0),
                    after: after.map(|after| self.task(after).0),
                    limit: *limit,
                };
                Seen::answer(plain(store.list(query).await))
            }
            Step::Delete { task } => Seen::answer(plain(store.delete(self.task(*task).0).await)),
            Step::Prune => {
                let mut pruned = store.prune(ALL).await.expect("a prune succeeds");
                pruned.sort_by_key(|pruned| pruned.id);
                Seen::answer(pruned)
            }
            Step::Advance(_) | Step::Restart { .. } => unreachable!("these are no calls"),
        }
    }

    async fn enqueue(&self, submissions: &[Submission], store: &dyn Store) -> Seen {
        let mut tasks = Vec::new();
        let mut made = Vec::new();
        for (number, submission) in submissions.iter().enumerate() {
            let task = self.new_task(number, submission, store).await;
            made.push((task.id, submission.endpoint));
            tasks.push((task, place(submission.here)));
        }
        let answer = store.enqueue(tasks).await;
        let leases = answer.iter().flatten().filter_map(|enqueued| enqueued.lease).collect();
        Seen { tasks: made, leases, ..Seen::answer(plain(answer)) }
    }

    async fn new_task(&self, number: usize, submission: &Submission, store: &dyn Store) -> NewTask {
        let id = match submission.used_id {
            Some(used) => self.task(used).0,
            None => self.fresh_id(number),
        };
        let bytes = id.as_bytes().repeat(if submission.large { 20_000 } else { number });
        let body = if submission.large && submission.used_id.is_none() {
            let mut spool = store.blobs().spool(BlobName::Input(id), u64::MAX);
            spool.write(&bytes).await.expect("a body is taken in");
            spool.finish().await.expect("a body is taken in")
        } else {
            bytes.into()
        };
        let input = Input { headers: Headers::of_type("application/octet-stream"), body };
        NewTask {
            id,
            priority: Priority(submission.priority),
            delay: submission.delay,
            queue_ttl: submission.times.queue_ttl,
            deadline: submission.times.deadline,
            idempotency_key: submission.key.map(|key| format!("key {key}")),
            input_digest: submission.digest.map(|digest| [digest; 32]),
            options: TaskOptions {
                tags: tags_of(submission.tags).into_iter().collect(),
                retention: submission.times.retention,
                ..TaskOptions::default()
            },
            ..NewTask::new(endpoint_of(submission.endpoint), input)
        }
    }

    async fn resubmit(&self, of: Index, endpoint: Option<usize>, here: bool, store: &dyn Store) -> Seen {
        let (of, own) = self.task(of);
        let endpoint = endpoint.unwrap_or(own);
        let id = self.fresh_id(0);
        let wish = Resubmit { of, endpoint: endpoint_of(endpoint), id, place: place(here) };
        let answer = store.resubmit(wish).await;
        let leases = match &answer {
            Ok(Resubmitted::Enqueued(enqueued)) => enqueued.lease.into_iter().collect(),
            Ok(Resubmitted::Unfinished(_) | Resubmitted::Unknown) | Err(_) => Vec::new(),
        };
        Seen { tasks: vec![(id, endpoint)], leases, ..Seen::answer(plain(answer)) }
    }

    async fn start(&self, lease: Index, durable: bool, bench: &Bench) -> Seen {
        let lease = self.lease(lease);
        let run = run_of(lease, bench);
        if durable {
            return Seen::answer(plain(bench.store.start(lease, run, StartDurability::Durable).await));
        }
        bench.store.start(lease, run, StartDurability::Lazy).await.expect("a lazy start is taken");
        // It may ride with the next write, so there must be one before anybody looks.
        let next = Submission {
            endpoint: 0,
            priority: 0,
            delay: Duration::ZERO,
            times: Times { queue_ttl: None, deadline: None, retention: None },
            key: None,
            digest: None,
            tags: 0,
            here: false,
            used_id: None,
            large: false,
        };
        self.enqueue(&[next], &*bench.store).await
    }

    /// A task that may be there, with the endpoint it was meant for.
    fn task(&self, number: Index) -> (TaskId, usize) {
        if self.tasks.is_empty() {
            return (TaskId::from_bytes([0xee; 16]), 0);
        }
        // Late ones more often: the early ones are finished or gone.
        let recent = &self.tasks[self.tasks.len().saturating_sub(12)..];
        *number.get(recent)
    }

    /// A lease that may still hold.
    fn lease(&self, number: Index) -> Lease {
        if self.leases.is_empty() {
            return Lease { task: TaskId::from_bytes([0xee; 16]), fence: 1 };
        }
        let recent = &self.leases[self.leases.len().saturating_sub(8)..];
        *number.get(recent)
    }

    /// The same for both stores, and not in the order of age: ids may be made elsewhere.
    fn fresh_id(&self, number: usize) -> TaskId {
        let mut bytes = [0; 16];
        bytes[0] = (self.steps % 7) as u8;
        bytes[1..5].copy_from_slice(&self.steps.to_be_bytes());
        bytes[5] = number as u8;
        TaskId::from_bytes(bytes)
    }
}

/// Ends the node and begins another. The lease is let go first, so that a store that cannot reopen is left
/// with the same: all that was held can be reclaimed.
async fn restart(bench: Bench, close: bool) -> (Bench, Seen) {
    bench.clock.advance(OVER_THE_LEASE);
    let Bench { store, clock, reopen } = bench;
    let store = match &reopen {
        Some(open) => {
            if close {
                store.close().await.expect("an open store closes");
            }
            drop(store);
            open().await
        }
        None => store,
    };
    let reclaims = store.reclaim(ALL, policy()).await.expect("a reclaim succeeds");
    store.renew().await.expect("a renewal succeeds");
    // A store may return what had not started when it closes, or when it is asked to reclaim.
    let reclaims = in_order(Reclaims { waiting: 0, ..reclaims });
    (Bench { store, clock, reopen }, Seen::answer(reclaims))
}

async fn claim(max: &[usize], store: &dyn Store) -> Seen {
    let wanted = max.iter().enumerate().map(|(number, max)| Wanted { endpoint: endpoint_of(number), max: *max });
    let mut claims = store.claim(wanted.collect()).await.expect("a claim succeeds");
    // The order is a promise within an endpoint only.
    claims.tasks.sort_by_key(|claimed| claimed.task.endpoint.clone());
    let leases = claims.tasks.iter().map(|claimed| claimed.lease).collect();
    Seen { leases, ..Seen::answer(claims) }
}

async fn read(task: TaskId, store: &dyn Store) -> Seen {
    let found = store.get(task).await.expect("reading succeeds");
    let input = store.input(task).await.expect("reading succeeds");
    let input = input.map(|input| (input.headers, input.body.read().expect("a body is read")));
    let output = store.output(task).await.expect("reading succeeds");
    let output = output.map(|output| (output.status, output.headers, output.body.read().expect("a body is read")));
    let mut attempts = store.attempts(task).await.expect("reading succeeds");
    for attempt in &mut attempts {
        // Each store has its own names for the nodes; whether there is one is the same.
        attempt.node = attempt.node.as_ref().map(|_| String::new());
    }
    Seen::answer((found, input, output, attempts))
}

/// All that a store shows.
async fn snapshot(store: &dyn Store) -> String {
    let tasks = store.list(ListQuery::newest(ALL)).await.expect("listing succeeds");
    let mut counts = store.counts().await.expect("counting succeeds");
    counts.retain(|count| count.tasks > 0);
    counts.sort_by_key(|count| (count.endpoint.clone(), count.state));
    let mut waiting = store.waiting().await.expect("counting succeeds");
    waiting.retain(|(_, tasks)| *tasks > 0);
    waiting.sort();
    format!("{tasks:?} {counts:?} {waiting:?}")
}

/// An answer without the wording of an error.
fn plain<T>(answer: Result<T, StoreError>) -> Result<T, &'static str> {
    answer.map_err(|error| match error {
        StoreError::Full(_) => "full",
        StoreError::Failed(_) => "failed",
        StoreError::Closed => "closed",
    })
}

fn in_order(mut reclaims: Reclaims) -> Reclaims {
    reclaims.crashed.sort_by_key(|task| task.id);
    reclaims.lost.sort_by_key(|task| task.id);
    reclaims.canceled.sort_by_key(|task| task.id);
    reclaims
}

/// The fence serves as the number of the attempt: a claim is a run here.
fn run_of(lease: Lease, bench: &Bench) -> Run {
    Run { attempt: lease.fence, started_at: bench.clock.now() }
}

fn verdict(end: &End, lease: Lease) -> Verdict {
    match end {
        End::Completed { bytes } => {
            let body: Vec<u8> = lease.task.as_bytes().iter().copied().cycle().take(*bytes).collect();
            Verdict::Completed(Output::new("application/octet-stream", body))
        }
        End::Failed { answer } => {
            let failure = Failure::new(FailureCode::BadInput, format!("attempt {} failed", lease.fence));
            Verdict::Failed(failure, answer.then(|| Output::new("text/plain", "no").with_status(400)))
        }
        End::Canceled => Verdict::Canceled(None),
        End::Again { delay, why } => {
            let failure = || Failure::new(FailureCode::Timeout, format!("attempt {} came back", lease.fence));
            let setback = match why {
                Why::Interrupted => Setback::Interrupted,
                Why::PutBack => Setback::PutBack(failure()),
                Why::Crashed => Setback::Crashed(failure().with_log("it ended so")),
                Why::Failed => Setback::Failed(failure()),
            };
            Verdict::Again { delay: *delay, setback }
        }
    }
}

fn policy() -> ReclaimPolicy {
    let mut retention = Retention::new(Duration::from_secs(60));
    retention.set(endpoint_of(1), Duration::from_secs(5));
    ReclaimPolicy { crash_budget: 2, retention: retention.into() }
}

fn endpoint_of(number: usize) -> EndpointName {
    EndpointName::new(["summarize", "translate", "denoise"][number % 3]).expect("the names are well formed")
}

/// The tags that some bits stand for.
fn tags_of(bits: u8) -> Vec<(String, String)> {
    let all = [("project", "rice"), ("urgent", "no")];
    let chosen = all.into_iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
    chosen.map(|(_, (key, value))| (key.to_owned(), value.to_owned())).collect()
}

fn place(here: bool) -> Place {
    if here { Place::Here } else { Place::Queue }
}
