//! Promises of `attempts`, and of what a task knows of its failures.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_task_that_has_not_started_has_no_attempts,
        a_running_attempt_is_shown_as_running,
        the_attempt_that_ends_a_task_is_shown_as_the_task_ended,
        each_setback_is_shown_as_its_own_outcome,
        a_failure_that_is_followed_by_another_attempt_is_counted_apart,
        an_attempt_that_died_with_its_node_is_lost,
        a_task_canceled_while_it_waits_again_has_no_further_attempt,
        a_report_on_a_task_that_never_ran_leaves_no_attempt,
        what_an_attempt_told_of_itself_is_kept_with_it,
        of_many_attempts_the_first_few_and_the_newest_are_shown,
        attempts_are_forgotten_with_their_task,
    ]
}

/// What is shown of attempts, less the node and the times.
fn outcomes(attempts: &[AttemptRecord]) -> Vec<(u32, AttemptOutcome)> {
    attempts.iter().map(|attempt| (attempt.number, attempt.outcome)).collect()
}

fn unreachable() -> Failure {
    Failure::new(FailureCode::Unreachable, "nobody there")
}

/// Claims, starts and settles a task as its attempt of that number, a second each.
async fn attempt(bench: &Bench, number: u32, verdict: Verdict) -> Task {
    let lease = bench.claim_one().await.lease;
    bench.start(lease, number).await;
    let run = Some(bench.run(number));
    bench.clock.advance(SECOND);
    let settlement = Settlement { lease, run, verdict, keep: KEEP, notes: RunNotes::default() };
    match bench.store.settle(settlement).await.unwrap() {
        Settled::Recorded(task) => task,
        Settled::FenceLost => panic!("the fence of a task just claimed holds"),
    }
}

async fn a_task_that_has_not_started_has_no_attempts(bench: Bench) {
    let waiting = bench.submit(new_task()).await;
    let held = bench.submit_here(new_task()).await.task;
    for task in [waiting.id, held.id, TaskId::generate()] {
        assert_eq!(bench.attempts(task).await, []);
    }
    bench.cancel(waiting.id).await;
    assert_eq!(bench.attempts(waiting.id).await, []);
}

async fn a_running_attempt_is_shown_as_running(bench: Bench) {
    for durability in [StartDurability::Durable, StartDurability::Lazy] {
        let lease = bench.submit_here(new_task()).await.lease;
        let run = bench.run(1);
        bench.store.start(lease, run, durability).await.unwrap();
        // A lazy start may ride with the next write.
        bench.submit(new_task_on(other_endpoint())).await;
        let attempts = bench.attempts(lease.task).await;
        let [attempt] = &attempts[..] else { panic!("one attempt: {attempts:?}") };
        assert!(attempt.node.is_some());
        let expected = AttemptRecord::running(1, run.started_at, attempt.node.clone());
        assert_eq!(*attempt, expected);
    }
}

async fn the_attempt_that_ends_a_task_is_shown_as_the_task_ended(bench: Bench) {
    let ends = [
        (done(), AttemptOutcome::Completed),
        (failed(), AttemptOutcome::Failed),
        (Verdict::Canceled(None), AttemptOutcome::Canceled),
    ];
    for (verdict, outcome) in ends {
        bench.submit(new_task()).await;
        let task = attempt(&bench, 1, verdict).await;
        let attempts = bench.attempts(task.id).await;
        let [attempt] = &attempts[..] else { panic!("one attempt: {attempts:?}") };
        assert_eq!((attempt.number, attempt.outcome), (1, outcome));
        assert_eq!((Some(attempt.started_at), attempt.ended_at), (task.started_at, task.finished_at));
        assert_eq!((&attempt.failure, attempt.node.is_some()), (&task.failure.map(|failure| *failure), true));
    }
}

async fn each_setback_is_shown_as_its_own_outcome(bench: Bench) {
    let task = bench.submit(new_task()).await.id;
    let setbacks = [
        (Setback::Interrupted, AttemptOutcome::Interrupted),
        (Setback::PutBack(unreachable()), AttemptOutcome::PutBack),
        (Setback::Crashed(unreachable().with_log("the end")), AttemptOutcome::Crashed),
        (Setback::Failed(unreachable()), AttemptOutcome::Failed),
    ];
    let mut expected = Vec::new();
    for (number, (setback, outcome)) in (1..).zip(setbacks) {
        let started_at = bench.clock.now();
        let failure = setback.failure().cloned();
        attempt(&bench, number, Verdict::Again { delay: Duration::ZERO, setback }).await;
        let attempts = bench.attempts(task).await;
        let node = attempts.last().and_then(|attempt| attempt.node.clone());
        let record = AttemptRecord::running(number, started_at, node);
        expected.push(record.ended(bench.clock.now(), outcome, failure, RunNotes::default()));
        assert_eq!(attempts, expected);
    }
    assert_eq!(expected[2].log.as_deref(), Some("the end"));
    attempt(&bench, 5, done()).await;
    let shown = outcomes(&bench.attempts(task).await);
    assert_eq!((shown.len(), shown[4]), (5, (5, AttemptOutcome::Completed)));
}

async fn a_failure_that_is_followed_by_another_attempt_is_counted_apart(bench: Bench) {
    bench.submit(new_task()).await;
    let again = |setback| Verdict::Again { delay: Duration::ZERO, setback };
    let mut counts = Vec::new();
    let setbacks = [Setback::Failed(unreachable()), Setback::PutBack(unreachable()), Setback::Crashed(unreachable())];
    for (number, setback) in (1..).zip(setbacks) {
        let task = attempt(&bench, number, again(setback)).await;
        assert_eq!((task.failure.as_ref(), bench.get(task.id).await), (None, task.clone()));
        counts.push((task.failures, task.crashes));
    }
    assert_eq!(counts, [(1, 0), (1, 0), (1, 1)]);
    let task = attempt(&bench, 4, failed()).await;
    assert_eq!((task.state, task.failures, bench.get(task.id).await), (State::Failed, 1, task));
}

async fn an_attempt_that_died_with_its_node_is_lost(bench: Bench) {
    let task = bench.submit(new_task()).await.id;
    for number in 1..=CRASH_BUDGET {
        let lease = bench.claim_one().await.lease;
        bench.start(lease, number).await;
        bench.lapse();
        bench.reclaim(ALL).await;
        bench.store.renew().await.unwrap();
        let attempts = bench.attempts(task).await;
        let last = attempts.last().expect("it has started");
        assert_eq!((last.number, last.outcome), (number, AttemptOutcome::Lost));
        assert_eq!((last.ended_at, last.node.is_some()), (Some(bench.clock.now()), true));
    }
    let numbers: Vec<u32> = bench.attempts(task).await.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (1..=CRASH_BUDGET).collect::<Vec<_>>());
}

async fn a_task_canceled_while_it_waits_again_has_no_further_attempt(bench: Bench) {
    // In the store, and by the node that holds it.
    for held in [false, true] {
        let task = bench.submit(new_task()).await.id;
        attempt(&bench, 1, again(Duration::ZERO)).await;
        if held {
            let lease = bench.claim_one().await.lease;
            let verdict = Verdict::Canceled(None);
            let settlement = Settlement { lease, run: None, verdict, keep: KEEP, notes: RunNotes::default() };
            assert!(matches!(bench.store.settle(settlement).await.unwrap(), Settled::Recorded(_)));
        } else {
            bench.cancel(task).await;
        }
        assert_eq!(bench.get(task).await.state, State::Canceled);
        assert_eq!(outcomes(&bench.attempts(task).await), [(1, AttemptOutcome::Interrupted)]);
    }
}

async fn a_report_on_a_task_that_never_ran_leaves_no_attempt(bench: Bench) {
    for verdict in [done(), failed(), again(SECOND)] {
        let lease = bench.submit_here(new_task()).await.lease;
        let settlement = Settlement { lease, run: None, verdict, keep: KEEP, notes: RunNotes::default() };
        bench.store.settle(settlement).await.unwrap();
        assert_eq!(bench.attempts(lease.task).await, []);
    }
}

async fn what_an_attempt_told_of_itself_is_kept_with_it(bench: Bench) {
    let task = bench.submit(new_task()).await.id;
    let told =
        |worker: &str, log: Option<&str>| RunNotes { worker: Some(worker.to_owned()), log: log.map(str::to_owned) };
    let reports = [
        (again(Duration::ZERO), told("pid 1", None)),
        (again(Duration::ZERO), told("pid 2", Some("loading\nthe end"))),
        (Verdict::Failed(unreachable().with_log("of the failure"), None), told("pid 3", Some("of the attempt"))),
    ];
    for (number, (verdict, notes)) in (1..).zip(reports.clone()) {
        let lease = bench.claim_one().await.lease;
        let settlement = Settlement { lease, run: Some(bench.run(number)), verdict, keep: KEEP, notes };
        bench.store.settle(settlement).await.unwrap();
    }
    let attempts = bench.attempts(task).await;
    let shown: Vec<RunNotes> =
        attempts.iter().map(|attempt| RunNotes { worker: attempt.worker.clone(), log: attempt.log.clone() }).collect();
    assert_eq!(shown, reports.map(|(_, notes)| notes));
    assert_eq!(attempts[2].outcome, AttemptOutcome::Failed);

    // The worker of the attempt that ends its task, where there is no log; and the log of a failure, where no other is.
    for (verdict, log) in [(done(), None), (Verdict::Failed(unreachable().with_log("why"), None), Some("why"))] {
        let lease = bench.submit_here(new_task()).await.lease;
        let settlement = Settlement { lease, run: Some(bench.run(1)), verdict, keep: KEEP, notes: told("pid 4", None) };
        bench.store.settle(settlement).await.unwrap();
        let attempts = bench.attempts(lease.task).await;
        assert_eq!((attempts.len(), attempts[0].worker.as_deref()), (1, Some("pid 4")));
        assert_eq!(attempts[0].log.as_deref(), log);
    }
}

async fn of_many_attempts_the_first_few_and_the_newest_are_shown(bench: Bench) {
    const MANY: u32 = 150;
    let task = bench.submit(new_task()).await.id;
    for number in 1..=MANY {
        attempt(&bench, number, again(Duration::ZERO)).await;
    }
    attempt(&bench, MANY + 1, done()).await;
    let numbers: Vec<u32> = bench.attempts(task).await.iter().map(|attempt| attempt.number).collect();
    let kept = AttemptRecord::KEPT_MAX;
    // The one that ended the task is in the task itself.
    let expected: Vec<u32> = (1..=10).chain(MANY + 11 - kept..=MANY + 1).collect();
    assert_eq!(numbers, expected);
}

async fn attempts_are_forgotten_with_their_task(bench: Bench) {
    let task = bench.submit(new_task()).await.id;
    attempt(&bench, 1, again(Duration::ZERO)).await;
    attempt(&bench, 2, done()).await;
    assert_eq!(bench.attempts(task).await.len(), 2);
    bench.clock.advance(KEEP);
    assert_eq!(bench.prune().await.len(), 1);
    assert_eq!(bench.attempts(task).await, []);
}
