//! The rows of the memory store and the indexes over them.
//!
//! Every index is derived from the row alone. A row is only ever changed through [`Tables::change`], which
//! takes it out of the indexes before and puts it back after, so that no index can disagree with its row.
//! What a change means is not decided here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use crate::lifecycle::Times;
use crate::store::{Count, ListQuery, Page, Pager};
use crate::task::{
    AttemptRecord, EndpointName, Input, InputDigest, Output, Priority, RunNotes, State, Task, TaskId, Timestamp,
};

/// The greatest id there can be: a range up to an instant includes every task of that instant.
const LAST_ID: [u8; 16] = [0xff; 16];

pub(super) struct Row {
    pub task: Task,
    pub input: Input,
    pub output: Option<Output>,
    pub idempotency_key: Option<String>,
    pub input_digest: Option<InputDigest>,
    /// The number of the latest claim; 0 before the first.
    pub fence: u32,
    /// Whether this node holds the task under that fence. A finished task is held by nobody.
    pub held: bool,
    /// The attempts that the task itself does not tell of.
    pub attempts: BTreeMap<u32, AttemptRecord>,
    /// Whether its latest attempt is the one that ended it.
    pub ran: bool,
    /// What that one told of itself.
    pub notes: RunNotes,
}

impl Row {
    /// A task that nobody has claimed yet.
    pub fn new(task: Task, input: Input) -> Self {
        Self {
            task,
            input,
            output: None,
            idempotency_key: None,
            input_digest: None,
            fence: 0,
            held: false,
            attempts: BTreeMap::new(),
            ran: false,
            notes: RunNotes::default(),
        }
    }

    /// When it will be overdue, if it waits for nobody knows how long.
    fn overdue_at(&self) -> Option<Timestamp> {
        Times::of(&self.task).first().filter(|_| self.waits())
    }

    /// Whether a claim may take it once it is due.
    fn waits(&self) -> bool {
        self.task.state == State::Pending && !self.held
    }
}

#[derive(Default)]
pub(super) struct Tables {
    rows: HashMap<TaskId, Row>,
    endpoints: BTreeMap<EndpointName, OfEndpoint>,
    held: BTreeSet<TaskId>,
    /// By key, then by value.
    tagged: HashMap<String, HashMap<String, BTreeSet<TaskId>>>,
    expiring: BTreeSet<(Timestamp, TaskId)>,
    /// Those that wait unheld, by the first of their times.
    overdue: BTreeSet<(Timestamp, TaskId)>,
}

/// The indexes over the tasks of one endpoint.
#[derive(Default)]
struct OfEndpoint {
    by_state: BTreeMap<State, BTreeSet<TaskId>>,
    /// What a claim may take, the most urgent first, then the longest due, then the oldest.
    waiting: BTreeMap<Priority, BTreeSet<(Timestamp, TaskId)>>,
    by_key: HashMap<String, TaskId>,
}

impl Tables {
    /// Adds a row whose id is not there yet.
    pub fn add(&mut self, row: Row) {
        self.enter(&row);
        let before = self.rows.insert(row.task.id, row);
        assert!(before.is_none(), "an id is recorded once");
    }

    pub fn row(&self, id: TaskId) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// Changes a row that is there, and answers the task as it is now.
    pub fn change(&mut self, id: TaskId, change: impl FnOnce(&mut Row)) -> Task {
        let mut row = self.remove(id);
        change(&mut row);
        let task = row.task.clone();
        self.add(row);
        task
    }

    /// Removes a row that is there.
    pub fn remove(&mut self, id: TaskId) -> Row {
        let row = self.rows.remove(&id).expect("the caller has just seen the row");
        self.leave(&row);
        row
    }

    /// The task of an endpoint that was submitted with a key.
    pub fn with_key(&self, endpoint: &EndpointName, key: &str) -> Option<&Row> {
        let id = self.endpoints.get(endpoint)?.by_key.get(key)?;
        Some(&self.rows[id])
    }

    /// Up to `max` tasks of an endpoint that wait and are due, in the order they should start.
    pub fn due(&self, endpoint: &EndpointName, now: Timestamp, max: usize) -> Vec<TaskId> {
        let Some(of_endpoint) = self.endpoints.get(endpoint) else { return Vec::new() };
        let due_now = ..=(now, TaskId::from_bytes(LAST_ID));
        let in_order = of_endpoint.waiting.values().flat_map(|line| line.range(due_now));
        in_order.take(max).map(|(_, id)| *id).collect()
    }

    /// When the next task of an endpoint will be due that waits for its time.
    pub fn next_due(&self, endpoint: &EndpointName, now: Timestamp) -> Option<Timestamp> {
        let due_later = (Bound::Excluded((now, TaskId::from_bytes(LAST_ID))), Bound::Unbounded);
        let lines = self.endpoints.get(endpoint)?.waiting.values();
        lines.filter_map(|line| line.range(due_later).next()).map(|(due_at, _)| *due_at).min()
    }

    /// Up to `max` tasks that this node holds.
    pub fn held(&self, max: usize) -> Vec<TaskId> {
        self.held.iter().take(max).copied().collect()
    }

    /// Up to `max` finished tasks whose time to be kept is over, the longest over first.
    pub fn expired(&self, now: Timestamp, max: usize) -> Vec<TaskId> {
        let over = ..=(now, TaskId::from_bytes(LAST_ID));
        self.expiring.range(over).take(max).map(|(_, id)| *id).collect()
    }

    /// Up to `max` tasks that wait unheld and whose time is over, the longest over first.
    pub fn overdue(&self, now: Timestamp, max: usize) -> Vec<TaskId> {
        let over = ..=(now, TaskId::from_bytes(LAST_ID));
        self.overdue.range(over).take(max).map(|(_, id)| *id).collect()
    }

    /// The next time that will be over of a task that waits unheld.
    pub fn next_overdue(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (Bound::Excluded((now, TaskId::from_bytes(LAST_ID))), Bound::Unbounded);
        self.overdue.range(later).next().map(|(time, _)| *time)
    }

    /// A page of tasks, newest id first.
    pub fn page(&self, query: &ListQuery) -> Page {
        if query.is_void() {
            return Page::default();
        }
        let from = query.from.map_or(Bound::Unbounded, Bound::Included);
        let bounds = (from, query.after.map_or(Bound::Unbounded, Bound::Excluded));
        if query.tags.is_empty() { self.page_of_all(query, bounds) } else { self.page_of_tagged(query, bounds) }
    }

    fn page_of_all(&self, query: &ListQuery, bounds: (Bound<TaskId>, Bound<TaskId>)) -> Page {
        let wanted = self.by_endpoint_and_state().filter(|(endpoint, state, _)| {
            query.endpoint.as_ref().is_none_or(|only| only == *endpoint) && query.wants(*state)
        });
        // The newest of all are among the newest of each, and one more tells whether more follow.
        let most = query.limit.saturating_add(1);
        let newest_of_each = wanted.flat_map(|(_, _, ids)| ids.range(bounds).rev().take(most).copied());
        let mut ids: Vec<TaskId> = newest_of_each.collect();
        ids.sort_unstable_by(|one, other| other.cmp(one));
        let mut pager = Pager::new(query.limit);
        for id in ids {
            if pager.take(self.rows[&id].task.clone()).is_break() {
                break;
            }
        }
        pager.finish()
    }

    /// Goes through the rarest of the tags.
    fn page_of_tagged(&self, query: &ListQuery, bounds: (Bound<TaskId>, Bound<TaskId>)) -> Page {
        let tagged = |(key, value): &(String, String)| self.tagged.get(key)?.get(value);
        let Some(sets) = query.tags.iter().map(tagged).collect::<Option<Vec<_>>>() else { return Page::default() };
        let rarest = sets.iter().min_by_key(|ids| ids.len()).expect("there is a tag");
        let mut pager = Pager::new(query.limit);
        for id in rarest.range(bounds).rev() {
            let task = &self.rows[id].task;
            let on = if query.fits(task) { pager.take(task.clone()) } else { pager.pass_over(*id) };
            if on.is_break() {
                break;
            }
        }
        pager.finish()
    }

    pub fn counts(&self) -> Vec<Count> {
        let mut counts = Vec::new();
        for (endpoint, state, ids) in self.by_endpoint_and_state() {
            if !ids.is_empty() {
                counts.push(Count { endpoint: endpoint.clone(), state, tasks: ids.len() as u64 });
            }
        }
        counts
    }

    fn by_endpoint_and_state(&self) -> impl Iterator<Item = (&EndpointName, State, &BTreeSet<TaskId>)> {
        self.endpoints.iter().flat_map(|(endpoint, of_endpoint)| {
            of_endpoint.by_state.iter().map(move |(state, ids)| (endpoint, *state, ids))
        })
    }

    /// Puts a row into the indexes; the exact reverse of [`Tables::leave`].
    fn enter(&mut self, row: &Row) {
        let task = &row.task;
        let of_endpoint = self.endpoints.entry(task.endpoint.clone()).or_default();
        of_endpoint.by_state.entry(task.state).or_default().insert(task.id);
        if row.waits() {
            of_endpoint.waiting.entry(task.priority).or_default().insert((task.due_at, task.id));
        }
        if let Some(key) = &row.idempotency_key {
            of_endpoint.by_key.insert(key.clone(), task.id);
        }
        if row.held {
            self.held.insert(task.id);
        }
        for (key, value) in task.options.iter().flat_map(|options| &options.tags) {
            self.tagged.entry(key.clone()).or_default().entry(value.clone()).or_default().insert(task.id);
        }
        if let Some(expires_at) = task.expires_at {
            self.expiring.insert((expires_at, task.id));
        }
        if let Some(overdue_at) = row.overdue_at() {
            self.overdue.insert((overdue_at, task.id));
        }
    }

    fn leave(&mut self, row: &Row) {
        let task = &row.task;
        let of_endpoint = self.endpoints.get_mut(&task.endpoint).expect("a row that entered has its endpoint");
        of_endpoint.by_state.entry(task.state).or_default().remove(&task.id);
        if row.waits() {
            of_endpoint.waiting.entry(task.priority).or_default().remove(&(task.due_at, task.id));
        }
        if let Some(key) = &row.idempotency_key {
            of_endpoint.by_key.remove(key);
        }
        if row.held {
            self.held.remove(&task.id);
        }
        for (key, value) in task.options.iter().flat_map(|options| &options.tags) {
            leave_tag(&mut self.tagged, key, value, task.id);
        }
        if let Some(expires_at) = task.expires_at {
            self.expiring.remove(&(expires_at, task.id));
        }
        if let Some(overdue_at) = row.overdue_at() {
            self.overdue.remove(&(overdue_at, task.id));
        }
    }
}

/// Takes a task from those with a tag; a tag that nobody has is forgotten.
fn leave_tag(
    tagged: &mut HashMap<String, HashMap<String, BTreeSet<TaskId>>>,
    key: &String,
    value: &String,
    task: TaskId,
) {
    let Some(values) = tagged.get_mut(key) else { return };
    if let Some(ids) = values.get_mut(value) {
        ids.remove(&task);
        if ids.is_empty() {
            values.remove(value);
        }
    }
    if values.is_empty() {
        tagged.remove(key);
    }
}
