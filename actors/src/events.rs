//! What happened to a task, as events in the order in which it happened.
//!
//! They are made of the record: the task, its attempts, and what the latest attempt told of itself as far as that is
//! at hand. So nothing has to be kept for them, and the same event has the same id whenever it is made: before a
//! restart and after it, live and read back.

use std::fmt;
use std::str::FromStr;

use crate::executor::Report;
use crate::executor::report::News;
use crate::task::{AttemptOutcome, AttemptRecord, Failure, LogLine, Progress, State, Task, Timestamp};

/// Names an event of a task: the attempt, and a step in it. Later events have greater ids.
///
/// Shown and read as `2.17`. Step 0 is the start of an attempt; what it told has the steps after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// 0 for what is before the first attempt.
    pub attempt: u32,
    pub step: u32,
}

impl EventId {
    /// The submission.
    pub const SUBMITTED: EventId = EventId { attempt: 0, step: 0 };
    /// The step that ends an attempt.
    pub const END: u32 = 999_999_999;
    /// The step that ends a task which waited, after the attempt before.
    pub const AFTERWARDS: u32 = 1_000_000_000;

    fn new(attempt: u32, step: u32) -> Self {
        Self { attempt, step }
    }

    /// Of what an attempt told.
    fn of_news(attempt: u32, step: u64) -> Self {
        Self::new(attempt, u32::try_from(step).map_or(Self::END - 1, |step| step.min(Self::END - 1)))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.attempt, self.step)
    }
}

/// The text is no id of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the id of an event, which looks like 2.17")]
pub struct BadEventId;

impl FromStr for EventId {
    type Err = BadEventId;

    fn from_str(text: &str) -> Result<Self, BadEventId> {
        let (attempt, step) = text.split_once('.').ok_or(BadEventId)?;
        let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        Ok(Self::new(number(attempt).ok_or(BadEventId)?, number(step).ok_or(BadEventId)?))
    }
}

/// Something that happened to a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub what: Happening,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    Submitted {
        at: Timestamp,
    },
    Started {
        at: Timestamp,
    },
    /// How far the attempt has come; what came before and was not told is left out.
    Progress(Progress),
    Log(LogLine),
    /// The attempt ended, and the task waits for another one.
    PutBack {
        at: Option<Timestamp>,
        outcome: AttemptOutcome,
        failure: Option<Failure>,
    },
    /// The task ended: its state, and the failure where it has one.
    Ended {
        at: Option<Timestamp>,
        state: State,
        failure: Option<Failure>,
        output_bytes: u64,
    },
}

impl Happening {
    /// Its name, as clients know it.
    pub fn name(&self) -> &'static str {
        match self {
            Happening::Submitted { .. } => "submitted",
            Happening::Started { .. } => "started",
            Happening::Progress(_) => "progress",
            Happening::Log(_) => "log",
            Happening::PutBack { .. } => "put_back",
            Happening::Ended { state, .. } => state.as_str(),
        }
    }

    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self, Happening::Ended { .. })
    }
}

/// Whether the record of the attempts is needed to tell what happened after an event; else the task tells it all.
pub fn needs_attempts(task: &Task, after: Option<EventId>) -> bool {
    let end = EventId::new(task.attempt, EventId::END);
    let is_told = |id: EventId| after.is_some_and(|after| after >= id);
    let earlier_are_told = task.attempt <= 1 || is_told(EventId::new(task.attempt, 0));
    match task.state {
        State::InProgress | State::Completed => !earlier_are_told,
        // How the latest attempt ended, and whether the task ended with it, its own record tells.
        State::Pending | State::Failed | State::Canceled => task.attempt > 0 && !is_told(end),
    }
}

/// What happened to a task after an event, or ever. `attempts` are those on record; `report` is of the attempt that the
/// task counts last.
pub fn events(task: &Task, attempts: &[AttemptRecord], report: Option<&Report>, after: Option<EventId>) -> Vec<Event> {
    let mut all = vec![Event { id: EventId::SUBMITTED, what: Happening::Submitted { at: task.submitted_at } }];
    let latest = latest_attempt(task, attempts);
    for attempt in attempts.iter().filter(|attempt| attempt.number < task.attempt).chain(latest.as_ref()) {
        let number = attempt.number;
        all.push(Event { id: EventId::new(number, 0), what: Happening::Started { at: attempt.started_at } });
        if number == task.attempt {
            let told = after.filter(|after| after.attempt == number).map_or(0, |after| u64::from(after.step));
            all.extend(report.into_iter().flat_map(|report| report.news(told)).map(|news| of_news(number, news)));
        }
        let id = EventId::new(number, EventId::END);
        match attempt.outcome {
            AttemptOutcome::Running => {}
            _ if ended_the_task(attempt, task) => all.push(Event { id, what: end(task) }),
            outcome => {
                let failure = attempt.failure.clone();
                all.push(Event { id, what: Happening::PutBack { at: attempt.ended_at, outcome, failure } });
            }
        }
    }
    let has_last = all.last().is_some_and(|event| event.what.is_last());
    if task.state.is_finished() && !has_last {
        all.push(Event { id: EventId::new(task.attempt, EventId::AFTERWARDS), what: end(task) });
    }
    all.retain(|event| after.is_none_or(|after| event.id > after));
    all
}

/// The attempt that the task counts last, as far as the record or else the task knows of it.
fn latest_attempt(task: &Task, attempts: &[AttemptRecord]) -> Option<AttemptRecord> {
    let recorded = attempts.iter().find(|attempt| attempt.number == task.attempt);
    // The record may be a little older than the task, or younger: then it tells of an end of which the task does not.
    let has_ended = |attempt: &&AttemptRecord| attempt.outcome != AttemptOutcome::Running;
    if let Some(ended) = recorded.filter(has_ended).filter(|_| task.state != State::InProgress) {
        return Some(ended.clone());
    }
    let started_at = task.started_at.filter(|_| task.attempt > 0)?;
    let running = AttemptRecord::running(task.attempt, started_at, None);
    match task.state {
        State::Completed => {
            Some(AttemptRecord { outcome: AttemptOutcome::Completed, ended_at: task.finished_at, ..running })
        }
        State::InProgress | State::Pending | State::Failed | State::Canceled => Some(running),
    }
}

fn ended_the_task(attempt: &AttemptRecord, task: &Task) -> bool {
    let is_latest = attempt.number == task.attempt && attempt.ended_at == task.finished_at;
    is_latest
        && match task.state {
            State::Pending | State::InProgress => false,
            State::Completed => attempt.outcome == AttemptOutcome::Completed,
            State::Failed => matches!(attempt.outcome, AttemptOutcome::Failed | AttemptOutcome::Lost),
            State::Canceled => attempt.outcome == AttemptOutcome::Canceled,
        }
}

fn end(task: &Task) -> Happening {
    let (at, state, output_bytes) = (task.finished_at, task.state, task.output_bytes);
    Happening::Ended { at, state, failure: task.failure.as_deref().cloned(), output_bytes }
}

fn of_news(attempt: u32, news: News) -> Event {
    let id = EventId::of_news(attempt, news.step());
    let what = match news {
        News::Progress { progress, .. } => Happening::Progress(progress),
        News::Log { line, .. } => Happening::Log(line),
    };
    Event { id, what }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::task::{EndpointName, FailureCode, Level, TaskId};

    fn at(seconds: i64) -> Timestamp {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn task(state: State, attempt: u32) -> Task {
        let task = Task::submitted(TaskId::generate(), EndpointName::new("echo").unwrap(), at(0));
        let finished_at = state.is_finished().then(|| at(100));
        Task { state, attempt, started_at: (attempt > 0).then(|| at(i64::from(attempt))), finished_at, ..task }
    }

    fn record(number: u32, outcome: AttemptOutcome, ended: i64) -> AttemptRecord {
        let running = AttemptRecord::running(number, at(i64::from(number)), None);
        AttemptRecord { outcome, ended_at: Some(at(ended)), ..running }
    }

    fn told(task: &Task, attempts: &[AttemptRecord], report: Option<&Report>, after: Option<&str>) -> Vec<String> {
        let after = after.map(|after| after.parse().unwrap());
        let events = events(task, attempts, report, after);
        assert!(events.is_sorted_by_key(|event| event.id));
        events.iter().map(|event| format!("{} {}", event.id, event.what.name())).collect()
    }

    #[test]
    fn a_life_is_told_from_the_submission_to_the_end_and_from_any_event_on() {
        let report = Report::unwatched();
        report.progress(0.5);
        report.log(Level::Info, "half");
        report.progress(0.75);
        let attempts = [
            record(1, AttemptOutcome::PutBack, 1),
            record(2, AttemptOutcome::Failed, 2),
            record(3, AttemptOutcome::Completed, 100),
        ];
        let task = task(State::Completed, 3);
        let all = told(&task, &attempts, Some(&report), None);
        let expected = [
            "0.0 submitted",
            "1.0 started",
            "1.999999999 put_back",
            "2.0 started",
            "2.999999999 put_back",
            "3.0 started",
            "3.2 log",
            "3.3 progress",
            "3.999999999 completed",
        ];
        assert_eq!(all, expected);
        for (index, event) in expected.iter().enumerate() {
            let id = event.split_once(' ').unwrap().0;
            assert_eq!(told(&task, &attempts, Some(&report), Some(id)), expected[index + 1..], "after {id}");
        }
        assert_eq!(told(&task, &attempts, None, Some("3.1")), ["3.999999999 completed"]);
    }

    #[test]
    fn what_the_task_tells_by_itself_needs_no_record() {
        assert_eq!(told(&task(State::Pending, 0), &[], None, None), ["0.0 submitted"]);
        assert_eq!(told(&task(State::InProgress, 1), &[], None, Some("0.0")), ["1.0 started"]);
        let completed = ["0.0 submitted", "1.0 started", "1.999999999 completed"];
        assert_eq!(told(&task(State::Completed, 1), &[], None, None), completed);
        for state in [State::Pending, State::InProgress, State::Completed] {
            let task = task(state, u32::from(state != State::Pending));
            assert!(!needs_attempts(&task, None), "{state}");
        }
        let third = task(State::InProgress, 3);
        assert!(needs_attempts(&third, Some(EventId::new(2, EventId::END))));
        assert!(!needs_attempts(&third, Some(EventId::new(3, 0))));
        assert!(needs_attempts(&task(State::Pending, 1), Some(EventId::new(1, 5))));
        assert!(!needs_attempts(&task(State::Pending, 1), Some(EventId::new(1, EventId::END))));
        assert!(needs_attempts(&task(State::Failed, 1), None));
    }

    #[test]
    fn a_record_that_is_ahead_of_the_task_tells_no_more_than_the_task() {
        let ahead = [record(1, AttemptOutcome::PutBack, 1), record(2, AttemptOutcome::Completed, 100)];
        let expected = ["1.999999999 put_back", "2.0 started"];
        assert_eq!(told(&task(State::InProgress, 2), &ahead, None, Some("1.0")), expected);
        assert_eq!(told(&task(State::Pending, 1), &ahead, None, Some("1.0")), expected[..1]);
        assert_eq!(told(&task(State::InProgress, 1), &ahead, None, Some("1.0")), [""; 0]);
    }

    #[test]
    fn a_task_that_ends_while_it_waits_has_an_end_of_its_own() {
        let canceled = task(State::Canceled, 0);
        assert_eq!(told(&canceled, &[], None, None), ["0.0 submitted", "0.1000000000 canceled"]);
        let attempts = [record(1, AttemptOutcome::Failed, 50)];
        for state in [State::Canceled, State::Failed] {
            let ended = task(state, 1);
            let after_the_start = told(&ended, &attempts, None, Some("1.0"));
            assert_eq!(after_the_start[0], "1.999999999 put_back");
            assert_eq!(after_the_start[1], format!("1.1000000000 {state}"));
        }
        let stopped = [record(1, AttemptOutcome::Canceled, 100)];
        let expected = ["1.999999999 canceled"];
        assert_eq!(told(&task(State::Canceled, 1), &stopped, None, Some("1.0")), expected);
    }

    #[test]
    fn the_failure_goes_with_the_end() {
        let failure = Failure::new(FailureCode::Failed, "no");
        let failed = Task { failure: Some(Box::new(failure.clone())), ..task(State::Failed, 1) };
        let record = AttemptRecord { failure: Some(failure.clone()), ..record(1, AttemptOutcome::Failed, 100) };
        let all = events(&failed, &[record], None, None);
        let Happening::Ended { failure: told, .. } = &all.last().unwrap().what else { panic!("{all:?}") };
        assert_eq!(told.as_ref(), Some(&failure));
    }

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        for id in [EventId::SUBMITTED, EventId::new(7, EventId::END), EventId::of_news(1, u64::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "1", "1.", ".1", "1.2.3", "-1.0", "+1.0", "1.99999999999", "a.b"] {
            assert_eq!(text.parse::<EventId>(), Err(BadEventId), "{text}");
        }
    }
}
