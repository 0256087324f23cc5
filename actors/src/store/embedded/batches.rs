//! What the Supervisor's calls about batches do, inside the writer's transaction, and the numbers of a batch, which
//! change with its tasks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use rusqlite::OptionalExtension;

use crate::body::Body;
use crate::clock;
use crate::lifecycle::{self, Closing};
use crate::spool::BlobName;
use crate::store::batches::{self, Begun, Line, NewBatch, Receive, Received};
use crate::store::{Enqueued, Novelty, StoreError};
use crate::task::{Batch, BatchCounts, BatchId, BatchState, EndpointName, FailureCode, Member, Priority, State, Task};

use super::calls::Trouble;
use super::queue::{id_is_used, limit};
use super::rows::{Row, digest_at, micros, optional_time, state_at, state_number, time, unreadable};
use super::starts::Which;
use super::writer::Writer;

/// How the numbers of batches change in a group.
#[derive(Default)]
pub(super) struct BatchTally(HashMap<BatchId, HashMap<(State, &'static str), i64>>);

impl BatchTally {
    pub fn add(&mut self, batch: BatchId, (state, reason): (State, &'static str), tasks: i64) {
        *self.0.entry(batch).or_default().entry((state, reason)).or_default() += tasks;
    }

    /// An unfinished task has changed its state, and did not end.
    pub fn moved(&mut self, batch: Option<BatchId>, from: State, to: State) {
        let Some(batch) = batch else { return };
        self.add(batch, (from, ""), -1);
        self.add(batch, (to, ""), 1);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// A batch with what the store alone knows of it.
pub(super) struct BatchRow {
    pub batch: Batch,
    pub keep: Duration,
    pub webhook: Option<String>,
}

impl BatchRow {
    /// Reads the columns in the order of the table, without the numbers.
    pub fn read(row: &rusqlite::Row<'_>, names: &[EndpointName]) -> rusqlite::Result<Self> {
        let endpoint: i64 = row.get(1)?;
        let name = usize::try_from(endpoint - 1).ok().and_then(|index| names.get(index));
        let name = name.ok_or_else(|| unreadable(1, "an endpoint that is not in the table of endpoints"))?;
        let batch = Batch {
            id: batch_id_at(row, 0)?,
            endpoint: name.clone(),
            state: batch_state_at(row, 2)?,
            priority: Priority(row.get(3)?),
            created_at: time(4, row.get(4)?)?,
            finished_at: optional_time(row, 5)?,
            expires_at: time(6, row.get(6)?)?,
            refused: row.get::<_, i64>(8)? as u64,
            counts: BatchCounts::default(),
            failures: BTreeMap::new(),
        };
        let keep = Duration::from_micros(row.get::<_, i64>(7)? as u64);
        Ok(Self { batch, keep, webhook: row.get(10)? })
    }

    /// Takes in a row of the tally.
    pub fn count(batch: &mut Batch, row: &rusqlite::Row<'_>) -> rusqlite::Result<()> {
        let (state, tasks) = (state_at(row, 0)?, row.get::<_, i64>(2)?);
        batch.counts.add(state, tasks);
        let word = row.get_ref(1)?.as_str()?;
        if !word.is_empty() && tasks > 0 {
            let code = FailureCode::from_word(word).ok_or_else(|| unreadable(1, "an unknown failure code"))?;
            *batch.failures.entry(code.as_str()).or_default() += tasks as u64;
        }
        Ok(())
    }
}

pub(super) fn batch_id_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<BatchId> {
    let bytes = row.get_ref(column)?.as_blob()?.try_into();
    Ok(BatchId::from_bytes(bytes.map_err(|_| unreadable(column, "an id that is not 16 bytes long"))?))
}

fn batch_state_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<BatchState> {
    let number: i64 = row.get(column)?;
    let state = BatchState::ALL.into_iter().find(|state| batch_state_number(*state) == number);
    state.ok_or_else(|| unreadable(column, "a number that is no state of a batch"))
}

/// The number a batch's state has in a row.
fn batch_state_number(state: BatchState) -> i64 {
    match state {
        BatchState::Receiving => 0,
        BatchState::Running => 1,
        BatchState::Completed => 2,
        BatchState::Canceled => 3,
    }
}

impl Writer<'_> {
    pub fn begin_batch(&mut self, new: NewBatch) -> Result<Begun, Trouble> {
        let endpoint = self.endpoint_number(&new.endpoint)?;
        if let Some(key) = &new.idempotency_key {
            let names = self.desk.shared.counts.names();
            let read = |row: &rusqlite::Row<'_>| BatchRow::read(row, &names);
            let first = self.sql.batch_by_key.query_row((endpoint.0, key), read).optional()?;
            drop(names);
            if let Some(first) = first {
                return Ok(Begun { batch: self.counted(first)?.batch, known: true });
            }
        }
        if self.batch_row(new.id)?.is_some() {
            let reason = format!("cannot record batch {}: its id is used already", new.id);
            return Err(Trouble::Refused(StoreError::Failed(reason)));
        }
        let batch = batches::begun(&new, self.group.now);
        self.sql.insert_batch.execute((
            batch.id.as_bytes(),
            endpoint.0,
            batch_state_number(batch.state),
            batch.priority.0,
            micros(batch.created_at),
            micros(batch.expires_at),
            i64::try_from(new.keep.as_micros()).unwrap_or(i64::MAX),
            new.idempotency_key,
            new.webhook,
        ))?;
        Ok(Begun { batch, known: false })
    }

    pub fn receive(&mut self, receive: Receive) -> Result<Received, Trouble> {
        let Receive { batch, lines, refused } = receive;
        for line in &lines {
            self.refuse_body(&line.task.input.body, BlobName::Input(line.task.id))?;
        }
        let Some(mut row) = self.batch_row(batch)? else { return Ok(Received::Unknown) };
        let new = self.new_lines(batch, &lines)?;
        if row.batch.state == BatchState::Receiving {
            self.refuse_used_ids_of(&new)?;
            row.batch.refused = refused;
            row.batch.expires_at = clock::after(self.group.now, row.keep);
            self.update_batch(&row.batch)?;
        } else if !new.is_empty() {
            return Ok(Received::Closed(row.batch.state));
        }
        let enqueued: Result<Vec<Enqueued>, Trouble> =
            lines.into_iter().map(|line| self.receive_one(batch, line)).collect();
        Ok(Received::Lines(enqueued?))
    }

    /// The lines whose custom ids the batch does not know, the first of each.
    fn new_lines<'l>(&mut self, batch: BatchId, lines: &'l [Line]) -> Result<Vec<&'l Line>, Trouble> {
        let mut seen = HashSet::new();
        let mut new = Vec::new();
        for line in lines {
            let known = !seen.insert(&line.custom_id) || self.member(batch, &line.custom_id)?.is_some();
            if !known {
                new.push(line);
            }
        }
        Ok(new)
    }

    fn refuse_used_ids_of(&mut self, lines: &[&Line]) -> Result<(), Trouble> {
        let mut ids = HashSet::new();
        for line in lines {
            if !ids.insert(line.task.id) || self.row(line.task.id)?.is_some() {
                return Err(Trouble::Refused(id_is_used(line.task.id)));
            }
        }
        Ok(())
    }

    fn receive_one(&mut self, batch: BatchId, line: Line) -> Result<Enqueued, Trouble> {
        if let Some((first, digest)) = self.member(batch, &line.custom_id)? {
            let task = self.desk.shared.starts.present(first);
            let novelty = Novelty::of_known_key(line.task.input_digest, digest);
            return Ok(Enqueued { task, lease: None, novelty });
        }
        let task = batches::recorded(&line, batch, self.group.now);
        let in_file = matches!(line.task.input.body, Body::File(_));
        let seq = self.insert_task(&task, false, in_file, None, line.task.input_digest)?;
        self.insert_input(seq, &line.task.input)?;
        Ok(Enqueued { task, lease: None, novelty: Novelty::New })
    }

    /// The task of a batch with that custom id, and the digest of its input.
    fn member(
        &mut self,
        batch: BatchId,
        custom_id: &str,
    ) -> rusqlite::Result<Option<(Row, Option<crate::task::InputDigest>)>> {
        let names = self.desk.shared.counts.names();
        let read = |row: &rusqlite::Row<'_>| Ok((Row::read(row, &names)?, digest_at(row, 28)?));
        self.sql.member_by_custom_id.query_row((batch.as_bytes(), custom_id), read).optional()
    }

    pub fn close_batch(
        &mut self,
        batch: BatchId,
        closing: Closing,
        refused: Option<u64>,
    ) -> Result<Option<Batch>, Trouble> {
        self.write_starts(Which::All)?;
        self.write_batches()?;
        let Some(row) = self.batch_row(batch)? else { return Ok(None) };
        let BatchRow { mut batch, keep, webhook } = self.counted(row)?;
        if batch.state == BatchState::Receiving {
            batch.refused = refused.unwrap_or(batch.refused);
        }
        batch.state = lifecycle::closed(batch.state, closing);
        if batches::finish_if_over(&mut batch, keep, self.group.now) {
            self.announce_batch_end(&batch, webhook.as_deref())?;
        }
        self.update_batch(&batch)?;
        Ok(Some(batch))
    }

    pub fn batches_to_cancel(&mut self, max: usize) -> Result<Vec<BatchId>, Trouble> {
        self.write_batches()?;
        let ids = self.sql.batches_to_cancel.query_map([limit(max)], |row| batch_id_at(row, 0))?;
        Ok(ids.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets batches whose time is over and whose last task is gone.
    pub fn prune_batches(&mut self, max: usize) -> Result<(), Trouble> {
        let params = (micros(self.group.now), limit(max));
        let ids = self.sql.expired_batches.query_map(params, |row| batch_id_at(row, 0))?;
        for id in ids.collect::<rusqlite::Result<Vec<_>>>()? {
            self.orphan_delivery(id.into())?;
            self.sql.delete_batch.execute([id.as_bytes()])?;
            self.sql.delete_batch_tally.execute([id.as_bytes()])?;
        }
        Ok(())
    }

    /// A task has changed its state, and `row` says how it stands now. `before` is the state in the file.
    pub fn moved(&mut self, row: &Row, before: State) {
        self.group.tally.moved(row.endpoint, before, row.task.state);
        if let Some(member) = &row.task.batch {
            self.group.batches.add(member.batch, (before, ""), -1);
            self.group.batches.add(member.batch, batches::mark(&row.task), 1);
        }
    }

    /// Counts a task that was just recorded.
    pub fn count_member(&mut self, task: &Task) {
        if let Some(Member { batch, .. }) = task.batch.as_deref() {
            self.group.batches.add(*batch, batches::mark(task), 1);
        }
    }

    /// Writes how the numbers of batches have changed in this group, and ends the batches that are over by that.
    pub fn write_batches(&mut self) -> rusqlite::Result<()> {
        for (id, changes) in std::mem::take(&mut self.group.batches).0 {
            for ((state, reason), tasks) in changes.into_iter().filter(|(_, tasks)| *tasks != 0) {
                self.sql.add_to_batch_tally.execute((id.as_bytes(), state_number(state), reason, tasks))?;
            }
            let Some(row) = self.batch_row(id)? else { continue };
            let BatchRow { mut batch, keep, webhook } = self.counted(row)?;
            if batches::finish_if_over(&mut batch, keep, self.group.now) {
                self.announce_batch_end(&batch, webhook.as_deref())?;
                self.update_batch(&batch)?;
            }
        }
        Ok(())
    }

    fn update_batch(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        self.sql.update_batch.execute((
            batch.id.as_bytes(),
            batch_state_number(batch.state),
            batch.finished_at.map(micros),
            micros(batch.expires_at),
            batch.refused as i64,
        ))?;
        Ok(())
    }

    fn batch_row(&mut self, id: BatchId) -> rusqlite::Result<Option<BatchRow>> {
        let names = self.desk.shared.counts.names();
        self.sql.batch_by_id.query_row([id.as_bytes()], |row| BatchRow::read(row, &names)).optional()
    }

    /// The same with its numbers, as of what this group has written.
    fn counted(&mut self, mut row: BatchRow) -> rusqlite::Result<BatchRow> {
        let mut tallies = self.sql.tally_of_batch.query([row.batch.id.as_bytes()])?;
        while let Some(tally) = tallies.next()? {
            BatchRow::count(&mut row.batch, tally)?;
        }
        Ok(row)
    }
}
