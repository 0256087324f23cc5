//! The lifecycle log: one line for each step of a task's life, at `info`, target `ekiben::lifecycle`.
//!
//! Event names and fields are a stable interface, told in the README. Input and output bytes never appear.

use crate::clock::millis_between;
use crate::lifecycle::Setback;
use crate::store::Pruned;
use crate::task::{State, Task, TaskId};

/// The target of every line.
pub const TARGET: &str = "ekiben::lifecycle";

/// A task is recorded, durably.
pub fn submitted(task: &Task) {
    tracing::info!(
        target: TARGET,
        task_id = %task.id,
        endpoint = task.endpoint.as_str(),
        state = task.state.as_str(),
        input_bytes = task.input_bytes,
        "submitted"
    );
}

/// A client wants the attempt that runs stopped, and the task canceled.
pub fn cancel_requested(task: &Task) {
    tracing::info!(
        target: TARGET,
        task_id = %task.id,
        endpoint = task.endpoint.as_str(),
        attempt = task.attempt,
        state = task.state.as_str(),
        "cancel_requested"
    );
}

/// A finished task's input was submitted once more, as another task.
pub fn retried(of: TaskId, again: &Task) {
    tracing::info!(
        target: TARGET,
        task_id = %of,
        endpoint = again.endpoint.as_str(),
        retry_task_id = %again.id,
        "retried"
    );
}

/// An attempt begins.
pub fn started(task: &Task) {
    tracing::info!(
        target: TARGET,
        task_id = %task.id,
        endpoint = task.endpoint.as_str(),
        attempt = task.attempt,
        state = task.state.as_str(),
        queued_ms = queued_ms(task),
        input_bytes = task.input_bytes,
        "started"
    );
}

/// An attempt has come so far.
pub fn progressed(task: &Task, fraction: f32) {
    tracing::info!(
        target: TARGET,
        task_id = %task.id,
        endpoint = task.endpoint.as_str(),
        attempt = task.attempt,
        state = task.state.as_str(),
        progress = f64::from((fraction * 1000.0).round()) / 1000.0,
        "progressed"
    );
}

/// The task has ended, or waits again: after a drain cut its attempt short, or after the setback. `retrying` tells of an
/// attempt that failed and will be followed by another, `put_back` of all others that did not end their task.
pub fn settled(task: &Task, setback: Option<&Setback>) {
    let event = match (task.state, setback) {
        (State::Completed, _) => "completed",
        (State::Failed, _) => "failed",
        (State::Canceled, _) => "canceled",
        (State::Pending | State::InProgress, Some(Setback::Failed(_))) => "retrying",
        (State::Pending | State::InProgress, _) => "put_back",
    };
    let failure = task.failure.as_deref().or(setback.and_then(Setback::failure));
    tracing::info!(
        target: TARGET,
        task_id = %task.id,
        endpoint = task.endpoint.as_str(),
        attempt = task.attempt,
        state = task.state.as_str(),
        queued_ms = queued_ms(task),
        run_ms = run_ms(task),
        input_bytes = task.input_bytes,
        output_bytes = task.output_bytes,
        error = failure.map(tracing::field::display),
        "{event}"
    );
}

/// An attempt died with its process; the task waits again.
pub fn recovered(task: &Task) {
    tracing::info!(
        target: TARGET,
        task_id = %task.id,
        endpoint = task.endpoint.as_str(),
        attempt = task.attempt,
        state = task.state.as_str(),
        crashes = task.crashes,
        "recovered"
    );
}

/// The time to keep a finished task is over; it is deleted.
pub fn expired(pruned: &Pruned) {
    tracing::info!(
        target: TARGET,
        task_id = %pruned.id,
        endpoint = pruned.endpoint.as_str(),
        state = pruned.state.as_str(),
        "expired"
    );
}

/// A finished task was deleted because somebody asked for it.
pub fn deleted(gone: &Pruned) {
    tracing::info!(
        target: TARGET,
        task_id = %gone.id,
        endpoint = gone.endpoint.as_str(),
        state = gone.state.as_str(),
        "deleted"
    );
}

/// How long the task was due before its latest attempt started.
fn queued_ms(task: &Task) -> Option<u64> {
    task.started_at.map(|started| millis_between(task.due_at, started))
}

fn run_ms(task: &Task) -> Option<u64> {
    let (started, finished) = (task.started_at?, task.finished_at?);
    Some(millis_between(started, finished))
}
