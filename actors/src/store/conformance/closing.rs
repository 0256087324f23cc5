//! Promises of `close`.

use std::fmt::Debug;

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![a_closed_store_refuses_every_call]
}

async fn a_closed_store_refuses_every_call(bench: Bench) {
    let Claimed { task, lease } = bench.submit_here(new_task()).await;
    let store = bench.store.clone();
    store.close().await.unwrap();

    let wish = Resubmit { of: task.id, endpoint: endpoint(), id: TaskId::generate(), place: Place::Queue };
    assert_closed(store.enqueue(vec![(new_task(), Place::Queue)]).await);
    assert_closed(store.resubmit(wish).await);
    assert_closed(store.claim(vec![Wanted { endpoint: endpoint(), max: 1 }]).await);
    assert_closed(store.renew().await);
    assert_closed(store.cancel(task.id, endpoint(), KEEP).await);
    assert_closed(store.reclaim(ALL, reclaim_policy()).await);
    assert_closed(store.overdue(ALL, reclaim_policy().retention).await);
    assert_closed(store.waiting().await);
    assert_closed(store.start(lease, bench.run(1), StartDurability::Durable).await);
    assert_closed(store.start(lease, bench.run(1), StartDurability::Lazy).await);
    assert_closed(
        store.settle(Settlement { lease, run: None, verdict: done(), keep: KEEP, notes: RunNotes::default() }).await,
    );
    assert_closed(store.request_cancel(lease).await);
    assert_closed(store.get(task.id).await);
    assert_closed(store.attempts(task.id).await);
    assert_closed(store.input(task.id).await);
    assert_closed(store.output(task.id).await);
    assert_closed(store.list(ListQuery::newest(1)).await);
    assert_closed(store.counts().await);
    assert_closed(store.prune(ALL).await);
    assert_closed(store.close().await);
}

fn assert_closed<T: Debug>(answer: Result<T, StoreError>) {
    assert_eq!(answer.unwrap_err(), StoreError::Closed);
}
