//! Pages of tasks: which index leads to one fastest, and how far it is walked.
//!
//! Every page is read off an index in the order of the ids, or put together from few rows. What no index serves is
//! found by walking one that comes near, no further than [`crate::store::WALK_MAX`].

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Rows, Statement};

use crate::store::{ListQuery, Page, Pager};
use crate::task::{EndpointName, State, Task, TaskId};

use super::Shared;
use super::queue::limit;
use super::rows::{EndpointId, Row, id_at, state_number};

/// Up to so many unfinished tasks, a page of them is found by sorting them all; above, by walking down the ids,
/// among which they are then frequent enough.
const UNFINISHED_SORTED_MAX: i64 = 5000;

/// Greater than every id of ours: their version keeps the first bits lower.
const ABOVE_EVERY_ID: TaskId = TaskId::from_bytes([0xff; 16]);
const LEAST_ID: TaskId = TaskId::from_bytes([0; 16]);

const UNFINISHED: [State; 2] = [State::Pending, State::InProgress];
const TROUBLED: [State; 2] = [State::Failed, State::Canceled];

pub(super) struct Pages<'c> {
    shared: Arc<Shared>,
    task_by_id: Statement<'c>,
    all: Statement<'c>,
    of_endpoint: Statement<'c>,
    of_troubled: Statement<'c>,
    of_unfinished: Statement<'c>,
    newest_tagged: Statement<'c>,
}

impl<'c> Pages<'c> {
    pub fn new(connection: &'c Connection, shared: Arc<Shared>) -> rusqlite::Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        Ok(Self {
            shared,
            task_by_id: prepare(include_str!("task_by_id.sql"))?,
            all: prepare(include_str!("page.sql"))?,
            of_endpoint: prepare(include_str!("page_of_endpoint.sql"))?,
            of_troubled: prepare(include_str!("page_of_troubled.sql"))?,
            of_unfinished: prepare(include_str!("page_of_unfinished.sql"))?,
            newest_tagged: prepare(include_str!("newest_tagged.sql"))?,
        })
    }

    pub fn page(&mut self, query: &ListQuery) -> rusqlite::Result<Page> {
        let endpoint = match &query.endpoint {
            None => None,
            Some(name) => match self.number_of(name) {
                Some(number) => Some(number.0),
                None => return Ok(Page::default()),
            },
        };
        if query.is_void() || self.none_are_there(query) {
            return Ok(Page::default());
        }
        if !query.tags.is_empty() {
            return self.page_of_tagged(query);
        }
        if query.is_within(&TROUBLED) {
            return self.page_of_troubled(query);
        }
        let (below, from) = bounds(query);
        let (below, from) = (below.as_bytes(), from.as_bytes());
        let shared = self.shared.clone();
        match endpoint {
            _ if query.is_within(&UNFINISHED) && self.few_are_unfinished() => {
                walk(self.of_unfinished.query((below, from, endpoint))?, query, &shared)
            }
            Some(endpoint) => walk(self.of_endpoint.query((below, from, endpoint))?, query, &shared),
            None => walk(self.all.query((below, from))?, query, &shared),
        }
    }

    /// The ids that have all of the tags are found by asking each tag in turn for its newest up to the one before.
    fn page_of_tagged(&mut self, query: &ListQuery) -> rusqlite::Result<Page> {
        let (mut below, from) = bounds(query);
        let mut pager = Pager::new(query.limit);
        while let Some(candidate) = self.newest_tagged(&query.tags[0], below, from)? {
            let mut newest = candidate;
            for tag in &query.tags[1..] {
                match self.newest_tagged(tag, above(newest), from)? {
                    Some(found) => newest = found,
                    None => return Ok(pager.finish()),
                }
            }
            // Between the two nothing has all of the tags.
            let has_all = newest == candidate;
            below = if has_all { candidate } else { above(newest) };
            let task = if has_all { self.task(candidate)?.filter(|task| query.fits(task)) } else { None };
            let on = match task {
                Some(task) => pager.take(task),
                None => pager.pass_over(below),
            };
            if on.is_break() {
                break;
            }
        }
        Ok(pager.finish())
    }

    fn newest_tagged(
        &mut self,
        (key, value): &(String, String),
        below: TaskId,
        from: TaskId,
    ) -> rusqlite::Result<Option<TaskId>> {
        let params = (key, value, below.as_bytes(), from.as_bytes());
        self.newest_tagged.query_row(params, |row| id_at(row, 0)).optional()
    }

    /// The newest of several are among the newest of each, and one more tells whether more follow.
    fn page_of_troubled(&mut self, query: &ListQuery) -> rusqlite::Result<Page> {
        let (below, from) = bounds(query);
        let states: BTreeSet<State> = query.states.iter().copied().collect();
        let mut tasks = Vec::new();
        for (endpoint, state) in self.troubled_lists(query, &states) {
            let params = (
                below.as_bytes(),
                from.as_bytes(),
                endpoint.0,
                state_number(state),
                limit(query.limit).saturating_add(1),
            );
            let names = self.shared.counts.names();
            for row in self.of_troubled.query_map(params, |row| Row::read(row, &names))? {
                tasks.push(row?.task);
            }
        }
        tasks.sort_unstable_by_key(|task| Reverse(task.id));
        let mut pager = Pager::new(query.limit);
        for task in tasks {
            if pager.take(task).is_break() {
                break;
            }
        }
        Ok(pager.finish())
    }

    /// The lists of failed or canceled tasks that make up what is asked for.
    fn troubled_lists(&self, query: &ListQuery, states: &BTreeSet<State>) -> Vec<(EndpointId, State)> {
        let names = self.shared.counts.names();
        let wanted =
            names.iter().enumerate().filter(|(_, name)| query.endpoint.as_ref().is_none_or(|only| only == *name));
        wanted.flat_map(|(index, _)| states.iter().map(move |state| (EndpointId::at(index), *state))).collect()
    }

    fn task(&mut self, id: TaskId) -> rusqlite::Result<Option<Task>> {
        let names = self.shared.counts.names();
        let row = self.task_by_id.query_row([id.as_bytes()], |row| Row::read(row, &names)).optional()?;
        Ok(row.map(|row| self.shared.starts.present(row)))
    }

    fn number_of(&self, wanted: &EndpointName) -> Option<EndpointId> {
        self.shared.counts.names().iter().position(|name| name == wanted).map(EndpointId::at)
    }

    /// Whether there is no task in any of the states that are asked for: to walk would be in vain.
    fn none_are_there(&self, query: &ListQuery) -> bool {
        let counts = self.shared.counts.all();
        let wanted = counts.iter().filter(|count| {
            query.wants(count.state) && query.endpoint.as_ref().is_none_or(|only| *only == count.endpoint)
        });
        wanted.map(|count| count.tasks).sum::<u64>() == 0
    }

    fn few_are_unfinished(&self) -> bool {
        let counts = &self.shared.counts;
        UNFINISHED.into_iter().map(|state| counts.of_state(state)).sum::<i64>() <= UNFINISHED_SORTED_MAX
    }
}

/// Reads rows, the newest first, until the page is full or too many were passed over.
fn walk(mut rows: Rows<'_>, query: &ListQuery, shared: &Shared) -> rusqlite::Result<Page> {
    let names = shared.counts.names();
    let mut pager = Pager::new(query.limit);
    while let Some(row) = rows.next()? {
        let task = shared.starts.present(Row::read(row, &names)?);
        let on: ControlFlow<()> = if query.fits(&task) { pager.take(task) } else { pager.pass_over(task.id) };
        if on.is_break() {
            break;
        }
    }
    Ok(pager.finish())
}

/// The bound that every id of the page is below, and the least one.
fn bounds(query: &ListQuery) -> (TaskId, TaskId) {
    (query.after.unwrap_or(ABOVE_EVERY_ID), query.from.unwrap_or(LEAST_ID))
}

/// The id after this one.
fn above(id: TaskId) -> TaskId {
    TaskId::from_bytes(u128::from_be_bytes(*id.as_bytes()).saturating_add(1).to_be_bytes())
}
