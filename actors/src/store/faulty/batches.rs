//! The verbs about batches, which fail as the others do.

use super::FaultyStore;
use crate::lifecycle::Closing;
use crate::store::Answer;
use crate::store::batches::{
    BatchLedger, BatchQuery, BatchQueue, Begun, MemberQuery, Members, NewBatch, Receive, Received,
};
use crate::task::{Batch, BatchId, Member};

impl BatchQueue for FaultyStore {
    fn begin_batch(&self, batch: NewBatch) -> Answer<Begun> {
        self.call("begin_batch", |store| store.begin_batch(batch))
    }

    fn receive(&self, lines: Receive) -> Answer<Received> {
        self.call("receive", |store| store.receive(lines))
    }

    fn close_batch(&self, batch: BatchId, closing: Closing, refused: Option<u64>) -> Answer<Option<Batch>> {
        self.call("close_batch", |store| store.close_batch(batch, closing, refused))
    }

    fn batches_to_cancel(&self, max: usize) -> Answer<Vec<BatchId>> {
        self.call("batches_to_cancel", |store| store.batches_to_cancel(max))
    }
}

impl BatchLedger for FaultyStore {
    fn batch(&self, batch: BatchId) -> Answer<Option<Batch>> {
        self.call("batch", |store| store.batch(batch))
    }

    fn batches(&self, query: BatchQuery) -> Answer<Vec<Batch>> {
        self.call("batches", |store| store.batches(query))
    }

    fn members(&self, query: MemberQuery) -> Answer<Members> {
        self.call("members", |store| store.members(query))
    }

    fn position(&self, member: Member) -> Answer<Option<u64>> {
        self.call("position", |store| store.position(member))
    }
}
