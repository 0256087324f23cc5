//! Promises of `start` and `settle`.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_started_task_is_in_progress,
        a_lazy_start_is_recorded_with_the_next_write,
        a_stale_fence_cannot_start,
        a_lazy_start_with_a_stale_fence_changes_nothing,
        a_stale_fence_cannot_settle,
        a_late_report_of_a_lost_attempt_is_refused,
        a_fence_that_was_never_given_is_refused,
        a_task_is_settled_once,
        many_settlements_at_once_record_one,
        a_task_whose_start_was_not_recorded_can_be_settled,
        a_task_that_never_ran_counts_no_attempt,
        a_settled_task_expires_when_its_time_to_be_kept_is_over,
        a_failed_task_keeps_its_failure_and_its_answer,
        a_task_put_back_waits_unheld_until_it_is_due,
        a_task_put_back_is_open_to_no_report,
        a_finished_task_never_changes,
    ]
}

async fn a_started_task_is_in_progress(bench: Bench) {
    let Claimed { task, lease } = bench.submit_here(new_task()).await;
    bench.clock.advance(SECOND);
    let started_at = bench.clock.now();
    assert_eq!(bench.start(lease, 1).await, Started::Recorded);

    let expected = Task { state: State::InProgress, attempt: 1, started_at: Some(started_at), ..task };
    assert_eq!(bench.get(lease.task).await, expected);
    assert_eq!(bench.store.waiting().await.unwrap(), []);
}

async fn a_lazy_start_is_recorded_with_the_next_write(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    let answer = bench.store.start(lease, bench.run(1), StartDurability::Lazy).await.unwrap();
    assert_eq!(answer, Started::Recorded);
    bench.submit(new_task_on(other_endpoint())).await;
    let task = bench.get(lease.task).await;
    assert_eq!((task.state, task.attempt), (State::InProgress, 1));
}

async fn a_stale_fence_cannot_start(bench: Bench) {
    let (stale, fresh) = stale_and_fresh(&bench).await;
    let before = bench.get(stale.task).await;
    assert_eq!(bench.start(stale, 1).await, Started::FenceLost);
    assert_eq!(bench.get(stale.task).await, before);
    assert_eq!(bench.start(fresh, 1).await, Started::Recorded);
}

async fn a_lazy_start_with_a_stale_fence_changes_nothing(bench: Bench) {
    let (stale, _) = stale_and_fresh(&bench).await;
    let before = bench.get(stale.task).await;
    // What is answered at once is answered before the fence is looked at, so the answer promises nothing.
    bench.store.start(stale, bench.run(1), StartDurability::Lazy).await.unwrap();
    bench.submit(new_task_on(other_endpoint())).await;
    assert_eq!(bench.get(stale.task).await, before);
}

async fn a_stale_fence_cannot_settle(bench: Bench) {
    let (stale, fresh) = stale_and_fresh(&bench).await;
    for verdict in [done(), failed(), Verdict::Canceled(None), again(Duration::ZERO)] {
        let before = bench.get(stale.task).await;
        assert_eq!(bench.settle(stale, verdict).await, Settled::FenceLost);
        assert_eq!(bench.get(stale.task).await, before);
    }
    assert!(matches!(bench.settle(fresh, done()).await, Settled::Recorded(_)));
}

async fn a_late_report_of_a_lost_attempt_is_refused(bench: Bench) {
    let lost = bench.submit_here(new_task()).await.lease;
    bench.start(lost, 1).await;
    bench.lapse();
    bench.reclaim(ALL).await;
    // Nobody has claimed the task since, and still the attempt's right is gone.
    let before = bench.get(lost.task).await;
    assert_eq!(bench.settle(lost, done()).await, Settled::FenceLost);
    assert_eq!(bench.start(lost, 1).await, Started::FenceLost);
    assert_eq!(bench.get(lost.task).await, before);
    assert!(bench.output(lost.task).await.is_none());
    assert_eq!(claimed_ids(&bench.claim(ALL).await), [lost.task]);
}

async fn a_fence_that_was_never_given_is_refused(bench: Bench) {
    let Claimed { task, lease } = bench.submit_here(new_task()).await;
    let waiting = bench.submit(new_task_on(other_endpoint())).await;
    let never_given = [
        Lease { fence: lease.fence + 1, ..lease },
        Lease { fence: 0, ..lease },
        Lease { task: waiting.id, fence: 0 },
        Lease { task: TaskId::generate(), fence: 1 },
    ];
    for lease in never_given {
        assert_eq!(bench.start(lease, 1).await, Started::FenceLost, "{lease:?}");
        assert_eq!(bench.settle(lease, done()).await, Settled::FenceLost, "{lease:?}");
    }
    assert_eq!(bench.get(task.id).await, task);
    assert_eq!(bench.get(waiting.id).await, waiting);
}

async fn a_task_is_settled_once(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    let Settled::Recorded(first) = bench.settle(lease, done()).await else { panic!("the fence holds") };
    bench.clock.advance(SECOND);
    assert_eq!(bench.settle(lease, failed()).await, Settled::FenceLost);
    assert_eq!(bench.settle(lease, done()).await, Settled::FenceLost);
    assert_eq!(bench.start(lease, 2).await, Started::FenceLost);
    assert_eq!(bench.get(lease.task).await, first);
}

async fn many_settlements_at_once_record_one(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    let run = Some(bench.run(1));
    let settlements = (0..20).map(|number: usize| {
        let store = bench.store.clone();
        let verdict = Verdict::Completed(Output::new("text/plain", number.to_string()));
        move || store.settle(Settlement { lease, run, verdict, keep: KEEP, notes: RunNotes::default() })
    });
    let answers = from_threads(settlements).await;
    let recorded: Vec<&Settled> = answers.iter().filter(|answer| **answer != Settled::FenceLost).collect();
    assert_eq!(recorded, [&Settled::Recorded(bench.get(lease.task).await)]);
}

async fn a_task_whose_start_was_not_recorded_can_be_settled(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    let run = bench.run(1);
    bench.clock.advance(SECOND);
    let settlement = Settlement { lease, run: Some(run), verdict: done(), keep: KEEP, notes: RunNotes::default() };
    let Settled::Recorded(task) = bench.store.settle(settlement).await.unwrap() else { panic!("the fence holds") };
    assert_eq!((task.state, task.attempt), (State::Completed, 1));
    assert_eq!((task.started_at, task.finished_at), (Some(run.started_at), Some(bench.clock.now())));
}

async fn a_task_that_never_ran_counts_no_attempt(bench: Bench) {
    for verdict in [Verdict::Canceled(None), failed(), again(SECOND)] {
        let lease = bench.submit_here(new_task()).await.lease;
        let settlement = Settlement { lease, run: None, verdict, keep: KEEP, notes: RunNotes::default() };
        let Settled::Recorded(task) = bench.store.settle(settlement).await.unwrap() else { panic!("the fence holds") };
        assert_eq!((task.attempt, task.started_at), (0, None));
    }
}

async fn a_settled_task_expires_when_its_time_to_be_kept_is_over(bench: Bench) {
    for (verdict, state) in
        [(done(), State::Completed), (failed(), State::Failed), (Verdict::Canceled(None), State::Canceled)]
    {
        let lease = bench.submit_here(new_task()).await.lease;
        bench.clock.advance(SECOND);
        let now = bench.clock.now();
        let Settled::Recorded(task) = bench.settle(lease, verdict).await else { panic!("the fence holds") };
        assert_eq!(task.state, state);
        assert_eq!((task.finished_at, task.expires_at), (Some(now), Some(now + KEEP)));
        assert_eq!(bench.get(task.id).await, task);
    }
}

async fn a_failed_task_keeps_its_failure_and_its_answer(bench: Bench) {
    let failure = Failure::new(FailureCode::Upstream4xx, "the model wants a longer text — at least ten words");
    let answer = Output::new("application/json", r#"{"error":"too short"}"#).with_status(422);
    let task = bench.settled(new_task(), Verdict::Failed(failure.clone(), Some(answer.clone()))).await;

    assert_eq!((task.state, task.failure.as_deref()), (State::Failed, Some(&failure)));
    assert_eq!(task.output_bytes, answer.body.len());
    assert_eq!(bench.get(task.id).await, task);
    let output = bench.output(task.id).await.unwrap();
    assert_eq!((output.status, read(&output.body)), (422, read(&answer.body)));

    let without_answer = bench.settled(new_task(), Verdict::Failed(failure, None)).await;
    assert_eq!(without_answer.output_bytes, 0);
    assert!(bench.output(without_answer.id).await.is_none());
}

async fn a_task_put_back_waits_unheld_until_it_is_due(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    bench.start(lease, 1).await;
    let started_at = bench.clock.now();
    bench.clock.advance(SECOND);
    let Settled::Recorded(task) = bench
        .store
        .settle(Settlement {
            lease,
            run: Some(Run { attempt: 1, started_at }),
            verdict: again(SECOND),
            keep: KEEP,
            notes: RunNotes::default(),
        })
        .await
        .unwrap()
    else {
        panic!("the fence holds")
    };

    assert_eq!((task.state, task.attempt, task.crashes), (State::Pending, 1, 0));
    assert_eq!((task.started_at, task.due_at), (Some(started_at), bench.clock.now() + SECOND));
    assert_eq!((task.finished_at, task.expires_at), (None, None));
    assert_eq!(bench.get(task.id).await, task);
    let too_early = bench.claims_of(&[endpoint()], ALL).await;
    assert_eq!((too_early.tasks.len(), too_early.next_due), (0, Some(task.due_at)));
    bench.clock.advance(SECOND);
    let claimed = bench.claim_one().await;
    assert_eq!(claimed.task, task);
    assert!(claimed.lease.fence > lease.fence);
}

async fn a_task_put_back_is_open_to_no_report(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    bench.settle(lease, again(Duration::ZERO)).await;
    assert_eq!(bench.settle(lease, done()).await, Settled::FenceLost);
    assert_eq!(bench.start(lease, 2).await, Started::FenceLost);
    assert_eq!(bench.claim_one().await.task.id, lease.task);
}

async fn a_finished_task_never_changes(bench: Bench) {
    for verdict in [done(), failed(), Verdict::Canceled(None)] {
        let lease = bench.submit_here(new_task()).await.lease;
        let Settled::Recorded(task) = bench.settle(lease, verdict).await else { panic!("the fence holds") };
        bench.lapse();
        assert_eq!(bench.settle(lease, again(Duration::ZERO)).await, Settled::FenceLost);
        bench.store.start(lease, bench.run(2), StartDurability::Lazy).await.unwrap();
        bench.cancel(task.id).await;
        assert!(bench.reclaim(ALL).await.is_empty());
        assert!(bench.claim(ALL).await.is_empty());
        bench.store.renew().await.unwrap();
        assert_eq!(bench.prune().await, []);
        assert_eq!(bench.get(task.id).await, task);
    }
}

/// Two leases on one task: one that was lost with the node's lease, and the one of the claim after.
async fn stale_and_fresh(bench: &Bench) -> (Lease, Lease) {
    bench.submit(new_task()).await;
    let stale = bench.claim_one().await.lease;
    bench.lapse();
    bench.reclaim(ALL).await;
    (stale, bench.claim_one().await.lease)
}
