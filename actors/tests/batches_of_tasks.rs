//! Batches as an embedder meets them: real actors, the memory store, functions as executors.

use std::sync::Arc;
use std::time::Duration;

use ekiben_actors::clock::SystemClock;
use ekiben_actors::endpoint::Endpoint;
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::lifecycle::Closing;
use ekiben_actors::limits::Limits;
use ekiben_actors::store::batches::{Line, MemberQuery, NewBatch, Receive};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};
use ekiben_actors::store::{Novelty, Store};
use ekiben_actors::supervisor::{BatchError, BeginBatch, MeasureLines, SubmitError, TakenIn};
use ekiben_actors::system::System;
use ekiben_actors::task::{
    Batch, BatchId, BatchState, EndpointName, Input, NewTask, Outcome, Priority, State, TaskOptions,
};

use crate::gate::Gate;

#[allow(dead_code, reason = "not every test has a use for every verb")]
#[path = "support/gate.rs"]
mod gate;

/// Longer than anything here takes on the slowest machine; only a broken promise waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(MemoryOptions::new(Arc::new(SystemClock))))
}

fn name() -> EndpointName {
    EndpointName::new("work").unwrap()
}

async fn start(store: Arc<dyn Store>, gate: &Gate, limits: Limits) -> System {
    let builder = System::builder(store).limits(limits).endpoint("work", gate.endpoint());
    builder.unwrap().start().await.unwrap()
}

async fn begin(system: &System) -> Batch {
    let begin = BeginBatch { endpoint: name(), priority: Priority::BACKGROUND, idempotency_key: None, webhook: None };
    system.begin_batch(begin).await.unwrap().batch
}

fn lines(numbers: std::ops::Range<usize>) -> Vec<Line> {
    let line = |number: usize| Line {
        custom_id: number.to_string(),
        task: NewTask::new(name(), Input::new("text/plain", "x")),
    };
    numbers.map(line).collect()
}

/// Asks until the batch is as it should be.
async fn until(system: &System, batch: BatchId, holds: impl Fn(&Batch) -> bool) -> Batch {
    let asking = async {
        loop {
            let batch = system.batch(batch).await.unwrap().expect("the batch is known");
            if holds(&batch) {
                return batch;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it comes to hold in time")
}

#[actix::test]
async fn a_batch_runs_to_its_end() {
    let gate = Gate::closed();
    let system = start(store(), &gate, Limits::default()).await;
    let batch = begin(&system).await;
    let TakenIn { taken, left, full } = system.receive_lines(&batch, lines(0..20)).await.unwrap();
    assert_eq!((taken, left.len(), full), (vec![Novelty::New; 20], 0, None));
    let again = system.receive_lines(&batch, lines(0..20)).await.unwrap();
    assert_eq!(again.taken, vec![Novelty::Replay; 20]);
    assert_eq!(system.close_batch(batch.id).await.unwrap().unwrap().state, BatchState::Running);
    gate.let_go(20);
    let done = until(&system, batch.id, |batch| batch.finished_at.is_some()).await;
    assert_eq!((done.state, done.counts.of(State::Completed)), (BatchState::Completed, 20));
    assert_eq!(gate.begun(), 20);
    let query = MemberQuery { batch: batch.id, after: 0, limit: 100, state: None };
    let members = system.batch_members(query).await.unwrap().tasks;
    let names: Vec<String> = members.iter().map(|task| task.batch.as_ref().unwrap().custom_id.clone()).collect();
    assert_eq!(names, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[actix::test]
async fn a_batch_is_taken_in_as_far_as_the_queue_has_room() {
    let gate = Gate::closed();
    let limits = Limits { queue_max: 5, ..Limits::default() };
    let system = start(store(), &gate, limits).await;
    let batch = begin(&system).await;
    let TakenIn { taken, left, full } = system.receive_lines(&batch, lines(0..8)).await.unwrap();
    assert_eq!((taken.len(), left.len(), full), (5, 3, None));
    // One of them gets the slot, and one more has room.
    until(&system, batch.id, |batch| batch.counts.of(State::InProgress) == 1).await;
    let TakenIn { taken, left, full } = system.receive_lines(&batch, left).await.unwrap();
    assert_eq!((taken.len(), left.len(), full), (1, 2, None));
    let TakenIn { taken, left, full } = system.receive_lines(&batch, left).await.unwrap();
    assert_eq!((taken.len(), left.len()), (0, 2));
    assert!(matches!(full, Some(SubmitError::QueueFull { limit: 5, .. })));
    gate.let_go(100);
    until(&system, batch.id, |batch| batch.counts.of(State::Completed) == 6).await;
    assert_eq!(system.receive_lines(&batch, left).await.unwrap().taken.len(), 2);
    system.close_batch(batch.id).await.unwrap();
    until(&system, batch.id, |batch| batch.state == BatchState::Completed).await;
    // Lines that were known have taken no place for good.
    let measures = system.supervisor.send(MeasureLines).await.unwrap();
    assert_eq!((measures[0].waiting, measures[0].submitted), (0, 8));
}

#[actix::test]
async fn a_canceled_batch_has_what_waits_canceled_and_what_runs_left_to_its_end() {
    let gate = Gate::closed();
    let limits = Limits { resident_max: 0, ..Limits::default() };
    let system = start(store(), &gate, limits).await;
    let batch = begin(&system).await;
    system.receive_lines(&batch, lines(0..700)).await.unwrap();
    until(&system, batch.id, |batch| batch.counts.of(State::InProgress) == 1).await;
    let canceled = system.cancel_batch(batch.id, false).await.unwrap().unwrap();
    assert_eq!((canceled.state, canceled.finished_at), (BatchState::Canceled, None));
    assert_eq!((canceled.counts.of(State::Canceled), canceled.counts.of(State::InProgress)), (699, 1));
    let late = system.receive_lines(&batch, lines(700..701)).await.unwrap_err();
    assert_eq!(late, BatchError::Closed(BatchState::Canceled));
    gate.let_go(1);
    let over = until(&system, batch.id, |batch| batch.finished_at.is_some()).await;
    assert_eq!((over.state, over.counts.of(State::Completed)), (BatchState::Canceled, 1));
    assert_eq!(gate.begun(), 1);
    assert_eq!(system.supervisor.send(MeasureLines).await.unwrap()[0].waiting, 0);
}

#[actix::test]
async fn a_batch_that_is_canceled_by_force_stops_what_runs() {
    let gate = Gate::closed();
    let system = start(store(), &gate, Limits::default()).await;
    let batch = begin(&system).await;
    system.receive_lines(&batch, lines(0..10)).await.unwrap();
    until(&system, batch.id, |batch| batch.counts.of(State::InProgress) == 1).await;
    system.cancel_batch(batch.id, true).await.unwrap();
    let over = until(&system, batch.id, |batch| batch.finished_at.is_some()).await;
    assert_eq!(over.counts.of(State::Canceled), 10);
}

#[actix::test]
async fn a_cancel_that_a_crash_cut_off_goes_on_with_the_next_start() {
    let store = store();
    // One batch of an endpoint that is served, one of another that is not any more.
    let mut batches = Vec::new();
    for endpoint in [name(), EndpointName::new("gone").unwrap()] {
        let batch = NewBatch {
            id: BatchId::generate(),
            endpoint: endpoint.clone(),
            priority: Priority::BACKGROUND,
            keep: PATIENCE,
            idempotency_key: None,
            webhook: None,
        };
        let id = store.begin_batch(batch).await.unwrap().batch.id;
        let mut lines = lines(0..5);
        lines.iter_mut().for_each(|line| line.task.endpoint = endpoint.clone());
        store.receive(Receive { batch: id, lines, refused: 0 }).await.unwrap();
        store.close_batch(id, Closing::Cancel, None).await.unwrap();
        batches.push(id);
    }
    let gate = Gate::closed();
    // What was claimed and started in between is let go.
    gate.let_go(5);
    let system = start(store.clone(), &gate, Limits::default()).await;
    for id in batches {
        until(&system, id, |batch| batch.finished_at.is_some()).await;
        assert_eq!(store.batch(id).await.unwrap().unwrap().state, BatchState::Canceled);
    }
}

#[actix::test]
async fn what_a_canceled_batch_has_put_back_is_canceled_too() {
    let gate = Gate::closed();
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let again = Handler::new({
        let gate = gate.clone();
        move |_| {
            let gate = gate.clone();
            async move {
                gate.begin();
                gate.opened().await;
                let failure = ekiben_actors::task::Failure::new(ekiben_actors::task::FailureCode::Saturated, "no room");
                Outcome::PutBack { failure, retry_after: Some(Duration::from_secs(600)) }
            }
        }
    });
    let builder = System::builder(store()).limits(limits).endpoint("work", Endpoint::new(again)).unwrap();
    let system = builder.start().await.unwrap();
    let batch = begin(&system).await;
    system.receive_lines(&batch, lines(0..1)).await.unwrap();
    until(&system, batch.id, |batch| batch.counts.of(State::InProgress) == 1).await;
    system.cancel_batch(batch.id, false).await.unwrap();
    gate.let_go(1);
    let over = until(&system, batch.id, |batch| batch.finished_at.is_some()).await;
    assert_eq!(over.counts.of(State::Canceled), 1);
}

#[actix::test]
async fn lines_out_of_bounds_are_refused_and_none_is_recorded() {
    let system = start(store(), &Gate::closed(), Limits::default()).await;
    let batch = begin(&system).await;
    let mut sent = lines(0..3);
    sent[1].task.options = TaskOptions { max_attempts: Some(0), ..TaskOptions::default() };
    let refused = system.receive_lines(&batch, sent).await.unwrap_err();
    assert!(matches!(refused, BatchError::Refused(SubmitError::OutOfBounds { .. })), "{refused:?}");
    assert_eq!(system.batch(batch.id).await.unwrap().unwrap().counts.total(), 0);
    let begin = BeginBatch {
        endpoint: EndpointName::new("nope").unwrap(),
        priority: Priority::BACKGROUND,
        idempotency_key: None,
        webhook: None,
    };
    assert!(matches!(system.begin_batch(begin).await, Err(SubmitError::UnknownEndpoint(_))));
}
