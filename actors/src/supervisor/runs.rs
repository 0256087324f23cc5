//! For how long the slots of an endpoint were taken lately, and since when they are.

use std::collections::{HashMap, VecDeque};

use crate::task::{TaskId, Timestamp};

/// How many of the latest runs are looked at.
const LATEST: usize = 100;

#[derive(Debug, Default)]
pub struct Runs {
    running: HashMap<TaskId, Timestamp>,
    /// Seconds, the latest last.
    ended: VecDeque<f32>,
}

impl Runs {
    pub fn note_start(&mut self, task: TaskId, now: Timestamp) {
        self.running.insert(task, now);
    }

    /// The slot of a task is free again. A run that told nothing of how long runs take is not counted.
    pub fn note_end(&mut self, task: TaskId, now: Timestamp, counts: bool) {
        let Some(started) = self.running.remove(&task).filter(|_| counts) else { return };
        if self.ended.len() == LATEST {
            self.ended.pop_front();
        }
        self.ended.push_back(seconds(started, now));
    }

    /// For how many seconds a task has been running; `None` where it does not.
    pub fn elapsed(&self, task: TaskId, now: Timestamp) -> Option<f32> {
        self.running.get(&task).map(|started| seconds(*started, now))
    }

    /// The same of up to so many of those that run.
    pub fn elapsed_of_all(&self, most: usize, now: Timestamp) -> Vec<f32> {
        self.running.values().take(most).map(|started| seconds(*started, now)).collect()
    }

    /// How many seconds the latest runs took.
    pub fn latest(&self) -> Vec<f32> {
        self.ended.iter().copied().collect()
    }
}

fn seconds(earlier: Timestamp, later: Timestamp) -> f32 {
    (later - earlier).as_seconds_f32().max(0.0)
}
