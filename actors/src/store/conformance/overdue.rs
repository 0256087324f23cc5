//! Promises of `overdue`, and of how long a task is kept that says so itself.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_task_not_started_in_its_time_is_canceled_as_expired,
        a_task_that_waits_at_its_deadline_fails,
        the_time_to_start_means_nothing_once_a_task_has_started,
        the_deadline_of_a_task_that_waits_again_still_counts,
        of_both_times_the_earlier_decides,
        an_overdue_task_that_is_held_is_left_to_its_holder,
        overdue_tasks_are_ended_the_longest_over_first_and_no_more_than_told,
        a_task_that_was_ended_as_overdue_is_open_to_no_claim,
        a_task_resubmitted_has_its_times_anew,
        a_task_is_kept_as_long_as_it_says_itself,
    ]
}

/// A task with both kinds of times, in seconds from its submission.
fn with_times(start_by: Option<u32>, deadline: Option<u32>) -> NewTask {
    NewTask {
        queue_ttl: start_by.map(|seconds| seconds * SECOND),
        deadline: deadline.map(|s| s * SECOND),
        ..new_task()
    }
}

fn ended(tasks: &[Task]) -> Vec<(TaskId, State, FailureCode)> {
    let ended = |task: &Task| (task.id, task.state, task.failure.as_ref().expect("it says why").code);
    tasks.iter().map(ended).collect()
}

async fn a_task_not_started_in_its_time_is_canceled_as_expired(bench: Bench) {
    let task = bench.submit(with_times(Some(5), None)).await;
    assert_eq!(task.start_by, Some(task.submitted_at + 5 * SECOND));
    bench.clock.advance(5 * SECOND - Duration::from_micros(1));
    assert_eq!(bench.overdue(ALL).await, Overdue { settled: vec![], next: task.start_by });
    bench.clock.advance(Duration::from_micros(1));
    let Overdue { settled, next } = bench.overdue(ALL).await;
    assert_eq!((ended(&settled), next), (vec![(task.id, State::Canceled, FailureCode::Expired)], None));
    let now = bench.clock.now();
    assert_eq!((settled[0].finished_at, settled[0].expires_at), (Some(now), Some(now + KEEP)));
    assert_eq!(bench.get(task.id).await, settled[0]);
    assert_eq!(bench.overdue(ALL).await, Overdue::default());
    assert_eq!(bench.store.waiting().await.unwrap().iter().map(|(_, tasks)| tasks).sum::<u64>(), 0);
}

async fn a_task_that_waits_at_its_deadline_fails(bench: Bench) {
    // Due only after its deadline: that it is not due yet makes no difference.
    let task = bench.submit(NewTask { delay: 9 * SECOND, ..with_times(None, Some(5)) }).await;
    bench.clock.advance(5 * SECOND);
    let settled = bench.overdue(ALL).await.settled;
    assert_eq!(ended(&settled), [(task.id, State::Failed, FailureCode::Deadline)]);
    assert_eq!((settled[0].attempt, bench.get(task.id).await), (0, settled[0].clone()));
}

async fn the_time_to_start_means_nothing_once_a_task_has_started(bench: Bench) {
    let lease = bench.submit_here(with_times(Some(5), None)).await.lease;
    bench.settle(lease, again(Duration::ZERO)).await;
    bench.clock.advance(9 * SECOND);
    assert_eq!(bench.overdue(ALL).await, Overdue::default());
    assert_eq!(bench.claim_one().await.task.id, lease.task);
}

async fn the_deadline_of_a_task_that_waits_again_still_counts(bench: Bench) {
    let lease = bench.submit_here(with_times(Some(2), Some(5))).await.lease;
    bench.settle(lease, again(9 * SECOND)).await;
    let deadline = bench.get(lease.task).await.deadline;
    bench.clock.advance(3 * SECOND);
    assert_eq!(bench.overdue(ALL).await, Overdue { settled: vec![], next: deadline });
    bench.clock.advance(2 * SECOND);
    let settled = bench.overdue(ALL).await.settled;
    assert_eq!(ended(&settled), [(lease.task, State::Failed, FailureCode::Deadline)]);
    assert_eq!(bench.attempts(lease.task).await.len(), 1);
}

async fn of_both_times_the_earlier_decides(bench: Bench) {
    for (start_by, deadline, expected) in [(2, 4, FailureCode::Expired), (4, 2, FailureCode::Deadline)] {
        bench.submit(with_times(Some(start_by), Some(deadline))).await;
        bench.clock.advance(9 * SECOND);
        let settled = bench.overdue(ALL).await.settled;
        assert_eq!(settled[0].failure.as_ref().map(|failure| failure.code), Some(expected));
    }
}

async fn an_overdue_task_that_is_held_is_left_to_its_holder(bench: Bench) {
    let waiting = bench.submit_here(with_times(Some(5), Some(5))).await.lease;
    let running = bench.submit_here(with_times(Some(5), Some(5))).await.lease;
    bench.start(running, 1).await;
    bench.clock.advance(5 * SECOND);
    assert_eq!(bench.overdue(ALL).await, Overdue::default());
    // Once it is given up, it is anybody's.
    bench.lapse();
    bench.reclaim(ALL).await;
    let mut ended = ended(&bench.overdue(ALL).await.settled);
    ended.sort_by_key(|(task, ..)| *task);
    let expected =
        [(waiting.task, State::Canceled, FailureCode::Expired), (running.task, State::Failed, FailureCode::Deadline)];
    assert_eq!(ended, expected);
}

async fn overdue_tasks_are_ended_the_longest_over_first_and_no_more_than_told(bench: Bench) {
    let mut tasks = Vec::new();
    for seconds in [4, 2, 3, 1, 60] {
        tasks.push(bench.submit(with_times(Some(seconds), None)).await);
    }
    bench.clock.advance(9 * SECOND);
    let first = bench.overdue(2).await;
    assert_eq!(ids(&first.settled), [tasks[3].id, tasks[1].id]);
    let rest = bench.overdue(ALL).await;
    assert_eq!((ids(&rest.settled), rest.next), (vec![tasks[2].id, tasks[0].id], tasks[4].start_by));
}

async fn a_task_that_was_ended_as_overdue_is_open_to_no_claim(bench: Bench) {
    bench.submit(with_times(Some(1), None)).await;
    bench.submit(with_times(None, Some(1))).await;
    bench.clock.advance(SECOND);
    assert_eq!(bench.overdue(ALL).await.settled.len(), 2);
    assert!(bench.claim(ALL).await.is_empty());
    assert!(bench.reclaim(ALL).await.is_empty());
}

async fn a_task_resubmitted_has_its_times_anew(bench: Bench) {
    let first = bench.submit(with_times(Some(5), Some(7))).await;
    bench.clock.advance(60 * SECOND);
    bench.overdue(ALL).await;
    let wish = Resubmit { of: first.id, endpoint: endpoint(), id: TaskId::generate(), place: Place::Queue };
    let Resubmitted::Enqueued(Enqueued { task, .. }) = bench.store.resubmit(wish).await.unwrap() else {
        panic!("it has ended")
    };
    let now = bench.clock.now();
    assert_eq!((task.start_by, task.deadline), (Some(now + 5 * SECOND), Some(now + 7 * SECOND)));
    assert_eq!(bench.get(task.id).await, task);
    bench.clock.advance(5 * SECOND);
    assert_eq!(ended(&bench.overdue(ALL).await.settled), [(task.id, State::Canceled, FailureCode::Expired)]);
}

async fn a_task_is_kept_as_long_as_it_says_itself(bench: Bench) {
    let own = 3 * KEEP;
    let keeping = |task: NewTask| NewTask { options: TaskOptions { retention: Some(own), ..task.options }, ..task };
    let mut finished = Vec::new();
    for verdict in [done(), failed(), Verdict::Canceled(None)] {
        finished.push(bench.settled(keeping(new_task()), verdict).await);
    }
    let canceled = bench.submit(keeping(new_task())).await;
    match bench.cancel(canceled.id).await {
        Canceled::Canceled(task) => finished.push(task),
        other => panic!("it waited: {other:?}"),
    }
    bench.submit(keeping(with_times(Some(0), None))).await;
    finished.append(&mut bench.overdue(ALL).await.settled);
    for task in finished {
        assert_eq!(task.expires_at, Some(bench.clock.now() + own), "{:?}", task.state);
    }
    let lease = bench.submit_here(keeping(new_task())).await.lease;
    bench.start(lease, 1).await;
    bench.lapse();
    let policy = ReclaimPolicy { crash_budget: 1, ..reclaim_policy() };
    let lost = bench.store.reclaim(ALL, policy).await.unwrap().lost;
    assert_eq!(lost[0].expires_at, Some(bench.clock.now() + own));
}
