//! What becomes of a task: pure decisions, taken here and nowhere else.
//!
//! ```text
//!            start                done
//!  pending ─────────► in_progress ────► completed
//!     │  ▲                │  │  failed
//!     │  └── put back, ───┘  └────────► failed
//!     │      crashed within its budget
//!     └──► canceled
//! ```

use std::collections::HashMap;
use std::time::Duration;

use crate::task::{EndpointName, Failure, FailureCode, Outcome, Output, State};

/// What is made of an attempt: the task is settled, or waits again.
#[derive(Clone, Debug)]
pub enum Verdict {
    Completed(Output),
    /// The failure, and the answer to replay to the client where there is one.
    Failed(Failure, Option<Output>),
    Canceled,
    /// Pending again, due after the delay; the attempt stays counted.
    Again {
        delay: Duration,
    },
}

impl Verdict {
    /// The state the task is in once the verdict is recorded.
    pub fn state(&self) -> State {
        match self {
            Verdict::Completed(_) => State::Completed,
            Verdict::Failed(..) => State::Failed,
            Verdict::Canceled => State::Canceled,
            Verdict::Again { .. } => State::Pending,
        }
    }
}

/// Why an attempt's cancellation token fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// Nobody interrupted it.
    None,
    /// The node drains and the grace time is over.
    Drain,
}

/// What to make of what an executor said.
///
/// An attempt that a drain cut short is no failure of the task, whatever the executor said of it; one that
/// still came to its end is taken as it is.
pub fn verdict(outcome: Outcome, interruption: Interruption) -> Verdict {
    match (outcome, interruption) {
        (Outcome::Done(output), _) => Verdict::Completed(output),
        (Outcome::Failed(..) | Outcome::Canceled, Interruption::Drain) => Verdict::Again { delay: Duration::ZERO },
        (Outcome::Failed(failure, answer), Interruption::None) => Verdict::Failed(failure, answer),
        (Outcome::Canceled, Interruption::None) => Verdict::Failed(
            Failure::new(FailureCode::Failed, "the executor stopped as if canceled, but nobody had canceled it"),
            None,
        ),
    }
}

/// What to make of a task whose node is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reclaimed {
    /// It had not started: it waits again, nothing to hold against it.
    Waits,
    /// Its attempt died with the node: it waits again with one more crash to its name.
    Crashed { crashes: u32 },
    /// That was one crash too many.
    Lost { crashes: u32, failure: Failure },
}

/// Decides about a task that was held by a node which is gone.
///
/// `crash_budget` is how many attempts may end with their node before the task is failed as `lost`; it is
/// apart from failures, so that a task which takes the process down ends, and one that stood beside it does not.
pub fn reclaim(state: State, crashes: u32, crash_budget: u32) -> Reclaimed {
    match state {
        State::Pending => Reclaimed::Waits,
        State::InProgress => {
            let crashes = crashes + 1;
            if crashes < crash_budget {
                return Reclaimed::Crashed { crashes };
            }
            let message = format!("the process that ran the task ended without an answer {crashes} times");
            Reclaimed::Lost { crashes, failure: Failure::new(FailureCode::Lost, message) }
        }
        State::Completed | State::Failed | State::Canceled => unreachable!("a finished task is held by nobody"),
    }
}

/// How long finished tasks are kept: one time for all, and others for some endpoints.
#[derive(Clone, Debug)]
pub struct Retention {
    default: Duration,
    by_endpoint: HashMap<EndpointName, Duration>,
}

impl Retention {
    /// The default: a day.
    pub const DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

    pub fn new(default: Duration) -> Self {
        Self { default, by_endpoint: HashMap::new() }
    }

    pub fn set(&mut self, endpoint: EndpointName, keep: Duration) {
        self.by_endpoint.insert(endpoint, keep);
    }

    pub fn of(&self, endpoint: &EndpointName) -> Duration {
        self.by_endpoint.get(endpoint).copied().unwrap_or(self.default)
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Outcome {
        Outcome::Done(Output::new("text/plain", "x"))
    }

    #[test]
    fn an_outcome_settles_the_task_as_it_says() {
        assert_eq!(verdict(done(), Interruption::None).state(), State::Completed);
        let failed = Outcome::failed(FailureCode::Failed, "no");
        assert_eq!(verdict(failed, Interruption::None).state(), State::Failed);
    }

    #[test]
    fn a_drain_marks_nothing_failed_and_throws_no_result_away() {
        assert_eq!(verdict(done(), Interruption::Drain).state(), State::Completed);
        let cut = [Outcome::Canceled, Outcome::failed(FailureCode::Unreachable, "cut")];
        for outcome in cut {
            assert_eq!(verdict(outcome, Interruption::Drain).state(), State::Pending);
        }
    }

    #[test]
    fn a_task_is_lost_when_its_crash_budget_is_spent_and_not_before() {
        assert_eq!(reclaim(State::InProgress, 0, 3), Reclaimed::Crashed { crashes: 1 });
        assert_eq!(reclaim(State::InProgress, 1, 3), Reclaimed::Crashed { crashes: 2 });
        assert!(matches!(reclaim(State::InProgress, 2, 3), Reclaimed::Lost { crashes: 3, .. }));
    }

    #[test]
    fn a_task_that_had_not_started_is_not_blamed_for_a_crash() {
        assert_eq!(reclaim(State::Pending, 2, 3), Reclaimed::Waits);
    }
}
