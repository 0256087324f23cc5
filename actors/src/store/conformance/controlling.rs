//! Promises of `control`, `controls` and `purge`.

use super::*;
use crate::store::{Control, ControlChange, Purge};

pub(super) fn cases() -> Vec<Case> {
    cases![
        an_endpoint_is_set_bit_by_bit,
        a_purge_cancels_what_waits_and_nothing_else,
        a_purge_takes_one_step_after_the_other,
        a_purge_leaves_what_was_submitted_later,
        a_purge_and_a_claim_never_both_win,
    ]
}

impl Bench {
    async fn control(&self, change: ControlChange) -> Control {
        self.store.control(endpoint(), change).await.unwrap()
    }

    async fn controls(&self) -> Vec<(EndpointName, Control)> {
        let mut controls = self.store.controls().await.unwrap();
        controls.retain(|(_, control)| *control != Control::default());
        controls
    }

    fn purge_of(&self, max: usize) -> Purge {
        Purge { endpoint: endpoint(), max, submitted_by: self.clock.now(), keep: KEEP }
    }

    async fn purge(&self, max: usize) -> Vec<Task> {
        self.store.purge(self.purge_of(max)).await.unwrap()
    }
}

async fn an_endpoint_is_set_bit_by_bit(bench: Bench) {
    assert_eq!(bench.controls().await, []);
    let paused = Control { paused: true, concurrency: None };
    assert_eq!(bench.control(ControlChange::Paused(true)).await, paused);
    let both = Control { paused: true, concurrency: Some(7) };
    assert_eq!(bench.control(ControlChange::Concurrency(Some(7))).await, both);
    assert_eq!(bench.controls().await, [(endpoint(), both)]);
    let resumed = Control { paused: false, ..both };
    assert_eq!(bench.control(ControlChange::Paused(false)).await, resumed);
    assert_eq!(bench.control(ControlChange::Concurrency(None)).await, Control::default());
    assert_eq!(bench.controls().await, []);
    // A store keeps what it is told; to obey is for those who run the tasks.
    bench.control(ControlChange::Paused(true)).await;
    bench.submit(new_task()).await;
    assert_eq!(bench.claim(ALL).await.len(), 1);
}

async fn a_purge_cancels_what_waits_and_nothing_else(bench: Bench) {
    let running = bench.submit_here(new_task()).await.lease;
    bench.start(running, 1).await;
    let held = bench.submit_here(new_task()).await.task;
    let finished = bench.settled(new_task(), done()).await;
    let elsewhere = bench.submit(new_task_on(other_endpoint())).await;
    let put_back = bench.settled(new_task(), again(KEEP)).await;
    let of_a_caller = TaskOptions { fairness_key: Some("a".to_owned()), ..TaskOptions::default() };
    let waiting = [
        bench.submit(new_task()).await,
        bench.submit(NewTask { priority: Priority(0), ..delayed(SECOND) }).await,
        bench.submit(NewTask { options: of_a_caller, ..new_task() }).await,
        put_back,
    ];
    let now = bench.clock.now();
    let mut purged = bench.purge(ALL).await;
    purged.sort_by_key(|task| task.id);
    let mut expected = waiting.map(|task| Task {
        state: State::Canceled,
        finished_at: Some(now),
        expires_at: Some(now + KEEP),
        ..task
    });
    expected.sort_by_key(|task| task.id);
    assert_eq!(purged, expected);
    for task in purged {
        assert_eq!(bench.get(task.id).await, task);
    }
    assert_eq!(bench.get(held.id).await, held);
    assert_eq!(bench.get(running.task).await.state, State::InProgress);
    assert_eq!(bench.get(finished.id).await, finished);
    assert_eq!(bench.get(elsewhere.id).await, elsewhere);
    assert_eq!(bench.purge(ALL).await, []);
    let nobody = Purge { endpoint: endpoint_named("nobody"), ..bench.purge_of(ALL) };
    assert_eq!(bench.store.purge(nobody).await.unwrap(), []);
    bench.clock.advance(KEEP);
    assert_eq!(claimed_ids(&bench.claims_of(&[endpoint(), other_endpoint()], ALL).await.tasks), [elsewhere.id]);
    let canceled = Count { endpoint: endpoint(), state: State::Canceled, tasks: 4 };
    assert!(bench.store.counts().await.unwrap().contains(&canceled));
}

async fn a_purge_takes_one_step_after_the_other(bench: Bench) {
    bench.enqueue((0..25).map(|_| (new_task(), Place::Queue)).collect()).await;
    let mut steps = Vec::new();
    loop {
        let purged = bench.purge(10).await.len();
        steps.push(purged);
        if purged < 10 {
            break;
        }
    }
    assert_eq!(steps, [10, 10, 5]);
    assert_eq!(bench.store.waiting().await.unwrap().iter().map(|(_, tasks)| tasks).sum::<u64>(), 0);
}

async fn a_purge_leaves_what_was_submitted_later(bench: Bench) {
    let early = bench.submit(delayed(KEEP)).await;
    let wish = bench.purge_of(ALL);
    bench.clock.advance(SECOND);
    let late = bench.submit(NewTask { priority: Priority(0), ..new_task() }).await;
    assert_eq!(ids(&bench.store.purge(wish).await.unwrap()), [early.id]);
    assert_eq!(bench.get(late.id).await, late);
}

async fn a_purge_and_a_claim_never_both_win(bench: Bench) {
    const TASKS: usize = 200;
    bench.enqueue((0..TASKS).map(|_| (new_task(), Place::Queue)).collect()).await;
    let claims = (0..20).map(|_| {
        let store = bench.store.clone();
        move || store.claim(vec![Wanted::new(endpoint(), 7)])
    });
    let purges = (0..20).map(|_| {
        let (store, wish) = (bench.store.clone(), bench.purge_of(7));
        move || store.purge(wish)
    });
    let (claims, purges) = tokio::join!(from_threads(claims), from_threads(purges));
    let claimed: Vec<Claimed> = claims.into_iter().flat_map(|claims| claims.tasks).collect();
    let purged: Vec<Task> = purges.into_iter().flatten().collect();
    for id in claimed_ids(&claimed) {
        assert_eq!(bench.get(id).await.state, State::Pending);
    }
    assert_eq!(claimed.len() + purged.len(), TASKS);
}
