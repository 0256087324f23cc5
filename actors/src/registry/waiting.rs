//! The tasks of this node that have not started, as compactly as can be: a million of them may wait.

use std::collections::HashMap;
use std::num::NonZeroI64;
use std::sync::Arc;

use chrono::DateTime;

use crate::task::{EndpointName, Member, Priority, Task, TaskId, TaskOptions, Timestamp};

#[derive(Default)]
pub struct Waiting {
    entries: HashMap<TaskId, Entry>,
    /// The endpoints by number, so that an entry need not hold its endpoint's name.
    names: Vec<EndpointName>,
}

/// What tells one waiting task from another; the rest is the same for all that wait.
struct Entry {
    submitted_micros: i64,
    due_micros: i64,
    /// When its latest attempt started, for a task that was put back.
    started_micros: Option<NonZeroI64>,
    input_bytes: u64,
    attempt: u32,
    crashes: u32,
    name: u32,
    priority: Priority,
    /// What most tasks do without.
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Default, PartialEq)]
struct Rare {
    failures: u32,
    start_by: Option<Timestamp>,
    deadline: Option<Timestamp>,
    options: Option<Arc<TaskOptions>>,
    batch: Option<Arc<Member>>,
}

impl Waiting {
    pub fn insert(&mut self, task: &Task) {
        let entry = Entry {
            submitted_micros: task.submitted_at.timestamp_micros(),
            due_micros: task.due_at.timestamp_micros(),
            started_micros: task.started_at.and_then(|started| NonZeroI64::new(started.timestamp_micros())),
            input_bytes: task.input_bytes,
            attempt: task.attempt,
            crashes: task.crashes,
            name: self.number_of(&task.endpoint),
            priority: task.priority,
            rare: Rare::of(task),
        };
        self.entries.insert(task.id, entry);
    }

    pub fn get(&self, id: TaskId) -> Option<Task> {
        self.entries.get(&id).map(|entry| self.task(id, entry))
    }

    pub fn remove(&mut self, id: TaskId) -> Option<Task> {
        let entry = self.entries.remove(&id)?;
        Some(self.task(id, &entry))
    }

    pub fn contains(&self, id: TaskId) -> bool {
        self.entries.contains_key(&id)
    }

    fn task(&self, id: TaskId, entry: &Entry) -> Task {
        let rare = entry.rare.as_deref().cloned().unwrap_or_default();
        let endpoint = self.names[entry.name as usize].clone();
        Task {
            priority: entry.priority,
            attempt: entry.attempt,
            crashes: entry.crashes,
            failures: rare.failures,
            due_at: instant(entry.due_micros),
            started_at: entry.started_micros.map(|micros| instant(micros.get())),
            input_bytes: entry.input_bytes,
            start_by: rare.start_by,
            deadline: rare.deadline,
            options: rare.options,
            batch: rare.batch,
            ..Task::submitted(id, endpoint, instant(entry.submitted_micros))
        }
    }

    fn number_of(&mut self, name: &EndpointName) -> u32 {
        let number = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.clone());
            self.names.len() - 1
        });
        u32::try_from(number).expect("there are far fewer endpoints")
    }
}

impl Rare {
    fn of(task: &Task) -> Option<Box<Self>> {
        let Task { failures, start_by, deadline, ref options, ref batch, .. } = *task;
        let rare = Self { failures, start_by, deadline, options: options.clone(), batch: batch.clone() };
        (rare != Self::default()).then(|| Box::new(rare))
    }
}

fn instant(micros: i64) -> Timestamp {
    DateTime::from_timestamp_micros(micros).expect("it was an instant before")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_task_comes_back_as_it_went_in() {
        let mut waiting = Waiting::default();
        let endpoint = EndpointName::new("echo").unwrap();
        let plain = Task {
            priority: Priority(3),
            attempt: 2,
            crashes: 1,
            due_at: instant(1_750_000_000_000_002),
            started_at: Some(instant(1_750_000_000_000_003)),
            input_bytes: 7,
            ..Task::submitted(TaskId::generate(), endpoint, instant(1_750_000_000_000_001))
        };
        let options = TaskOptions { max_attempts: Some(4), ..TaskOptions::default() };
        let demanding = Task {
            id: TaskId::generate(),
            failures: 1,
            start_by: Some(instant(1_750_000_000_000_004)),
            deadline: Some(instant(1_750_000_000_000_005)),
            options: Some(Arc::new(options)),
            ..plain.clone()
        };
        for task in [plain, demanding] {
            waiting.insert(&task);
            assert_eq!(waiting.get(task.id), Some(task.clone()));
            assert_eq!(waiting.remove(task.id), Some(task.clone()));
            assert!(!waiting.contains(task.id));
        }
    }
}
