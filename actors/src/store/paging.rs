//! Pages of tasks, newest id first: what is asked for, what is answered, and where a page ends.

use std::ops::ControlFlow;

use crate::task::{EndpointName, State, Task, TaskId};

/// How many tasks that do not fit a store passes over for one page. Then the page ends, short as it may be, with
/// where to go on: no question keeps a store from the others.
pub const WALK_MAX: usize = 500;

/// Which tasks to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    pub endpoint: Option<EndpointName>,
    /// Those in one of these states; in any where it is empty.
    pub states: Vec<State>,
    /// Those with all of these tags.
    pub tags: Vec<(String, String)>,
    /// The least id.
    pub from: Option<TaskId>,
    /// What the page before said of where to go on; `None` for the first page.
    pub after: Option<TaskId>,
    pub limit: usize,
}

impl ListQuery {
    /// The newest of all tasks.
    pub fn newest(limit: usize) -> Self {
        Self { endpoint: None, states: Vec::new(), tags: Vec::new(), from: None, after: None, limit }
    }

    /// Whether a task is of the endpoint, the states and the tags that are asked for.
    pub(super) fn fits(&self, task: &Task) -> bool {
        let tags = task.options.as_ref().map(|options| &options.tags);
        let has = |key: &String, value: &String| tags.and_then(|tags| tags.get(key)) == Some(value);
        self.endpoint.as_ref().is_none_or(|only| *only == task.endpoint)
            && self.wants(task.state)
            && self.tags.iter().all(|(key, value)| has(key, value))
    }

    pub(super) fn wants(&self, state: State) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    /// Whether it asks for tasks in some of these states only.
    pub(super) fn is_within(&self, states: &[State]) -> bool {
        !self.states.is_empty() && self.states.iter().all(|state| states.contains(state))
    }

    /// Whether no id lies between its bounds.
    pub(super) fn is_void(&self) -> bool {
        matches!((self.from, self.after), (Some(from), Some(after)) if from >= after)
    }
}

/// A page of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub tasks: Vec<Task>,
    /// Where to go on; `None` where nothing follows. The next page may still be empty.
    pub next: Option<TaskId>,
}

/// A page in the making. It is shown tasks with the newest first, and says when to stop.
pub(super) struct Pager {
    limit: usize,
    passed_over: usize,
    page: Page,
}

impl Pager {
    pub fn new(limit: usize) -> Self {
        Self { limit, passed_over: 0, page: Page::default() }
    }

    /// Takes a task that fits. One more than the page holds only tells that more follows.
    pub fn take(&mut self, task: Task) -> ControlFlow<()> {
        if self.page.tasks.len() >= self.limit {
            self.page.next = self.page.tasks.last().map(|last| last.id);
            return ControlFlow::Break(());
        }
        self.page.tasks.push(task);
        ControlFlow::Continue(())
    }

    /// Passes over a task that does not fit.
    pub fn pass_over(&mut self, task: TaskId) -> ControlFlow<()> {
        self.passed_over += 1;
        if self.passed_over < WALK_MAX {
            return ControlFlow::Continue(());
        }
        self.page.next = Some(task);
        ControlFlow::Break(())
    }

    pub fn finish(self) -> Page {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn task() -> Task {
        Task::submitted(TaskId::generate(), EndpointName::new("echo").unwrap(), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_page_that_is_full_says_where_to_go_on_only_if_more_follows() {
        let (first, second) = (task(), task());
        let mut pager = Pager::new(1);
        assert!(pager.take(second.clone()).is_continue());
        let mut more = Pager::new(1);
        assert!(more.take(second.clone()).is_continue() && more.take(first).is_break());
        assert_eq!(pager.finish().next, None);
        assert_eq!(more.finish(), Page { next: Some(second.id), tasks: vec![second] });
    }

    #[test]
    fn a_page_ends_where_too_much_was_passed_over() {
        let mut pager = Pager::new(10);
        let ids: Vec<TaskId> = (0..WALK_MAX).map(|_| TaskId::generate()).collect();
        let ended = ids.iter().take_while(|id| pager.pass_over(**id).is_continue()).count();
        assert_eq!(ended, WALK_MAX - 1);
        assert_eq!(pager.finish(), Page { tasks: Vec::new(), next: Some(ids[WALK_MAX - 1]) });
    }
}
