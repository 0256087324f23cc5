//! Starts that were answered and are not written yet.
//!
//! A lazy start waits here for a moment. When its task is settled in the meantime, the start is never written:
//! the settlement says the same. Until then every reader is shown the task as started.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::clock::stopwatch;
use crate::store::{Lease, Run};
use crate::task::{State, Task, TaskId};

use super::rows::{EndpointId, Row};

/// How long a start may wait to be written. Long enough that the start of a quick task never is.
pub(super) const START_DELAY: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug)]
pub(super) struct UnwrittenStart {
    pub fence: u32,
    pub run: Run,
    pub endpoint: EndpointId,
    /// The file says all of it by now, or will when the group in the making is committed.
    superseded: bool,
}

impl UnwrittenStart {
    pub fn new(fence: u32, run: Run, endpoint: EndpointId) -> Self {
        Self { fence, run, endpoint, superseded: false }
    }
}

/// What readers look at.
#[derive(Debug, Default)]
pub(super) struct ShownStarts(Mutex<HashMap<TaskId, UnwrittenStart>>);

impl ShownStarts {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, UnwrittenStart>> {
        self.0.lock().expect("nobody panics while holding the starts")
    }

    pub fn get(&self, lease: Lease) -> Option<UnwrittenStart> {
        self.lock().get(&lease.task).copied().filter(|start| start.fence == lease.fence)
    }

    /// The task of a row as everybody is shown it.
    pub fn present(&self, row: Row) -> Task {
        let Row { fence, holder, mut task, .. } = row;
        let may_have_started = task.state == State::Pending && holder.is_some();
        if may_have_started && let Some(start) = self.get(Lease { task: task.id, fence }) {
            task.state = State::InProgress;
            task.attempt = start.run.attempt;
            task.started_at = Some(start.run.started_at);
        }
        task
    }
}

/// The writer's side: which start is to be written when.
#[derive(Debug, Default)]
pub(super) struct Starts {
    line: VecDeque<(Instant, TaskId)>,
    /// Superseded by the group in the making.
    done: Vec<(TaskId, UnwrittenStart)>,
    /// Superseded by the group before. Still shown, which changes nothing, for the sake of a reader that looked
    /// at the file before that commit and looks here after it.
    retired: Vec<TaskId>,
}

/// Which starts to write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    All,
    /// Those that have waited for [`START_DELAY`].
    Due,
}

impl Starts {
    /// Takes a start in; answers whether it is news.
    pub fn add(&mut self, shown: &ShownStarts, task: TaskId, start: UnwrittenStart) -> bool {
        let before = shown.lock().insert(task, start);
        self.line.push_back((stopwatch(), task));
        before.is_none_or(|before| before.superseded || before.fence != start.fence)
    }

    /// How long until the oldest start must be written; `None` where there is none.
    pub fn patience(&self) -> Option<Duration> {
        self.line.front().map(|(since, _)| START_DELAY.saturating_sub(since.elapsed()))
    }

    /// The next start to write; counted as written with the group in the making.
    pub fn next(&mut self, which: Which, shown: &ShownStarts) -> Option<(TaskId, UnwrittenStart)> {
        loop {
            let too_early = which == Which::Due && self.patience().is_some_and(|left| !left.is_zero());
            if too_early {
                return None;
            }
            let (_, task) = self.line.pop_front()?;
            let fence = shown.lock().get(&task).map(|start| start.fence);
            let start = fence.and_then(|fence| self.supersede(shown, Lease { task, fence }));
            if let Some(start) = start {
                return Some((task, start));
            }
        }
    }

    /// The group in the making says all that the start under this lease said. Answers that start, if there was one
    /// and it was not written yet.
    pub fn supersede(&mut self, shown: &ShownStarts, lease: Lease) -> Option<UnwrittenStart> {
        let mut map = shown.lock();
        let start = map.get_mut(&lease.task).filter(|start| start.fence == lease.fence && !start.superseded)?;
        start.superseded = true;
        self.done.push((lease.task, *start));
        Some(*start)
    }

    /// The group was committed: answers the starts that it superseded.
    pub fn committed(&mut self, shown: &ShownStarts) -> Vec<UnwrittenStart> {
        if self.done.is_empty() && self.retired.is_empty() {
            return Vec::new();
        }
        let mut map = shown.lock();
        for task in self.retired.drain(..) {
            // It may have been started anew under a later lease.
            if map.get(&task).is_some_and(|start| start.superseded) {
                map.remove(&task);
            }
        }
        self.retired.extend(self.done.iter().map(|(task, _)| *task));
        self.done.drain(..).map(|(_, start)| start).collect()
    }

    /// The group failed: what it superseded waits again.
    pub fn failed(&mut self, shown: &ShownStarts) {
        let mut map = shown.lock();
        for (task, _) in self.done.drain(..) {
            if let Some(start) = map.get_mut(&task) {
                start.superseded = false;
            }
            self.line.push_back((stopwatch(), task));
        }
    }
}
