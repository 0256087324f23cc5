//! Promises of `renew` and `reclaim`.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_lapsed_lease_returns_a_task_that_had_not_started,
        a_lapsed_lease_counts_a_crash_against_a_started_task,
        a_task_is_lost_when_its_crash_budget_is_spent,
        a_lost_task_is_kept_as_long_as_its_endpoint_says,
        a_task_put_back_is_not_blamed_for_a_crash,
        a_lease_lasts_to_its_last_instant,
        a_lease_that_is_renewed_does_not_lapse,
        a_reclaim_decides_about_no_more_than_it_is_told,
        a_reclaim_takes_only_what_is_held,
    ]
}

async fn a_lapsed_lease_returns_a_task_that_had_not_started(bench: Bench) {
    let Claimed { task, lease } = bench.submit_here(new_task()).await;
    bench.lapse();
    let reclaims = bench.reclaim(ALL).await;
    assert_eq!((reclaims.waiting, reclaims.crashed, reclaims.lost), (1, vec![], vec![]));
    assert_eq!(bench.get(task.id).await, task);
    let claimed = bench.claim_one().await;
    assert_eq!(claimed.task, task);
    assert!(claimed.lease.fence > lease.fence);
}

async fn a_lapsed_lease_counts_a_crash_against_a_started_task(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    bench.start(lease, 1).await;
    let started = bench.get(lease.task).await;
    bench.lapse();
    let reclaims = bench.reclaim(ALL).await;

    let expected = Task { state: State::Pending, crashes: 1, ..started };
    assert_eq!((reclaims.waiting, reclaims.lost), (0, vec![]));
    assert_eq!(reclaims.crashed, std::slice::from_ref(&expected));
    assert_eq!(bench.get(lease.task).await, expected);
    assert_eq!(bench.claim_one().await.task, expected);
}

async fn a_task_is_lost_when_its_crash_budget_is_spent(bench: Bench) {
    bench.submit(new_task()).await;
    for crashes in 1..CRASH_BUDGET {
        crash(&bench, crashes).await;
        let reclaims = bench.reclaim(ALL).await;
        assert_eq!(reclaims.crashed.iter().map(|task| task.crashes).collect::<Vec<_>>(), [crashes]);
    }
    let lease = crash(&bench, CRASH_BUDGET).await;
    let now = bench.clock.now();
    let reclaims = bench.reclaim(ALL).await;

    assert_eq!((reclaims.waiting, reclaims.crashed.len(), reclaims.lost.len()), (0, 0, 1));
    let lost = &reclaims.lost[0];
    assert_eq!((lost.state, lost.crashes, lost.attempt), (State::Failed, CRASH_BUDGET, CRASH_BUDGET));
    assert_eq!(lost.failure.as_ref().map(|failure| failure.code), Some(FailureCode::Lost));
    assert_eq!((lost.finished_at, lost.expires_at), (Some(now), Some(now + KEEP)));
    assert_eq!(bench.get(lost.id).await, *lost);
    assert!(bench.claim(ALL).await.is_empty());
    assert_eq!(bench.settle(lease, done()).await, Settled::FenceLost);
    assert!(bench.output(lost.id).await.is_none());
}

async fn a_lost_task_is_kept_as_long_as_its_endpoint_says(bench: Bench) {
    let mut retention = Retention::new(KEEP);
    retention.set(other_endpoint(), 2 * KEEP);
    let policy = ReclaimPolicy { crash_budget: 1, retention: Arc::new(retention) };
    for of in [endpoint(), other_endpoint()] {
        let lease = bench.submit_here(new_task_on(of)).await.lease;
        bench.start(lease, 1).await;
    }
    bench.lapse();
    let now = bench.clock.now();
    let lost = bench.store.reclaim(ALL, policy).await.unwrap().lost;
    assert_eq!(lost.len(), 2);
    for task in lost {
        let keep = if task.endpoint == other_endpoint() { 2 * KEEP } else { KEEP };
        assert_eq!(task.expires_at, Some(now + keep), "{}", task.endpoint);
    }
}

async fn a_task_put_back_is_not_blamed_for_a_crash(bench: Bench) {
    bench.submit(new_task()).await;
    for attempt in 1..=CRASH_BUDGET + 1 {
        let lease = bench.claim_one().await.lease;
        bench.start(lease, attempt).await;
        let run = Some(bench.run(attempt));
        let settlement =
            Settlement { lease, run, verdict: again(Duration::ZERO), keep: KEEP, notes: RunNotes::default() };
        let Settled::Recorded(task) = bench.store.settle(settlement).await.unwrap() else { panic!("the fence holds") };
        assert_eq!((task.state, task.attempt, task.crashes), (State::Pending, attempt, 0));
    }
}

async fn a_lease_lasts_to_its_last_instant(bench: Bench) {
    bench.store.renew().await.unwrap();
    bench.submit_here(new_task()).await;
    bench.clock.advance(LEASE);
    assert!(bench.reclaim(ALL).await.is_empty());
    bench.clock.advance(Duration::from_micros(1));
    assert!(!bench.reclaim(ALL).await.is_empty());
}

async fn a_lease_that_is_renewed_does_not_lapse(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    bench.start(lease, 1).await;
    for _ in 0..5 {
        bench.clock.advance(LEASE / 2 + SECOND);
        bench.store.renew().await.unwrap();
        assert!(bench.reclaim(ALL).await.is_empty());
    }
    assert!(matches!(bench.settle(lease, done()).await, Settled::Recorded(_)));
}

async fn a_reclaim_decides_about_no_more_than_it_is_told(bench: Bench) {
    for number in 0..7 {
        let lease = bench.submit_here(new_task()).await.lease;
        if number % 2 == 0 {
            bench.start(lease, 1).await;
        }
    }
    bench.lapse();
    let mut decided = Vec::new();
    for max in [0, 3, 3, 3, 3] {
        let reclaims = bench.reclaim(max).await;
        decided.push(reclaims.waiting + reclaims.crashed.len() as u64);
    }
    assert_eq!(decided, [0, 3, 3, 1, 0]);
    assert_eq!(bench.claim(ALL).await.len(), 7);
}

async fn a_reclaim_takes_only_what_is_held(bench: Bench) {
    let waiting = bench.submit(new_task()).await;
    let later = bench.submit(delayed(KEEP)).await;
    let finished = bench.settled(new_task(), done()).await;
    bench.lapse();
    assert!(bench.reclaim(ALL).await.is_empty());
    for task in [waiting, later, finished] {
        assert_eq!(bench.get(task.id).await, task);
    }
}

/// Claims the one task, starts it and lets the node's lease lapse.
async fn crash(bench: &Bench, attempt: u32) -> Lease {
    bench.store.renew().await.unwrap();
    let lease = bench.claim_one().await.lease;
    assert_eq!(bench.start(lease, attempt).await, Started::Recorded);
    bench.lapse();
    lease
}
