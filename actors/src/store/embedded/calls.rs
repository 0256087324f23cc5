//! What is asked of the writer, and how an answer waits for the commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::body::BodyFile;
use crate::lifecycle::Retention;
use crate::store::{
    Canceled, Claims, Deleted, Enqueued, Lease, Overdue, Place, Pruned, ReclaimPolicy, Reclaims, Resubmit, Resubmitted,
    Run, Settled, Settlement, StartDurability, Started, StoreError, Wanted,
};
use crate::task::{EndpointName, NewTask, TaskId};

/// Where the answer goes. Nobody may be waiting for it any more, which is no fault.
pub(super) type Asker<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call to the writer.
pub(super) enum Call {
    Enqueue(Vec<(NewTask, Place)>, Asker<Vec<Enqueued>>),
    /// With the file that holds the new task's input, where the finished task's input is in one.
    Resubmit(Resubmit, Option<BodyFile>, Asker<Resubmitted>),
    Claim(Vec<Wanted>, Asker<Claims>),
    Renew(Asker<()>),
    Cancel(TaskId, EndpointName, Duration, Asker<Canceled>),
    Reclaim(usize, ReclaimPolicy, Asker<Reclaims>),
    Overdue(usize, Arc<Retention>, Asker<Overdue>),
    Start(Lease, Run, StartDurability, Asker<Started>),
    RequestCancel(Lease, Asker<Settled>),
    Settle(Settlement, Asker<Settled>),
    Delete(TaskId, Asker<Deleted>),
    Prune(usize, Asker<Vec<Pruned>>),
    Close(Asker<()>),
}

impl Call {
    /// Answers that nothing was done.
    pub fn refuse(self, error: StoreError) {
        match self {
            Call::Enqueue(_, asker) => answer(asker, Err(error)),
            Call::Resubmit(_, _, asker) => answer(asker, Err(error)),
            Call::Claim(_, asker) => answer(asker, Err(error)),
            Call::Renew(asker) => answer(asker, Err(error)),
            Call::Cancel(_, _, _, asker) => answer(asker, Err(error)),
            Call::Reclaim(_, _, asker) => answer(asker, Err(error)),
            Call::Overdue(_, _, asker) => answer(asker, Err(error)),
            Call::Start(_, _, _, asker) => answer(asker, Err(error)),
            Call::RequestCancel(_, asker) => answer(asker, Err(error)),
            Call::Settle(_, asker) => answer(asker, Err(error)),
            Call::Delete(_, asker) => answer(asker, Err(error)),
            Call::Prune(_, asker) => answer(asker, Err(error)),
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
