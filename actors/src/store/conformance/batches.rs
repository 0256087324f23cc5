//! Promises about batches.

use super::*;
use crate::lifecycle::Closing;
use crate::store::batches::{BatchQuery, Begun, Line, MemberQuery, Members, NewBatch, Receive, Received};
use crate::task::{Batch, BatchId, BatchState, Member};

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_batch_is_there_before_its_first_line,
        a_key_returns_its_first_batch,
        a_key_of_a_batch_belongs_to_its_endpoint,
        an_id_of_a_batch_is_not_used_twice,
        a_line_becomes_a_task_that_knows_its_batch,
        a_line_that_comes_again_is_not_recorded_again,
        a_custom_id_belongs_to_its_batch,
        a_line_that_comes_again_with_another_input_is_told_apart,
        lines_are_recorded_all_or_none,
        a_closed_batch_takes_no_new_line_but_knows_the_old_ones,
        a_batch_that_is_not_there_takes_no_lines,
        a_batch_counts_its_tasks_with_every_change,
        a_batch_tells_why_its_tasks_failed,
        a_batch_is_over_with_its_last_task_and_not_before_it_is_closed,
        a_batch_without_lines_is_over_when_it_is_closed,
        a_batch_is_closed_once,
        a_canceled_batch_lists_as_to_be_canceled_while_tasks_wait,
        the_latest_upload_tells_how_many_lines_it_could_not_give,
        tasks_of_a_batch_are_read_in_the_order_of_their_lines,
        tasks_of_a_batch_are_read_by_their_state,
        reading_goes_on_where_it_stopped,
        batches_are_listed_newest_first,
        a_batch_stays_counted_when_its_tasks_are_deleted,
        a_batch_goes_with_its_last_task,
        a_batch_nobody_sends_to_goes_when_its_time_is_over,
        a_line_in_a_file_is_read_back,
    ]
}

pub(super) fn durable_cases() -> Vec<Case> {
    cases![
        a_batch_outlives_its_store_whole,
        a_batch_goes_on_after_its_store_was_dropped,
        what_ran_when_its_node_ended_is_counted_as_waiting_again,
    ]
}

impl Bench {
    async fn begin(&self) -> Batch {
        let Begun { batch, known } = self.store.begin_batch(new_batch()).await.unwrap();
        assert!(!known);
        batch
    }

    async fn receive(&self, batch: BatchId, lines: Vec<Line>) -> Vec<Enqueued> {
        match self.store.receive(Receive { batch, lines, refused: 0 }).await.unwrap() {
            Received::Lines(enqueued) => enqueued,
            other => panic!("lines were not taken: {other:?}"),
        }
    }

    async fn close_batch(&self, batch: BatchId, closing: Closing) -> Batch {
        self.store.close_batch(batch, closing, None).await.unwrap().expect("the batch is stored")
    }

    async fn batch(&self, batch: BatchId) -> Batch {
        self.store.batch(batch).await.unwrap().expect("the batch is stored")
    }

    async fn members(&self, batch: BatchId) -> Vec<Task> {
        let query = MemberQuery { batch, after: 0, limit: ALL, state: None };
        let Members { tasks, next } = self.store.members(query).await.unwrap();
        assert_eq!(next, None);
        tasks
    }

    /// How many tasks are pending, in progress, completed, failed and canceled.
    async fn batch_counts(&self, batch: BatchId) -> [u64; 5] {
        let batch = self.batch(batch).await;
        State::ALL.map(|state| batch.counts.of(state))
    }
}

fn new_batch() -> NewBatch {
    NewBatch {
        id: BatchId::generate(),
        endpoint: endpoint(),
        priority: Priority::BACKGROUND,
        keep: KEEP,
        idempotency_key: None,
        webhook: None,
    }
}

fn batch_with_key(key: &str) -> NewBatch {
    NewBatch { idempotency_key: Some(key.to_owned()), ..new_batch() }
}

fn line(custom_id: &str) -> Line {
    Line { custom_id: custom_id.to_owned(), task: new_task() }
}

fn lines(numbers: std::ops::Range<usize>) -> Vec<Line> {
    numbers.map(|number| line(&number.to_string())).collect()
}

fn custom_ids(tasks: &[Task]) -> Vec<&str> {
    tasks.iter().map(|task| task.batch.as_ref().expect("it is a task of a batch").custom_id.as_str()).collect()
}

fn novelties(enqueued: &[Enqueued]) -> Vec<Novelty> {
    enqueued.iter().map(|enqueued| enqueued.novelty).collect()
}

async fn a_batch_is_there_before_its_first_line(bench: Bench) {
    let new = new_batch();
    let begun = bench.store.begin_batch(new.clone()).await.unwrap();
    let now = bench.clock.now();
    let batch = begun.batch;
    assert_eq!((batch.id, &batch.endpoint, batch.state), (new.id, &endpoint(), BatchState::Receiving));
    assert_eq!((batch.priority, batch.created_at, batch.expires_at), (Priority::BACKGROUND, now, now + KEEP));
    assert_eq!((batch.finished_at, batch.refused, batch.counts.total()), (None, 0, 0));
    assert_eq!(bench.batch(new.id).await, batch);
    assert_eq!(bench.store.batch(BatchId::generate()).await.unwrap(), None);
}

async fn a_key_returns_its_first_batch(bench: Bench) {
    let first = bench.store.begin_batch(batch_with_key("night")).await.unwrap();
    bench.receive(first.batch.id, lines(0..3)).await;
    bench.clock.advance(SECOND);
    let again = bench.store.begin_batch(batch_with_key("night")).await.unwrap();
    assert_eq!((first.known, again.known), (false, true));
    assert_eq!(again.batch, bench.batch(first.batch.id).await);
    assert_eq!(again.batch.counts.total(), 3);
    assert!(!bench.store.begin_batch(batch_with_key("day")).await.unwrap().known);
}

async fn a_key_of_a_batch_belongs_to_its_endpoint(bench: Bench) {
    bench.store.begin_batch(batch_with_key("night")).await.unwrap();
    let elsewhere = NewBatch { endpoint: other_endpoint(), ..batch_with_key("night") };
    assert!(!bench.store.begin_batch(elsewhere).await.unwrap().known);
}

async fn an_id_of_a_batch_is_not_used_twice(bench: Bench) {
    let batch = bench.begin().await;
    let again = bench.store.begin_batch(NewBatch { id: batch.id, endpoint: other_endpoint(), ..new_batch() }).await;
    assert!(matches!(again, Err(StoreError::Failed(_))));
    assert_eq!(bench.batch(batch.id).await, batch);
}

async fn a_line_becomes_a_task_that_knows_its_batch(bench: Bench) {
    let batch = bench.begin().await.id;
    let new = NewTask { priority: Priority(7), ..delayed(SECOND) };
    let submitted_at = bench.clock.now();
    let sent = Line { custom_id: "a".to_owned(), task: new.clone() };
    let enqueued = bench.receive(batch, vec![sent]).await.remove(0);
    let expected = Task {
        priority: Priority(7),
        due_at: submitted_at + SECOND,
        input_bytes: new.input.body.len(),
        batch: Some(Arc::new(Member { batch, custom_id: "a".to_owned() })),
        ..Task::submitted(new.id, endpoint(), submitted_at)
    };
    assert_eq!((enqueued.task, enqueued.lease, enqueued.novelty), (expected.clone(), None, Novelty::New));
    assert_eq!(bench.get(new.id).await, expected);
    bench.clock.advance(SECOND);
    assert_eq!(bench.claim_one().await.task, expected);
    assert_eq!(read(&bench.input(new.id).await.body), "some input");
}

async fn a_line_that_comes_again_is_not_recorded_again(bench: Bench) {
    let batch = bench.begin().await.id;
    let first = bench.receive(batch, lines(0..3)).await;
    let again = bench.receive(batch, lines(1..5)).await;
    assert_eq!(novelties(&again), [Novelty::Replay, Novelty::Replay, Novelty::New, Novelty::New]);
    assert_eq!(again[0].task, first[1].task);
    // Twice in one call as well.
    let twice = bench.receive(batch, vec![line("x"), line("x")]).await;
    assert_eq!(novelties(&twice), [Novelty::New, Novelty::Replay]);
    assert_eq!(twice[0].task, twice[1].task);
    assert_eq!(custom_ids(&bench.members(batch).await), ["0", "1", "2", "3", "4", "x"]);
    assert_eq!(bench.batch_counts(batch).await, [6, 0, 0, 0, 0]);
}

async fn a_custom_id_belongs_to_its_batch(bench: Bench) {
    let (one, other) = (bench.begin().await.id, bench.begin().await.id);
    bench.receive(one, lines(0..2)).await;
    assert_eq!(novelties(&bench.receive(other, lines(0..2)).await), [Novelty::New, Novelty::New]);
    assert_eq!(bench.members(one).await.len(), 2);
}

async fn a_line_that_comes_again_with_another_input_is_told_apart(bench: Bench) {
    let batch = bench.begin().await.id;
    let with_digest = |digest: u8| {
        let task = NewTask { input_digest: Some([digest; 32]), ..new_task() };
        vec![Line { custom_id: "a".to_owned(), task }]
    };
    let first = bench.receive(batch, with_digest(1)).await.remove(0);
    assert_eq!(novelties(&bench.receive(batch, with_digest(1)).await), [Novelty::Replay]);
    let other = bench.receive(batch, with_digest(2)).await.remove(0);
    assert_eq!((other.novelty, other.task), (Novelty::OtherInput, first.task));
}

async fn lines_are_recorded_all_or_none(bench: Bench) {
    let batch = bench.begin().await.id;
    let known = bench.submit(new_task()).await;
    let clashing = Line { custom_id: "b".to_owned(), task: NewTask { id: known.id, ..new_task() } };
    let refused = bench.store.receive(Receive { batch, lines: vec![line("a"), clashing, line("c")], refused: 0 }).await;
    assert!(matches!(refused, Err(StoreError::Failed(reason)) if reason.contains(&known.id.to_string())));
    assert_eq!(bench.members(batch).await, []);
    assert_eq!(bench.batch_counts(batch).await, [0; 5]);
    assert_eq!(claimed_ids(&bench.claim(ALL).await), [known.id]);
}

async fn a_closed_batch_takes_no_new_line_but_knows_the_old_ones(bench: Bench) {
    for (closing, state) in [(Closing::Whole, BatchState::Running), (Closing::Cancel, BatchState::Canceled)] {
        let batch = bench.begin().await.id;
        bench.receive(batch, lines(0..2)).await;
        bench.close_batch(batch, closing).await;
        assert_eq!(novelties(&bench.receive(batch, lines(0..2)).await), [Novelty::Replay, Novelty::Replay]);
        let late = bench.store.receive(Receive { batch, lines: lines(1..3), refused: 7 }).await.unwrap();
        assert!(matches!(late, Received::Closed(closed) if closed == state), "{late:?}");
        assert_eq!((bench.members(batch).await.len(), bench.batch(batch).await.refused), (2, 0));
    }
}

async fn a_batch_that_is_not_there_takes_no_lines(bench: Bench) {
    let batch = BatchId::generate();
    let answer = bench.store.receive(Receive { batch, lines: lines(0..1), refused: 0 }).await.unwrap();
    assert!(matches!(answer, Received::Unknown));
    assert_eq!(bench.store.close_batch(batch, Closing::Cancel, None).await.unwrap(), None);
    assert_eq!(bench.members(batch).await, []);
    assert!(bench.claim(ALL).await.is_empty());
}

async fn a_batch_counts_its_tasks_with_every_change(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.receive(batch, lines(0..6)).await;
    assert_eq!(bench.batch_counts(batch).await, [6, 0, 0, 0, 0]);
    let leases: Vec<Lease> = bench.claim(5).await.iter().map(|claimed| claimed.lease).collect();
    assert_eq!(bench.batch_counts(batch).await, [6, 0, 0, 0, 0]);
    for lease in &leases {
        bench.start(*lease, 1).await;
    }
    assert_eq!(bench.batch_counts(batch).await, [1, 5, 0, 0, 0]);
    bench.settle(leases[0], done()).await;
    bench.settle(leases[1], failed()).await;
    bench.settle(leases[2], again(SECOND)).await;
    assert_eq!(bench.batch_counts(batch).await, [2, 2, 1, 1, 0]);
    let waiting = bench.members(batch).await[5].id;
    bench.cancel(waiting).await;
    assert_eq!(bench.batch_counts(batch).await, [1, 2, 1, 1, 1]);
    bench.lapse();
    bench.reclaim(ALL).await;
    assert_eq!(bench.batch_counts(batch).await, [3, 0, 1, 1, 1]);
    // Other tasks are none of its business.
    bench.settled(new_task(), done()).await;
    assert_eq!(bench.batch(batch).await.counts.total(), 6);
}

async fn a_batch_tells_why_its_tasks_failed(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.receive(batch, lines(0..3)).await;
    let codes = [FailureCode::Timeout, FailureCode::Timeout, FailureCode::Upstream5xx];
    for (claimed, code) in bench.claim(ALL).await.into_iter().zip(codes) {
        bench.settle(claimed.lease, Verdict::Failed(Failure::new(code, "no"), None)).await;
    }
    let failures: Vec<(&str, u64)> = bench.batch(batch).await.failures.into_iter().collect();
    assert_eq!(failures, [("timeout", 2), ("upstream_5xx", 1)]);
}

async fn a_batch_is_over_with_its_last_task_and_not_before_it_is_closed(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.receive(batch, lines(0..2)).await;
    let claimed = bench.claim(ALL).await;
    bench.settle(claimed[0].lease, done()).await;
    assert_eq!(bench.close_batch(batch, Closing::Whole).await.state, BatchState::Running);
    bench.clock.advance(SECOND);
    bench.settle(claimed[1].lease, failed()).await;
    let over = bench.batch(batch).await;
    let now = bench.clock.now();
    assert_eq!((over.state, over.finished_at, over.expires_at), (BatchState::Completed, Some(now), now + KEEP));

    let early = bench.begin().await.id;
    bench.receive(early, lines(0..1)).await;
    let lease = bench.claim_one().await.lease;
    bench.settle(lease, done()).await;
    assert_eq!(bench.batch(early).await.state, BatchState::Receiving);
    assert_eq!(bench.close_batch(early, Closing::Whole).await.state, BatchState::Completed);
}

async fn a_batch_without_lines_is_over_when_it_is_closed(bench: Bench) {
    for (closing, state) in [(Closing::Whole, BatchState::Completed), (Closing::Cancel, BatchState::Canceled)] {
        let batch = bench.begin().await.id;
        let closed = bench.close_batch(batch, closing).await;
        assert_eq!((closed.state, closed.finished_at), (state, Some(bench.clock.now())));
        assert_eq!(bench.batch(batch).await, closed);
    }
}

async fn a_batch_is_closed_once(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.receive(batch, lines(0..1)).await;
    bench.close_batch(batch, Closing::Cancel).await;
    assert_eq!(bench.close_batch(batch, Closing::Whole).await.state, BatchState::Canceled);
    let completed = bench.begin().await.id;
    let before = bench.close_batch(completed, Closing::Whole).await;
    bench.clock.advance(SECOND);
    assert_eq!(bench.close_batch(completed, Closing::Cancel).await, before);
}

async fn a_canceled_batch_lists_as_to_be_canceled_while_tasks_wait(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.receive(batch, lines(0..2)).await;
    let running = bench.claim_one().await.lease;
    bench.start(running, 1).await;
    let to_cancel = || async { bench.store.batches_to_cancel(ALL).await.unwrap() };
    assert_eq!(to_cancel().await, []);
    bench.close_batch(batch, Closing::Cancel).await;
    assert_eq!(to_cancel().await, [batch]);
    let waiting = bench.members(batch).await[1].id;
    bench.cancel(waiting).await;
    assert_eq!(to_cancel().await, []);
    let still = bench.batch(batch).await;
    assert_eq!((still.state, still.finished_at), (BatchState::Canceled, None));
    // What ran and was put back waits, and is to be canceled too.
    bench.settle(running, again(Duration::ZERO)).await;
    assert_eq!(to_cancel().await, [batch]);
    bench.cancel(running.task).await;
    let over = bench.batch(batch).await;
    assert_eq!((over.state, over.finished_at), (BatchState::Canceled, Some(bench.clock.now())));
}

async fn the_latest_upload_tells_how_many_lines_it_could_not_give(bench: Bench) {
    let batch = bench.begin().await.id;
    for (refused, number) in [(3, 0), (1, 1)] {
        let lines = lines(number..number + 1);
        bench.store.receive(Receive { batch, lines, refused }).await.unwrap();
        assert_eq!(bench.batch(batch).await.refused, refused);
    }
    let closed = bench.store.close_batch(batch, Closing::Whole, Some(2)).await.unwrap().unwrap();
    assert_eq!(closed.refused, 2);
}

async fn tasks_of_a_batch_are_read_in_the_order_of_their_lines(bench: Bench) {
    let batch = bench.begin().await.id;
    // Whatever their ids.
    let mut sent = lines(0..20);
    let mut ids: Vec<TaskId> = sent.iter().map(|line| line.task.id).collect();
    ids.reverse();
    for (line, id) in sent.iter_mut().zip(&ids) {
        line.task.id = *id;
    }
    bench.receive(batch, sent).await;
    bench.submit(new_task()).await;
    bench.receive(batch, lines(20..22)).await;
    let tasks = bench.members(batch).await;
    assert_eq!(self::ids(&tasks)[..20], ids);
    assert_eq!(custom_ids(&tasks), (0..22).map(|number| number.to_string()).collect::<Vec<_>>());
}

async fn tasks_of_a_batch_are_read_by_their_state(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.receive(batch, lines(0..5)).await;
    for (claimed, verdict) in bench.claim(3).await.iter().zip([done(), failed(), done()]) {
        bench.settle(claimed.lease, verdict).await;
    }
    let of_state = async |state| {
        let query = MemberQuery { batch, after: 0, limit: ALL, state: Some(state) };
        bench.store.members(query).await.unwrap().tasks
    };
    assert_eq!(custom_ids(&of_state(State::Completed).await), ["0", "2"]);
    assert_eq!(custom_ids(&of_state(State::Failed).await), ["1"]);
    assert_eq!(custom_ids(&of_state(State::Pending).await), ["3", "4"]);
    assert!(of_state(State::Canceled).await.is_empty());
}

async fn reading_goes_on_where_it_stopped(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.receive(batch, lines(0..5)).await;
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let query = MemberQuery { batch, after, limit: 2, state: None };
        let Members { tasks, next } = bench.store.members(query).await.unwrap();
        seen.push(custom_ids(&tasks).join(" "));
        let Some(next) = next else { break };
        after = next;
    }
    assert_eq!(seen, ["0 1", "2 3", "4"]);
    let after = |custom_id: &str| bench.store.position(Member { batch, custom_id: custom_id.to_owned() });
    let query = MemberQuery { batch, after: after("2").await.unwrap().unwrap(), limit: ALL, state: None };
    assert_eq!(custom_ids(&bench.store.members(query).await.unwrap().tasks), ["3", "4"]);
    assert_eq!(after("9").await.unwrap(), None);
}

async fn batches_are_listed_newest_first(bench: Bench) {
    let mut made = Vec::new();
    for endpoint in [endpoint(), other_endpoint(), endpoint()] {
        made.push(bench.store.begin_batch(NewBatch { endpoint, ..new_batch() }).await.unwrap().batch.id);
    }
    bench.receive(made[0], lines(0..2)).await;
    let list = async |endpoint, after, limit| {
        let batches = bench.store.batches(BatchQuery { endpoint, after, limit }).await.unwrap();
        batches.iter().map(|batch| (batch.id, batch.counts.total())).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, ALL).await, [(made[2], 0), (made[1], 0), (made[0], 2)]);
    assert_eq!(list(None, None, 2).await, [(made[2], 0), (made[1], 0)]);
    assert_eq!(list(None, Some(made[1]), 2).await, [(made[0], 2)]);
    assert_eq!(list(Some(endpoint()), None, ALL).await, [(made[2], 0), (made[0], 2)]);
    assert_eq!(list(Some(endpoint_named("unheard_of")), None, ALL).await, []);
}

async fn a_batch_stays_counted_when_its_tasks_are_deleted(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.receive(batch, lines(0..2)).await;
    let claimed = bench.claim(ALL).await;
    bench.settle(claimed[0].lease, failed()).await;
    bench.clock.advance(KEEP);
    assert_eq!(bench.prune().await.len(), 1);
    let left = bench.batch(batch).await;
    assert_eq!((left.counts.of(State::Failed), left.counts.total()), (1, 2));
    assert_eq!(left.failures.get("failed"), Some(&1));
    assert_eq!(custom_ids(&bench.members(batch).await), ["1"]);
}

async fn a_batch_goes_with_its_last_task(bench: Bench) {
    let batch = bench.store.begin_batch(batch_with_key("night")).await.unwrap().batch.id;
    bench.receive(batch, lines(0..2)).await;
    bench.close_batch(batch, Closing::Whole).await;
    let claimed = bench.claim(ALL).await;
    bench.settle(claimed[0].lease, done()).await;
    bench.clock.advance(2 * KEEP);
    bench.prune().await;
    assert_eq!(bench.batch(batch).await.state, BatchState::Running);
    bench.settle(claimed[1].lease, done()).await;
    bench.clock.advance(KEEP - SECOND);
    bench.prune().await;
    assert_eq!(bench.batch(batch).await.state, BatchState::Completed);
    bench.clock.advance(SECOND);
    bench.prune().await;
    assert_eq!(bench.store.batch(batch).await.unwrap(), None);
    assert!(!bench.store.begin_batch(batch_with_key("night")).await.unwrap().known);
}

async fn a_batch_nobody_sends_to_goes_when_its_time_is_over(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.clock.advance(KEEP - SECOND);
    bench.store.receive(Receive { batch, lines: Vec::new(), refused: 0 }).await.unwrap();
    bench.clock.advance(KEEP - SECOND);
    bench.prune().await;
    assert_eq!(bench.batch(batch).await.state, BatchState::Receiving);
    bench.clock.advance(SECOND);
    bench.prune().await;
    assert_eq!(bench.store.batch(batch).await.unwrap(), None);
}

async fn a_line_in_a_file_is_read_back(bench: Bench) {
    let batch = bench.begin().await.id;
    let bytes = bytes_of_length(200_000);
    let mut large = line("a");
    large.task.input.body = bench.spool(BlobName::Input(large.task.id), &bytes).await;
    let id = large.task.id;
    bench.receive(batch, vec![large]).await;
    assert_eq!(read(&bench.input(id).await.body), bytes);
    // One that is not recorded leaves the first one's file alone, and none of its own.
    let mut again = line("a");
    let name = BlobName::Input(again.task.id);
    again.task.input.body = bench.spool(name, &bytes).await;
    bench.receive(batch, vec![again]).await;
    assert_eq!(read(&bench.input(id).await.body), bytes);
    assert!(bench.store.blobs().path(name).is_none_or(|file| !file.exists()));
}

async fn a_batch_outlives_its_store_whole(bench: Bench) {
    let batch = bench.store.begin_batch(batch_with_key("night")).await.unwrap().batch.id;
    bench.receive(batch, lines(0..3)).await;
    let lease = bench.claim_one().await.lease;
    bench.settle(lease, failed()).await;
    let (before, tasks) = (bench.batch(batch).await, bench.members(batch).await);
    let bench = bench.reopen(Ending::Closed).await;
    assert_eq!(bench.batch(batch).await, before);
    assert_eq!(bench.members(batch).await, tasks);
    assert!(bench.store.begin_batch(batch_with_key("night")).await.unwrap().known);
}

async fn a_batch_goes_on_after_its_store_was_dropped(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.receive(batch, lines(0..3)).await;
    let bench = bench.reopen(Ending::Dropped).await;
    let again = bench.receive(batch, lines(0..5)).await;
    assert_eq!(novelties(&again)[..3], [Novelty::Replay; 3]);
    assert_eq!(custom_ids(&bench.members(batch).await), ["0", "1", "2", "3", "4"]);
    assert_eq!(bench.batch(batch).await.counts.total(), 5);
}

async fn what_ran_when_its_node_ended_is_counted_as_waiting_again(bench: Bench) {
    let batch = bench.begin().await.id;
    bench.receive(batch, lines(0..2)).await;
    let lease = bench.claim_one().await.lease;
    bench.start(lease, 1).await;
    let bench = bench.reopen(Ending::Dropped).await;
    bench.reclaim(ALL).await;
    assert_eq!(bench.batch_counts(batch).await, [2, 0, 0, 0, 0]);
}
