//! What becomes of a task: pure decisions, taken here and nowhere else.
//!
//! ```text
//!            start                done
//!  pending ─────────► in_progress ────► completed
//!     │  ▲                │  │  failed
//!     │  └── put back, ───┘  ├────────► failed
//!     │      crashed, away   │  canceled by force
//!     │      or failed within└────────► canceled
//!     │      its budget
//!     ├──► canceled, also as expired
//!     └──► failed at its deadline
//! ```
//!
//! - `retry`: how often and when a task that failed runs again
//! - `overdue`: the times that a task sets itself

use std::collections::HashMap;
use std::time::Duration;

use crate::task::{EndpointName, Failure, FailureCode, Outcome, Output, State, Task};

mod overdue;
mod retry;

pub use overdue::{Times, overdue};
pub use retry::{RetryPolicy, chance};

/// What is made of an attempt: the task is settled, or waits again.
#[derive(Clone, Debug)]
pub enum Verdict {
    Completed(Output),
    /// The failure, and the answer to replay to the client where there is one.
    Failed(Failure, Option<Output>),
    /// With a failure where it was us who canceled it.
    Canceled(Option<Failure>),
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
    /// It failed, and its retry policy gives it another attempt.
    Failed(Failure),
}

impl Setback {
    /// How many crashes it adds to the task's own.
    pub fn crashes(&self) -> u32 {
        u32::from(matches!(self, Setback::Crashed(_)))
    }

    /// How many failures it adds to the task's own.
    pub fn failures(&self) -> u32 {
        u32::from(matches!(self, Setback::Failed(_)))
    }

    /// What went wrong, where something did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Setback::Interrupted => None,
            Setback::PutBack(failure) | Setback::Crashed(failure) | Setback::Failed(failure) => Some(failure),
        }
    }
}

impl Verdict {
    /// The state the task is in once the verdict is recorded.
    pub fn state(&self) -> State {
        match self {
            Verdict::Completed(_) => State::Completed,
            Verdict::Failed(..) => State::Failed,
            Verdict::Canceled(_) => State::Canceled,
            Verdict::Again { .. } => State::Pending,
        }
    }

    /// What it leaves with a task that it ends: the failure, and the answer or the output.
    pub fn left(self) -> (Option<Failure>, Option<Output>) {
        match self {
            Verdict::Completed(output) => (None, Some(output)),
            Verdict::Failed(failure, answer) => (Some(failure), answer),
            Verdict::Canceled(failure) => (failure, None),
            Verdict::Again { .. } => (None, None),
        }
    }
}

/// Why an attempt's cancellation token fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// Nobody interrupted it.
    None,
    /// A client canceled it by force.
    Cancel,
    /// The task's deadline came.
    Deadline,
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
    /// Its failures, before this attempt.
    pub failures: u32,
}

/// How often a task may be set back.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    /// How many attempts may end with the process that ran them, ours or a worker.
    pub crashes: u32,
    /// How many attempts may find nobody to run them.
    pub put_backs: u32,
}

/// By what a task is judged.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub budgets: Budgets,
    pub retry: &'a RetryPolicy,
    /// How many attempts may fail before the task does; its own wish, or that of the policy.
    pub max_attempts: u32,
    /// How long it is until the task's deadline, where it has one.
    pub time_left: Option<Duration>,
    /// A number from 0 to below 1, for the jitter.
    pub chance: f64,
}

/// How long a task waits after its first setback; twice as long after each further one.
const SETBACK_PAUSE: Duration = Duration::from_millis(100);
/// The longest a task waits after a setback, unless the upstream asked for more.
const SETBACK_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The longest that an upstream may ask a task and its endpoint to wait; a longer wish is taken as this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// What to make of what an executor said.
///
/// An attempt that a drain cut short is no failure of the task, and one that a client or the task's deadline cut short
/// none of its executor, whatever that said of it; one that still came to its end is taken as it is. No attempt is
/// planned that would begin when the deadline is over.
pub fn verdict(outcome: Outcome, interruption: Interruption, history: History, rules: &Rules) -> Verdict {
    let outcome = match (outcome, interruption) {
        (Outcome::Done(output), _) => return Verdict::Completed(output),
        (_, Interruption::Cancel) => return Verdict::Canceled(None),
        (_, Interruption::Deadline) => {
            return Verdict::Failed(Failure::new(FailureCode::Deadline, "it ran when its deadline came"), None);
        }
        (_, Interruption::Drain) => return Verdict::Again { delay: Duration::ZERO, setback: Setback::Interrupted },
        (outcome, Interruption::None) => outcome,
    };
    match outcome {
        Outcome::Done(output) => Verdict::Completed(output),
        Outcome::Failed(failure, answer) => {
            let may_pass = rules.retry.codes.contains(&failure.code);
            failed(failure, answer, may_pass, Duration::ZERO, history, rules)
        }
        Outcome::FailedForNow { failure, answer, retry_after } => {
            failed(failure, answer.map(|answer| *answer), true, retry_after.unwrap_or_default(), history, rules)
        }
        Outcome::PutBack { failure, retry_after } => put_back(failure, retry_after.unwrap_or_default(), history, rules),
        Outcome::Crashed(failure) => crashed(failure, history, rules),
        Outcome::Canceled => Verdict::Failed(
            Failure::new(FailureCode::Failed, "the executor stopped as if canceled, but nobody had canceled it"),
            None,
        ),
    }
}

fn failed(
    failure: Failure,
    answer: Option<Output>,
    may_pass: bool,
    retry_after: Duration,
    history: History,
    rules: &Rules,
) -> Verdict {
    let failures = history.failures + 1;
    if !may_pass || rules.max_attempts <= 1 {
        return Verdict::Failed(failure, answer);
    }
    if failures >= rules.max_attempts {
        let failure =
            failure.and_also(&format!("that was failure {failures} of the {} it may have", rules.max_attempts));
        return Verdict::Failed(failure, answer);
    }
    let delay = rules.retry.pause(failures, rules.chance).max(retry_after.min(RETRY_AFTER_MAX));
    again(delay, Setback::Failed(failure), answer, rules)
}

fn put_back(failure: Failure, retry_after: Duration, history: History, rules: &Rules) -> Verdict {
    let put_backs = history.attempts.saturating_sub(history.crashes + history.failures);
    if put_backs > rules.budgets.put_backs {
        let failure = match rules.budgets.put_backs {
            0 => failure,
            put_backs => failure.and_also(&format!("it was put back {put_backs} times before")),
        };
        return Verdict::Failed(failure, None);
    }
    let delay = pause(put_backs).max(retry_after.min(RETRY_AFTER_MAX));
    again(delay, Setback::PutBack(failure), None, rules)
}

fn crashed(failure: Failure, history: History, rules: &Rules) -> Verdict {
    let (crashes, budget) = (history.crashes + 1, rules.budgets.crashes);
    if crashes < budget {
        return again(pause(crashes), Setback::Crashed(failure), None, rules);
    }
    Verdict::Failed(failure.and_also(&format!("that was crash {crashes} of the {budget} it may have")), None)
}

/// One more attempt, unless the task's deadline comes first: then it fails at once, with the failure it has and the
/// answer to that.
fn again(delay: Duration, setback: Setback, answer: Option<Output>, rules: &Rules) -> Verdict {
    let too_late = rules.time_left.is_some_and(|left| delay >= left);
    match (too_late, setback.failure()) {
        (true, Some(failure)) => {
            Verdict::Failed(failure.clone().and_also("its deadline comes before it could run again"), answer)
        }
        (true, None) | (false, _) => Verdict::Again { delay, setback },
    }
}

fn pause(setbacks: u32) -> Duration {
    retry::doubled(SETBACK_PAUSE, setbacks).min(SETBACK_PAUSE_MAX)
}

/// What a verdict comes to for a task of which a client has asked, by force, that it be canceled: it does not run again.
pub fn heeding_cancel(verdict: Verdict, cancel_requested: bool) -> Verdict {
    match verdict {
        Verdict::Again { .. } if cancel_requested => Verdict::Canceled(None),
        verdict => verdict,
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
    /// Its attempt died with the node, and was to be canceled.
    Canceled,
}

/// Decides about a task that was held by a node which is gone.
///
/// `crash_budget` is how many attempts may end with their node before the task is failed as `lost`; it is
/// apart from failures, so that a task which takes the process down ends, and one that stood beside it does not.
pub fn reclaim(task: &Task, crash_budget: u32) -> Reclaimed {
    match task.state {
        State::Pending => Reclaimed::Waits,
        State::InProgress if task.cancel_requested => Reclaimed::Canceled,
        State::InProgress => {
            let crashes = task.crashes + 1;
            if crashes < crash_budget {
                return Reclaimed::Crashed { crashes };
            }
            let message = format!("the process that ran the task ended without an answer {crashes} times");
            Reclaimed::Lost { crashes, failure: Failure::new(FailureCode::Lost, message) }
        }
        State::Completed | State::Failed | State::Canceled => unreachable!("a finished task is held by nobody"),
    }
}

/// How long finished tasks are kept that do not say so themselves: one time for all, and others for some endpoints.
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
    use crate::task::{TaskId, Timestamp};

    const BUDGETS: Budgets = Budgets { crashes: 3, put_backs: 20 };

    fn rules(retry: &RetryPolicy) -> Rules<'_> {
        Rules { budgets: BUDGETS, retry, max_attempts: retry.max_attempts, time_left: None, chance: 0.5 }
    }

    fn judged_after(outcome: Outcome, interruption: Interruption, history: History) -> Verdict {
        verdict(outcome, interruption, history, &rules(&RetryPolicy::default()))
    }

    fn judged(outcome: Outcome, interruption: Interruption) -> Verdict {
        judged_after(outcome, interruption, History { attempts: 1, ..History::default() })
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
            judged_after(outcome, Interruption::None, History { attempts, crashes: 1, failures: 0 })
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
            let history = History { attempts: 9, crashes, failures: 0 };
            judged_after(Outcome::Crashed(away().with_log("the end")), Interruption::None, history)
        };
        let Verdict::Again { setback, .. } = crashed(1) else { panic!("it has one more crash") };
        assert_eq!(setback.crashes(), 1);
        let Verdict::Failed(failure, None) = crashed(2) else { panic!("not failed") };
        assert_eq!(failure.message, "nobody there; that was crash 3 of the 3 it may have");
        assert_eq!((failure.code, failure.log.as_deref()), (FailureCode::Unreachable, Some("the end")));
    }

    #[test]
    fn an_attempt_cut_short_by_a_client_or_a_deadline_ends_its_task_unless_it_had_a_result() {
        for interruption in [Interruption::Cancel, Interruption::Deadline] {
            assert_eq!(judged(done(), interruption).state(), State::Completed);
        }
        let cut = [Outcome::Canceled, Outcome::failed(FailureCode::Timeout, "cut"), Outcome::Crashed(away())];
        for outcome in cut {
            assert!(matches!(judged(outcome.clone(), Interruption::Cancel), Verdict::Canceled(None)));
            let Verdict::Failed(failure, None) = judged(outcome, Interruption::Deadline) else { panic!("not failed") };
            assert_eq!(failure.code, FailureCode::Deadline);
        }
    }

    fn policy(max_attempts: u32) -> RetryPolicy {
        RetryPolicy { max_attempts, ..RetryPolicy::default() }
    }

    fn after_failures(failures: u32, outcome: Outcome, rules: &Rules) -> Verdict {
        verdict(outcome, Interruption::None, History { attempts: failures + 1, crashes: 0, failures }, rules)
    }

    #[test]
    fn a_task_that_fails_runs_again_within_the_bounds_of_its_policy_and_then_fails_with_its_last_answer() {
        let policy = policy(4);
        let failing = || Outcome::explained(FailureCode::Upstream5xx, 502, "no");
        for chance in [0.0, 0.25, 0.999_999] {
            let rules = Rules { chance, ..rules(&policy) };
            for (failures, bound) in [(0, 1), (1, 2), (2, 4)] {
                let Verdict::Again { delay, setback } = after_failures(failures, failing(), &rules) else {
                    panic!("it has one more attempt")
                };
                assert_eq!((setback.failures(), setback.crashes()), (1, 0));
                assert_eq!(delay, Duration::from_secs(bound).mul_f64(chance));
            }
            let Verdict::Failed(failure, Some(answer)) = after_failures(3, failing(), &rules) else {
                panic!("it had its attempts")
            };
            assert_eq!((failure.message.as_str(), answer.status), ("no; that was failure 4 of the 4 it may have", 502));
        }
    }

    #[test]
    fn what_the_policy_does_not_name_fails_at_once_unless_the_executor_says_that_it_may_pass() {
        let policy = RetryPolicy { codes: vec![FailureCode::BadInput], ..policy(2) };
        let rules = rules(&policy);
        let of = |code| after_failures(0, Outcome::failed(code, "no"), &rules).state();
        assert_eq!((of(FailureCode::BadInput), of(FailureCode::Timeout)), (State::Pending, State::Failed));
        let failure = Failure::new(FailureCode::Upstream4xx, "no");
        let for_now = Outcome::FailedForNow { failure, answer: None, retry_after: None };
        assert_eq!(after_failures(0, for_now, &rules).state(), State::Pending);
    }

    #[test]
    fn an_upstream_may_ask_for_a_longer_pause_within_reason() {
        let policy = policy(2);
        let delay = |asked| {
            let outcome = Outcome::FailedForNow { failure: away(), answer: None, retry_after: Some(asked) };
            match after_failures(0, outcome, &rules(&policy)) {
                Verdict::Again { delay, .. } => delay,
                other => panic!("it has one more attempt: {other:?}"),
            }
        };
        assert_eq!(delay(Duration::from_secs(90)), Duration::from_secs(90));
        assert_eq!(delay(Duration::MAX), RETRY_AFTER_MAX);
        assert_eq!(delay(Duration::ZERO), Duration::from_millis(500));
    }

    #[test]
    fn no_attempt_is_planned_for_after_the_deadline() {
        let policy = policy(9);
        let outcomes = [
            Outcome::failed(FailureCode::Timeout, "no"),
            Outcome::PutBack { failure: away(), retry_after: None },
            Outcome::Crashed(away()),
        ];
        for outcome in outcomes {
            let with_left = |left| {
                let rules = Rules { time_left: Some(left), ..rules(&policy) };
                after_failures(0, outcome.clone(), &rules)
            };
            assert_eq!(with_left(Duration::from_secs(1)).state(), State::Pending);
            let Verdict::Failed(failure, _) = with_left(Duration::from_millis(100)) else { panic!("not failed") };
            assert!(failure.message.ends_with("; its deadline comes before it could run again"), "{failure}");
            assert_ne!(failure.code, FailureCode::Deadline);
        }
    }

    #[test]
    fn failures_put_backs_and_crashes_have_budgets_of_their_own() {
        let policy = policy(2);
        let history = History { attempts: 24, crashes: 2, failures: 1 };
        let put_back = Outcome::PutBack { failure: away(), retry_after: None };
        let rules = rules(&policy);
        assert_eq!(verdict(put_back.clone(), Interruption::None, history, &rules).state(), State::Failed);
        let fewer = History { attempts: 23, ..history };
        assert_eq!(verdict(put_back, Interruption::None, fewer, &rules).state(), State::Pending);
        let crashes = History { attempts: 3, crashes: 2, failures: 0 };
        let failing = Outcome::failed(FailureCode::Timeout, "no");
        assert_eq!(verdict(failing, Interruption::None, crashes, &rules).state(), State::Pending);
    }

    #[test]
    fn a_task_that_is_to_be_canceled_does_not_run_again() {
        let again = || Verdict::Again { delay: Duration::ZERO, setback: Setback::Interrupted };
        assert_eq!(heeding_cancel(again(), false).state(), State::Pending);
        assert_eq!(heeding_cancel(again(), true).state(), State::Canceled);
        assert_eq!(heeding_cancel(judged(done(), Interruption::None), true).state(), State::Completed);
        assert_eq!(reclaim(&Task { cancel_requested: true, ..held(State::InProgress, 0) }, 3), Reclaimed::Canceled);
    }

    fn held(state: State, crashes: u32) -> Task {
        let endpoint = EndpointName::new("echo").expect("it is a name");
        Task { state, crashes, ..Task::submitted(TaskId::generate(), endpoint, Timestamp::UNIX_EPOCH) }
    }

    #[test]
    fn a_task_is_lost_when_its_crash_budget_is_spent_and_not_before() {
        assert_eq!(reclaim(&held(State::InProgress, 0), 3), Reclaimed::Crashed { crashes: 1 });
        assert_eq!(reclaim(&held(State::InProgress, 1), 3), Reclaimed::Crashed { crashes: 2 });
        assert!(matches!(reclaim(&held(State::InProgress, 2), 3), Reclaimed::Lost { crashes: 3, .. }));
    }

    #[test]
    fn a_task_that_had_not_started_is_not_blamed_for_a_crash() {
        assert_eq!(reclaim(&held(State::Pending, 2), 3), Reclaimed::Waits);
    }
}
