//! The times that a task sets itself: by when it must start, by when it must end.

use crate::task::{Failure, FailureCode, Task, Timestamp};

use super::Verdict;

/// The times of a task, and whether it has ever started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When it is canceled as `expired`; nothing once it has started.
    pub start_by: Option<Timestamp>,
    /// When it fails as `deadline`.
    pub deadline: Option<Timestamp>,
}

impl Times {
    /// Those that still mean something to the task. That it must start holds until its first attempt.
    pub fn of(task: &Task) -> Self {
        Self { start_by: task.start_by.filter(|_| task.attempt == 0), deadline: task.deadline }
    }

    /// The first of them.
    pub fn first(self) -> Option<Timestamp> {
        self.start_by.into_iter().chain(self.deadline).min()
    }
}

/// What to make of a task that waits: nothing, as long as none of its times is over. An instant belongs to what comes
/// after it: a task may not start at its `start_by` any more.
///
/// One that never started fails at its deadline all the same: `expired` says that it was not wanted later, `deadline`
/// that it was not done in time. Where both are over, the earlier decides.
pub fn overdue(times: Times, now: Timestamp) -> Option<Verdict> {
    let over = |time: Option<Timestamp>| time.filter(|time| *time <= now);
    match (over(times.start_by), over(times.deadline)) {
        (None, None) => None,
        (Some(start_by), deadline) if deadline.is_none_or(|deadline| start_by <= deadline) => {
            let message = "it had not started when the time it was to wait for that was over";
            Some(Verdict::Canceled(Some(Failure::new(FailureCode::Expired, message))))
        }
        (_, _) => {
            let message = "it waited to run when its deadline came";
            Some(Verdict::Failed(Failure::new(FailureCode::Deadline, message), None))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(second)
    }

    /// The code that a task of these times ends with at a second, if it does.
    fn ends_with(start_by: Option<u64>, deadline: Option<u64>, second: u64) -> Option<FailureCode> {
        let times = Times { start_by: start_by.map(at), deadline: deadline.map(at) };
        overdue(times, at(second)).map(|verdict| match verdict {
            Verdict::Canceled(Some(failure)) | Verdict::Failed(failure, None) => failure.code,
            other => panic!("{other:?} is no end of an overdue task"),
        })
    }

    #[test]
    fn a_task_is_overdue_from_the_instant_of_its_time_and_the_earlier_time_says_how() {
        assert_eq!(ends_with(None, None, 9), None);
        assert_eq!(ends_with(Some(5), Some(9), 4), None);
        assert_eq!(ends_with(Some(5), Some(9), 5), Some(FailureCode::Expired));
        assert_eq!(ends_with(None, Some(9), 8), None);
        assert_eq!(ends_with(None, Some(9), 9), Some(FailureCode::Deadline));
        assert_eq!(ends_with(Some(5), Some(9), 10), Some(FailureCode::Expired));
        assert_eq!(ends_with(Some(9), Some(5), 10), Some(FailureCode::Deadline));
        assert_eq!(ends_with(Some(5), Some(5), 5), Some(FailureCode::Expired));
    }
}
