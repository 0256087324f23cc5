//! What a batch is: tasks that were sent in together, a line each, and how they stand.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{EndpointName, NotATaskId, Priority, State, TaskId, Timestamp};

/// Names a batch: made, shown and read as a task's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(TaskId);

impl BatchId {
    /// A new id, greater than every id this process made before.
    pub fn generate() -> Self {
        Self(TaskId::generate())
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(TaskId::from_bytes(bytes))
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BatchId {
    type Err = NotATaskId;

    fn from_str(text: &str) -> Result<Self, NotATaskId> {
        text.parse().map(Self)
    }
}

/// Where a task belongs: its batch, and its name in there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    pub batch: BatchId,
    pub custom_id: String,
}

impl Member {
    /// The most bytes of a custom id.
    pub const CUSTOM_ID_MAX: usize = 256;
}

/// How a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BatchState {
    /// Lines may still come. Those that came are tasks already, and may run.
    Receiving,
    /// All lines are there, and not all of them have ended.
    Running,
    /// All lines are there and have ended, whatever the end of each.
    Completed,
    /// It was canceled: no more lines are taken, and what waited is canceled. What ran may still be running, until
    /// the batch has a `finished_at`.
    Canceled,
}

impl BatchState {
    pub const ALL: [BatchState; 4] =
        [BatchState::Receiving, BatchState::Running, BatchState::Completed, BatchState::Canceled];

    pub fn as_str(self) -> &'static str {
        match self {
            BatchState::Receiving => "receiving",
            BatchState::Running => "running",
            BatchState::Completed => "completed",
            BatchState::Canceled => "canceled",
        }
    }
}

impl fmt::Display for BatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many tasks of a batch are in each state. One that has ended stays counted when it is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts([u64; State::ALL.len()]);

impl BatchCounts {
    pub fn of(&self, state: State) -> u64 {
        self.0[state as usize]
    }

    /// Adds so many to a state, or takes them away.
    pub fn add(&mut self, state: State, tasks: i64) {
        let count = &mut self.0[state as usize];
        *count = count.saturating_add_signed(tasks);
    }

    /// How many lines were recorded.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub fn unfinished(&self) -> u64 {
        State::ALL.into_iter().filter(|state| !state.is_finished()).map(|state| self.of(state)).sum()
    }
}

/// All that is known of a batch, less its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub id: BatchId,
    pub endpoint: EndpointName,
    pub state: BatchState,
    /// The priority of those lines that name none.
    pub priority: Priority,
    pub created_at: Timestamp,
    /// When the last of its tasks ended, all lines being there or the batch canceled.
    pub finished_at: Option<Timestamp>,
    /// When it is forgotten, unless some of its tasks are still stored then; as long as lines come or tasks run, that
    /// time moves on.
    pub expires_at: Timestamp,
    /// How many lines of the latest upload could not be taken.
    pub refused: u64,
    pub counts: BatchCounts,
    /// How many failed or were canceled for a reason, by the word of its failure code.
    pub failures: BTreeMap<&'static str, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut counts = BatchCounts::default();
        counts.add(State::Pending, 3);
        counts.add(State::Pending, -1);
        counts.add(State::InProgress, 1);
        counts.add(State::Failed, 4);
        assert_eq!((counts.of(State::Pending), counts.unfinished(), counts.total()), (2, 3, 7));
    }

    #[test]
    fn an_id_of_a_batch_is_read_as_it_is_shown() {
        let id = BatchId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(BatchId::from_bytes(*id.as_bytes()), id);
        assert!("batch".parse::<BatchId>().is_err());
    }
}
