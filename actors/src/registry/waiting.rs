//! The tasks of this node that have not started, as compactly as can be: a million of them may wait.

use std::collections::HashMap;
use std::num::NonZeroI64;

use chrono::DateTime;

use crate::task::{EndpointName, Priority, State, Task, TaskId, Timestamp};

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
        Task {
            id,
            endpoint: self.names[entry.name as usize].clone(),
            state: State::Pending,
            priority: entry.priority,
            attempt: entry.attempt,
            crashes: entry.crashes,
            submitted_at: instant(entry.submitted_micros),
            due_at: instant(entry.due_micros),
            started_at: entry.started_micros.map(|micros| instant(micros.get())),
            finished_at: None,
            expires_at: None,
            input_bytes: entry.input_bytes,
            output_bytes: 0,
            failure: None,
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

fn instant(micros: i64) -> Timestamp {
    DateTime::from_timestamp_micros(micros).expect("it was an instant before")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_task_comes_back_as_it_went_in() {
        let mut waiting = Waiting::default();
        let task = Task {
            id: TaskId::generate(),
            endpoint: EndpointName::new("echo").unwrap(),
            state: State::Pending,
            priority: Priority(3),
            attempt: 2,
            crashes: 1,
            submitted_at: instant(1_750_000_000_000_001),
            due_at: instant(1_750_000_000_000_002),
            started_at: Some(instant(1_750_000_000_000_003)),
            finished_at: None,
            expires_at: None,
            input_bytes: 7,
            output_bytes: 0,
            failure: None,
        };
        waiting.insert(&task);
        assert_eq!(waiting.get(task.id), Some(task.clone()));
        assert_eq!(waiting.remove(task.id), Some(task.clone()));
        assert!(!waiting.contains(task.id));
    }
}
