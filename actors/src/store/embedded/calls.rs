//! What is asked of the writer, and how an answer waits for the commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::body::BodyFile;
use crate::lifecycle::{Closing, Retention};
use crate::store::batches::{Begun, NewBatch, Receive, Received};
use crate::store::{
    Canceled, Claims, Control, ControlChange, Deleted, Enqueued, Lease, Overdue, Place, Pruned, Purge, ReclaimPolicy,
    Reclaims, Resubmit, Resubmitted, Run, Settled, Settlement, StartDurability, Started, StoreError, Wanted,
};
use crate::store::{Replayed, Report, Reported, Take, Taken};
use crate::task::{Batch, BatchId, EndpointName, NewTask, Task, TaskId};
use crate::webhook::DeliveryId;

/// Where the answer goes. Nobody may be waiting for it any more, which is no fault.
pub(super) type Asker<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call to the writer.
pub(super) enum Call {
    Enqueue(Vec<(NewTask, Place)>, Asker<Vec<Enqueued>>),
    /// With the file that holds the new task's input, where the finished task's input is in one.
    Resubmit(Resubmit, Option<BodyFile>, Asker<Resubmitted>),
    BeginBatch(NewBatch, Asker<Begun>),
    Receive(Receive, Asker<Received>),
    CloseBatch(BatchId, Closing, Option<u64>, Asker<Option<Batch>>),
    BatchesToCancel(usize, Asker<Vec<BatchId>>),
    Claim(Vec<Wanted>, Asker<Claims>),
    Renew(Asker<()>),
    Cancel(TaskId, EndpointName, Duration, Asker<Canceled>),
    Reclaim(usize, ReclaimPolicy, Asker<Reclaims>),
    Overdue(usize, Arc<Retention>, Asker<Overdue>),
    Purge(Purge, Asker<Vec<Task>>),
    Control(EndpointName, ControlChange, Asker<Control>),
    Controls(Asker<Vec<(EndpointName, Control)>>),
    Start(Lease, Run, StartDurability, Asker<Started>),
    RequestCancel(Lease, Asker<Settled>),
    Settle(Settlement, Asker<Settled>),
    Delete(TaskId, Asker<Deleted>),
    Prune(usize, Asker<Vec<Pruned>>),
    Take(Take, Asker<Taken>),
    Report(Report, Asker<Reported>),
    Replay(DeliveryId, Asker<Replayed>),
    Close(Asker<()>),
}

impl Call {
    /// Answers that nothing was done.
    pub fn refuse(self, error: StoreError) {
        match self {
            Call::Enqueue(_, asker) => answer(asker, Err(error)),
            Call::Resubmit(_, _, asker) => answer(asker, Err(error)),
            Call::BeginBatch(_, asker) => answer(asker, Err(error)),
            Call::Receive(_, asker) => answer(asker, Err(error)),
            Call::CloseBatch(_, _, _, asker) => answer(asker, Err(error)),
            Call::BatchesToCancel(_, asker) => answer(asker, Err(error)),
            Call::Claim(_, asker) => answer(asker, Err(error)),
            Call::Renew(asker) => answer(asker, Err(error)),
            Call::Cancel(_, _, _, asker) => answer(asker, Err(error)),
            Call::Reclaim(_, _, asker) => answer(asker, Err(error)),
            Call::Overdue(_, _, asker) => answer(asker, Err(error)),
            Call::Purge(_, asker) => answer(asker, Err(error)),
            Call::Control(_, _, asker) => answer(asker, Err(error)),
            Call::Controls(asker) => answer(asker, Err(error)),
            Call::Start(_, _, _, asker) => answer(asker, Err(error)),
            Call::RequestCancel(_, asker) => answer(asker, Err(error)),
            Call::Settle(_, asker) => answer(asker, Err(error)),
            Call::Delete(_, asker) => answer(asker, Err(error)),
            Call::Prune(_, asker) => answer(asker, Err(error)),
            Call::Take(_, asker) => answer(asker, Err(error)),
            Call::Report(_, asker) => answer(asker, Err(error)),
            Call::Replay(_, asker) => answer(asker, Err(error)),
            Call::Close(asker) => answer(asker, Err(error)),
        }
    }
}

pub(super) fn answer<T>(asker: Asker<T>, with: Result<T, StoreError>) {
    // An asker who went away has taken nothing back.
    let _ = asker.send(with);
}

/// An answer that is given when it is known how the commit went.
pub(super) type Reply = Box<dyn FnOnce(Result<(), &StoreError>)>;

/// Gives the answer if the group is committed, and the group's error if not.
pub(super) fn reply<T: 'static>(asker: Asker<T>, with: Result<T, StoreError>) -> Reply {
    Box::new(|committed| match committed {
        Ok(()) => answer(asker, with),
        Err(error) => answer(asker, Err(error.clone())),
    })
}

/// Why a call was not carried out.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This call alone is refused, and has written nothing.
    Refused(StoreError),
    /// The database failed in the middle: the whole group is undone.
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Trouble::Broken(error)
    }
}

/// An error of the database as callers see it.
pub(super) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full(error.to_string()),
        _ => StoreError::Failed(error.to_string()),
    }
}
