//! Promises of `resubmit`.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_finished_task_is_run_once_more_as_a_new_one,
        a_task_is_resubmitted_whatever_its_end_was,
        a_task_resubmitted_here_is_held,
        a_resubmitted_task_leaves_the_key_to_its_original,
        an_unfinished_task_is_not_resubmitted,
        a_task_is_resubmitted_on_its_own_endpoint_only,
        a_resubmission_under_a_used_id_is_refused,
        a_copy_keeps_its_input_when_the_original_is_pruned,
        an_original_keeps_its_input_when_the_copy_is_pruned,
    ]
}

/// Over what any store keeps in a row.
const LARGE: usize = 300 * 1024;

async fn a_finished_task_is_run_once_more_as_a_new_one(bench: Bench) {
    let mut headers = Headers::of_type("audio/wav");
    headers.add("x-language", "ja");
    let input = Input { headers: headers.clone(), body: bytes_of_length(999).into() };
    let options = TaskOptions { max_attempts: Some(3), ..TaskOptions::default() };
    let new = NewTask { input, priority: Priority(3), options: options.clone(), ..new_task() };
    let original = bench.settled(new, failed()).await;
    bench.clock.advance(SECOND);

    let copy = resubmit(&bench, original.id, Place::Queue).await.task;
    let expected = Task {
        priority: Priority(3),
        input_bytes: 999,
        options: Some(Arc::new(options)),
        ..Task::submitted(copy.id, endpoint(), bench.clock.now())
    };
    assert_eq!(copy, expected);
    assert_eq!(bench.get(copy.id).await, expected);
    let input = bench.input(copy.id).await;
    assert_eq!((input.headers, read(&input.body)), (headers, bytes_of_length(999).into()));
    assert_eq!(bench.get(original.id).await, original);
    assert_eq!(claimed_ids(&bench.claim(ALL).await), [copy.id]);
}

async fn a_task_is_resubmitted_whatever_its_end_was(bench: Bench) {
    for verdict in [done(), failed(), Verdict::Canceled(None)] {
        let original = bench.settled(new_task(), verdict).await;
        let copy = resubmit(&bench, original.id, Place::Queue).await.task;
        assert_eq!(read(&bench.input(copy.id).await.body), "some input");
        assert!(bench.output(copy.id).await.is_none());
    }
}

async fn a_task_resubmitted_here_is_held(bench: Bench) {
    let original = bench.settled(new_task(), done()).await;
    let answer = resubmit(&bench, original.id, Place::Here).await;
    assert_eq!(answer.lease, Some(Lease { task: answer.task.id, fence: 1 }));
    assert!(bench.claim(ALL).await.is_empty());
}

async fn a_resubmitted_task_leaves_the_key_to_its_original(bench: Bench) {
    let original = bench.settled(new_task_with_key("order 7"), done()).await;
    let answer = resubmit(&bench, original.id, Place::Queue).await;
    assert_eq!(answer.novelty, Novelty::New);
    let repeated = bench.enqueue(vec![(new_task_with_key("order 7"), Place::Queue)]).await.remove(0);
    assert_eq!(repeated.task, original);
}

async fn an_unfinished_task_is_not_resubmitted(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    assert_unfinished(State::Pending, bench.store.resubmit(wish(lease.task)).await.unwrap());
    bench.start(lease, 1).await;
    assert_unfinished(State::InProgress, bench.store.resubmit(wish(lease.task)).await.unwrap());
    assert_eq!(bench.store.counts().await.unwrap().len(), 1);
}

async fn a_task_is_resubmitted_on_its_own_endpoint_only(bench: Bench) {
    let original = bench.settled(new_task(), done()).await;
    let strange = Resubmit { endpoint: other_endpoint(), ..wish(original.id) };
    assert!(matches!(bench.store.resubmit(strange).await.unwrap(), Resubmitted::Unknown));
    let unknown = bench.store.resubmit(wish(TaskId::generate())).await.unwrap();
    assert!(matches!(unknown, Resubmitted::Unknown));
    assert!(bench.claim(ALL).await.is_empty());
}

async fn a_resubmission_under_a_used_id_is_refused(bench: Bench) {
    let original = bench.settled(new_task(), done()).await;
    let other = bench.submit(new_task()).await;
    for id in [original.id, other.id] {
        let refusal = bench.store.resubmit(Resubmit { id, ..wish(original.id) }).await.unwrap_err();
        assert!(matches!(refusal, StoreError::Failed(reason) if reason.contains(&id.to_string())));
    }
    assert_eq!(bench.get(original.id).await, original);
    assert_eq!(bench.get(other.id).await, other);
}

async fn a_copy_keeps_its_input_when_the_original_is_pruned(bench: Bench) {
    for length in [100, LARGE] {
        let original = bench.settled(task_of_length(&bench, length).await, done()).await;
        let copy = resubmit(&bench, original.id, Place::Queue).await.task;
        bench.clock.advance(KEEP);
        assert_eq!(bench.prune().await.len(), 1);
        assert_eq!(read(&bench.input(copy.id).await.body), bytes_of_length(length));
    }
}

async fn an_original_keeps_its_input_when_the_copy_is_pruned(bench: Bench) {
    for length in [100, LARGE] {
        let lease = bench.submit_here(task_of_length(&bench, length).await).await.lease;
        let settlement = Settlement { lease, run: None, verdict: done(), keep: 10 * KEEP, notes: RunNotes::default() };
        bench.store.settle(settlement).await.unwrap();
        let copy = resubmit(&bench, lease.task, Place::Queue).await.task;
        bench.cancel(copy.id).await;
        bench.clock.advance(KEEP);
        assert_eq!(bench.prune().await.len(), 1);
        assert_eq!(read(&bench.input(lease.task).await.body), bytes_of_length(length));
    }
}

async fn task_of_length(bench: &Bench, length: usize) -> NewTask {
    let id = TaskId::generate();
    let body = bench.spool(BlobName::Input(id), &bytes_of_length(length)).await;
    NewTask { id, input: Input::new("application/octet-stream", body), ..new_task() }
}

fn wish(of: TaskId) -> Resubmit {
    Resubmit { of, endpoint: endpoint(), id: TaskId::generate(), place: Place::Queue }
}

async fn resubmit(bench: &Bench, of: TaskId, place: Place) -> Enqueued {
    match bench.store.resubmit(Resubmit { place, ..wish(of) }).await.unwrap() {
        Resubmitted::Enqueued(enqueued) => enqueued,
        other => panic!("a finished task is resubmitted, not answered with {other:?}"),
    }
}

fn assert_unfinished(expected: State, answer: Resubmitted) {
    assert!(matches!(answer, Resubmitted::Unfinished(state) if state == expected), "{answer:?}");
}
