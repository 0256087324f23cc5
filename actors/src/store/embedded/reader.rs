//! The threads that read. They have connections of their own and never wait for the writer: each sees the file
//! as of the latest commit, which includes all that was answered before the question.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Statement};

use crate::body::{Body, BodyFile};
use crate::spool::{BlobName, Blobs};
use crate::store::{ListQuery, Page, StoreError};
use crate::task::{AttemptRecord, Headers, Input, Output, Task, TaskId};

use super::Shared;
use super::attempts;
use super::calls::{Asker, answer, store_error};
use super::headers;
use super::inbox::{Inbox, Taken};
use super::pages::Pages;
use super::rows::{Row, unreadable};

/// The most questions answered from one view of the file: opening a view costs as much as a few answers.
const QUESTIONS_A_VIEW: usize = 128;

pub(super) enum Question {
    Get(TaskId, Asker<Option<Task>>),
    Attempts(TaskId, Asker<Vec<AttemptRecord>>),
    Input(TaskId, Asker<Option<Input>>),
    Output(TaskId, Asker<Option<Output>>),
    List(ListQuery, Asker<Page>),
}

pub(super) struct Reader<'c> {
    sql: ReaderStatements<'c>,
    pages: Pages<'c>,
    shared: Arc<Shared>,
    blobs: Blobs,
}

struct ReaderStatements<'c> {
    begin: Statement<'c>,
    end: Statement<'c>,
    task_by_id: Statement<'c>,
    latest_run: Statement<'c>,
    attempts_of_task: Statement<'c>,
    input_of_task: Statement<'c>,
    output_of_task: Statement<'c>,
}

impl<'c> Reader<'c> {
    pub fn new(connection: &'c Connection, shared: Arc<Shared>, blobs: Blobs) -> rusqlite::Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        let sql = ReaderStatements {
            begin: prepare("BEGIN")?,
            end: prepare("COMMIT")?,
            task_by_id: prepare(include_str!("task_by_id.sql"))?,
            latest_run: prepare(include_str!("latest_run.sql"))?,
            attempts_of_task: prepare(include_str!("attempts_of_task.sql"))?,
            input_of_task: prepare(include_str!("input_of_task.sql"))?,
            output_of_task: prepare(include_str!("output_of_task.sql"))?,
        };
        let pages = Pages::new(connection, shared.clone())?;
        Ok(Self { sql, pages, shared, blobs })
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
            Question::Attempts(task, asker) => {
                answer(asker, self.attempts(task).map_err(|error| store_error(&error)));
            }
            Question::Input(task, asker) => answer(asker, self.input(task)),
            Question::Output(task, asker) => answer(asker, self.output(task)),
            Question::List(query, asker) => answer(asker, self.pages.page(&query).map_err(|error| store_error(&error))),
        }
    }

    fn get(&mut self, task: TaskId) -> rusqlite::Result<Option<Task>> {
        let names = self.shared.counts.names();
        let row = self.sql.task_by_id.query_row([task.as_bytes()], |row| Row::read(row, &names)).optional()?;
        Ok(row.map(|row| self.shared.starts.present(row)))
    }

    /// The task is read first: an attempt that ends in between is then told of twice over rather than not at all, and
    /// what is recorded of it by itself goes before.
    fn attempts(&mut self, task: TaskId) -> rusqlite::Result<Vec<AttemptRecord>> {
        let names = self.shared.counts.names();
        let row = self.sql.task_by_id.query_row([task.as_bytes()], |row| Row::read(row, &names)).optional()?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let seq = row.seq;
        let task = self.shared.starts.present(row);
        let run = self.sql.latest_run.query_row([seq], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get(1)?)));
        let (node, worker) = run.optional()?.unwrap_or_default();
        let recorded = self.sql.attempts_of_task.query_map([seq], attempts::read)?.collect::<Result<_, _>>()?;
        Ok(task.attempts(recorded, node.map(attempts::node_name), worker))
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
