//! Wraps every run alike: timed, panics caught, stopped with a grace time, then abandoned.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Attempt, Executor};
use crate::lifecycle::Interruption;
use crate::task::{FailureCode, Outcome};

/// The bounds of a run.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How long it may take.
    pub timeout: Duration,
    /// How long it may take to stop when told to.
    pub stop_grace: Duration,
    /// How long it is until the task's deadline, where it has one.
    pub time_left: Option<Duration>,
    /// Fires when a client wants it canceled.
    pub cancel: CancellationToken,
    /// Fires when the node's drain has no more patience.
    pub drain: CancellationToken,
}

/// Runs an attempt to its end, or to the end of its time, the task's or the drain's; it always comes to an answer.
/// A result that is there before it had to be given up counts.
pub async fn run(executor: Arc<dyn Executor>, attempt: Attempt, bounds: Bounds) -> (Outcome, Interruption) {
    let token = attempt.cancellation.clone();
    // The call itself may panic, before there is a future.
    let mut running: BoxFuture<'static, Outcome> = Box::pin(
        AssertUnwindSafe(async move { executor.run(attempt).await })
            .catch_unwind()
            .map(|ended| ended.unwrap_or_else(|panic| Outcome::failed(FailureCode::Panic, panic_message(&*panic)))),
    );
    tokio::select! {
        biased;
        outcome = &mut running => (outcome, Interruption::None),
        () = bounds.cancel.cancelled() => {
            let stopped = stop(running, &token, bounds.stop_grace).await;
            (stopped.unwrap_or(Outcome::Canceled), Interruption::Cancel)
        }
        () = bounds.drain.cancelled() => {
            let stopped = stop(running, &token, bounds.stop_grace).await;
            (stopped.unwrap_or(Outcome::Canceled), Interruption::Drain)
        }
        () = after(bounds.time_left) => {
            stop(running, &token, bounds.stop_grace).await;
            (Outcome::Canceled, Interruption::Deadline)
        }
        () = tokio::time::sleep(bounds.timeout) => {
            stop(running, &token, bounds.stop_grace).await;
            let message = format!("the run took longer than {}", show(bounds.timeout));
            (Outcome::failed(FailureCode::Timeout, message), Interruption::None)
        }
    }
}

/// Comes after that time; never where there is none.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Tells a run to stop and waits a little for it to do so; then it is dropped.
async fn stop(running: BoxFuture<'static, Outcome>, token: &CancellationToken, grace: Duration) -> Option<Outcome> {
    token.cancel();
    tokio::time::timeout(grace, running).await.ok()
}

pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the executor panicked: {}", said.unwrap_or("it gave no message"))
}

/// A duration for people: whole seconds where it has some, milliseconds below.
fn show(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}
