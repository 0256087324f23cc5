//! What is told of each attempt of a task.

use super::{Failure, FailureCode, State, Task, Timestamp};

/// One attempt of a task, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Counted from 1.
    pub number: u32,
    /// The node that ran it; `None` for one of before nodes were recorded.
    pub node: Option<String>,
    /// What ran it, where that has a name.
    pub worker: Option<String>,
    pub started_at: Timestamp,
    /// `None` while it runs. Of a lost one, when that was found out.
    pub ended_at: Option<Timestamp>,
    pub outcome: AttemptOutcome,
    /// Why it did not complete; its log stands in `log`.
    pub failure: Option<Failure>,
    /// The last lines of what it logged.
    pub log: Option<String>,
}

/// How an attempt ended. The one that ended its task has the task's own state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// It has not ended.
    Running,
    Completed,
    /// It failed, whether or not another followed.
    Failed,
    /// Those who were to run it had no room or were away.
    PutBack,
    /// The worker that ran it died, and the task was to run again.
    Crashed,
    /// Nothing that speaks against it: a drain cut it short, or the store could not serve.
    Interrupted,
    /// A client had it stopped.
    Canceled,
    /// The node that ran it ended without a word.
    Lost,
}

impl AttemptOutcome {
    pub const ALL: [AttemptOutcome; 8] = [
        AttemptOutcome::Running,
        AttemptOutcome::Completed,
        AttemptOutcome::Failed,
        AttemptOutcome::PutBack,
        AttemptOutcome::Crashed,
        AttemptOutcome::Interrupted,
        AttemptOutcome::Canceled,
        AttemptOutcome::Lost,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            AttemptOutcome::Running => "running",
            AttemptOutcome::Completed => "completed",
            AttemptOutcome::Failed => "failed",
            AttemptOutcome::PutBack => "put_back",
            AttemptOutcome::Crashed => "crashed",
            AttemptOutcome::Interrupted => "interrupted",
            AttemptOutcome::Canceled => "canceled",
            AttemptOutcome::Lost => "lost",
        }
    }

    /// How the attempt ended that ended a task; `None` while none has.
    pub fn that_ends(task: &Task) -> Option<Self> {
        match (task.state, &task.failure) {
            (State::Pending | State::InProgress, _) => None,
            (State::Completed, _) => Some(AttemptOutcome::Completed),
            (State::Canceled, _) => Some(AttemptOutcome::Canceled),
            (State::Failed, Some(failure)) if failure.code == FailureCode::Lost => Some(AttemptOutcome::Lost),
            (State::Failed, _) => Some(AttemptOutcome::Failed),
        }
    }

    /// The outcome a word stands for; `None` for a word that is not one of ours.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// What an attempt told of itself beside its outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunNotes {
    /// What ran it, where that has a name.
    pub worker: Option<String>,
    /// The last lines of what it logged.
    pub log: Option<String>,
}

impl AttemptRecord {
    /// The most attempts of a task that are told of: the first few, which say how the trouble began, and the newest.
    pub const KEPT_MAX: u32 = 100;
    const KEPT_FIRST: u32 = 10;

    /// The numbers of the attempts that are forgotten when one of that number is recorded: from the first of them to
    /// the last. `None` where all can stay.
    pub fn forgotten_with(newest: u32) -> Option<(u32, u32)> {
        let last = newest.saturating_sub(Self::KEPT_MAX - Self::KEPT_FIRST);
        (last > Self::KEPT_FIRST).then_some((Self::KEPT_FIRST + 1, last))
    }

    /// An attempt that has begun.
    pub fn running(number: u32, started_at: Timestamp, node: Option<String>) -> Self {
        Self {
            number,
            node,
            worker: None,
            started_at,
            ended_at: None,
            outcome: AttemptOutcome::Running,
            failure: None,
            log: None,
        }
    }

    /// An attempt that has ended.
    pub fn ended(self, at: Timestamp, outcome: AttemptOutcome, failure: Option<Failure>, notes: RunNotes) -> Self {
        let (failure, of_failure) = match failure {
            Some(failure) => (Some(Failure { log: None, ..failure.clone() }), failure.log),
            None => (None, None),
        };
        let log = notes.log.or(of_failure);
        Self { ended_at: Some(at), outcome, failure, log, worker: notes.worker, ..self }
    }
}

impl Task {
    /// All of a task's attempts: those recorded by themselves, in the order of their numbers, and its latest as far as
    /// the task tells of that. `node` and `worker` are what is known of who ran the latest.
    pub fn attempts(
        &self,
        mut recorded: Vec<AttemptRecord>,
        node: Option<String>,
        worker: Option<String>,
    ) -> Vec<AttemptRecord> {
        let is_recorded = recorded.last().is_some_and(|newest| newest.number >= self.attempt);
        // One that was canceled while it waited had no such attempt.
        let ended_waiting = self.state == State::Canceled && node.is_none();
        let Some(started_at) = self.started_at.filter(|_| self.attempt > 0 && !is_recorded && !ended_waiting) else {
            return recorded;
        };
        let attempt = AttemptRecord::running(self.attempt, started_at, node);
        match (self.state, AttemptOutcome::that_ends(self), self.finished_at) {
            // What put it back is recorded by itself.
            (State::Pending, ..) => {}
            (_, Some(outcome), Some(at)) => {
                let failure = self.failure.as_deref().cloned();
                recorded.push(attempt.ended(at, outcome, failure, RunNotes { worker, log: None }));
            }
            (_, _, _) => recorded.push(AttemptRecord { worker, ..attempt }),
        }
        recorded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_found_by_its_word() {
        for outcome in AttemptOutcome::ALL {
            assert_eq!(AttemptOutcome::from_word(outcome.as_str()), Some(outcome));
        }
    }

    #[test]
    fn of_many_attempts_the_first_few_and_the_newest_are_kept() {
        let mut kept: Vec<u32> = Vec::new();
        for number in 1..=1000 {
            kept.push(number);
            if let Some((first, last)) = AttemptRecord::forgotten_with(number) {
                kept.retain(|kept| !(first..=last).contains(kept));
            }
            assert!(kept.len() <= AttemptRecord::KEPT_MAX as usize);
        }
        let expected: Vec<u32> = (1..=10).chain(911..=1000).collect();
        assert_eq!(kept, expected);
    }
}
