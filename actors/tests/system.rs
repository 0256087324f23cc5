//! The system as an embedder uses it: real actors, the memory store, functions as executors.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ekiben_actors::clock::{Clock, ManualClock, SystemClock};
use ekiben_actors::endpoint::Endpoint;
use ekiben_actors::executor::Attempt;
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::limits::Limits;
use ekiben_actors::registry::{List, Status};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};
use ekiben_actors::store::{ListQuery, Page, Store};
use ekiben_actors::supervisor::{Cancel, CancelAnswer, MeasureLines, Retry, RetryError, SubmitError};
use ekiben_actors::system::{Builder, System};
use ekiben_actors::task::{EndpointName, FailureCode, Input, Outcome, Output, State, Task};

use crate::gate::Gate;

#[path = "system/controls.rs"]
mod controls;
#[allow(dead_code, reason = "not every test has a use for every verb")]
#[path = "support/gate.rs"]
mod gate;
#[path = "system/scheduling.rs"]
mod scheduling;

/// Longer than anything here takes on the slowest machine; only a broken promise waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn memory(clock: Arc<dyn Clock>) -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(MemoryOptions::new(clock)))
}

fn builder() -> Builder {
    System::builder(memory(Arc::new(SystemClock)))
}

fn upper() -> Endpoint {
    Endpoint::new(Handler::json(|text: String| async move { Ok::<_, Infallible>(text.to_uppercase()) }))
}

async fn start(name: &str, endpoint: Endpoint) -> System {
    builder().endpoint(name, endpoint).unwrap().start().await.unwrap()
}

async fn submit(system: &System, endpoint: &str) -> Task {
    submit_text(system, endpoint, "x").await
}

async fn submit_text(system: &System, endpoint: &str, text: &str) -> Task {
    system.submit(endpoint, Input::json(&text).unwrap()).await.unwrap()
}

async fn known(system: &System, task: &Task) -> Option<Task> {
    let status = Status { task: task.id, endpoint: task.endpoint.clone() };
    system.registry.send(status).await.unwrap().unwrap()
}

async fn cancel(system: &System, task: &Task) -> CancelAnswer {
    let cancel = Cancel { task: task.id, endpoint: task.endpoint.clone(), force: false };
    system.supervisor.send(cancel).await.unwrap().unwrap()
}

/// Asks until the answer is as it should be.
async fn until(system: &System, task: &Task, holds: impl Fn(Option<&Task>) -> bool) -> Option<Task> {
    let asking = async {
        loop {
            let answer = known(system, task).await;
            if holds(answer.as_ref()) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it comes to hold in time")
}

async fn reaches(system: &System, task: &Task, state: State) {
    until(system, task, |task| task.is_some_and(|task| task.state == state)).await;
}

async fn finished(system: &System, task: &Task) -> (Task, Option<Output>) {
    let waiting = tokio::time::timeout(PATIENCE, system.wait(task)).await;
    waiting.expect("the task ends in time").unwrap().expect("the task is known")
}

#[actix::test]
async fn a_submitted_task_runs_and_its_output_can_be_fetched() {
    let system = start("upper", upper()).await;
    let task = submit_text(&system, "upper", "ekiben").await;
    assert_eq!((task.state, task.attempt), (State::Pending, 0));

    let (task, output) = finished(&system, &task).await;
    assert_eq!((task.state, task.attempt), (State::Completed, 1));
    assert_eq!(output.unwrap().body.read().unwrap(), "\"EKIBEN\"");
}

#[actix::test]
async fn a_panic_fails_the_task_and_frees_its_slot() {
    let endpoint = Endpoint::new(Handler::new(|attempt: Attempt| async move {
        let input = attempt.input.body.read().unwrap();
        assert_ne!(input, "\"boom\"", "no luck");
        Outcome::Done(Output::new("text/plain", "fine"))
    }));
    let system = start("moody", endpoint).await;
    let bad = submit_text(&system, "moody", "boom").await;
    let good = submit_text(&system, "moody", "calm").await;

    let (bad, _) = finished(&system, &bad).await;
    let failure = bad.failure.expect("it failed");
    assert_eq!((failure.code, bad.state), (FailureCode::Panic, State::Failed));
    assert!(failure.message.contains("no luck"), "{failure}");
    assert_eq!(finished(&system, &good).await.0.state, State::Completed);
}

#[actix::test]
async fn a_run_over_its_time_is_stopped_and_fails_as_timeout() {
    let gate = Gate::closed();
    let system = start("slow", gate.endpoint().timeout(Duration::from_millis(20))).await;
    let task = submit(&system, "slow").await;
    let (task, _) = finished(&system, &task).await;
    assert_eq!(task.failure.unwrap().code, FailureCode::Timeout);
}

#[actix::test]
async fn no_more_tasks_run_at_once_than_there_are_slots() {
    let gate = Gate::closed();
    let system = start("gate", gate.endpoint().concurrency(3)).await;
    let mut tasks = Vec::new();
    for _ in 0..10 {
        tasks.push(submit(&system, "gate").await);
    }
    for task in &tasks[..3] {
        reaches(&system, task, State::InProgress).await;
    }
    let lines = system.supervisor.send(MeasureLines).await.unwrap();
    assert_eq!((lines[0].slots, lines[0].slots_used, lines[0].waiting), (3, 3, 7));

    gate.let_go(1);
    finished(&system, &tasks[0]).await;
    gate.let_go(9);
    for task in &tasks {
        finished(&system, task).await;
    }
    assert_eq!(gate.begun(), 10);
}

#[actix::test]
async fn a_waiting_task_is_canceled_and_never_runs() {
    let gate = Gate::closed();
    let system = start("gate", gate.endpoint()).await;
    let (running, waiting) = (submit(&system, "gate").await, submit(&system, "gate").await);
    reaches(&system, &running, State::InProgress).await;

    assert_eq!(cancel(&system, &waiting).await, CancelAnswer::Canceled);
    assert_eq!(cancel(&system, &waiting).await, CancelAnswer::Canceled);
    assert_eq!(cancel(&system, &running).await, CancelAnswer::Started);
    reaches(&system, &waiting, State::Canceled).await;

    gate.let_go(2);
    finished(&system, &running).await;
    assert_eq!(cancel(&system, &running).await, CancelAnswer::Finished(State::Completed));
    assert_eq!(gate.begun(), 1);
    let lines = system.supervisor.send(MeasureLines).await.unwrap();
    assert_eq!((lines[0].waiting, lines[0].slots_used), (0, 0));
}

#[actix::test]
async fn a_task_is_known_on_its_own_endpoint_only() {
    let gate = Gate::closed();
    let system =
        builder().endpoint("a", gate.endpoint()).unwrap().endpoint("b", upper()).unwrap().start().await.unwrap();
    let mut task = submit(&system, "a").await;
    task.endpoint = EndpointName::new("b").unwrap();
    assert_eq!(cancel(&system, &task).await, CancelAnswer::Unknown);
    assert_eq!(known(&system, &task).await, None);
}

/// The race the mailbox decides: either the task is canceled and never ran, or it started and cancel said so.
#[actix::test]
async fn a_task_is_never_both_canceled_and_run() {
    const ROUNDS: usize = 10_000;
    let ran = Arc::new(Mutex::new(HashSet::new()));
    let endpoint = {
        let ran = ran.clone();
        Endpoint::new(Handler::new(move |attempt: Attempt| {
            ran.lock().unwrap().insert(attempt.task);
            async { Outcome::Done(Output::new("text/plain", "ran")) }
        }))
    };
    let system = start("race", endpoint.concurrency(2)).await;

    let (mut canceled, mut started) = (0, 0);
    for _ in 0..ROUNDS / 4 {
        // Four at once on two slots: some start at once, some wait for a moment, and the cancels come right behind.
        let tasks = futures::future::join_all((0..4).map(|_| submit(&system, "race"))).await;
        let answers = futures::future::join_all(tasks.iter().map(|task| cancel(&system, task))).await;
        for (task, answer) in tasks.iter().zip(answers) {
            let (task, _) = finished(&system, task).await;
            let has_run = ran.lock().unwrap().contains(&task.id);
            match answer {
                CancelAnswer::Canceled => {
                    canceled += 1;
                    assert_eq!((task.state, has_run), (State::Canceled, false));
                }
                CancelAnswer::Started | CancelAnswer::Finished(State::Completed) => {
                    started += 1;
                    assert_eq!((task.state, has_run), (State::Completed, true));
                }
                CancelAnswer::Finished(_) | CancelAnswer::Requested | CancelAnswer::Unknown => {
                    panic!("cancel answered {answer:?}")
                }
            }
        }
    }
    assert_eq!(canceled + started, ROUNDS);
    assert!(canceled > 0 && started > 0, "{canceled} canceled, {started} started: the race was none");
}

#[actix::test]
async fn a_finished_task_is_retried_as_a_new_one_with_the_same_input() {
    let system = start("upper", upper()).await;
    let first = submit_text(&system, "upper", "again").await;
    finished(&system, &first).await;

    let retry = Retry { of: first.id, endpoint: first.endpoint.clone() };
    let second = system.supervisor.send(retry).await.unwrap().unwrap();
    assert_ne!(first.id, second.id);
    let (_, output) = finished(&system, &second).await;
    assert_eq!(output.unwrap().body.read().unwrap(), "\"AGAIN\"");
}

#[actix::test]
async fn an_unfinished_task_is_not_retried() {
    let gate = Gate::closed();
    let system = start("gate", gate.endpoint()).await;
    let task = submit(&system, "gate").await;
    reaches(&system, &task, State::InProgress).await;
    let retry = Retry { of: task.id, endpoint: task.endpoint.clone() };
    let answer = system.supervisor.send(retry).await.unwrap();
    assert!(matches!(answer, Err(RetryError::Unfinished(_))), "{answer:?}");
}

#[actix::test]
async fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let gate = Gate::closed();
    let system = start("gate", gate.endpoint().queue_max(2)).await;
    let running = submit(&system, "gate").await;
    reaches(&system, &running, State::InProgress).await;
    let waiting = [submit(&system, "gate").await, submit(&system, "gate").await];
    let refused = system.submit("gate", Input::default()).await;
    assert!(matches!(refused, Err(SubmitError::EndpointFull { limit: 2, .. })), "{refused:?}");

    assert_eq!(cancel(&system, &waiting[0]).await, CancelAnswer::Canceled);
    submit(&system, "gate").await;
}

#[actix::test]
async fn tasks_over_the_resident_bound_wait_in_the_store_and_all_run_in_order() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let endpoint = {
        let order = order.clone();
        Endpoint::new(Handler::new(move |attempt: Attempt| {
            order.lock().unwrap().push(attempt.task);
            async { Outcome::Done(Output::new("text/plain", "ran")) }
        }))
    };
    let limits = Limits { resident_max: 1, ..Limits::default() };
    let system = builder().limits(limits).endpoint("few", endpoint).unwrap().start().await.unwrap();
    let tasks = futures::future::join_all((0..200).map(|_| submit(&system, "few"))).await;
    for task in &tasks {
        reaches(&system, task, State::Completed).await;
    }
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    assert_eq!(*order.lock().unwrap(), ids);
}

#[actix::test]
async fn a_task_that_waits_in_the_store_is_canceled_there() {
    let gate = Gate::closed();
    let limits = Limits { resident_max: 1, ..Limits::default() };
    let system = builder().limits(limits).endpoint("gate", gate.endpoint()).unwrap().start().await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..6 {
        tasks.push(submit(&system, "gate").await);
    }
    assert_eq!(cancel(&system, &tasks[5]).await, CancelAnswer::Canceled);
    gate.let_go(6);
    for task in &tasks[..5] {
        reaches(&system, task, State::Completed).await;
    }
    reaches(&system, &tasks[5], State::Canceled).await;
    assert_eq!(gate.begun(), 5);
    let lines = system.supervisor.send(MeasureLines).await.unwrap();
    assert_eq!(lines[0].waiting, 0);
}

#[actix::test]
async fn one_endpoint_full_of_residents_does_not_starve_another() {
    let gate = Gate::closed();
    let limits = Limits { resident_max: 4, ..Limits::default() };
    let system = builder()
        .limits(limits)
        .endpoint("gate", gate.endpoint())
        .unwrap()
        .endpoint("upper", upper())
        .unwrap()
        .start()
        .await
        .unwrap();
    for _ in 0..20 {
        submit(&system, "gate").await;
    }
    let task = submit(&system, "upper").await;
    reaches(&system, &task, State::Completed).await;
}

#[actix::test]
async fn a_drain_lets_finish_what_can_and_puts_back_what_cannot() {
    let gate = Gate::closed();
    let system = start("gate", gate.endpoint().concurrency(2)).await;
    let tasks = [submit(&system, "gate").await, submit(&system, "gate").await, submit(&system, "gate").await];
    reaches(&system, &tasks[0], State::InProgress).await;
    reaches(&system, &tasks[1], State::InProgress).await;

    gate.let_go(1);
    let drained = system.drain(Duration::from_secs(4)).await;
    assert_eq!((drained.finished, drained.put_back, drained.unsettled), (1, 1, 0));

    let mut states = Vec::new();
    for task in &tasks {
        states.push(known(&system, task).await.unwrap().state);
    }
    states.sort();
    assert_eq!(states, [State::Pending, State::Pending, State::Completed]);
    let refused = system.submit("gate", Input::default()).await;
    assert!(matches!(refused, Err(SubmitError::Draining { .. })));
    // Cancels are obeyed to the end.
    assert_eq!(cancel(&system, &tasks[2]).await, CancelAnswer::Canceled);
}

#[actix::test]
async fn whoever_waits_for_a_task_is_sent_away_by_a_drain() {
    let gate = Gate::closed();
    let system = start("gate", gate.endpoint()).await;
    let task = submit(&system, "gate").await;
    reaches(&system, &task, State::InProgress).await;
    let (waited, _) = futures::join!(system.wait(&task), system.drain(Duration::ZERO));
    assert!(waited.unwrap().is_none());
}

#[actix::test]
async fn an_expired_result_is_swept_from_memory_and_store() {
    let clock = Arc::new(ManualClock::new());
    let limits = Limits { sweep_interval: Duration::from_millis(5), ..Limits::default() };
    let system = System::builder(memory(clock.clone()))
        .clock(clock.clone())
        .limits(limits)
        .endpoint("upper", upper().retention(Duration::from_secs(60)))
        .unwrap()
        .start()
        .await
        .unwrap();
    let task = submit(&system, "upper").await;
    finished(&system, &task).await;
    clock.advance(Duration::from_secs(61));
    until(&system, &task, |task| task.is_none()).await;
    assert_eq!(system.registry.send(List(ListQuery::newest(10))).await.unwrap().unwrap(), Page::default());
}
