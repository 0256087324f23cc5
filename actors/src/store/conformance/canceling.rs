//! Promises of `cancel`.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_waiting_task_is_canceled,
        a_task_that_waits_for_its_time_is_canceled,
        a_task_that_was_put_back_is_canceled,
        a_task_canceled_twice_was_canceled_once,
        a_task_settled_as_canceled_counts_as_canceled,
        a_held_task_is_left_to_its_node,
        a_finished_task_is_not_canceled,
        a_task_is_canceled_on_its_own_endpoint_only,
        a_cancel_and_a_claim_never_both_win,
        a_running_task_that_is_to_be_canceled_says_so,
        a_cancel_is_requested_only_of_a_task_that_runs_under_its_lease,
        a_result_wins_over_a_requested_cancel,
        a_task_that_is_to_be_canceled_does_not_run_again,
    ]
}

async fn a_waiting_task_is_canceled(bench: Bench) {
    let submitted = bench.submit(new_task()).await;
    bench.clock.advance(SECOND);
    let now = bench.clock.now();
    let canceled = bench.cancel(submitted.id).await;

    let expected =
        Task { state: State::Canceled, finished_at: Some(now), expires_at: Some(now + KEEP), ..submitted.clone() };
    assert_eq!(canceled, Canceled::Canceled(expected.clone()));
    assert_eq!(bench.get(submitted.id).await, expected);
    assert!(bench.output(submitted.id).await.is_none());
    assert!(bench.claim(ALL).await.is_empty());
}

async fn a_task_that_waits_for_its_time_is_canceled(bench: Bench) {
    let task = bench.submit(delayed(SECOND)).await;
    assert!(matches!(bench.cancel(task.id).await, Canceled::Canceled(_)));
    bench.clock.advance(SECOND);
    let claims = bench.claims_of(&[endpoint()], ALL).await;
    assert_eq!((claims.tasks, claims.next_due), (vec![], None));
}

async fn a_task_that_was_put_back_is_canceled(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    bench.settle(lease, again(SECOND)).await;
    let Canceled::Canceled(task) = bench.cancel(lease.task).await else { panic!("nobody holds the task") };
    assert_eq!((task.state, task.attempt), (State::Canceled, 1));
    assert_eq!(bench.settle(lease, done()).await, Settled::FenceLost);
}

async fn a_task_canceled_twice_was_canceled_once(bench: Bench) {
    let task = bench.submit(new_task()).await;
    let Canceled::Canceled(canceled) = bench.cancel(task.id).await else { panic!("nobody holds the task") };
    bench.clock.advance(SECOND);
    assert_eq!(bench.cancel(task.id).await, Canceled::Finished(State::Canceled));
    assert_eq!(bench.get(task.id).await, canceled);
}

async fn a_task_settled_as_canceled_counts_as_canceled(bench: Bench) {
    let task = bench.settled(new_task(), Verdict::Canceled(None)).await;
    assert_eq!(bench.cancel(task.id).await, Canceled::Finished(State::Canceled));
    assert_eq!(bench.get(task.id).await, task);
}

async fn a_held_task_is_left_to_its_node(bench: Bench) {
    let Claimed { task, lease } = bench.submit_here(new_task()).await;
    assert_eq!(bench.cancel(task.id).await, Canceled::Held(State::Pending));
    assert_eq!(bench.get(task.id).await, task);
    bench.start(lease, 1).await;
    assert_eq!(bench.cancel(task.id).await, Canceled::Held(State::InProgress));
    bench.lapse();
    assert_eq!(bench.cancel(task.id).await, Canceled::Held(State::InProgress));
    bench.reclaim(ALL).await;
    assert!(matches!(bench.cancel(task.id).await, Canceled::Canceled(_)));
}

async fn a_finished_task_is_not_canceled(bench: Bench) {
    for verdict in [done(), failed()] {
        let task = bench.settled(new_task(), verdict).await;
        assert_eq!(bench.cancel(task.id).await, Canceled::Finished(task.state));
        assert_eq!(bench.get(task.id).await, task);
    }
}

async fn a_task_is_canceled_on_its_own_endpoint_only(bench: Bench) {
    let task = bench.submit(new_task()).await;
    let elsewhere = bench.store.cancel(task.id, other_endpoint(), KEEP).await.unwrap();
    assert_eq!(elsewhere, Canceled::Unknown);
    assert_eq!(bench.get(task.id).await, task);
    assert_eq!(bench.cancel(TaskId::generate()).await, Canceled::Unknown);
}

async fn a_cancel_and_a_claim_never_both_win(bench: Bench) {
    const TASKS: usize = 100;
    let tasks = bench.enqueue((0..TASKS).map(|_| (new_task(), Place::Queue)).collect()).await;
    let claims = (0..TASKS).map(|_| {
        let store = bench.store.clone();
        move || store.claim(vec![Wanted { endpoint: endpoint(), max: 1 }])
    });
    // From the other end, so that they meet.
    let cancels = ids(tasks.iter().rev().map(|answer| &answer.task)).into_iter().map(|id| {
        let store = bench.store.clone();
        move || store.cancel(id, endpoint(), KEEP)
    });
    let (claims, cancels) = tokio::join!(from_threads(claims), from_threads(cancels));

    let claimed: Vec<Claimed> = claims.into_iter().flat_map(|claims| claims.tasks).collect();
    for id in claimed_ids(&claimed) {
        assert_eq!(bench.get(id).await.state, State::Pending);
    }
    let canceled = cancels.iter().filter(|answer| matches!(answer, Canceled::Canceled(_))).count();
    let held = cancels.iter().filter(|answer| **answer == Canceled::Held(State::Pending)).count();
    assert_eq!((claimed.len() + canceled, canceled + held), (TASKS, TASKS));
}

/// A task that runs, and that is to be canceled.
async fn running_and_unwanted(bench: &Bench) -> Lease {
    let lease = bench.submit_here(new_task()).await.lease;
    bench.start(lease, 1).await;
    assert!(matches!(bench.store.request_cancel(lease).await.unwrap(), Settled::Recorded(_)));
    lease
}

async fn a_running_task_that_is_to_be_canceled_says_so(bench: Bench) {
    for durability in [StartDurability::Durable, StartDurability::Lazy] {
        let lease = bench.submit_here(new_task()).await.lease;
        bench.store.start(lease, bench.run(1), durability).await.unwrap();
        let Settled::Recorded(task) = bench.store.request_cancel(lease).await.unwrap() else { panic!("it runs") };
        assert_eq!((task.state, task.cancel_requested), (State::InProgress, true));
        assert_eq!(bench.get(lease.task).await, task);
        // Once more is no more.
        assert_eq!(bench.store.request_cancel(lease).await.unwrap(), Settled::Recorded(task.clone()));
        let Settled::Recorded(task) = bench.settle(lease, Verdict::Canceled(None)).await else { panic!("it is held") };
        assert_eq!((task.state, task.cancel_requested), (State::Canceled, false));
        assert_eq!(bench.get(lease.task).await, task);
    }
}

async fn a_cancel_is_requested_only_of_a_task_that_runs_under_its_lease(bench: Bench) {
    let waiting = bench.submit_here(new_task()).await.lease;
    let finished = bench.submit_here(new_task()).await.lease;
    bench.settle(finished, done()).await;
    let running = bench.submit_here(new_task()).await.lease;
    bench.start(running, 1).await;
    let stale = Lease { fence: running.fence + 1, ..running };
    for lease in [waiting, finished, stale, Lease { task: TaskId::generate(), fence: 1 }] {
        assert_eq!(bench.store.request_cancel(lease).await.unwrap(), Settled::FenceLost);
    }
    for lease in [waiting, finished, running] {
        assert!(!bench.get(lease.task).await.cancel_requested);
    }
}

async fn a_result_wins_over_a_requested_cancel(bench: Bench) {
    for verdict in [done(), failed()] {
        let lease = running_and_unwanted(&bench).await;
        let state = verdict.state();
        let Settled::Recorded(task) = bench.settle(lease, verdict).await else { panic!("it is held") };
        assert_eq!((task.state, task.cancel_requested), (state, false));
        assert_eq!(bench.get(lease.task).await, task);
    }
}

async fn a_task_that_is_to_be_canceled_does_not_run_again(bench: Bench) {
    let put_back = running_and_unwanted(&bench).await;
    let Settled::Recorded(task) = bench.settle(put_back, again(SECOND)).await else { panic!("it is held") };
    assert_eq!((task.state, task.expires_at), (State::Canceled, Some(bench.clock.now() + KEEP)));

    let left_behind = running_and_unwanted(&bench).await;
    bench.lapse();
    let reclaims = bench.reclaim(ALL).await;
    assert_eq!((ids(&reclaims.canceled), reclaims.crashed, reclaims.lost), (vec![left_behind.task], vec![], vec![]));
    for task in [put_back.task, left_behind.task] {
        assert_eq!(bench.get(task).await.state, State::Canceled);
        let attempts = bench.attempts(task).await;
        assert_eq!((attempts.len(), attempts[0].outcome), (1, AttemptOutcome::Canceled));
    }
    assert_eq!(bench.get(left_behind.task).await, reclaims.canceled[0]);
    assert!(bench.claim(ALL).await.is_empty());
}
