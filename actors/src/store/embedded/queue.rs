//! What the Supervisor's calls do, inside the writer's transaction.
//!
//! A call checks before it writes: one that is refused has changed nothing.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{ErrorCode, OptionalExtension};

use crate::body::{Body, BodyFile};
use crate::lifecycle::{self, Reclaimed, Retention, Times, Verdict};
use crate::spool::BlobName;
use crate::store::{
    self, Canceled, Claimed, Claims, Enqueued, Lease, Novelty, Overdue, Place, ReclaimPolicy, Reclaims, Resubmit,
    Resubmitted, StoreError, Wanted,
};
use crate::task::{
    AttemptOutcome, EndpointName, Input, InputDigest, NewTask, RunNotes, State, Task, TaskId, Timestamp,
};

use super::attempts::Ended;
use super::calls::Trouble;
use super::headers;
use super::ledger::Ending;
use super::rows::{EndpointId, Row, digest_at, micros, options_text, time};
use super::starts::Which;
use super::writer::Writer;

impl Writer<'_> {
    pub fn enqueue(&mut self, tasks: Vec<(NewTask, Place)>) -> Result<Vec<Enqueued>, Trouble> {
        for (task, _) in &tasks {
            self.refuse_body(&task.input.body, BlobName::Input(task.id))?;
        }
        // One alone is refused by the index when its id is used: that saves the usual call a look.
        if tasks.len() > 1 {
            self.refuse_used_ids(&tasks)?;
        }
        tasks.into_iter().map(|(task, place)| self.enqueue_one(task, place)).collect()
    }

    /// Checked for all before any is recorded: it is all or none.
    fn refuse_used_ids(&mut self, tasks: &[(NewTask, Place)]) -> Result<(), Trouble> {
        let mut ids = HashSet::new();
        let mut keys = HashSet::new();
        for (task, _) in tasks {
            if let Some(key) = &task.idempotency_key {
                let known = self.first_of_key(&task.endpoint, key)?.is_some();
                if known || !keys.insert((&task.endpoint, key)) {
                    // It will not be recorded, so its id takes no room.
                    continue;
                }
            }
            if !ids.insert(task.id) || self.row(task.id)?.is_some() {
                return Err(Trouble::Refused(id_is_used(task.id)));
            }
        }
        Ok(())
    }

    fn enqueue_one(&mut self, new: NewTask, place: Place) -> Result<Enqueued, Trouble> {
        if let Some(key) = &new.idempotency_key
            && let Some((first, digest)) = self.first_of_key(&new.endpoint, key)?
        {
            let task = self.desk.shared.starts.present(first);
            return Ok(Enqueued { task, lease: None, novelty: Novelty::of_known_key(new.input_digest, digest) });
        }
        let task = store::recorded(&new, self.group.now);
        let NewTask { id, input, delay, idempotency_key, input_digest, .. } = new;
        // A task that is not due yet waits in the queue, wherever it was meant to.
        let held = place == Place::Here && delay.is_zero();
        let in_file = matches!(input.body, Body::File(_));
        let key = idempotency_key.as_deref().map(|key| (key, input_digest));
        let seq = self.insert_task(&task, held, in_file, key)?;
        self.insert_input(seq, &input)?;
        let lease = held.then_some(Lease { task: id, fence: 1 });
        Ok(Enqueued { task, lease, novelty: Novelty::New })
    }

    fn insert_task(
        &mut self,
        task: &Task,
        held: bool,
        in_file: bool,
        key: Option<(&str, Option<InputDigest>)>,
    ) -> Result<i64, Trouble> {
        let endpoint = self.endpoint_number(&task.endpoint)?;
        let inserted = self.sql.insert_task.insert((
            task.id.as_bytes(),
            endpoint.0,
            task.priority.0,
            i64::from(held),
            held.then_some(self.desk.epoch),
            micros(task.submitted_at),
            micros(task.due_at),
            task.input_bytes as i64,
            in_file,
            key.map(|(key, _)| key),
            task.start_by.map(micros),
            task.deadline.map(micros),
            options_text(task.options.as_deref()),
            task.options.as_ref().and_then(|options| options.fairness_key.as_deref()),
            key.and_then(|(_, digest)| digest),
        ));
        let seq = inserted.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Trouble::Refused(id_is_used(task.id)),
            _ => Trouble::Broken(error),
        })?;
        for (key, value) in task.options.iter().flat_map(|options| &options.tags) {
            self.sql.insert_tag.execute((key, value, task.id.as_bytes()))?;
        }
        self.group.tally.add(endpoint, State::Pending, 1);
        Ok(seq)
    }

    fn insert_input(&mut self, seq: i64, input: &Input) -> Result<(), Trouble> {
        let headers = headers::encode(&input.headers);
        let body = match &input.body {
            Body::Inline(bytes) => Some(&bytes[..]),
            Body::File(file) => {
                self.adopt(file);
                None
            }
        };
        self.sql.insert_input.execute((seq, headers, body))?;
        Ok(())
    }

    /// From here on the file belongs to the store, unless the group fails.
    pub fn adopt(&mut self, file: &BodyFile) {
        file.adopt();
        self.group.adopted.push(file.clone());
    }

    /// The number of an endpoint, which is written first where it is new.
    fn endpoint_number(&mut self, name: &EndpointName) -> Result<EndpointId, Trouble> {
        let number = self.desk.endpoints.number(name, &self.desk.shared.counts);
        for (number, name) in self.desk.endpoints.unwritten() {
            self.sql.insert_endpoint.execute((number.0, name.as_str()))?;
        }
        Ok(number)
    }

    pub fn resubmit(&mut self, wish: Resubmit, linked: Option<BodyFile>) -> Result<Resubmitted, Trouble> {
        self.write_starts(Which::All)?;
        let Some(original) = self.row_on(wish.of, &wish.endpoint)? else { return Ok(Resubmitted::Unknown) };
        if !original.task.state.is_finished() {
            return Ok(Resubmitted::Unfinished(original.task.state));
        }
        if original.input_in_file != linked.is_some() {
            let reason = format!("the input of task {} changed its place while it was resubmitted", wish.of);
            return Err(Trouble::Refused(StoreError::Failed(reason)));
        }
        let task = store::resubmitted(&original.task, wish.id, self.group.now);
        let held = wish.place == Place::Here;
        let seq = self.insert_task(&task, held, linked.is_some(), None)?;
        // A body in a file is NULL in the row, in the copy too.
        self.sql.copy_input.execute((seq, original.seq))?;
        if let Some(file) = &linked {
            self.adopt(file);
        }
        let lease = held.then_some(Lease { task: wish.id, fence: 1 });
        Ok(Resubmitted::Enqueued(Enqueued { task, lease, novelty: Novelty::New }))
    }

    pub fn claim(&mut self, wanted: &[Wanted]) -> Result<Claims, Trouble> {
        let mut claims = Claims::default();
        for Wanted { endpoint, max } in wanted {
            let Some(endpoint) = self.desk.endpoints.known(endpoint) else { continue };
            self.claim_of(endpoint, *max, &mut claims)?;
        }
        Ok(claims)
    }

    /// Goes through the priorities one by one, so that what is not due yet is never read, however much it is.
    fn claim_of(&mut self, endpoint: EndpointId, max: usize, claims: &mut Claims) -> Result<(), Trouble> {
        let mut left = max;
        let mut above = -1;
        while let Some(priority) = self.next_priority(endpoint, above)? {
            let due = self.due(endpoint, priority, left)?;
            left -= due.len();
            for row in due {
                claims.tasks.push(self.claim_one(row)?);
            }
            let next_due = self.next_due(endpoint, priority)?;
            claims.next_due = claims.next_due.into_iter().chain(next_due).min();
            above = priority;
        }
        Ok(())
    }

    fn next_priority(&mut self, endpoint: EndpointId, above: i64) -> rusqlite::Result<Option<i64>> {
        self.sql.next_priority.query_row((endpoint.0, above), |row| row.get(0)).optional()
    }

    fn due(&mut self, endpoint: EndpointId, priority: i64, most: usize) -> rusqlite::Result<Vec<Row>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let names = self.desk.shared.counts.names();
        let params = (endpoint.0, priority, micros(self.group.now), limit(most));
        let rows = self.sql.due_tasks.query_map(params, |row| Row::read(row, &names))?;
        rows.collect()
    }

    fn next_due(&mut self, endpoint: EndpointId, priority: i64) -> rusqlite::Result<Option<Timestamp>> {
        let params = (endpoint.0, priority, micros(self.group.now));
        self.sql.next_due.query_row(params, |row| time(0, row.get(0)?)).optional()
    }

    fn claim_one(&mut self, row: Row) -> Result<Claimed, Trouble> {
        let fence = row.fence + 1;
        self.sql.claim_task.execute((row.seq, self.desk.epoch, fence))?;
        Ok(Claimed { lease: Lease { task: row.task.id, fence }, task: row.task })
    }

    pub fn cancel(&mut self, id: TaskId, endpoint: &EndpointName, keep: Duration) -> Result<Canceled, Trouble> {
        self.write_starts(Which::All)?;
        let Some(mut row) = self.row_on(id, endpoint)? else { return Ok(Canceled::Unknown) };
        match row.task.state {
            State::Completed | State::Failed | State::Canceled => Ok(Canceled::Finished(row.task.state)),
            State::Pending | State::InProgress if row.holder.is_some() => Ok(Canceled::Held(row.task.state)),
            State::Pending | State::InProgress => {
                let before = row.task.state;
                self.finish(&mut row, before, Ending::unrun(Verdict::Canceled(None), keep))?;
                Ok(Canceled::Canceled(row.task))
            }
        }
    }

    pub fn reclaim(&mut self, max: usize, policy: &ReclaimPolicy) -> Result<Reclaims, Trouble> {
        self.write_starts(Which::All)?;
        let mut reclaims = Reclaims::default();
        for row in self.lapsed(max)? {
            self.reclaim_one(row, policy, &mut reclaims)?;
        }
        Ok(reclaims)
    }

    /// What processes before this one hold; what this one holds too, when its own lease has lapsed.
    fn lapsed(&mut self, max: usize) -> rusqlite::Result<Vec<Row>> {
        let own_lease_lapsed = self.desk.lease_until < self.group.now;
        let up_to = if own_lease_lapsed { self.desk.epoch } else { self.desk.epoch - 1 };
        let names = self.desk.shared.counts.names();
        let rows = self.sql.lapsed_tasks.query_map((up_to, limit(max)), |row| Row::read(row, &names))?;
        rows.collect()
    }

    fn reclaim_one(&mut self, mut row: Row, policy: &ReclaimPolicy, reclaims: &mut Reclaims) -> Result<(), Trouble> {
        let before = row.task.state;
        let keep = policy.retention.of(&row.task.endpoint);
        let (node, notes) = (row.holder, RunNotes::default());
        match lifecycle::reclaim(&row.task, policy.crash_budget) {
            Reclaimed::Waits => {
                self.sql.release_task.execute([row.seq])?;
                reclaims.waiting += 1;
            }
            Reclaimed::Crashed { crashes } => {
                row.task.crashes = crashes;
                self.record_attempt(&row, Ended { node, outcome: AttemptOutcome::Lost, failure: None, notes })?;
                let due_at = row.task.due_at;
                self.put_back(&mut row, before, due_at)?;
                reclaims.crashed.push(row.task);
            }
            Reclaimed::Lost { crashes, failure } => {
                row.task.crashes = crashes;
                let verdict = Verdict::Failed(failure, None);
                self.finish(&mut row, before, Ending { verdict, keep, node, notes })?;
                reclaims.lost.push(row.task);
            }
            Reclaimed::Canceled => {
                self.finish(&mut row, before, Ending { verdict: Verdict::Canceled(None), keep, node, notes })?;
                reclaims.canceled.push(row.task);
            }
        }
        Ok(())
    }

    pub fn overdue(&mut self, max: usize, retention: &Retention) -> Result<Overdue, Trouble> {
        let now = self.group.now;
        let mut overdue = Overdue::default();
        for mut row in self.overdue_rows(max)? {
            let keep = retention.of(&row.task.endpoint);
            let verdict = lifecycle::overdue(Times::of(&row.task), now).expect("the index knows the times of a task");
            self.finish(&mut row, State::Pending, Ending::unrun(verdict, keep))?;
            overdue.settled.push(row.task);
        }
        let next = self.sql.next_overdue.query_row([micros(now)], |row| time(0, row.get(0)?));
        overdue.next = next.optional()?;
        Ok(overdue)
    }

    fn overdue_rows(&mut self, max: usize) -> rusqlite::Result<Vec<Row>> {
        let names = self.desk.shared.counts.names();
        let params = (micros(self.group.now), limit(max));
        let rows = self.sql.overdue_tasks.query_map(params, |row| Row::read(row, &names))?;
        rows.collect()
    }

    pub fn row(&mut self, id: TaskId) -> rusqlite::Result<Option<Row>> {
        let names = self.desk.shared.counts.names();
        self.sql.task_by_id.query_row([id.as_bytes()], |row| Row::read(row, &names)).optional()
    }

    /// The row of a task, if it belongs to that endpoint.
    fn row_on(&mut self, id: TaskId, endpoint: &EndpointName) -> rusqlite::Result<Option<Row>> {
        Ok(self.row(id)?.filter(|row| row.task.endpoint == *endpoint))
    }

    /// The first task that was submitted with a key, and the digest of its input.
    fn first_of_key(
        &mut self,
        endpoint: &EndpointName,
        key: &str,
    ) -> rusqlite::Result<Option<(Row, Option<InputDigest>)>> {
        let Some(number) = self.desk.endpoints.known(endpoint) else { return Ok(None) };
        let names = self.desk.shared.counts.names();
        let read = |row: &rusqlite::Row<'_>| Ok((Row::read(row, &names)?, digest_at(row, 28)?));
        self.sql.task_by_key.query_row((number.0, key), read).optional()
    }
}

/// A bound of ours as SQL takes it.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn id_is_used(id: TaskId) -> StoreError {
    StoreError::Failed(format!("cannot record task {id}: its id is used already"))
}
