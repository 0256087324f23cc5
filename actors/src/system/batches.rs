//! Batches, for embedders: begin one, send it lines, close it, ask how it stands, read what came of it.

use super::System;
use crate::registry::{BatchMembers, FindBatch};
use crate::store::StoreError;
use crate::store::batches::{Begun, Line, MemberQuery, Members};
use crate::supervisor::{BatchError, BeginBatch, CancelBatch, CloseBatch, ReceiveLines, SubmitError, TakenIn};
use crate::task::{Batch, BatchId};

impl System {
    /// Begins a batch, or finds the one that was begun with the same key. Answered when it is durable.
    ///
    /// # Errors
    /// Those of [`SubmitError`] but for a full queue; nothing was recorded then.
    pub async fn begin_batch(&self, begin: BeginBatch) -> Result<Begun, SubmitError> {
        self.supervisor.send(begin).await.unwrap_or(Err(StoreError::Closed.into()))
    }

    /// Records lines of a batch, as many as the queue has room for; a line whose custom id is known is not recorded
    /// again. Answered when their tasks are durable.
    ///
    /// # Errors
    /// Those of [`BatchError`]; no line was recorded then. Where the queue is full, what is left is answered: try
    /// that again a little later.
    pub async fn receive_lines(&self, batch: &Batch, lines: Vec<Line>) -> Result<TakenIn, BatchError> {
        let receive = ReceiveLines { batch: batch.id, endpoint: batch.endpoint.clone(), lines, refused: 0 };
        self.supervisor.send(receive).await.unwrap_or(Err(SubmitError::from(StoreError::Closed).into()))
    }

    /// Says that no more lines come. Answers with the batch; `None` for an unknown one.
    ///
    /// # Errors
    /// The store could not record it.
    pub async fn close_batch(&self, batch: BatchId) -> Result<Option<Batch>, StoreError> {
        self.supervisor.send(CloseBatch { batch, refused: 0 }).await.unwrap_or(Err(StoreError::Closed))
    }

    /// Takes no more lines, and cancels all that waits; what runs is left to its end, or by force told to stop.
    ///
    /// # Errors
    /// The store could not record it.
    pub async fn cancel_batch(&self, batch: BatchId, force: bool) -> Result<Option<Batch>, StoreError> {
        self.supervisor.send(CancelBatch { batch, force }).await.unwrap_or(Err(StoreError::Closed))
    }

    /// How a batch stands; `None` for an unknown one.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn batch(&self, batch: BatchId) -> Result<Option<Batch>, StoreError> {
        self.registry.send(FindBatch(batch)).await.unwrap_or(Err(StoreError::Closed))
    }

    /// Tasks of a batch, in the order of their lines.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn batch_members(&self, query: MemberQuery) -> Result<Members, StoreError> {
        self.registry.send(BatchMembers(query)).await.unwrap_or(Err(StoreError::Closed))
    }
}
