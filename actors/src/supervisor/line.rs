//! The line before an endpoint: who waits, how many slots are free, how many have an actor.
//!
//! Counting only; who is started when is the Supervisor's to say.

use std::sync::Arc;

use chrono::DateTime;

use super::LineMeasures;
use super::pace::Pace;
use super::prospect::{self, Prospect};
use super::ranks::Ranks;
use super::runs::Runs;
use crate::clock::stopwatch;
use crate::executor::Demand;
use crate::rate::Rate;
use crate::task::{Priority, Task, TaskId, Timestamp};
use crate::task_actor::Crew;

/// What decides who goes first: the most urgent, then the longest due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    priority: Priority,
    due_micros: i64,
}

impl Rank {
    pub fn of(task: &Task) -> Self {
        Self { priority: task.priority, due_micros: task.due_at.timestamp_micros() }
    }

    fn due_at(&self) -> Timestamp {
        DateTime::from_timestamp_micros(self.due_micros).expect("it was an instant before")
    }
}

/// Where a task stands in its line: by rank, and of one rank the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaitKey {
    pub rank: Rank,
    pub task: TaskId,
}

pub struct Line {
    pub crew: Arc<Crew>,
    pub slots_free: usize,
    /// How many of the slots may be used just now.
    pub pace: Pace,
    /// Whether it will be looked at again when the pace's hold is over.
    pub wakes: bool,
    /// Those with an actor who have not been told to start.
    pub waiters: Ranks<WaitKey>,
    /// How long the latest runs took, and since when the running ones run.
    pub runs: Runs,
    /// Those with an actor, and those about to have one.
    pub resident: usize,
    /// Those who wait in the store without an actor and are due, as far as we know: a claim finds out.
    pub backlog: u64,
    /// All who have not started, wherever they wait.
    pub waiting: u64,
    /// Recorded since the node started.
    pub submitted: u64,
    submitted_lately: Rate,
    /// Turned away since the node started, because a queue was full.
    pub refused: u64,
}

impl Line {
    /// A line whose store holds `left_over` waiting tasks already.
    pub fn new(crew: Arc<Crew>, left_over: u64) -> Self {
        Self {
            slots_free: crew.endpoint.concurrency,
            pace: Pace::new(crew.endpoint.concurrency),
            wakes: false,
            crew,
            waiters: Ranks::default(),
            runs: Runs::default(),
            resident: 0,
            backlog: left_over,
            waiting: left_over,
            submitted: 0,
            submitted_lately: Rate::new(),
            refused: 0,
        }
    }

    /// One more task was recorded.
    pub fn note_submission(&mut self) {
        self.submitted += 1;
        self.submitted_lately.note();
    }

    /// Whether a task that joined now would start at once.
    pub fn starts_soon(&self) -> bool {
        self.waiters.is_empty() && self.has_room()
    }

    /// Whether one more may start now.
    pub fn has_room(&self) -> bool {
        self.slots_free > 0 && self.slots_used() < self.pace.allowed() && self.pace.hold(stopwatch()).is_none()
    }

    /// Tells the executor how much work there is.
    pub fn tell_demand(&self) {
        self.crew.endpoint.executor.demand(Demand { waiting: self.waiting, running: self.slots_used() });
    }

    /// One who waited takes a slot.
    pub fn note_start(&mut self, task: TaskId, now: Timestamp) {
        self.runs.note_start(task, now);
        self.slots_free -= 1;
        self.waiting -= 1;
    }

    pub fn slots_used(&self) -> usize {
        self.crew.endpoint.concurrency - self.slots_free
    }

    /// Where a task stands that waits here, or runs, and what can be told from of when it will start and end.
    pub fn prospect(&self, key: &WaitKey, now: Timestamp) -> Option<Prospect> {
        let elapsed = self.runs.elapsed(key.task, now);
        let position = match elapsed {
            Some(_) => 0,
            None => self.waiters.place(key)? as u64 + 1,
        };
        let is_held = self.pace.hold(stopwatch()).is_some();
        Some(Prospect {
            position,
            now,
            slots: if is_held { 0 } else { self.pace.allowed() },
            elapsed,
            running: self.runs.elapsed_of_all(prospect::SLOTS, now),
            runs: self.runs.latest(),
        })
    }

    pub fn measures(&self, now: Timestamp) -> LineMeasures {
        let longest = self.waiters.first().map(|first| now - first.rank.due_at());
        LineMeasures {
            endpoint: self.crew.name.clone(),
            waiting: self.waiting,
            slots: self.crew.endpoint.concurrency,
            slots_used: self.slots_used(),
            slots_allowed: self.pace.allowed(),
            oldest_waiting: longest.and_then(|age| age.to_std().ok()).unwrap_or_default(),
            submitted: self.submitted,
            submitted_per_minute: self.submitted_lately.per_minute(),
            refused: self.refused,
        }
    }
}
