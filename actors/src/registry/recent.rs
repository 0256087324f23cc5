//! The recently finished tasks, their outputs and what their last attempts told, up to a budget of bytes; the longest
//! finished goes first.

use std::collections::{HashMap, VecDeque};

use crate::body::Body;
use crate::executor::Report;
use crate::task::{Output, Task, TaskId};

/// What an entry costs beside its output: the task twice over, for the map's spare room, and the queue.
const ENTRY_WEIGHT: usize = 2 * size_of::<(TaskId, Entry)>() + size_of::<TaskId>();

pub struct Recent {
    budget: usize,
    weight: usize,
    entries: HashMap<TaskId, Entry>,
    /// In the order they finished; may name entries that are gone.
    order: VecDeque<TaskId>,
    /// The latest that were deleted: news of their end may still be on its way.
    deleted: VecDeque<TaskId>,
}

struct Entry {
    task: Task,
    output: Option<Output>,
    report: Option<Report>,
    weight: usize,
}
/// How many deleted tasks are remembered. News of an end comes within a few messages.
const DELETED_MAX: usize = 256;

impl Recent {
    pub fn new(budget: usize) -> Self {
        Self { budget, weight: 0, entries: HashMap::new(), order: VecDeque::new(), deleted: VecDeque::new() }
    }

    /// Keeps a finished task, and lets the longest finished go as far as the budget demands. A task whose output
    /// is a file is left to the store: an open file a task would be a limit of its own. A report of a task that ended
    /// takes nothing more.
    pub fn keep(&mut self, task: Task, output: Option<Output>, report: Option<Report>) {
        let id = task.id;
        self.forget(id);
        if matches!(output, Some(Output { body: Body::File(_), .. })) || self.deleted.contains(&id) {
            return;
        }
        let weight = weight(&task, output.as_ref()) + report.as_ref().map_or(0, Report::weight);
        self.weight += weight;
        self.entries.insert(id, Entry { task, output, report, weight });
        self.order.push_back(id);
        while self.weight > self.budget {
            let oldest = self.order.pop_front().expect("what weighs something is in the order");
            self.forget(oldest);
        }
    }

    /// Forgets a task that was deleted, and does not keep it should news of its end come only now.
    pub fn forget_for_good(&mut self, task: TaskId) {
        self.forget(task);
        if self.deleted.len() == DELETED_MAX {
            self.deleted.pop_front();
        }
        self.deleted.push_back(task);
    }

    pub fn forget(&mut self, task: TaskId) {
        if let Some(entry) = self.entries.remove(&task) {
            self.weight -= entry.weight;
        }
        // Names of entries that are gone must not pile up while the budget is not reached.
        if self.order.len() > 2 * self.entries.len() + 64 {
            self.order.retain(|id| self.entries.contains_key(id));
        }
    }

    pub fn task(&self, task: TaskId) -> Option<&Task> {
        self.entries.get(&task).map(|entry| &entry.task)
    }

    /// What the last attempt of a task told.
    pub fn report(&self, task: TaskId) -> Option<&Report> {
        self.entries.get(&task)?.report.as_ref()
    }

    pub fn get(&self, task: TaskId) -> Option<(&Task, Option<&Output>)> {
        self.entries.get(&task).map(|entry| (&entry.task, entry.output.as_ref()))
    }
}

fn weight(task: &Task, output: Option<&Output>) -> usize {
    let failure = task.failure.as_ref().map_or(0, |failure| size_of_val(&**failure) + failure.message.len());
    let options = task.options.as_ref().map_or(0, |options| options.weight());
    let custom_id = task.batch.as_ref().map_or(0, |member| size_of_val(&**member) + member.custom_id.len());
    ENTRY_WEIGHT + failure + options + custom_id + output.map_or(0, Output::weight)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::task::{EndpointName, State, TaskOptions};

    fn finished() -> Task {
        let endpoint = EndpointName::new("echo").unwrap();
        let task = Task::submitted(TaskId::generate(), endpoint, DateTime::UNIX_EPOCH);
        Task { state: State::Completed, attempt: 1, ..task }
    }

    #[test]
    fn what_is_kept_never_outgrows_the_budget_and_the_longest_finished_goes_first() {
        let output = || Some(Output::new("text/plain", vec![b'x'; 10_000]));
        let mut recent = Recent::new(35_000);
        let tasks: Vec<Task> = (0..5).map(|_| finished()).collect();
        for task in &tasks {
            recent.keep(task.clone(), output(), None);
            assert!(recent.weight <= recent.budget);
        }
        let kept: Vec<bool> = tasks.iter().map(|task| recent.task(task.id).is_some()).collect();
        assert_eq!(kept, [false, false, true, true, true]);
    }

    #[test]
    fn what_a_task_asked_for_counts_as_well() {
        let tags = [("run".to_owned(), "r".repeat(500))].into();
        let options = TaskOptions { tags, ..TaskOptions::default() };
        let mut recent = Recent::new(100_000);
        for _ in 0..200 {
            recent.keep(Task { options: Some(Arc::new(options.clone())), ..finished() }, None, None);
        }
        assert!(recent.entries.len() * 1000 < 100_000, "{} are kept", recent.entries.len());
    }

    #[test]
    fn an_output_over_the_whole_budget_is_not_kept() {
        let mut recent = Recent::new(1000);
        let task = finished();
        recent.keep(task.clone(), Some(Output::new("text/plain", vec![b'x'; 10_000])), None);
        assert!(recent.get(task.id).is_none());
        assert_eq!(recent.weight, 0);
    }

    #[test]
    fn a_deleted_task_does_not_come_back_with_late_news() {
        let mut recent = Recent::new(1 << 30);
        let task = finished();
        recent.forget_for_good(task.id);
        recent.keep(task.clone(), None, None);
        assert!(recent.task(task.id).is_none());
    }

    #[test]
    fn forgetting_leaves_no_names_behind() {
        let mut recent = Recent::new(1 << 30);
        for _ in 0..1000 {
            let task = finished();
            recent.keep(task.clone(), None, Some(Report::unwatched()));
            recent.forget(task.id);
        }
        assert!(recent.order.len() <= 66 && recent.weight == 0);
    }
}
