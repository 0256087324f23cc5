//! What the readers answer about batches and their tasks.
//!
//! The file's numbers lag behind the starts that are shown and not written yet; they are set right by those, of which
//! there are no more than slots.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement};

use super::Shared;
use super::batches::BatchRow;
use super::queue::limit;
use super::rows::{EndpointId, Row};
use super::starts::UnwrittenStart;
use crate::store::batches::{BatchQuery, MemberQuery, Members};
use crate::task::{Batch, BatchId, Member, State, TaskId};

/// Greater than every id of ours: their version keeps the first bits lower.
const ABOVE_EVERY_ID: [u8; 16] = [0xff; 16];

/// Starts of tasks of batches that were answered and may not be written yet.
type Starts = Vec<(TaskId, UnwrittenStart)>;

pub(super) struct Batches<'c> {
    connection: &'c Connection,
    shared: Arc<Shared>,
    begin: Statement<'c>,
    end: Statement<'c>,
    batch_by_id: Statement<'c>,
    tally_of_batch: Statement<'c>,
    page: Statement<'c>,
    page_of_endpoint: Statement<'c>,
    members: Statement<'c>,
    member_by_custom_id: Statement<'c>,
    task_by_id: Statement<'c>,
}

impl<'c> Batches<'c> {
    pub fn new(connection: &'c Connection, shared: Arc<Shared>) -> rusqlite::Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        Ok(Self {
            connection,
            shared,
            begin: prepare("BEGIN")?,
            end: prepare("COMMIT")?,
            batch_by_id: prepare(include_str!("batch_by_id.sql"))?,
            tally_of_batch: prepare(include_str!("tally_of_batch.sql"))?,
            page: prepare(include_str!("page_of_batches.sql"))?,
            page_of_endpoint: prepare(include_str!("page_of_batches_of_endpoint.sql"))?,
            members: prepare(include_str!("members_of_batch.sql"))?,
            member_by_custom_id: prepare(include_str!("member_by_custom_id.sql"))?,
            task_by_id: prepare(include_str!("task_by_id.sql"))?,
        })
    }

    pub fn batch(&mut self, id: BatchId) -> rusqlite::Result<Option<Batch>> {
        self.in_one_view(|this, starts| {
            let row = {
                let names = this.shared.counts.names();
                this.batch_by_id.query_row([id.as_bytes()], |row| BatchRow::read(row, &names)).optional()?
            };
            Ok(this.counted(row.into_iter().collect(), starts)?.pop())
        })
    }

    pub fn page(&mut self, query: &BatchQuery) -> rusqlite::Result<Vec<Batch>> {
        self.in_one_view(|this, starts| {
            let rows: Vec<BatchRow> = {
                let names = this.shared.counts.names();
                let below = query.after.map_or(ABOVE_EVERY_ID, |after| *after.as_bytes());
                let read = |row: &rusqlite::Row<'_>| BatchRow::read(row, &names);
                let most = limit(query.limit);
                let rows = match &query.endpoint {
                    None => this.page.query_map((below, most), read)?,
                    Some(wanted) => {
                        let number = names.iter().position(|name| name == wanted).map(EndpointId::at);
                        let Some(number) = number else { return Ok(Vec::new()) };
                        this.page_of_endpoint.query_map((below, most, number.0), read)?
                    }
                };
                rows.collect::<rusqlite::Result<_>>()?
            };
            this.counted(rows, starts)
        })
    }

    pub fn members(&mut self, query: &MemberQuery) -> rusqlite::Result<Members> {
        let names = self.shared.counts.names();
        let after = i64::try_from(query.after).unwrap_or(i64::MAX);
        // One more tells whether more follow.
        let params = (query.batch.as_bytes(), after, limit(query.limit).saturating_add(1));
        let rows = self.members.query_map(params, |row| Row::read(row, &names))?;
        let mut rows = rows.collect::<rusqlite::Result<Vec<Row>>>()?;
        let more_follow = rows.len() > query.limit;
        rows.truncate(query.limit);
        let next = rows.last().filter(|_| more_follow).map(|row| row.seq as u64);
        let tasks = rows.into_iter().map(|row| self.shared.starts.present(row));
        Ok(Members { tasks: tasks.filter(|task| query.state.is_none_or(|only| only == task.state)).collect(), next })
    }

    pub fn position(&mut self, member: &Member) -> rusqlite::Result<Option<u64>> {
        let params = (member.batch.as_bytes(), &member.custom_id);
        let seq = self.member_by_custom_id.query_row(params, |row| row.get::<_, i64>(0)).optional()?;
        Ok(seq.map(|seq| seq as u64))
    }

    /// The batches with their numbers. A task that is pending in the file under the lease of such a start has started.
    fn counted(&mut self, rows: Vec<BatchRow>, starts: Starts) -> rusqlite::Result<Vec<Batch>> {
        let mut batches: Vec<Batch> = rows.into_iter().map(|row| row.batch).collect();
        for batch in &mut batches {
            let mut tallies = self.tally_of_batch.query([batch.id.as_bytes()])?;
            while let Some(tally) = tallies.next()? {
                BatchRow::count(batch, tally)?;
            }
        }
        for (task, start) in starts {
            let Some(batch) = batches.iter_mut().find(|batch| Some(batch.id) == start.batch) else { continue };
            let names = self.shared.counts.names();
            let row = self.task_by_id.query_row([task.as_bytes()], |row| Row::read(row, &names)).optional()?;
            let is_of_it = |row: &Row| row.holder.is_some() && row.fence == start.fence;
            if row.is_some_and(|row| row.task.state == State::Pending && is_of_it(&row)) {
                batch.counts.add(State::Pending, -1);
                batch.counts.add(State::InProgress, 1);
            }
        }
        Ok(batches)
    }

    /// Reads what belongs together as of one commit, with the starts that were shown before that: one that is not among
    /// them any more is in the file.
    fn in_one_view<T>(&mut self, read: impl FnOnce(&mut Self, Starts) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let shared_view = !self.connection.is_autocommit();
        if shared_view {
            // It is older than the starts that are shown now; those who share it are as well served by a newer one.
            self.end.raw_execute()?;
        }
        let starts = self.shared.starts.in_batches();
        self.begin.raw_execute()?;
        let answer = read(self, starts);
        if !shared_view {
            // Nothing was written: there is nothing that could fail to be.
            let _ = self.end.raw_execute();
        }
        answer
    }
}
