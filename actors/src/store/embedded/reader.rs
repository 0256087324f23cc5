//! The threads that read. They have connections of their own and never wait for the writer: each sees the file
//! as of the latest commit, which includes all that was answered before the question.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Statement};

use crate::body::{Body, BodyFile};
use crate::spool::{BlobName, Blobs};
use crate::store::{ListQuery, StoreError};
use crate::task::{EndpointName, Headers, Input, Output, State, Task, TaskId};
use crate::webhook::{Delivery, DeliveryId};

use super::Shared;
use super::calls::{Asker, answer, store_error};
use super::headers;
use super::inbox::{Inbox, Taken};
use super::outbox;
use super::queue::limit;
use super::rows::{Row, state_number, unreadable};

/// The most questions answered from one view of the file: opening a view costs as much as a few answers.
const QUESTIONS_A_VIEW: usize = 128;

/// Up to so many unfinished tasks, a page of them is found by sorting them all; above, by walking down the ids,
/// among which they are then frequent enough.
const UNFINISHED_SORTED_MAX: i64 = 20_000;

/// Greater than every id of ours: their version keeps the first bits lower.
const ABOVE_EVERY_ID: [u8; 16] = [0xff; 16];

pub(super) enum Question {
    Get(TaskId, Asker<Option<Task>>),
    Input(TaskId, Asker<Option<Input>>),
    Output(TaskId, Asker<Option<Output>>),
    List(ListQuery, Asker<Vec<Task>>),
    Delivery(DeliveryId, Asker<Option<Delivery>>),
}

pub(super) struct Reader<'c> {
    sql: ReaderStatements<'c>,
    shared: Arc<Shared>,
    blobs: Blobs,
}

struct ReaderStatements<'c> {
    begin: Statement<'c>,
    end: Statement<'c>,
    task_by_id: Statement<'c>,
    input_of_task: Statement<'c>,
    output_of_task: Statement<'c>,
    page: Statement<'c>,
    page_of_endpoint: Statement<'c>,
    page_of_troubled: Statement<'c>,
    page_of_unfinished: Statement<'c>,
    delivery_by_id: Statement<'c>,
}

impl<'c> Reader<'c> {
    pub fn new(connection: &'c Connection, shared: Arc<Shared>, blobs: Blobs) -> rusqlite::Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        let sql = ReaderStatements {
            begin: prepare("BEGIN")?,
            end: prepare("COMMIT")?,
            task_by_id: prepare(include_str!("task_by_id.sql"))?,
            input_of_task: prepare(include_str!("input_of_task.sql"))?,
            output_of_task: prepare(include_str!("output_of_task.sql"))?,
            page: prepare(include_str!("page.sql"))?,
            page_of_endpoint: prepare(include_str!("page_of_endpoint.sql"))?,
            page_of_troubled: prepare(include_str!("page_of_troubled.sql"))?,
            page_of_unfinished: prepare(include_str!("page_of_unfinished.sql"))?,
            delivery_by_id: prepare(include_str!("delivery_by_id.sql"))?,
        };
        Ok(Self { sql, shared, blobs })
    }

    /// Answers until the inbox is closed and empty.
    pub fn run(&mut self, questions: &Inbox<Question>) {
        let mut taken = VecDeque::new();
        while questions.take(&mut taken, QUESTIONS_A_VIEW, None) != Taken::Closed {
            // Without a view the questions are answered all the same, each from its own.
            let in_one_view = taken.len() > 1 && self.sql.begin.raw_execute().is_ok();
            for question in taken.drain(..) {
                self.answer(question);
            }
            if in_one_view {
                // Nothing was written: there is nothing that could fail to be.
                let _ = self.sql.end.raw_execute();
            }
        }
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Get(task, asker) => answer(asker, self.get(task).map_err(|error| store_error(&error))),
            Question::Input(task, asker) => answer(asker, self.input(task)),
            Question::Output(task, asker) => answer(asker, self.output(task)),
            Question::List(query, asker) => answer(asker, self.list(&query).map_err(|error| store_error(&error))),
            Question::Delivery(id, asker) => answer(asker, self.delivery(id).map_err(|error| store_error(&error))),
        }
    }

    fn get(&mut self, task: TaskId) -> rusqlite::Result<Option<Task>> {
        let names = self.shared.counts.names();
        let row = self.sql.task_by_id.query_row([task.as_bytes()], |row| Row::read(row, &names)).optional()?;
        Ok(row.map(|row| self.shared.starts.present(row)))
    }

    fn delivery(&mut self, id: DeliveryId) -> rusqlite::Result<Option<Delivery>> {
        self.sql.delivery_by_id.query_row([id.as_bytes()], outbox::shown).optional()
    }

    fn input(&mut self, task: TaskId) -> Result<Option<Input>, StoreError> {
        let read = self
            .sql
            .input_of_task
            .query_row([task.as_bytes()], |row| Ok((row.get::<_, bool>(0)?, headers_at(row, 1)?, bytes_at(row, 2)?)));
        let Some((in_file, headers, bytes)) = read.optional().map_err(|error| store_error(&error))? else {
            return Ok(None);
        };
        let body = body(&self.blobs, in_file.then_some(BlobName::Input(task)), bytes)?;
        Ok(body.map(|body| Input { headers, body }))
    }

    fn output(&mut self, task: TaskId) -> Result<Option<Output>, StoreError> {
        let read = self.sql.output_of_task.query_row([task.as_bytes()], |row| {
            let fence: u32 = row.get(1)?;
            let file = row.get::<_, bool>(0)?.then_some(BlobName::Output(task, fence));
            Ok((file, row.get(2)?, headers_at(row, 3)?, bytes_at(row, 4)?))
        });
        let Some((file, status, headers, bytes)) = read.optional().map_err(|error| store_error(&error))? else {
            return Ok(None);
        };
        let body = body(&self.blobs, file, bytes)?;
        Ok(body.map(|body| Output { status, headers, body }))
    }

    fn list(&mut self, query: &ListQuery) -> rusqlite::Result<Vec<Task>> {
        match query.state {
            // Some that are pending in the file are shown as started.
            Some(State::Pending) => {
                let spare = self.shared.starts.ids().len();
                let mut tasks = self.page(query, query.limit.saturating_add(spare))?;
                tasks.retain(|task| task.state == State::Pending);
                tasks.truncate(query.limit);
                Ok(tasks)
            }
            Some(State::InProgress) => {
                let mut tasks = self.page(query, query.limit)?;
                tasks.extend(self.started_lately(query)?);
                newest_first(&mut tasks, query.limit);
                Ok(tasks)
            }
            Some(State::Failed | State::Canceled) if query.endpoint.is_none() => self.troubled_of_all(query),
            Some(State::Completed | State::Failed | State::Canceled) | None => self.page(query, query.limit),
        }
    }

    /// Those of the page that have started and are still pending in the file.
    fn started_lately(&mut self, query: &ListQuery) -> rusqlite::Result<Vec<Task>> {
        let mut ids = self.shared.starts.ids();
        ids.retain(|id| query.after.is_none_or(|after| *id < after));
        let mut tasks = Vec::new();
        for id in ids {
            let names = self.shared.counts.names();
            let row = self.sql.task_by_id.query_row([id.as_bytes()], |row| Row::read(row, &names)).optional()?;
            let pending = row.filter(|row| row.task.state == State::Pending);
            let task = pending.map(|row| self.shared.starts.present(row));
            tasks.extend(task.filter(|task| {
                task.state == State::InProgress && query.endpoint.as_ref().is_none_or(|only| *only == task.endpoint)
            }));
        }
        Ok(tasks)
    }

    /// The newest of all endpoints are among the newest of each.
    fn troubled_of_all(&mut self, query: &ListQuery) -> rusqlite::Result<Vec<Task>> {
        let counts = self.shared.counts.all();
        let mut tasks = Vec::new();
        for count in counts.into_iter().filter(|count| Some(count.state) == query.state) {
            let of_one = ListQuery { endpoint: Some(count.endpoint), ..query.clone() };
            tasks.extend(self.page(&of_one, query.limit)?);
        }
        newest_first(&mut tasks, query.limit);
        Ok(tasks)
    }

    /// A page as the file has it, by the index that leads to it fastest.
    fn page(&mut self, query: &ListQuery, most: usize) -> rusqlite::Result<Vec<Task>> {
        let names = self.shared.counts.names();
        let endpoint = match &query.endpoint {
            None => None,
            Some(name) => match number_of(&names, name) {
                Some(number) => Some(number),
                None => return Ok(Vec::new()),
            },
        };
        let below = query.after.map_or(ABOVE_EVERY_ID, |after| *after.as_bytes());
        let state = query.state.map(state_number);
        let most = limit(most);
        let read = |row: &rusqlite::Row<'_>| Row::read(row, &names);
        let rows = match (query.state, endpoint) {
            (Some(State::Pending | State::InProgress), _) if self.few_are_unfinished() => {
                self.sql.page_of_unfinished.query_map((below, state, most, endpoint), read)?
            }
            (Some(State::Failed | State::Canceled), Some(endpoint)) => {
                self.sql.page_of_troubled.query_map((below, state, most, endpoint), read)?
            }
            (_, Some(endpoint)) => self.sql.page_of_endpoint.query_map((below, state, most, endpoint), read)?,
            (_, None) => self.sql.page.query_map((below, state, most), read)?,
        };
        rows.map(|row| Ok(self.shared.starts.present(row?))).collect()
    }

    fn few_are_unfinished(&self) -> bool {
        let counts = &self.shared.counts;
        counts.of_state(State::Pending) + counts.of_state(State::InProgress) <= UNFINISHED_SORTED_MAX
    }
}

fn number_of(names: &[EndpointName], wanted: &EndpointName) -> Option<i64> {
    let index = names.iter().position(|name| name == wanted)?;
    Some(super::rows::EndpointId::at(index).0)
}

fn newest_first(tasks: &mut Vec<Task>, limit: usize) {
    tasks.sort_unstable_by_key(|task| Reverse(task.id));
    tasks.dedup_by_key(|task| task.id);
    tasks.truncate(limit);
}

fn headers_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Headers> {
    let bytes = row.get_ref(column)?.as_blob_or_null()?;
    headers::decode(bytes).ok_or_else(|| unreadable(column, "bytes that are no headers"))
}

fn bytes_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_blob_or_null()?.unwrap_or_default()))
}

/// A body from its row or from its file; `None` where the task was pruned a moment ago, its file with it.
fn body(blobs: &Blobs, file: Option<BlobName>, bytes: Bytes) -> Result<Option<Body>, StoreError> {
    let Some(path) = file.and_then(|name| blobs.path(name)) else { return Ok(Some(Body::Inline(bytes))) };
    match BodyFile::open(&path) {
        Ok(file) => Ok(Some(Body::File(file))),
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::Failed(format!("cannot open the body in {}: {error}", path.display()))),
    }
}
