//! The batches of the memory store, and what the verbs about them do.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::time::Duration;

use super::tables::Row;
use super::{Kept, MemoryStore, id_is_used};
use crate::clock;
use crate::lifecycle::{self, Closing};
use crate::store::batches::{
    self, BatchLedger, BatchQuery, BatchQueue, Begun, Line, MemberQuery, Members, NewBatch, Receive, Received,
};
use crate::store::{Answer, Enqueued, Novelty, StoreError};
use crate::task::{Batch, BatchId, BatchState, EndpointName, Member, State, Task, TaskId, Timestamp};

/// Every batch, with where its tasks stand in it.
#[derive(Default)]
pub(super) struct Batches {
    kept: BTreeMap<BatchId, KeptBatch>,
    by_key: HashMap<(EndpointName, String), BatchId>,
    /// The greatest position that was given.
    last: u64,
}

struct KeptBatch {
    batch: Batch,
    keep: Duration,
    key: Option<String>,
    webhook: Option<String>,
    by_position: BTreeMap<u64, TaskId>,
    by_custom_id: HashMap<String, u64>,
}

impl Batches {
    fn add(&mut self, task: &Task) {
        let Some(member) = &task.batch else { return };
        self.last += 1;
        let kept = self.kept.get_mut(&member.batch).expect("a batch is there as long as its tasks are");
        kept.by_position.insert(self.last, task.id);
        kept.by_custom_id.insert(member.custom_id.clone(), self.last);
        kept.batch.counts.add(task.state, 1);
    }

    /// A task has changed, and with it its batch; answers the batch and its webhook where it is over by that.
    pub fn note_change(&mut self, before: (State, &'static str), task: &Task) -> Option<(&Batch, Option<&str>)> {
        let member = task.batch.as_ref()?;
        let KeptBatch { batch, keep, webhook, .. } =
            self.kept.get_mut(&member.batch).expect("a batch is there as long as its tasks are");
        for ((state, reason), tasks) in [(before, -1), (batches::mark(task), 1)] {
            batch.counts.add(state, tasks);
            if !reason.is_empty() {
                let failures = batch.failures.entry(reason).or_default();
                *failures = failures.saturating_add_signed(tasks);
            }
        }
        let is_over = batches::finish_if_over(batch, *keep, task.finished_at?);
        is_over.then_some((&*batch, webhook.as_deref()))
    }

    /// A finished task is deleted: it stays counted.
    pub fn note_gone(&mut self, task: &Task) {
        let Some(member) = &task.batch else { return };
        let kept = self.kept.get_mut(&member.batch).expect("a batch is there as long as its tasks are");
        if let Some(position) = kept.by_custom_id.remove(&member.custom_id) {
            kept.by_position.remove(&position);
        }
    }

    pub fn prune(&mut self, max: usize, now: Timestamp) -> Vec<BatchId> {
        let over = |kept: &KeptBatch| kept.batch.expires_at <= now && kept.by_position.is_empty();
        let gone: Vec<BatchId> = self.kept.iter().filter(|(_, kept)| over(kept)).map(|(id, _)| *id).take(max).collect();
        for id in &gone {
            let KeptBatch { batch, key, .. } = self.kept.remove(id).expect("it was just seen");
            if let Some(key) = key {
                self.by_key.remove(&(batch.endpoint, key));
            }
        }
        gone
    }
}

impl Kept {
    fn begin_batch(&mut self, new: NewBatch, now: Timestamp) -> Result<Begun, StoreError> {
        let batches = &mut self.tables.batches;
        let key = new.idempotency_key.clone().map(|key| (new.endpoint.clone(), key));
        if let Some(first) = key.as_ref().and_then(|key| batches.by_key.get(key)) {
            return Ok(Begun { batch: batches.kept[first].batch.clone(), known: true });
        }
        if batches.kept.contains_key(&new.id) {
            return Err(StoreError::Failed(format!("cannot record batch {}: its id is used already", new.id)));
        }
        let batch = batches::begun(&new, now);
        let kept = KeptBatch {
            batch: batch.clone(),
            keep: new.keep,
            key: new.idempotency_key,
            webhook: new.webhook,
            by_position: BTreeMap::new(),
            by_custom_id: HashMap::new(),
        };
        batches.kept.insert(new.id, kept);
        if let Some(key) = key {
            batches.by_key.insert(key, new.id);
        }
        Ok(Begun { batch, known: false })
    }

    fn receive(&mut self, receive: Receive, now: Timestamp) -> Result<Received, StoreError> {
        let Receive { batch: id, lines, refused } = receive;
        let Some(kept) = self.tables.batches.kept.get(&id) else { return Ok(Received::Unknown) };
        let is_new = |line: &Line| !kept.by_custom_id.contains_key(&line.custom_id);
        if kept.batch.state != BatchState::Receiving {
            if lines.iter().any(is_new) {
                return Ok(Received::Closed(kept.batch.state));
            }
        } else {
            let mut seen = HashSet::new();
            let mut ids = HashSet::new();
            for line in lines.iter().filter(|line| is_new(line)) {
                // The second of two is not recorded, so its id takes no room.
                let first = seen.insert(&line.custom_id);
                if first && (self.tables.row(line.task.id).is_some() || !ids.insert(line.task.id)) {
                    return Err(id_is_used(line.task.id));
                }
            }
            let kept = self.tables.batches.kept.get_mut(&id).expect("it was just seen");
            kept.batch.refused = refused;
            kept.batch.expires_at = clock::after(now, kept.keep);
        }
        Ok(Received::Lines(lines.into_iter().map(|line| self.receive_one(id, line, now)).collect()))
    }

    fn receive_one(&mut self, batch: BatchId, line: Line, now: Timestamp) -> Enqueued {
        let kept = &self.tables.batches.kept[&batch];
        if let Some(position) = kept.by_custom_id.get(&line.custom_id) {
            let first = self.tables.row(kept.by_position[position]).expect("a task of a batch is stored");
            let novelty = Novelty::of_known_key(line.task.input_digest, first.input_digest);
            return Enqueued { task: first.task.clone(), lease: None, novelty };
        }
        let task = batches::recorded(&line, batch, now);
        let (input, input_digest) = (line.task.input, line.task.input_digest);
        self.tables.add(Row { input_digest, ..Row::new(task.clone(), input) });
        self.tables.batches.add(&task);
        Enqueued { task, lease: None, novelty: Novelty::New }
    }

    fn close_batch(&mut self, id: BatchId, closing: Closing, refused: Option<u64>, now: Timestamp) -> Option<Batch> {
        let KeptBatch { batch, keep, webhook, .. } = self.tables.batches.kept.get_mut(&id)?;
        if batch.state == BatchState::Receiving {
            batch.refused = refused.unwrap_or(batch.refused);
        }
        batch.state = lifecycle::closed(batch.state, closing);
        if batches::finish_if_over(batch, *keep, now) {
            self.tables.deliveries.announce_batch(batch, webhook.as_deref(), now);
        }
        Some(batch.clone())
    }

    fn batches_to_cancel(&self, max: usize) -> Vec<BatchId> {
        let waits =
            |kept: &KeptBatch| kept.batch.state == BatchState::Canceled && kept.batch.counts.of(State::Pending) > 0;
        self.tables.batches.kept.iter().filter(|(_, kept)| waits(kept)).map(|(id, _)| *id).take(max).collect()
    }

    fn batches(&self, query: &BatchQuery) -> Vec<Batch> {
        let older = (Bound::Unbounded, query.after.map_or(Bound::Unbounded, Bound::Excluded));
        let newest_first = self.tables.batches.kept.range(older).rev().map(|(_, kept)| &kept.batch);
        let wanted = newest_first.filter(|batch| query.endpoint.as_ref().is_none_or(|only| *only == batch.endpoint));
        wanted.take(query.limit).cloned().collect()
    }

    fn members(&self, query: &MemberQuery) -> Members {
        let Some(kept) = self.tables.batches.kept.get(&query.batch) else { return Members::default() };
        let mut rest = kept.by_position.range((Bound::Excluded(query.after), Bound::Unbounded));
        let looked_at: Vec<_> = rest.by_ref().take(query.limit).collect();
        let more_follow = rest.next().is_some();
        let tasks = looked_at.iter().map(|(_, id)| &self.tables.row(**id).expect("a task of a batch is stored").task);
        Members {
            tasks: tasks.filter(|task| query.state.is_none_or(|only| only == task.state)).cloned().collect(),
            next: looked_at.last().filter(|_| more_follow).map(|(position, _)| **position),
        }
    }
}

impl BatchQueue for MemoryStore {
    fn begin_batch(&self, batch: NewBatch) -> Answer<Begun> {
        self.step(|kept, now| kept.begin_batch(batch, now))
    }

    fn receive(&self, lines: Receive) -> Answer<Received> {
        self.step(|kept, now| kept.receive(lines, now))
    }

    fn close_batch(&self, batch: BatchId, closing: Closing, refused: Option<u64>) -> Answer<Option<Batch>> {
        self.step(|kept, now| Ok(kept.close_batch(batch, closing, refused, now)))
    }

    fn batches_to_cancel(&self, max: usize) -> Answer<Vec<BatchId>> {
        self.step(|kept, _| Ok(kept.batches_to_cancel(max)))
    }
}

impl BatchLedger for MemoryStore {
    fn batch(&self, batch: BatchId) -> Answer<Option<Batch>> {
        self.step(|kept, _| Ok(kept.tables.batches.kept.get(&batch).map(|kept| kept.batch.clone())))
    }

    fn batches(&self, query: BatchQuery) -> Answer<Vec<Batch>> {
        self.step(|kept, _| Ok(kept.batches(&query)))
    }

    fn members(&self, query: MemberQuery) -> Answer<Members> {
        self.step(|kept, _| Ok(kept.members(&query)))
    }

    fn position(&self, member: Member) -> Answer<Option<u64>> {
        self.step(|kept, _| {
            let kept = kept.tables.batches.kept.get(&member.batch);
            Ok(kept.and_then(|kept| kept.by_custom_id.get(&member.custom_id).copied()))
        })
    }
}
