//! A store in memory: the reference for what a store does, and the one for those who need no durability.
//!
//! All of it lies behind one lock, and every verb is one step under that lock: what a call brings about has
//! happened when the call returns, and its answer is ready. Nothing survives the process.
//!
//! There is one node, this one. Its lease lapses when it is not renewed in time; what it holds can then be
//! reclaimed by itself, as another node would.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::ready;

use crate::clock::{self, Clock};
use crate::lifecycle::{self, Reclaimed, Retention, Times, Verdict};
use crate::measure::{BATCH_CALLS, Histogram, SHORT_SECONDS};
use crate::spool::Blobs;
use crate::store::{
    self, Answer, Canceled, Claimed, Claims, Count, Deleted, Enqueued, Lease, Ledger, ListQuery, Novelty, Overdue,
    Page, Place, Pruned, Queue, ReclaimPolicy, Reclaims, Resubmit, Resubmitted, Run, Settled, Settlement,
    StartDurability, Started, Store, StoreError, StoreStats, Wanted,
};
use crate::task::{
    AttemptOutcome, AttemptRecord, EndpointName, Failure, Input, NewTask, Output, RunNotes, State, Task, TaskId,
    Timestamp,
};

mod tables;

use tables::{Row, Tables};

/// How a memory store is opened.
#[derive(Clone)]
pub struct MemoryOptions {
    pub clock: Arc<dyn Clock>,
    /// How long the node's lease lasts from one renewal.
    pub lease: Duration,
}

impl MemoryOptions {
    /// The default of `lease`.
    pub const LEASE: Duration = Duration::from_secs(30);

    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, lease: Self::LEASE }
    }
}

pub struct MemoryStore {
    options: MemoryOptions,
    /// `None` once the store is closed.
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    tables: Tables,
    /// Until when this node's lease lasts, that instant included.
    lease_until: Timestamp,
}

/// What the one node of a memory store is called.
const NODE: &str = "1";

impl MemoryStore {
    /// An empty store; the node's lease begins now.
    pub fn new(options: MemoryOptions) -> Self {
        let lease_until = clock::after(options.clock.now(), options.lease);
        let kept = Kept { tables: Tables::default(), lease_until };
        Self { options, kept: Mutex::new(Some(kept)) }
    }

    /// Does one step under the lock, at once, and answers with what came of it.
    fn step<T: Send + 'static>(&self, step: impl FnOnce(&mut Kept, Timestamp) -> Result<T, StoreError>) -> Answer<T> {
        let mut kept = self.kept.lock().expect("no step panics under the lock");
        // Asked under the lock, so that a later step never sees an earlier time.
        let now = self.options.clock.now();
        let answer = kept.as_mut().ok_or(StoreError::Closed).and_then(|kept| step(kept, now));
        Box::pin(ready(answer))
    }
}

impl Queue for MemoryStore {
    fn enqueue(&self, tasks: Vec<(NewTask, Place)>) -> Answer<Vec<Enqueued>> {
        self.step(|kept, now| kept.enqueue(tasks, now))
    }

    fn resubmit(&self, wish: Resubmit) -> Answer<Resubmitted> {
        self.step(|kept, now| kept.resubmit(wish, now))
    }

    fn claim(&self, wanted: Vec<Wanted>) -> Answer<Claims> {
        self.step(|kept, now| Ok(kept.claim(&wanted, now)))
    }

    fn renew(&self) -> Answer<()> {
        let lease = self.options.lease;
        self.step(|kept, now| {
            kept.lease_until = clock::after(now, lease);
            Ok(())
        })
    }

    fn cancel(&self, task: TaskId, endpoint: EndpointName, keep: Duration) -> Answer<Canceled> {
        self.step(|kept, now| Ok(kept.cancel(task, &endpoint, keep, now)))
    }

    fn reclaim(&self, max: usize, policy: ReclaimPolicy) -> Answer<Reclaims> {
        self.step(|kept, now| Ok(kept.reclaim(max, &policy, now)))
    }

    fn overdue(&self, max: usize, retention: Arc<Retention>) -> Answer<Overdue> {
        self.step(|kept, now| Ok(kept.overdue(max, &retention, now)))
    }

    fn waiting(&self) -> Answer<Vec<(EndpointName, u64)>> {
        self.step(|kept, _| {
            let mut counts = kept.tables.counts();
            counts.retain(|count| count.state == State::Pending);
            Ok(counts.into_iter().map(|count| (count.endpoint, count.tasks)).collect())
        })
    }
}

impl Ledger for MemoryStore {
    fn start(&self, lease: Lease, run: Run, _: StartDurability) -> Answer<Started> {
        self.step(|kept, _| Ok(kept.start(lease, run)))
    }

    fn request_cancel(&self, lease: Lease) -> Answer<Settled> {
        self.step(|kept, _| Ok(kept.request_cancel(lease)))
    }

    fn settle(&self, settlement: Settlement) -> Answer<Settled> {
        self.step(|kept, now| Ok(kept.settle(settlement, now)))
    }

    fn get(&self, task: TaskId) -> Answer<Option<Task>> {
        self.step(|kept, _| Ok(kept.tables.row(task).map(|row| row.task.clone())))
    }

    fn attempts(&self, task: TaskId) -> Answer<Vec<AttemptRecord>> {
        self.step(|kept, _| Ok(kept.tables.row(task).map(Row::all_attempts).unwrap_or_default()))
    }

    fn input(&self, task: TaskId) -> Answer<Option<Input>> {
        self.step(|kept, _| Ok(kept.tables.row(task).map(|row| row.input.clone())))
    }

    fn output(&self, task: TaskId) -> Answer<Option<Output>> {
        self.step(|kept, _| Ok(kept.tables.row(task).and_then(|row| row.output.clone())))
    }

    fn list(&self, query: ListQuery) -> Answer<Page> {
        self.step(|kept, _| Ok(kept.tables.page(&query)))
    }

    fn counts(&self) -> Answer<Vec<Count>> {
        self.step(|kept, _| Ok(kept.tables.counts()))
    }

    fn delete(&self, task: TaskId) -> Answer<Deleted> {
        self.step(|kept, _| Ok(kept.delete(task)))
    }

    fn prune(&self, max: usize) -> Answer<Vec<Pruned>> {
        self.step(|kept, now| Ok(kept.prune(max, now)))
    }
}

impl Store for MemoryStore {
    fn blobs(&self) -> Blobs {
        Blobs::in_memory()
    }

    /// Nothing is ever committed.
    fn stats(&self) -> StoreStats {
        StoreStats { commit_seconds: Histogram::new(SHORT_SECONDS), commit_calls: Histogram::new(BATCH_CALLS) }
    }

    fn close(&self) -> Answer<()> {
        let closed = self.kept.lock().expect("no step panics under the lock").take();
        Box::pin(ready(closed.map(drop).ok_or(StoreError::Closed)))
    }
}

/// What the verbs of the queue do.
impl Kept {
    fn enqueue(&mut self, tasks: Vec<(NewTask, Place)>, now: Timestamp) -> Result<Vec<Enqueued>, StoreError> {
        self.refuse_used_ids(&tasks)?;
        let recorded = tasks.into_iter().map(|(task, place)| self.enqueue_one(task, place, now));
        Ok(recorded.collect())
    }

    /// Checked for all before any is recorded: it is all or none.
    fn refuse_used_ids(&self, tasks: &[(NewTask, Place)]) -> Result<(), StoreError> {
        let mut ids = HashSet::new();
        let mut keys = HashSet::new();
        for (task, _) in tasks {
            if let Some(key) = &task.idempotency_key {
                let known = self.tables.with_key(&task.endpoint, key).is_some() || !keys.insert((&task.endpoint, key));
                if known {
                    // It will not be recorded, so its id takes no room.
                    continue;
                }
            }
            let used = self.tables.row(task.id).is_some() || !ids.insert(task.id);
            if used {
                return Err(id_is_used(task.id));
            }
        }
        Ok(())
    }

    fn enqueue_one(&mut self, new: NewTask, place: Place, now: Timestamp) -> Enqueued {
        let first = new.idempotency_key.as_ref().and_then(|key| self.tables.with_key(&new.endpoint, key));
        if let Some(first) = first {
            let novelty = Novelty::of_known_key(new.input_digest, first.input_digest);
            return Enqueued { task: first.task.clone(), lease: None, novelty };
        }
        let task = store::recorded(&new, now);
        // A task that is not due yet waits in the queue, wherever it was meant to.
        let held = place == Place::Here && new.delay.is_zero();
        let fence = u32::from(held);
        let lease = held.then_some(Lease { task: task.id, fence });
        let NewTask { input, idempotency_key, input_digest, .. } = new;
        self.tables.add(Row { idempotency_key, input_digest, fence, held, ..Row::new(task.clone(), input) });
        Enqueued { task, lease, novelty: Novelty::New }
    }

    fn resubmit(&mut self, wish: Resubmit, now: Timestamp) -> Result<Resubmitted, StoreError> {
        let Some(original) = self.row_on(wish.of, &wish.endpoint) else { return Ok(Resubmitted::Unknown) };
        if !original.task.state.is_finished() {
            return Ok(Resubmitted::Unfinished(original.task.state));
        }
        if self.tables.row(wish.id).is_some() {
            return Err(id_is_used(wish.id));
        }
        let task = store::resubmitted(&original.task, wish.id, now);
        let held = wish.place == Place::Here;
        let fence = u32::from(held);
        let lease = held.then_some(Lease { task: task.id, fence });
        let row = Row { fence, held, ..Row::new(task.clone(), original.input.clone()) };
        self.tables.add(row);
        Ok(Resubmitted::Enqueued(Enqueued { task, lease, novelty: Novelty::New }))
    }

    fn claim(&mut self, wanted: &[Wanted], now: Timestamp) -> Claims {
        let mut claims = Claims::default();
        for Wanted { endpoint, max } in wanted {
            for id in self.tables.due(endpoint, now, *max) {
                claims.tasks.push(self.claim_one(id));
            }
            let next_due = self.tables.next_due(endpoint, now);
            claims.next_due = claims.next_due.into_iter().chain(next_due).min();
        }
        claims
    }

    fn claim_one(&mut self, id: TaskId) -> Claimed {
        let mut fence = 0;
        let task = self.tables.change(id, |row| {
            row.held = true;
            row.fence += 1;
            fence = row.fence;
        });
        Claimed { task, lease: Lease { task: id, fence } }
    }

    fn cancel(&mut self, id: TaskId, endpoint: &EndpointName, keep: Duration, now: Timestamp) -> Canceled {
        let Some(row) = self.row_on(id, endpoint) else { return Canceled::Unknown };
        match row.task.state {
            State::Completed | State::Failed | State::Canceled => Canceled::Finished(row.task.state),
            State::Pending | State::InProgress if row.held => Canceled::Held(row.task.state),
            State::Pending | State::InProgress => {
                let canceled = self.tables.change(id, |row| row.finish(Verdict::Canceled(None), keep, now));
                Canceled::Canceled(canceled)
            }
        }
    }

    fn reclaim(&mut self, max: usize, policy: &ReclaimPolicy, now: Timestamp) -> Reclaims {
        let mut reclaims = Reclaims::default();
        let lapsed = self.lease_until < now;
        if !lapsed {
            return reclaims;
        }
        for id in self.tables.held(max) {
            let task = &self.tables.row(id).expect("an index names rows that are there").task;
            let keep = policy.retention.of(&task.endpoint);
            match lifecycle::reclaim(task, policy.crash_budget) {
                Reclaimed::Waits => {
                    self.tables.change(id, |row| row.held = false);
                    reclaims.waiting += 1;
                }
                Reclaimed::Crashed { crashes } => {
                    reclaims.crashed.push(self.tables.change(id, |row| {
                        row.task.crashes = crashes;
                        row.record(now, AttemptOutcome::Lost, None, RunNotes::default());
                        row.put_back(row.task.due_at);
                    }));
                }
                Reclaimed::Lost { crashes, failure } => {
                    reclaims.lost.push(self.tables.change(id, |row| {
                        row.task.crashes = crashes;
                        row.ran = true;
                        row.finish(Verdict::Failed(failure, None), keep, now);
                    }));
                }
                Reclaimed::Canceled => {
                    reclaims.canceled.push(self.tables.change(id, |row| {
                        row.ran = true;
                        row.finish(Verdict::Canceled(None), keep, now);
                    }));
                }
            }
        }
        reclaims
    }

    fn overdue(&mut self, max: usize, retention: &Retention, now: Timestamp) -> Overdue {
        let mut overdue = Overdue::default();
        for id in self.tables.overdue(now, max) {
            let task = &self.tables.row(id).expect("an index names rows that are there").task;
            let keep = retention.of(&task.endpoint);
            let verdict = lifecycle::overdue(Times::of(task), now).expect("the index knows the times of a task");
            overdue.settled.push(self.tables.change(id, |row| row.finish(verdict, keep, now)));
        }
        overdue.next = self.tables.next_overdue(now);
        overdue
    }

    /// The row of a task, if it belongs to that endpoint.
    fn row_on(&self, id: TaskId, endpoint: &EndpointName) -> Option<&Row> {
        self.tables.row(id).filter(|row| row.task.endpoint == *endpoint)
    }
}

/// What the verbs of the ledger do.
impl Kept {
    fn start(&mut self, lease: Lease, run: Run) -> Started {
        if !self.holds(lease) {
            return Started::FenceLost;
        }
        self.tables.change(lease.task, |row| {
            row.task.state = State::InProgress;
            row.note(run);
        });
        Started::Recorded
    }

    fn request_cancel(&mut self, lease: Lease) -> Settled {
        let started = self.tables.row(lease.task).is_some_and(|row| row.task.state == State::InProgress);
        if !started || !self.holds(lease) {
            return Settled::FenceLost;
        }
        Settled::Recorded(self.tables.change(lease.task, |row| row.task.cancel_requested = true))
    }

    fn settle(&mut self, settlement: Settlement, now: Timestamp) -> Settled {
        let Settlement { lease, run, verdict, keep, notes } = settlement;
        if !self.holds(lease) {
            return Settled::FenceLost;
        }
        Settled::Recorded(self.tables.change(lease.task, |row| {
            let ran = run.is_some() || row.task.state == State::InProgress;
            // The start may not have been recorded: the settlement says the same.
            if let Some(run) = run {
                row.note(run);
            }
            match lifecycle::heeding_cancel(verdict, row.task.cancel_requested) {
                Verdict::Again { delay, setback } => {
                    row.task.crashes += setback.crashes();
                    row.task.failures += setback.failures();
                    if ran {
                        row.record(now, store::ended_by(&setback), setback.failure().cloned(), notes);
                    }
                    row.put_back(clock::after(now, delay));
                }
                verdict => {
                    row.ran = ran;
                    row.finish(verdict, keep, now);
                    if ran {
                        row.notes = notes;
                    }
                }
            }
        }))
    }

    fn delete(&mut self, id: TaskId) -> Deleted {
        match self.tables.row(id).map(|row| row.task.state) {
            None => Deleted::Unknown,
            Some(state) if !state.is_finished() => Deleted::Unfinished(state),
            Some(_) => Deleted::Deleted(self.forget(id)),
        }
    }

    fn prune(&mut self, max: usize, now: Timestamp) -> Vec<Pruned> {
        self.tables.expired(now, max).into_iter().map(|id| self.forget(id)).collect()
    }

    /// Removes a task that is there.
    fn forget(&mut self, id: TaskId) -> Pruned {
        let Row { task, .. } = self.tables.remove(id);
        Pruned { id, endpoint: task.endpoint, state: task.state }
    }

    /// Whether a report under this lease still counts.
    fn holds(&self, lease: Lease) -> bool {
        self.tables.row(lease.task).is_some_and(|row| row.held && row.fence == lease.fence)
    }
}

impl Row {
    fn note(&mut self, run: Run) {
        self.task.attempt = run.attempt;
        self.task.started_at = Some(run.started_at);
    }

    /// Records the latest attempt by itself: the task goes on without it.
    fn record(&mut self, now: Timestamp, outcome: AttemptOutcome, failure: Option<Failure>, notes: RunNotes) {
        let (number, started_at) = (self.task.attempt, self.task.started_at.expect("an attempt has started"));
        let attempt = AttemptRecord::running(number, started_at, Some(NODE.to_owned()));
        self.attempts.insert(number, attempt.ended(now, outcome, failure, notes));
        if let Some((first, last)) = AttemptRecord::forgotten_with(number) {
            self.attempts.retain(|number, _| !(first..=last).contains(number));
        }
    }

    fn all_attempts(&self) -> Vec<AttemptRecord> {
        let node = (self.held || self.ran).then(|| NODE.to_owned());
        let mut attempts =
            self.task.attempts(self.attempts.values().cloned().collect(), node, self.notes.worker.clone());
        if let (Some(log), Some(latest)) = (&self.notes.log, attempts.last_mut()) {
            latest.log = Some(log.clone());
        }
        attempts
    }

    fn put_back(&mut self, due_at: Timestamp) {
        self.held = false;
        self.task.state = State::Pending;
        self.task.due_at = due_at;
    }

    /// `verdict` is one that ends a task; `keep` is for one that does not say itself how long.
    fn finish(&mut self, verdict: Verdict, keep: Duration, now: Timestamp) {
        let keep = self.task.retention().unwrap_or(keep);
        self.held = false;
        self.task.state = verdict.state();
        self.task.finished_at = Some(now);
        self.task.expires_at = Some(clock::after(now, keep));
        self.task.cancel_requested = false;
        let (failure, output) = verdict.left();
        self.task.failure = failure.map(Box::new);
        self.task.output_bytes = output.as_ref().map_or(0, |output| output.body.len());
        self.output = output;
    }
}

fn id_is_used(id: TaskId) -> StoreError {
    StoreError::Failed(format!("cannot record task {id}: its id is used already"))
}
