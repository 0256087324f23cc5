//! What a task and its endpoint may ask for, as an embedder sees it: retries, the kinds of deadlines, cancels by force.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ekiben_actors::clock::{Clock, ManualClock};
use ekiben_actors::endpoint::Endpoint;
use ekiben_actors::executor::Attempt;
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::limits::Limits;
use ekiben_actors::registry::{Attempts, Status};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};
use ekiben_actors::supervisor::{Cancel, CancelAnswer, Recorded, Submit, SubmitError};
use ekiben_actors::system::System;
use ekiben_actors::task::{
    AttemptOutcome, AttemptRecord, EndpointName, FailureCode, Input, NewTask, Outcome, Output, State, Task, TaskOptions,
};

use crate::gate::Gate;

#[allow(dead_code, reason = "not every test has a use for every verb")]
#[path = "support/gate.rs"]
mod gate;

/// Longer than anything here takes on the slowest machine; only a broken promise waits so long.
const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
/// Longer than any of these tests.
const NEVER: Duration = Duration::from_secs(3600);
/// So often that a clock which is moved is looked at at once.
const ALWAYS: Duration = Duration::from_millis(5);

/// A system with one endpoint, whose clock stands still until it is moved.
struct Bench {
    system: System,
    clock: Arc<ManualClock>,
}

impl Bench {
    async fn new(endpoint: Endpoint, limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::new());
        // The lease is not what is tested here.
        let options = MemoryOptions { lease: 1000 * NEVER, ..MemoryOptions::new(clock.clone()) };
        let system = System::builder(Arc::new(MemoryStore::new(options)))
            .clock(clock.clone())
            .limits(limits)
            .endpoint("work", endpoint)
            .unwrap()
            .start()
            .await
            .unwrap();
        Self { system, clock }
    }

    async fn try_submit(&self, task: NewTask) -> Result<Task, SubmitError> {
        self.system.supervisor.send(Submit(task)).await.unwrap().map(Recorded::into_task)
    }

    async fn submit(&self, task: NewTask) -> Task {
        self.try_submit(task).await.unwrap()
    }

    async fn known(&self, task: &Task) -> Task {
        let status = Status { task: task.id, endpoint: task.endpoint.clone() };
        self.system.registry.send(status).await.unwrap().unwrap().expect("the task is known")
    }

    async fn cancel(&self, task: &Task, force: bool) -> CancelAnswer {
        let cancel = Cancel { task: task.id, endpoint: task.endpoint.clone(), force };
        self.system.supervisor.send(cancel).await.unwrap().unwrap()
    }

    async fn attempts(&self, task: &Task) -> Vec<AttemptRecord> {
        self.system.registry.send(Attempts { task: task.id }).await.unwrap().unwrap()
    }

    /// Numbers and outcomes of the attempts.
    async fn outcomes(&self, task: &Task) -> Vec<(u32, AttemptOutcome)> {
        self.attempts(task).await.iter().map(|attempt| (attempt.number, attempt.outcome)).collect()
    }

    /// Asks until the answer is as it should be.
    async fn until(&self, task: &Task, holds: impl Fn(&Task) -> bool) -> Task {
        let asking = async {
            loop {
                let answer = self.known(task).await;
                if holds(&answer) {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.expect("it comes to hold in time")
    }

    async fn reaches(&self, task: &Task, state: State) -> Task {
        self.until(task, |task| task.state == state).await
    }

    async fn finished(&self, task: &Task) -> (Task, Option<Output>) {
        let waiting = tokio::time::timeout(PATIENCE, self.system.wait(task)).await;
        waiting.expect("the task ends in time").unwrap().expect("the task is known")
    }
}

fn task() -> NewTask {
    NewTask::new(EndpointName::new("work").unwrap(), Input::new("text/plain", "x"))
}

fn with_options(options: TaskOptions) -> NewTask {
    NewTask { options, ..task() }
}

fn watchful() -> Limits {
    Limits { heartbeat: ALWAYS, ..Limits::default() }
}

/// Fails always, in that way; each failure has an answer of its own.
fn failing(code: FailureCode) -> Endpoint {
    Endpoint::new(Handler::new(move |attempt: Attempt| async move {
        Outcome::explained(code, 500, format!("no luck in attempt {}", attempt.number))
    }))
}

// ---- retries ----

#[actix::test]
async fn the_pauses_before_retries_lie_within_their_jitter_bounds() {
    const TASKS: usize = 8;
    let bounds = [200, 400, 500].map(Duration::from_millis);
    let endpoint = failing(FailureCode::Timeout).concurrency(TASKS).max_attempts(4).backoff(bounds[0], bounds[2]);
    let bench = Bench::new(endpoint, watchful()).await;
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        tasks.push(bench.submit(task()).await);
    }

    let mut pauses = HashSet::new();
    for (failures, bound) in (1..).zip(bounds) {
        for task in &tasks {
            let waiting = bench.until(task, |task| task.failures == failures && task.state == State::Pending).await;
            // The clock has stood still since it failed.
            let pause = (waiting.due_at - bench.clock.now()).to_std().expect("it is not due before it failed");
            assert!(pause <= bound, "{pause:?} after failure {failures}, of {bound:?} at most");
            assert_eq!((waiting.attempt, waiting.crashes), (failures, 0));
            pauses.insert(pause);
        }
        bench.clock.advance(bound);
    }
    assert!(pauses.len() > TASKS, "the pauses are hardly spread: {pauses:?}");
    for task in &tasks {
        let (task, output) = bench.finished(task).await;
        assert_eq!((task.state, task.attempt, task.failures), (State::Failed, 4, 3));
        let failure = task.failure.as_ref().unwrap();
        assert_eq!(failure.message, "no luck in attempt 4; that was failure 4 of the 4 it may have");
        assert_eq!(output.unwrap().body.read().unwrap(), r#"{"error":"no luck in attempt 4"}"#);
        let attempts = bench.attempts(&task).await;
        let failures: Vec<_> =
            attempts.iter().map(|attempt| attempt.failure.as_ref().unwrap().message.as_str()).collect();
        assert_eq!(failures[..3], ["no luck in attempt 1", "no luck in attempt 2", "no luck in attempt 3"]);
        assert!(attempts.iter().all(|attempt| attempt.outcome == AttemptOutcome::Failed), "{attempts:?}");
    }
}

#[actix::test]
async fn a_task_may_ask_for_another_number_of_attempts_than_its_endpoint_gives() {
    let endpoint = failing(FailureCode::Upstream5xx).max_attempts(2).backoff(Duration::ZERO, Duration::ZERO);
    let bench = Bench::new(endpoint, Limits::default()).await;
    for (asked, had) in [(None, 2), (Some(1), 1), (Some(5), 5)] {
        let task = bench.submit(with_options(TaskOptions { max_attempts: asked, ..TaskOptions::default() })).await;
        let (task, _) = bench.finished(&task).await;
        assert_eq!((task.state, task.attempt, task.failures), (State::Failed, had, had - 1));
    }
}

#[actix::test]
async fn only_failures_that_the_policy_names_are_followed_by_another_attempt() {
    for (code, attempts) in [(FailureCode::BadInput, 3), (FailureCode::Timeout, 1)] {
        let endpoint = failing(code).max_attempts(3).backoff(Duration::ZERO, Duration::ZERO);
        let bench = Bench::new(endpoint.retry_on([FailureCode::BadInput]), Limits::default()).await;
        let task = bench.submit(task()).await;
        assert_eq!(bench.finished(&task).await.0.attempt, attempts);
    }
}

#[actix::test]
async fn a_retry_that_would_begin_after_the_deadline_is_not_made() {
    let endpoint = failing(FailureCode::Timeout).max_attempts(50).backoff(1000 * NEVER, 1000 * NEVER);
    let bench = Bench::new(endpoint, Limits::default()).await;
    // A pause drawn from forty days is longer than a second, but for one time in three million.
    let task = bench.submit(NewTask { deadline: Some(SECOND), ..task() }).await;
    let (task, output) = bench.finished(&task).await;
    let failure = task.failure.unwrap();
    assert_eq!((task.state, task.attempt, failure.code), (State::Failed, 1, FailureCode::Timeout));
    assert!(failure.message.ends_with("; its deadline comes before it could run again"), "{failure}");
    assert!(output.is_some());
}

// ---- the kinds of deadlines ----

#[actix::test]
async fn the_kinds_of_deadlines_are_told_apart_while_a_task_runs() {
    let gate = Gate::closed();
    let bench = Bench::new(gate.endpoint().concurrency(9), Limits::default()).await;
    let moment = Some(Duration::from_millis(20));
    let timed = bench.submit(with_options(TaskOptions { timeout: moment, ..TaskOptions::default() })).await;
    // The clock stands still, so that it starts in time, on however slow a machine.
    let dated = bench.submit(NewTask { deadline: moment, ..task() }).await;
    let both = with_options(TaskOptions { timeout: Some(NEVER), max_attempts: Some(9), ..TaskOptions::default() });
    let not_retried = bench.submit(NewTask { deadline: moment, ..both }).await;
    let unbothered = bench.submit(NewTask { queue_ttl: moment, ..task() }).await;
    for (task, code) in
        [(timed, FailureCode::Timeout), (dated, FailureCode::Deadline), (not_retried, FailureCode::Deadline)]
    {
        let (task, _) = bench.finished(&task).await;
        let failure = task.failure.as_ref().expect("it failed");
        assert_eq!((task.state, failure.code, task.attempt), (State::Failed, code, 1));
        assert_eq!(bench.outcomes(&task).await, [(1, AttemptOutcome::Failed)]);
    }
    // That it had to start in time means nothing to a task that has.
    gate.let_go(1);
    assert_eq!(bench.finished(&unbothered).await.0.state, State::Completed);
}

#[actix::test]
async fn the_kinds_of_deadlines_are_told_apart_while_a_task_waits_with_and_without_an_actor() {
    // With room for many actors, and with room for hardly any: then the later ones wait in the store.
    for resident_max in [100, 1] {
        let gate = Gate::closed();
        let bench = Bench::new(gate.endpoint(), Limits { resident_max, ..watchful() }).await;
        let first = bench.submit(task()).await;
        bench.reaches(&first, State::InProgress).await;
        let patient = [bench.submit(task()).await, bench.submit(task()).await];
        let expiring = bench.submit(NewTask { queue_ttl: Some(60 * SECOND), ..task() }).await;
        let dated = bench.submit(NewTask { deadline: Some(60 * SECOND), ..task() }).await;
        let later = bench.submit(NewTask { queue_ttl: Some(61 * SECOND), deadline: Some(NEVER), ..task() }).await;
        let delayed = bench.submit(NewTask { delay: NEVER, queue_ttl: Some(60 * SECOND), ..task() }).await;

        bench.clock.advance(60 * SECOND);
        for (task, state, code) in [
            (&expiring, State::Canceled, FailureCode::Expired),
            (&delayed, State::Canceled, FailureCode::Expired),
            (&dated, State::Failed, FailureCode::Deadline),
        ] {
            let (task, output) = bench.finished(task).await;
            let failure = task.failure.as_ref().expect("it says why");
            assert_eq!((task.state, failure.code, task.attempt), (state, code, 0));
            assert!(output.is_none());
            assert_eq!(bench.outcomes(&task).await, []);
        }
        gate.let_go(4);
        for task in [&first, &patient[0], &patient[1], &later] {
            assert_eq!(bench.finished(task).await.0.state, State::Completed);
        }
        assert_eq!(gate.begun(), 4);
    }
}

#[actix::test]
async fn no_task_starts_once_its_time_to_start_is_over() {
    let gate = Gate::closed();
    // Nobody looks at the clock but the task itself, when it is told to start.
    let bench = Bench::new(gate.endpoint(), Limits { heartbeat: NEVER, ..Limits::default() }).await;
    let first = bench.submit(task()).await;
    bench.reaches(&first, State::InProgress).await;
    let expiring = bench.submit(NewTask { queue_ttl: Some(NEVER), ..task() }).await;
    let last = bench.submit(task()).await;
    bench.clock.advance(NEVER);
    gate.let_go(2);
    let (expired, _) = bench.finished(&expiring).await;
    assert_eq!((expired.state, expired.failure.unwrap().code), (State::Canceled, FailureCode::Expired));
    assert_eq!(bench.finished(&last).await.0.state, State::Completed);
    assert_eq!(gate.begun(), 2);
}

#[actix::test]
async fn a_task_that_waits_for_a_retry_fails_when_its_deadline_comes() {
    let bench = Bench::new(failing(FailureCode::Timeout).max_attempts(9).backoff(SECOND, SECOND), watchful()).await;
    let deadline = Some(Duration::from_secs(10));
    let task = bench.submit(NewTask { deadline, queue_ttl: Some(SECOND), ..task() }).await;
    bench.until(&task, |task| task.failures == 1 && task.state == State::Pending).await;
    bench.clock.advance(Duration::from_secs(10));
    let (task, _) = bench.finished(&task).await;
    assert_eq!((task.state, task.failure.as_ref().unwrap().code), (State::Failed, FailureCode::Deadline));
    assert_eq!(bench.outcomes(&task).await, [(1, AttemptOutcome::Failed)]);
}

// ---- cancels by force ----

#[actix::test]
async fn a_running_task_is_canceled_by_force_and_its_slot_is_free_again() {
    let gate = Gate::closed();
    let bench = Bench::new(gate.endpoint(), Limits::default()).await;
    let (running, waiting) = (bench.submit(task()).await, bench.submit(task()).await);
    bench.reaches(&running, State::InProgress).await;
    assert_eq!(bench.cancel(&running, false).await, CancelAnswer::Started);
    assert_eq!(bench.cancel(&running, true).await, CancelAnswer::Requested);
    let (canceled, output) = bench.finished(&running).await;
    assert_eq!((canceled.state, canceled.attempt, canceled.failure), (State::Canceled, 1, None));
    assert!(output.is_none() && !canceled.cancel_requested);
    assert_eq!(bench.outcomes(&running).await, [(1, AttemptOutcome::Canceled)]);
    assert_eq!(bench.cancel(&running, true).await, CancelAnswer::Canceled);

    gate.let_go(1);
    assert_eq!(bench.finished(&waiting).await.0.state, State::Completed);
    assert_eq!(bench.cancel(&waiting, true).await, CancelAnswer::Finished(State::Completed));
}

#[actix::test]
async fn one_that_does_not_stop_is_given_up_after_the_grace_time() {
    let gate = Gate::deaf();
    let limits = Limits { stop_grace: Duration::from_millis(20), ..Limits::default() };
    let bench = Bench::new(gate.endpoint(), limits).await;
    let task = bench.submit(task()).await;
    bench.reaches(&task, State::InProgress).await;
    assert_eq!(bench.cancel(&task, true).await, CancelAnswer::Requested);
    assert_eq!(bench.finished(&task).await.0.state, State::Canceled);
}

#[actix::test]
async fn a_result_that_comes_before_the_grace_time_is_over_wins() {
    let gate = Gate::deaf();
    let bench = Bench::new(gate.endpoint(), Limits { stop_grace: NEVER, ..Limits::default() }).await;
    let task = bench.submit(task()).await;
    // One that is canceled before its first step is not begun at all.
    bench.until(&task, |_| gate.begun() == 1).await;
    assert_eq!(bench.cancel(&task, true).await, CancelAnswer::Requested);
    // Meanwhile that it was asked for is shown, and may be asked for again.
    let stopping = bench.until(&task, |task| task.cancel_requested).await;
    assert_eq!(stopping.state, State::InProgress);
    assert_eq!(bench.cancel(&task, true).await, CancelAnswer::Requested);
    gate.let_go(1);
    let (task, output) = bench.finished(&task).await;
    assert_eq!((task.state, output.is_some(), task.cancel_requested), (State::Completed, true, false));
}

#[actix::test]
async fn a_task_that_waits_for_a_retry_is_canceled_at_once() {
    let bench = Bench::new(failing(FailureCode::Timeout).max_attempts(9).backoff(NEVER, NEVER), watchful()).await;
    let task = bench.submit(task()).await;
    bench.until(&task, |task| task.failures > 0 && task.state == State::Pending).await;
    assert_eq!(bench.cancel(&task, true).await, CancelAnswer::Canceled);
    assert_eq!(bench.known(&task).await.state, State::Canceled);
}

/// A forced cancel against starts and ends: whatever it answers, the task ends as that says, and once.
#[actix::test]
async fn a_cancel_by_force_is_true_to_its_answer() {
    const ROUNDS: usize = 500;
    let ran = Arc::new(Mutex::new(HashSet::new()));
    let endpoint = {
        let ran = ran.clone();
        Endpoint::new(Handler::new(move |attempt: Attempt| {
            ran.lock().unwrap().insert(attempt.task);
            async {
                tokio::task::yield_now().await;
                Outcome::Done(Output::new("text/plain", "ran"))
            }
        }))
    };
    let bench = Bench::new(endpoint.concurrency(2), Limits::default()).await;
    for _ in 0..ROUNDS {
        let tasks = futures::future::join_all((0..4).map(|_| bench.submit(task()))).await;
        let answers = futures::future::join_all(tasks.iter().map(|task| bench.cancel(task, true))).await;
        for (task, answer) in tasks.iter().zip(answers) {
            let (task, output) = bench.finished(task).await;
            let has_run = ran.lock().unwrap().contains(&task.id);
            match answer {
                CancelAnswer::Canceled => assert_eq!(task.state, State::Canceled),
                CancelAnswer::Requested => assert!(matches!(task.state, State::Canceled | State::Completed)),
                CancelAnswer::Finished(state) => assert_eq!((task.state, state), (State::Completed, State::Completed)),
                CancelAnswer::Started | CancelAnswer::Unknown => panic!("a forced cancel answered {answer:?}"),
            }
            assert_eq!(output.is_some(), task.state == State::Completed);
            assert!(has_run || task.state == State::Canceled);
        }
    }
}

// ---- bounds ----

#[actix::test]
async fn a_task_is_kept_as_long_as_it_asks_for_within_the_bounds() {
    let limits = Limits { retention_max: NEVER, ..Limits::default() };
    let bench = Bench::new(failing(FailureCode::Failed).retention(SECOND), limits).await;
    let keeping = |retention| with_options(TaskOptions { retention: Some(retention), ..TaskOptions::default() });
    let task = bench.submit(keeping(NEVER)).await;
    let (task, _) = bench.finished(&task).await;
    assert_eq!(task.expires_at, Some(bench.clock.now() + NEVER));
    let refused = bench.try_submit(keeping(2 * NEVER)).await;
    assert!(matches!(refused, Err(SubmitError::OutOfBounds { option: "retention", .. })), "{refused:?}");
}
