//! A store that fails now and then, by a seed, for tests of what stands above a store.
//!
//! A planned fault comes before the call has any effect, or after the effect is there and only the answer is
//! lost, as when a connection breaks. The same seed fails the same calls as long as they come in the same order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::ready;

use crate::lifecycle::Retention;
use crate::spool::Blobs;
use crate::store::{
    Answer, Canceled, Claims, Count, Deleted, Enqueued, Lease, Ledger, ListQuery, Overdue, Page, Place, Pruned, Queue,
    ReclaimPolicy, Reclaims, Resubmit, Resubmitted, Run, Settled, Settlement, StartDurability, Started, Store,
    StoreError, StoreStats, Wanted,
};
use crate::task::{AttemptRecord, EndpointName, Input, NewTask, Output, Task, TaskId};

/// Which calls fail.
#[derive(Clone, Copy, Debug)]
pub struct FaultPlan {
    pub seed: u64,
    /// One call in so many fails; at least 1.
    pub one_in: u64,
}

/// Wraps a store. It fails by its plan from the beginning, until it is told to behave.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: FaultPlan,
    failing: AtomicBool,
    /// The state of the random numbers.
    drawn: AtomicU64,
}

/// How a call fails.
enum Fault {
    /// It has no effect.
    Before(StoreError),
    /// It has its effect, but answers that it failed.
    After(StoreError),
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn Store>, plan: FaultPlan) -> Self {
        assert!(plan.one_in >= 1, "no more than every call can fail");
        Self { inner, plan, failing: AtomicBool::new(true), drawn: AtomicU64::new(plan.seed) }
    }

    /// Calls fail by the plan from now on.
    pub fn fail(&self) {
        self.failing.store(true, Ordering::SeqCst);
    }

    /// Calls pass untouched from now on.
    pub fn behave(&self) {
        self.failing.store(false, Ordering::SeqCst);
    }

    fn call<T: Send + 'static>(&self, verb: &str, call: impl FnOnce(&dyn Store) -> Answer<T>) -> Answer<T> {
        match self.draw(verb) {
            None => call(&*self.inner),
            Some(Fault::Before(error)) => Box::pin(ready(Err(error))),
            Some(Fault::After(error)) => {
                let answer = call(&*self.inner);
                Box::pin(async move { answer.await.and(Err(error)) })
            }
        }
    }

    fn draw(&self, verb: &str) -> Option<Fault> {
        if !self.failing.load(Ordering::SeqCst) {
            return None;
        }
        let number = self.next_number();
        if !number.is_multiple_of(self.plan.one_in) {
            return None;
        }
        Some(match (number / self.plan.one_in) % 3 {
            0 => Fault::Before(StoreError::Full(format!("planned fault before {verb}"))),
            1 => Fault::Before(StoreError::Failed(format!("planned fault before {verb}"))),
            _ => Fault::After(StoreError::Failed(format!("planned fault after {verb}: its effect is there"))),
        })
    }

    /// SplitMix64: a step that never repeats within a period, then a mix in which every bit depends on all.
    fn next_number(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut number = self.drawn.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}

impl Queue for FaultyStore {
    fn enqueue(&self, tasks: Vec<(NewTask, Place)>) -> Answer<Vec<Enqueued>> {
        self.call("enqueue", |store| store.enqueue(tasks))
    }

    fn resubmit(&self, wish: Resubmit) -> Answer<Resubmitted> {
        self.call("resubmit", |store| store.resubmit(wish))
    }

    fn claim(&self, wanted: Vec<Wanted>) -> Answer<Claims> {
        self.call("claim", |store| store.claim(wanted))
    }

    fn renew(&self) -> Answer<()> {
        self.call("renew", |store| store.renew())
    }

    fn cancel(&self, task: TaskId, endpoint: EndpointName, keep: Duration) -> Answer<Canceled> {
        self.call("cancel", |store| store.cancel(task, endpoint, keep))
    }

    fn reclaim(&self, max: usize, policy: ReclaimPolicy) -> Answer<Reclaims> {
        self.call("reclaim", |store| store.reclaim(max, policy))
    }

    fn overdue(&self, max: usize, retention: Arc<Retention>) -> Answer<Overdue> {
        self.call("overdue", |store| store.overdue(max, retention))
    }

    fn waiting(&self) -> Answer<Vec<(EndpointName, u64)>> {
        self.call("waiting", |store| store.waiting())
    }
}

impl Ledger for FaultyStore {
    fn start(&self, lease: Lease, run: Run, durability: StartDurability) -> Answer<Started> {
        self.call("start", |store| store.start(lease, run, durability))
    }

    fn request_cancel(&self, lease: Lease) -> Answer<Settled> {
        self.call("request_cancel", |store| store.request_cancel(lease))
    }

    fn settle(&self, settlement: Settlement) -> Answer<Settled> {
        self.call("settle", |store| store.settle(settlement))
    }

    fn get(&self, task: TaskId) -> Answer<Option<Task>> {
        self.call("get", |store| store.get(task))
    }

    fn attempts(&self, task: TaskId) -> Answer<Vec<AttemptRecord>> {
        self.call("attempts", |store| store.attempts(task))
    }

    fn input(&self, task: TaskId) -> Answer<Option<Input>> {
        self.call("input", |store| store.input(task))
    }

    fn output(&self, task: TaskId) -> Answer<Option<Output>> {
        self.call("output", |store| store.output(task))
    }

    fn list(&self, query: ListQuery) -> Answer<Page> {
        self.call("list", |store| store.list(query))
    }

    fn counts(&self) -> Answer<Vec<Count>> {
        self.call("counts", |store| store.counts())
    }

    fn delete(&self, task: TaskId) -> Answer<Deleted> {
        self.call("delete", |store| store.delete(task))
    }

    fn prune(&self, max: usize) -> Answer<Vec<Pruned>> {
        self.call("prune", |store| store.prune(max))
    }
}

/// These never fail by plan: a test must be able to end.
impl Store for FaultyStore {
    fn blobs(&self) -> Blobs {
        self.inner.blobs()
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }

    fn close(&self) -> Answer<()> {
        self.inner.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::store::memory::{MemoryOptions, MemoryStore};

    fn faulty(seed: u64, one_in: u64) -> FaultyStore {
        let memory = MemoryStore::new(MemoryOptions::new(Arc::new(ManualClock::new())));
        FaultyStore::new(Arc::new(memory), FaultPlan { seed, one_in })
    }

    fn new_task() -> NewTask {
        NewTask::new(EndpointName::new("summarize").unwrap(), Input::default())
    }

    /// What each of some submissions answered, and whether it is recorded.
    async fn submissions(store: &FaultyStore, number: usize) -> Vec<(Result<(), StoreError>, bool)> {
        let mut seen = Vec::new();
        for _ in 0..number {
            let task = new_task();
            let answer = store.enqueue(vec![(task.clone(), Place::Queue)]).await;
            let recorded = store.inner.get(task.id).await.unwrap().is_some();
            seen.push((answer.map(drop), recorded));
        }
        seen
    }

    #[tokio::test]
    async fn a_fault_says_truly_whether_the_effect_is_there() {
        let seen = submissions(&faulty(1, 3), 300).await;
        for (answer, recorded) in &seen {
            let expected = match answer {
                Ok(()) => true,
                Err(StoreError::Failed(reason)) => reason.contains("after"),
                Err(StoreError::Full(_) | StoreError::Closed) => false,
            };
            assert_eq!(*recorded, expected, "{answer:?}");
        }
        let kinds: [fn(&StoreError) -> bool; 3] = [
            |error| matches!(error, StoreError::Full(_)),
            |error| error.to_string().contains("fault before"),
            |error| error.to_string().contains("fault after"),
        ];
        for kind in kinds {
            let such = seen.iter().filter(|(answer, _)| answer.as_ref().is_err_and(kind)).count();
            assert!(such > 10, "each kind of fault comes up, but one only {such} times");
        }
    }

    #[tokio::test]
    async fn the_same_seed_fails_the_same_calls() {
        let once = submissions(&faulty(7, 2), 50).await;
        assert_eq!(once, submissions(&faulty(7, 2), 50).await);
        assert_ne!(once, submissions(&faulty(8, 2), 50).await);
    }

    #[tokio::test]
    async fn a_store_told_to_behave_does_not_fail() {
        let store = faulty(1, 1);
        store.behave();
        assert!(submissions(&store, 20).await.iter().all(|(answer, recorded)| answer.is_ok() && *recorded));
        store.fail();
        assert!(submissions(&store, 20).await.iter().all(|(answer, _)| answer.is_err()));
    }
}
