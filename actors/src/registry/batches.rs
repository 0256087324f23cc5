//! Questions about batches. All are answered from the store: a batch is larger than what is at hand.

use actix::{Handler, Message, ResponseFuture};

use super::RegistryActor;
use crate::store::StoreError;
use crate::store::batches::{BatchQuery, MemberQuery, Members};
use crate::task::{Batch, BatchId, Member, Output, TaskId};

/// How a batch stands.
#[derive(Message)]
#[rtype(result = "Result<Option<Batch>, StoreError>")]
pub struct FindBatch(pub BatchId);

/// A page of batches, the newest first.
#[derive(Message)]
#[rtype(result = "Result<Vec<Batch>, StoreError>")]
pub struct ListBatches(pub BatchQuery);

/// Tasks of a batch, in the order of their lines.
#[derive(Message)]
#[rtype(result = "Result<Members, StoreError>")]
pub struct BatchMembers(pub MemberQuery);

/// Where a task stands in its batch.
#[derive(Message)]
#[rtype(result = "Result<Option<u64>, StoreError>")]
pub struct PositionOf(pub Member);

/// What came of a finished task, where something did.
#[derive(Message)]
#[rtype(result = "Result<Option<Output>, StoreError>")]
pub struct OutputOf(pub TaskId);

impl Handler<FindBatch> for RegistryActor {
    type Result = ResponseFuture<Result<Option<Batch>, StoreError>>;

    fn handle(&mut self, FindBatch(batch): FindBatch, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        self.ledger.batch(batch)
    }
}

impl Handler<ListBatches> for RegistryActor {
    type Result = ResponseFuture<Result<Vec<Batch>, StoreError>>;

    fn handle(&mut self, ListBatches(query): ListBatches, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        self.ledger.batches(query)
    }
}

impl Handler<BatchMembers> for RegistryActor {
    type Result = ResponseFuture<Result<Members, StoreError>>;

    fn handle(&mut self, BatchMembers(query): BatchMembers, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        self.ledger.members(query)
    }
}

impl Handler<PositionOf> for RegistryActor {
    type Result = ResponseFuture<Result<Option<u64>, StoreError>>;

    fn handle(&mut self, PositionOf(member): PositionOf, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        self.ledger.position(member)
    }
}

impl Handler<OutputOf> for RegistryActor {
    type Result = ResponseFuture<Result<Option<Output>, StoreError>>;

    fn handle(&mut self, OutputOf(task): OutputOf, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        self.ledger.output(task)
    }
}
