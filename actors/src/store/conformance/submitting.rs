//! Promises of `enqueue`.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_new_task_is_as_it_was_submitted,
        an_enqueue_answers_in_the_order_of_its_tasks,
        an_enqueue_of_nothing_answers_nothing,
        an_enqueue_is_all_or_none,
        an_id_is_not_recorded_twice_in_one_call,
        a_refused_enqueue_leaves_its_keys_free,
        an_enqueue_nobody_waits_for_is_recorded,
        a_key_returns_its_first_task,
        a_key_returns_its_first_task_within_one_call,
        many_submissions_at_once_with_one_key_record_one_task,
        a_key_returns_its_task_as_it_stands_now,
        a_known_key_needs_no_new_id,
        a_known_key_with_another_input_is_told_apart,
        a_key_belongs_to_its_endpoint,
        a_key_is_free_again_when_its_task_is_pruned,
        a_task_placed_here_is_held_under_the_first_fence,
        a_task_placed_here_before_it_is_due_waits_in_the_queue,
    ]
}

async fn a_new_task_is_as_it_was_submitted(bench: Bench) {
    let delay = Duration::from_millis(1500);
    let options = TaskOptions { max_attempts: Some(3), ..TaskOptions::default() };
    let new = NewTask {
        priority: Priority(2),
        queue_ttl: Some(SECOND),
        deadline: Some(2 * SECOND),
        options: options.clone(),
        ..delayed(delay)
    };
    let submitted_at = bench.clock.now();
    let answer = bench.enqueue(vec![(new.clone(), Place::Queue)]).await.remove(0);

    let expected = Task {
        priority: Priority(2),
        due_at: submitted_at + delay,
        input_bytes: new.input.body.len(),
        start_by: Some(submitted_at + SECOND),
        deadline: Some(submitted_at + 2 * SECOND),
        options: Some(Arc::new(options)),
        ..Task::submitted(new.id, endpoint(), submitted_at)
    };
    assert_eq!(answer.task, expected);
    assert_eq!((answer.lease, answer.novelty), (None, Novelty::New));
    assert_eq!(bench.get(new.id).await, expected);
}

async fn an_enqueue_answers_in_the_order_of_its_tasks(bench: Bench) {
    let tasks: Vec<NewTask> = (0..20).map(|_| new_task()).collect();
    let mut expected: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
    expected.reverse();
    let answers = bench.enqueue(tasks.into_iter().rev().map(|task| (task, Place::Queue)).collect()).await;
    assert_eq!(ids(answers.iter().map(|answer| &answer.task)), expected);
}

async fn an_enqueue_of_nothing_answers_nothing(bench: Bench) {
    assert!(bench.enqueue(Vec::new()).await.is_empty());
    assert!(bench.store.counts().await.unwrap().is_empty());
}

async fn an_enqueue_is_all_or_none(bench: Bench) {
    let known = bench.submit(new_task()).await;
    let (first, last) = (new_task(), new_task());
    let clashing = NewTask { id: known.id, input: Input::new("text/plain", "another input"), ..new_task() };
    let tasks = vec![(first.clone(), Place::Queue), (clashing, Place::Queue), (last.clone(), Place::Here)];

    assert_failed_naming(known.id, bench.store.enqueue(tasks).await);

    assert_eq!(bench.find(first.id).await, None);
    assert_eq!(bench.find(last.id).await, None);
    assert_eq!(bench.get(known.id).await, known);
    assert_eq!(read(&bench.input(known.id).await.body), "some input");
    assert_eq!(claimed_ids(&bench.claim(ALL).await), [known.id]);
}

async fn an_id_is_not_recorded_twice_in_one_call(bench: Bench) {
    let task = new_task();
    let tasks = vec![(task.clone(), Place::Queue), (task.clone(), Place::Queue)];
    assert_failed_naming(task.id, bench.store.enqueue(tasks).await);
    assert_eq!(bench.find(task.id).await, None);
}

async fn a_refused_enqueue_leaves_its_keys_free(bench: Bench) {
    let known = bench.submit(new_task()).await;
    let refused =
        vec![(new_task_with_key("order 7"), Place::Queue), (NewTask { id: known.id, ..new_task() }, Place::Queue)];
    assert_failed_naming(known.id, bench.store.enqueue(refused).await);

    let answer = bench.enqueue(vec![(new_task_with_key("order 7"), Place::Queue)]).await.remove(0);
    assert_eq!(answer.novelty, Novelty::New);
}

async fn an_enqueue_nobody_waits_for_is_recorded(bench: Bench) {
    let forgotten = new_task();
    drop(bench.store.enqueue(vec![(forgotten.clone(), Place::Queue)]));
    // Writes happen in the order they were asked for, so this answer tells that the one before is recorded.
    bench.submit(new_task()).await;
    assert!(bench.find(forgotten.id).await.is_some());
}

async fn a_key_returns_its_first_task(bench: Bench) {
    let first = bench.submit(new_task_with_key("order 7")).await;
    bench.clock.advance(SECOND);
    let repeated = new_task_with_key("order 7");
    let answer = bench.enqueue(vec![(repeated.clone(), Place::Here)]).await.remove(0);

    assert_eq!(answer.task, first);
    assert_eq!((answer.lease, answer.novelty), (None, Novelty::Replay));
    assert_eq!(bench.find(repeated.id).await, None);
    assert_eq!(claimed_ids(&bench.claim(ALL).await), [first.id]);
}

async fn a_key_returns_its_first_task_within_one_call(bench: Bench) {
    let (first, second) = (new_task_with_key("order 7"), new_task_with_key("order 7"));
    let answers = bench.enqueue(vec![(first.clone(), Place::Queue), (second.clone(), Place::Queue)]).await;
    assert_eq!(answers.iter().map(|answer| answer.novelty).collect::<Vec<_>>(), [Novelty::New, Novelty::Replay]);
    assert_eq!(answers[0].task, answers[1].task);
    assert_eq!(bench.find(second.id).await, None);
}

async fn many_submissions_at_once_with_one_key_record_one_task(bench: Bench) {
    let submissions = (0..20).map(|_| {
        let store = bench.store.clone();
        move || store.enqueue(vec![(new_task_with_key("order 7"), Place::Queue)])
    });
    let answers: Vec<Enqueued> = from_threads(submissions).await.into_iter().flatten().collect();
    assert_eq!(answers.iter().filter(|answer| answer.novelty == Novelty::New).count(), 1);
    assert_eq!(claimed_ids(&bench.claim(ALL).await), [answers[0].task.id]);
    assert!(answers.iter().all(|answer| answer.task.id == answers[0].task.id));
}

async fn a_key_returns_its_task_as_it_stands_now(bench: Bench) {
    let completed = bench.settled(new_task_with_key("order 7"), done()).await;
    let answer = bench.enqueue(vec![(new_task_with_key("order 7"), Place::Queue)]).await.remove(0);
    assert_eq!(answer.novelty, Novelty::Replay);
    assert_eq!(answer.task, completed);
}

async fn a_known_key_needs_no_new_id(bench: Bench) {
    let request = new_task_with_key("order 7");
    // The very same submission, repeated within the call and by a later one.
    let answers = bench.enqueue(vec![(request.clone(), Place::Queue), (request.clone(), Place::Queue)]).await;
    assert_eq!(answers.iter().map(|answer| answer.novelty).collect::<Vec<_>>(), [Novelty::New, Novelty::Replay]);
    let answer = bench.enqueue(vec![(request, Place::Queue)]).await.remove(0);
    assert_eq!((answer.novelty, &answer.task), (Novelty::Replay, &answers[0].task));
}

async fn a_known_key_with_another_input_is_told_apart(bench: Bench) {
    let keyed = |digest| NewTask { input_digest: digest, ..new_task_with_key("order 7") };
    let first = bench.submit(keyed(Some([7; 32]))).await;
    // What has no digest has nothing to compare.
    let cases = [(Some([7; 32]), Novelty::Replay), (Some([8; 32]), Novelty::OtherInput), (None, Novelty::Replay)];
    for (digest, expected) in cases {
        let answer = bench.enqueue(vec![(keyed(digest), Place::Here)]).await.remove(0);
        assert_eq!((answer.novelty, answer.task, answer.lease), (expected, first.clone(), None));
    }
    let within = vec![(keyed(None), Place::Queue), (keyed(Some([9; 32])), Place::Queue)];
    let within = within.into_iter().map(|(task, place)| (NewTask { endpoint: other_endpoint(), ..task }, place));
    let answers = bench.enqueue(within.collect()).await;
    assert_eq!(answers.iter().map(|answer| answer.novelty).collect::<Vec<_>>(), [Novelty::New, Novelty::Replay]);
    assert_eq!(claimed_ids(&bench.claim(ALL).await), [first.id]);
}

async fn a_key_belongs_to_its_endpoint(bench: Bench) {
    let here = bench.submit(new_task_with_key("order 7")).await;
    let there = NewTask { endpoint: other_endpoint(), ..new_task_with_key("order 7") };
    let answer = bench.enqueue(vec![(there.clone(), Place::Queue)]).await.remove(0);
    assert_eq!(answer.novelty, Novelty::New);
    assert_eq!((answer.task.id, &answer.task.endpoint), (there.id, &other_endpoint()));
    assert_eq!(bench.get(here.id).await, here);
}

async fn a_key_is_free_again_when_its_task_is_pruned(bench: Bench) {
    bench.settled(new_task_with_key("order 7"), done()).await;
    bench.clock.advance(KEEP);
    assert_eq!(bench.prune().await.len(), 1);
    let later = new_task_with_key("order 7");
    let answer = bench.enqueue(vec![(later.clone(), Place::Queue)]).await.remove(0);
    assert_eq!((answer.task.id, answer.novelty), (later.id, Novelty::New));
}

async fn a_task_placed_here_is_held_under_the_first_fence(bench: Bench) {
    let Claimed { task, lease } = bench.submit_here(new_task()).await;
    assert_eq!(lease, Lease { task: task.id, fence: 1 });
    assert_eq!(task.state, State::Pending);
    assert!(bench.claim(ALL).await.is_empty());
    assert!(matches!(bench.settle(lease, done()).await, Settled::Recorded(_)));
}

async fn a_task_placed_here_before_it_is_due_waits_in_the_queue(bench: Bench) {
    let answer = bench.enqueue(vec![(delayed(SECOND), Place::Here)]).await.remove(0);
    assert_eq!(answer.lease, None);
    assert!(bench.claim(ALL).await.is_empty());
    bench.clock.advance(SECOND);
    assert_eq!(bench.claim_one().await.lease, Lease { task: answer.task.id, fence: 1 });
}

fn assert_failed_naming(id: TaskId, answer: Result<Vec<Enqueued>, StoreError>) {
    match answer {
        Err(StoreError::Failed(reason)) => assert!(reason.contains(&id.to_string()), "{reason:?} names {id}"),
        other => panic!("a used id is refused, not answered with {other:?}"),
    }
}
