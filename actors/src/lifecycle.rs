//! What becomes of a task: pure decisions, taken here and nowhere else.
//!
//! ```text
//!            start                done
//!  pending ─────────► in_progress ────► completed
//!     │  ▲                │  │  failed
//!     │  └── put back, ───┘  └────────► failed
//!     │      crashed or away within its budget
//!     └──► canceled
//! ```

use std::collections::HashMap;
use std::time::Duration;

use crate::task::{EndpointName, Failure, FailureCode, Outcome, Output, State};

mod batch;

pub use batch::{Closing, closed, finished};

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
        setback: Setback,
    },
}

/// Why an attempt did not settle its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setback {
    /// Nothing that speaks against the task or those who ran it: a drain, or the store could not serve.
    Interrupted,
    /// Those who were to run it had no room, or were away.
    PutBack(Failure),
    /// The worker that ran it died, which counts as a crash of the task.
    Crashed(Failure),
}

impl Setback {
    /// How many crashes it adds to the task's own.
    pub fn crashes(&self) -> u32 {
        u32::from(matches!(self, Setback::Crashed(_)))
    }

    /// What went wrong, where something did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Setback::Interrupted => None,
            Setback::PutBack(failure) | Setback::Crashed(failure) => Some(failure),
        }
    }
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

/// What a task has behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Its attempts, this one among them.
    pub attempts: u32,
    /// Its crashes, before this attempt.
    pub crashes: u32,
}

/// How often a task may be set back.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    /// How many attempts may end with the process that ran them, ours or a worker.
    pub crashes: u32,
    /// How many attempts may find nobody to run them.
    pub put_backs: u32,
}

/// How long a task waits after its first setback; twice as long after each further one.
const SETBACK_PAUSE: Duration = Duration::from_millis(100);
/// The longest a task waits after a setback, unless the upstream asked for more.
const SETBACK_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The longest that an upstream may ask a task and its endpoint to wait; a longer wish is taken as this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// What to make of what an executor said.
///
/// An attempt that a drain cut short is no failure of the task, whatever the executor said of it; one that
/// still came to its end is taken as it is.
pub fn verdict(outcome: Outcome, interruption: Interruption, history: History, budgets: Budgets) -> Verdict {
    match (outcome, interruption) {
        (Outcome::Done(output), _) => Verdict::Completed(output),
        (_, Interruption::Drain) => Verdict::Again { delay: Duration::ZERO, setback: Setback::Interrupted },
        (Outcome::Failed(failure, answer), Interruption::None) => Verdict::Failed(failure, answer),
        (Outcome::PutBack { failure, retry_after }, Interruption::None) => {
            put_back(failure, retry_after.unwrap_or_default(), history, budgets)
        }
        (Outcome::Crashed(failure), Interruption::None) => crashed(failure, history, budgets),
        (Outcome::Canceled, Interruption::None) => Verdict::Failed(
            Failure::new(FailureCode::Failed, "the executor stopped as if canceled, but nobody had canceled it"),
            None,
        ),
    }
}

fn put_back(failure: Failure, retry_after: Duration, history: History, budgets: Budgets) -> Verdict {
    let put_backs = history.attempts.saturating_sub(history.crashes);
    if put_backs > budgets.put_backs {
        let failure = match budgets.put_backs {
            0 => failure,
            put_backs => failure.and_also(&format!("it was put back {put_backs} times before")),
        };
        return Verdict::Failed(failure, None);
    }
    let delay = pause(put_backs).max(retry_after.min(RETRY_AFTER_MAX));
    Verdict::Again { delay, setback: Setback::PutBack(failure) }
}

fn crashed(failure: Failure, history: History, budgets: Budgets) -> Verdict {
    let crashes = history.crashes + 1;
    if crashes < budgets.crashes {
        return Verdict::Again { delay: pause(crashes), setback: Setback::Crashed(failure) };
    }
    Verdict::Failed(failure.and_also(&format!("that was crash {crashes} of the {} it may have", budgets.crashes)), None)
}

fn pause(setbacks: u32) -> Duration {
    SETBACK_PAUSE.saturating_mul(1 << setbacks.saturating_sub(1).min(16)).min(SETBACK_PAUSE_MAX)
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

    const BUDGETS: Budgets = Budgets { crashes: 3, put_backs: 20 };

    fn judged(outcome: Outcome, interruption: Interruption) -> Verdict {
        verdict(outcome, interruption, History { attempts: 1, crashes: 0 }, BUDGETS)
    }

    fn away() -> Failure {
        Failure::new(FailureCode::Unreachable, "nobody there")
    }

    fn done() -> Outcome {
        Outcome::Done(Output::new("text/plain", "x"))
    }

    #[test]
    fn an_outcome_settles_the_task_as_it_says() {
        assert_eq!(judged(done(), Interruption::None).state(), State::Completed);
        let failed = Outcome::failed(FailureCode::Failed, "no");
        assert_eq!(judged(failed, Interruption::None).state(), State::Failed);
    }

    #[test]
    fn a_drain_marks_nothing_failed_and_throws_no_result_away() {
        assert_eq!(judged(done(), Interruption::Drain).state(), State::Completed);
        let cut = [Outcome::Canceled, Outcome::failed(FailureCode::Unreachable, "cut"), Outcome::Crashed(away())];
        for outcome in cut {
            let again = Verdict::Again { delay: Duration::ZERO, setback: Setback::Interrupted };
            assert_eq!(format!("{:?}", judged(outcome, Interruption::Drain)), format!("{again:?}"));
        }
    }

    #[test]
    fn a_task_that_found_nobody_waits_again_until_its_put_backs_are_spent() {
        let put_back = |attempts, asked| {
            let outcome = Outcome::PutBack { failure: away(), retry_after: asked };
            verdict(outcome, Interruption::None, History { attempts, crashes: 1 }, BUDGETS)
        };
        let delay = |verdict| match verdict {
            Verdict::Again { delay, setback: Setback::PutBack(_) } => delay,
            other => panic!("not put back: {other:?}"),
        };
        assert_eq!(delay(put_back(2, None)), SETBACK_PAUSE);
        assert_eq!(delay(put_back(3, None)), 2 * SETBACK_PAUSE);
        assert_eq!(delay(put_back(2, Some(Duration::from_secs(9)))), Duration::from_secs(9));
        assert_eq!(delay(put_back(2, Some(Duration::MAX))), RETRY_AFTER_MAX);
        assert_eq!(delay(put_back(1 + BUDGETS.put_backs, None)), SETBACK_PAUSE_MAX);
        let Verdict::Failed(failure, None) = put_back(2 + BUDGETS.put_backs, None) else { panic!("not failed") };
        assert_eq!(failure.message, "nobody there; it was put back 20 times before");
    }

    #[test]
    fn a_worker_that_dies_costs_its_task_a_crash_and_the_last_one_fails_it_with_the_reason() {
        let crashed = |crashes| {
            let history = History { attempts: 9, crashes };
            verdict(Outcome::Crashed(away().with_log("the end")), Interruption::None, history, BUDGETS)
        };
        let Verdict::Again { setback, .. } = crashed(1) else { panic!("it has one more crash") };
        assert_eq!(setback.crashes(), 1);
        let Verdict::Failed(failure, None) = crashed(2) else { panic!("not failed") };
        assert_eq!(failure.message, "nobody there; that was crash 3 of the 3 it may have");
        assert_eq!((failure.code, failure.log.as_deref()), (FailureCode::Unreachable, Some("the end")));
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
