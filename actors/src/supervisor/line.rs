//! The line before an endpoint: who waits, how many slots are free, how many have an actor, how it is set.
//!
//! Counting only; who is started when is the Supervisor's to say.

use std::sync::Arc;
use std::time::Duration;

use super::LineMeasures;
use super::pace::Pace;
use super::prospect::{self, Prospect};
use super::runs::Runs;
use super::waiters::{CallerId, WaitKey, Waiters};
use crate::clock::stopwatch;
use crate::executor::Demand;
use crate::rate::Rate;
use crate::store::Control;
use crate::task::{Rank, Task, TaskId, Timestamp};
use crate::task_actor::Crew;

pub struct Line {
    pub crew: Arc<Crew>,
    pub control: Control,
    /// How many may run at once: as many as configured, unless it was set otherwise.
    pub slots: usize,
    /// The most slots that were asked for and are not granted yet.
    pub slots_asked: usize,
    pub slots_used: usize,
    /// How many of the slots may be used just now.
    pub pace: Pace,
    /// Whether it will be looked at again when the pace's hold is over.
    pub wakes: bool,
    /// Those with an actor who have not been told to start.
    pub waiters: Waiters,
    /// How long the latest runs took, and since when the running ones run.
    pub runs: Runs,
    /// Those with an actor, and those about to have one.
    pub resident: usize,
    /// Those who wait in the store without an actor and are due, as far as we know: a claim finds out.
    pub backlog: u64,
    /// How much of that was learnt since the claim under way was asked for, which may not have seen it.
    pub unseen: u64,
    /// The caller whose turn was the last in the store.
    pub turn: Option<String>,
    /// Whether a claim for it is under way.
    pub claiming: bool,
    /// How many purges are under way: nothing is claimed meanwhile.
    pub purges: usize,
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
    pub fn new(crew: Arc<Crew>, control: Control, left_over: u64) -> Self {
        let slots = slots(&crew, control);
        Self {
            control,
            slots,
            slots_asked: 0,
            slots_used: 0,
            pace: Pace::new(slots),
            wakes: false,
            crew,
            waiters: Waiters::new(),
            runs: Runs::default(),
            resident: 0,
            backlog: left_over,
            unseen: 0,
            turn: None,
            claiming: false,
            purges: 0,
            waiting: left_over,
            submitted: 0,
            submitted_lately: Rate::new(),
            refused: 0,
        }
    }

    /// Is set otherwise from now on. What runs goes on.
    pub fn set(&mut self, control: Control) {
        self.control = control;
        self.slots = slots(&self.crew, control);
        self.pace.set_ceiling(self.slots);
    }

    /// So many more wait in the store.
    pub fn expect_backlog(&mut self, tasks: u64) {
        self.backlog += tasks;
        self.unseen += tasks;
    }

    /// All who wait and have no actor may wait in the store, and be due.
    pub fn expect_all(&mut self) {
        let elsewhere = self.waiting.saturating_sub(self.waiters.len() as u64);
        self.backlog = self.backlog.max(elsewhere);
        self.unseen = self.unseen.max(elsewhere);
    }

    pub fn rank(&self, task: &Task) -> Rank {
        Rank::of(task.priority, task.due_at, self.crew.endpoint.aging)
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
        self.has_free_slot() && self.slots_used < self.pace.allowed() && self.pace.hold(stopwatch()).is_none()
    }

    /// Whether one more may start, were it not for the pace.
    pub fn has_free_slot(&self) -> bool {
        self.slots_used < self.slots && !self.control.paused
    }

    /// Tells the executor how much work there is: what a paused line holds is none.
    pub fn tell_demand(&self) {
        let waiting = if self.control.paused { 0 } else { self.waiting };
        self.crew.endpoint.executor.demand(Demand { waiting, running: self.slots_used });
    }

    /// One who waited takes a slot.
    pub fn note_start(&mut self, task: TaskId, now: Timestamp) {
        self.runs.note_start(task, now);
        self.slots_used += 1;
        self.waiting -= 1;
    }

    /// A slot is free again.
    pub fn note_end(&mut self, caller: CallerId) {
        self.slots_used -= 1;
        self.waiters.end(caller);
    }

    /// Where a task of a caller stands that waits here, or runs, and what can be told from of when it will start and end.
    pub fn prospect(&self, caller: CallerId, key: &WaitKey, now: Timestamp) -> Option<Prospect> {
        let elapsed = self.runs.elapsed(key.task, now);
        let position = match elapsed {
            Some(_) => 0,
            None => self.waiters.place(caller, key)? as u64 + 1,
        };
        let nothing_starts = self.control.paused || self.pace.hold(stopwatch()).is_some();
        Some(Prospect {
            position,
            now,
            slots: if nothing_starts { 0 } else { self.pace.allowed() },
            elapsed,
            running: self.runs.elapsed_of_all(prospect::SLOTS, now),
            runs: self.runs.latest(),
        })
    }

    pub fn measures(&self, now: Timestamp) -> LineMeasures {
        let aging = self.crew.endpoint.aging;
        let longest = self.waiters.firsts().map(|first| first.rank.due_micros(aging)).min();
        let age = longest.map(|due| now.timestamp_micros().saturating_sub(due));
        LineMeasures {
            endpoint: self.crew.name.clone(),
            paused: self.control.paused,
            waiting: self.waiting,
            slots: self.slots,
            slots_configured: self.crew.endpoint.concurrency,
            slots_used: self.slots_used,
            slots_allowed: self.pace.allowed(),
            oldest_waiting: age.and_then(|age| u64::try_from(age).ok()).map(Duration::from_micros).unwrap_or_default(),
            submitted: self.submitted,
            submitted_per_minute: self.submitted_lately.per_minute(),
            refused: self.refused,
        }
    }
}

/// How many may run at once.
fn slots(crew: &Crew, control: Control) -> usize {
    control.concurrency.map_or(crew.endpoint.concurrency, |concurrency| concurrency as usize)
}
