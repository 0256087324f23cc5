//! Promises of a store whose data outlives it.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        an_answered_enqueue_survives,
        an_enqueue_nobody_waits_for_survives_a_close,
        a_settled_task_and_its_output_survive,
        a_canceled_task_and_a_put_back_one_survive,
        a_pruned_task_stays_deleted,
        a_deleted_task_stays_deleted_and_its_key_is_free,
        keys_survive,
        a_key_still_tells_another_input,
        tags_survive,
        counts_survive,
        a_task_held_by_the_node_before_waits_again_at_once,
        an_attempt_of_the_node_before_counts_as_a_crash,
        a_task_that_takes_every_node_down_is_lost,
        what_the_node_before_reports_late_is_refused,
        the_lease_of_a_new_node_is_its_own,
        attempts_survive_and_name_the_node_that_ran_them,
        what_became_overdue_meanwhile_is_ended,
        a_requested_cancel_survives_a_crash,
    ]
}

const BOTH_ENDINGS: [Ending; 2] = [Ending::Closed, Ending::Dropped];

async fn an_answered_enqueue_survives(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        let new = NewTask { priority: Priority(1), ..delayed(SECOND) };
        let body = bench.spool(BlobName::Input(new.id), &bytes_of_length(300 * 1024)).await;
        let large = bench.submit(NewTask { input: Input::new("audio/wav", body), ..new }).await;
        let small = bench.submit(delayed(2 * SECOND)).await;
        bench = bench.reopen(ending).await;

        assert_eq!(bench.get(large.id).await, large);
        assert_eq!(bench.get(small.id).await, small);
        assert_eq!(read(&bench.input(large.id).await.body), bytes_of_length(300 * 1024));
        assert_eq!(read(&bench.input(small.id).await.body), "some input");
        assert_eq!(bench.claims_of(&[endpoint()], ALL).await.next_due, Some(large.due_at));
        bench.clock.advance(2 * SECOND);
        assert_eq!(claimed_ids(&bench.claim(ALL).await), [large.id, small.id]);
    }
}

async fn an_enqueue_nobody_waits_for_survives_a_close(bench: Bench) {
    let forgotten = new_task();
    drop(bench.store.enqueue(vec![(forgotten.clone(), Place::Queue)]));
    let bench = bench.reopen(Ending::Closed).await;
    assert!(bench.find(forgotten.id).await.is_some());
}

async fn a_settled_task_and_its_output_survive(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        let failure = Failure::new(FailureCode::Upstream5xx, "it hung up");
        let answer = Output::new("application/json", "{}").with_status(502);
        let failed = bench.settled(new_task(), Verdict::Failed(failure, Some(answer))).await;
        let lease = bench.submit_here(new_task()).await.lease;
        let body = bench.spool(BlobName::Output(lease.task, lease.fence), &bytes_of_length(300 * 1024)).await;
        bench.settle(lease, Verdict::Completed(Output::new("audio/wav", body))).await;
        let completed = bench.get(lease.task).await;
        bench = bench.reopen(ending).await;

        assert_eq!(bench.get(failed.id).await, failed);
        assert_eq!(bench.get(completed.id).await, completed);
        let answer = bench.output(failed.id).await.unwrap();
        assert_eq!((answer.status, read(&answer.body)), (502, "{}".into()));
        let output = bench.output(completed.id).await.unwrap();
        assert_eq!(output.headers.content_type(), Some("audio/wav"));
        assert_eq!(read(&output.body), bytes_of_length(300 * 1024));
    }
}

async fn a_canceled_task_and_a_put_back_one_survive(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        let canceled = bench.submit(new_task()).await;
        bench.cancel(canceled.id).await;
        let canceled = bench.get(canceled.id).await;
        let put_back = bench.settled(new_task(), again(KEEP)).await;
        bench = bench.reopen(ending).await;
        assert_eq!(bench.get(canceled.id).await, canceled);
        assert_eq!(bench.get(put_back.id).await, put_back);
    }
}

async fn a_pruned_task_stays_deleted(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        let pruned = bench.settled(new_task_with_key("order 7"), done()).await;
        bench.clock.advance(KEEP);
        bench.prune().await;
        bench = bench.reopen(ending).await;
        assert_eq!(bench.find(pruned.id).await, None);
        assert!(bench.store.input(pruned.id).await.unwrap().is_none());
    }
}

async fn a_deleted_task_stays_deleted_and_its_key_is_free(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        let options = tagged(&[("project", "rice")]).options;
        let deleted = bench.settled(NewTask { options, ..new_task_with_key("order 7") }, done()).await;
        assert!(matches!(bench.store.delete(deleted.id).await.unwrap(), Deleted::Deleted(_)));
        bench = bench.reopen(ending).await;
        assert_eq!(bench.find(deleted.id).await, None);
        assert!(bench.store.input(deleted.id).await.unwrap().is_none());
        assert_eq!(bench.store.list(by_project()).await.unwrap(), Page::default());
        let answer = bench.enqueue(vec![(new_task_with_key("order 7"), Place::Here)]).await.remove(0);
        assert_eq!(answer.novelty, Novelty::New);
        bench.settle(answer.lease.expect("it is new"), done()).await;
        bench.store.delete(answer.task.id).await.unwrap();
    }
}

fn by_project() -> ListQuery {
    ListQuery { tags: vec![("project".to_owned(), "rice".to_owned())], ..ListQuery::newest(ALL) }
}

async fn a_key_still_tells_another_input(mut bench: Bench) {
    let keyed = |digest| NewTask { input_digest: Some([digest; 32]), ..new_task_with_key("order 7") };
    bench.submit(keyed(1)).await;
    for ending in BOTH_ENDINGS {
        bench = bench.reopen(ending).await;
        for (digest, expected) in [(1, Novelty::Replay), (2, Novelty::OtherInput)] {
            assert_eq!(bench.enqueue(vec![(keyed(digest), Place::Queue)]).await.remove(0).novelty, expected);
        }
    }
}

async fn tags_survive(mut bench: Bench) {
    let task = bench.submit(tagged(&[("project", "rice")])).await;
    bench.submit(tagged(&[("project", "beans")])).await;
    for ending in BOTH_ENDINGS {
        bench = bench.reopen(ending).await;
        assert_eq!(ids(&bench.store.list(by_project()).await.unwrap().tasks), [task.id]);
    }
}

async fn keys_survive(mut bench: Bench) {
    let first = bench.submit(new_task_with_key("order 7")).await;
    for ending in BOTH_ENDINGS {
        bench = bench.reopen(ending).await;
        let answer = bench.enqueue(vec![(new_task_with_key("order 7"), Place::Queue)]).await.remove(0);
        assert_eq!((answer.task, answer.novelty), (first.clone(), Novelty::Replay));
    }
}

async fn counts_survive(mut bench: Bench) {
    bench.submit(new_task()).await;
    bench.submit(delayed(KEEP)).await;
    bench.settled(new_task_on(other_endpoint()), done()).await;
    bench.settled(new_task(), failed()).await;
    for ending in BOTH_ENDINGS {
        bench = bench.reopen(ending).await;
        let mut counts = bench.store.counts().await.unwrap();
        counts.retain(|count| count.tasks > 0);
        counts.sort_by_key(|count| (count.endpoint.clone(), count.state));
        let expected = [
            Count { endpoint: endpoint(), state: State::Pending, tasks: 2 },
            Count { endpoint: endpoint(), state: State::Failed, tasks: 1 },
            Count { endpoint: other_endpoint(), state: State::Completed, tasks: 1 },
        ];
        assert_eq!(counts, expected);
        assert_eq!(bench.store.waiting().await.unwrap(), [(endpoint(), 2)]);
    }
}

async fn a_task_held_by_the_node_before_waits_again_at_once(mut bench: Bench) {
    let Claimed { task, mut lease } = bench.submit_here(new_task()).await;
    for ending in BOTH_ENDINGS {
        bench = bench.reopen(ending).await;
        let reclaims = bench.reclaim(ALL).await;
        assert_eq!((reclaims.crashed, reclaims.lost), (vec![], vec![]));
        let claimed = bench.claim_one().await;
        assert_eq!(claimed.task, task);
        assert!(claimed.lease.fence > lease.fence);
        lease = claimed.lease;
    }
}

async fn an_attempt_of_the_node_before_counts_as_a_crash(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        let lease = bench.submit_here(new_task()).await.lease;
        bench.start(lease, 1).await;
        let started = bench.get(lease.task).await;
        bench = bench.reopen(ending).await;

        let expected = Task { state: State::Pending, crashes: 1, ..started };
        let reclaims = bench.reclaim(ALL).await;
        assert_eq!((reclaims.crashed.as_slice(), reclaims.lost), (std::slice::from_ref(&expected), vec![]));
        let claimed = bench.claim_one().await;
        assert_eq!(claimed.task, expected);
        bench.settle(claimed.lease, done()).await;
        assert!(bench.reclaim(ALL).await.is_empty());
    }
}

async fn a_task_that_takes_every_node_down_is_lost(mut bench: Bench) {
    let task = bench.submit(new_task()).await;
    let bystander = bench.submit(new_task_on(other_endpoint())).await;
    for attempt in 1..=CRASH_BUDGET {
        let lease = bench.claim_one().await.lease;
        bench.start(lease, attempt).await;
        bench = bench.reopen(Ending::Dropped).await;
        let reclaims = bench.reclaim(ALL).await;
        let is_last = attempt == CRASH_BUDGET;
        assert_eq!((reclaims.crashed.len(), reclaims.lost.len()), if is_last { (0, 1) } else { (1, 0) });
    }
    let lost = bench.get(task.id).await;
    assert_eq!((lost.state, lost.crashes), (State::Failed, CRASH_BUDGET));
    assert_eq!(lost.failure.map(|failure| failure.code), Some(FailureCode::Lost));
    assert_eq!(bench.get(bystander.id).await, bystander);
}

async fn what_the_node_before_reports_late_is_refused(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        let stale = bench.submit_here(new_task()).await.lease;
        bench = bench.reopen(ending).await;
        bench.reclaim(ALL).await;
        let fresh = bench.claim_one().await.lease;
        assert_eq!(bench.settle(stale, done()).await, Settled::FenceLost);
        assert!(matches!(bench.settle(fresh, done()).await, Settled::Recorded(_)));
    }
}

async fn the_lease_of_a_new_node_is_its_own(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        // The node before lets its lease lapse; the one after begins with a whole one.
        bench.lapse();
        bench = bench.reopen(ending).await;
        let lease = bench.submit_here(new_task()).await.lease;
        bench.clock.advance(LEASE);
        assert!(bench.reclaim(ALL).await.is_empty());
        bench.settle(lease, done()).await;
    }
}

async fn attempts_survive_and_name_the_node_that_ran_them(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        let lease = bench.submit_here(new_task()).await.lease;
        let setback = Setback::Failed(Failure::new(FailureCode::Timeout, "too long"));
        bench.settle(lease, Verdict::Again { delay: Duration::ZERO, setback }).await;
        let before = bench.attempts(lease.task).await;
        bench = bench.reopen(ending).await;
        assert_eq!(bench.attempts(lease.task).await, before);

        let lease = bench.claim_one().await.lease;
        let run = Some(bench.run(2));
        let settlement = Settlement { lease, run, verdict: done(), keep: KEEP, notes: RunNotes::default() };
        let Settled::Recorded(task) = bench.store.settle(settlement).await.unwrap() else { panic!("it is held") };
        let after = bench.attempts(lease.task).await;
        assert_eq!((task.failures, after.len(), &after[0]), (1, 2, &before[0]));
        assert_ne!(after[0].node, after[1].node);
    }
}

async fn what_became_overdue_meanwhile_is_ended(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        let expiring = NewTask { queue_ttl: Some(SECOND), ..new_task() };
        let waiting = bench.submit(expiring.clone()).await;
        let held = bench.submit_here(NewTask { id: TaskId::generate(), ..expiring }).await.task;
        bench = bench.reopen(ending).await;
        bench.clock.advance(SECOND);
        bench.reclaim(ALL).await;
        let mut ended = ids(&bench.overdue(ALL).await.settled);
        ended.sort();
        assert_eq!(ended, [waiting.id, held.id]);
    }
}

async fn a_requested_cancel_survives_a_crash(mut bench: Bench) {
    for ending in BOTH_ENDINGS {
        let lease = bench.submit_here(new_task()).await.lease;
        bench.start(lease, 1).await;
        bench.store.request_cancel(lease).await.unwrap();
        bench = bench.reopen(ending).await;
        assert!(bench.get(lease.task).await.cancel_requested);
        assert_eq!(ids(&bench.reclaim(ALL).await.canceled), [lease.task]);
        assert_eq!(bench.get(lease.task).await.state, State::Canceled);
    }
}
