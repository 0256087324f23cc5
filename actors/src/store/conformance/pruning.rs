//! Promises of `prune`.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_finished_task_is_kept_for_its_time_and_no_longer,
        a_prune_tells_what_it_deleted,
        a_prune_deletes_no_more_than_it_is_told,
        an_unfinished_task_is_not_pruned,
        a_pruned_task_is_unknown,
        a_task_can_be_kept_beyond_the_calendar,
    ]
}

async fn a_finished_task_is_kept_for_its_time_and_no_longer(bench: Bench) {
    let task = bench.settled(new_task(), done()).await;
    bench.clock.advance(KEEP - Duration::from_micros(1));
    assert_eq!(bench.prune().await, []);
    assert_eq!(bench.get(task.id).await, task);
    bench.clock.advance(Duration::from_micros(1));
    assert_eq!(bench.prune().await.len(), 1);
    assert_eq!(bench.find(task.id).await, None);
}

async fn a_prune_tells_what_it_deleted(bench: Bench) {
    let completed = bench.settled(new_task(), done()).await;
    let failed = bench.settled(new_task_on(other_endpoint()), failed()).await;
    let waiting = bench.submit(new_task()).await;
    bench.cancel(waiting.id).await;
    bench.clock.advance(KEEP);

    let mut pruned = bench.prune().await;
    pruned.sort_by_key(|pruned| pruned.id);
    let expected = [
        Pruned { id: completed.id, endpoint: endpoint(), state: State::Completed },
        Pruned { id: failed.id, endpoint: other_endpoint(), state: State::Failed },
        Pruned { id: waiting.id, endpoint: endpoint(), state: State::Canceled },
    ];
    assert_eq!(pruned, expected);
}

async fn a_prune_deletes_no_more_than_it_is_told(bench: Bench) {
    for _ in 0..5 {
        bench.settled(new_task(), done()).await;
    }
    bench.clock.advance(KEEP);
    let mut deleted = Vec::new();
    for max in [0, 2, 2, 2, 2] {
        deleted.push(bench.store.prune(max).await.unwrap().len());
    }
    assert_eq!(deleted, [0, 2, 2, 1, 0]);
}

async fn an_unfinished_task_is_not_pruned(bench: Bench) {
    let waiting = bench.submit(new_task()).await;
    let held = bench.submit_here(new_task()).await.lease;
    bench.start(held, 1).await;
    bench.clock.advance(1000 * KEEP);
    assert_eq!(bench.prune().await, []);
    assert_eq!(bench.get(waiting.id).await, waiting);
    assert_eq!(bench.get(held.task).await.state, State::InProgress);
}

async fn a_pruned_task_is_unknown(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    bench.settle(lease, done()).await;
    bench.clock.advance(KEEP);
    bench.prune().await;

    let id = lease.task;
    assert_eq!(bench.find(id).await, None);
    assert!(bench.store.input(id).await.unwrap().is_none());
    assert!(bench.output(id).await.is_none());
    assert_eq!(bench.cancel(id).await, Canceled::Unknown);
    let wish = Resubmit { of: id, endpoint: endpoint(), id: TaskId::generate(), place: Place::Queue };
    assert!(matches!(bench.store.resubmit(wish).await.unwrap(), Resubmitted::Unknown));
    assert_eq!(bench.settle(lease, done()).await, Settled::FenceLost);
    assert_eq!(bench.start(lease, 1).await, Started::FenceLost);
    assert_eq!(bench.store.list(ListQuery::newest(ALL)).await.unwrap(), Page::default());
}

async fn a_task_can_be_kept_beyond_the_calendar(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    let settlement = Settlement { lease, run: None, verdict: done(), keep: Duration::MAX, notes: RunNotes::default() };
    let Settled::Recorded(task) = bench.store.settle(settlement).await.unwrap() else { panic!("the fence holds") };
    assert!(task.expires_at > Some(bench.clock.now()));
    assert_eq!(bench.prune().await, []);
    assert_eq!(bench.get(task.id).await, task);
}
