//! Batches: begun, received at the pace at which the queue has room, closed, and canceled whole.
//!
//! The tasks of a batch wait in the store as any others, and are claimed as there is room for them. Canceling goes
//! task by task, each through its actor where it has one; what a crash or a lost answer leaves over is found again with
//! the next heartbeat, since the store knows which canceled batches have tasks that wait.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use futures::StreamExt;
use tokio::sync::oneshot;

use super::{Cancel, CancelAnswer, SubmitError, Supervisor, bounds};
use crate::journal;
use crate::lifecycle::{Closing, Retention, Times};
use crate::registry::{BatchMembers, RegistryActor, SettledInStore};
use crate::store::batches::{self, Begun, MemberQuery, NewBatch, Receive, Received};
use crate::store::{Canceled, Novelty, Queue, StoreError};
use crate::task::{Batch, BatchId, BatchState, EndpointName, Priority, State, Task, Timestamp};

/// How many canceled batches are worked off at a time.
const CANCEL_BATCHES: usize = 16;
/// How many tasks of one are looked at in one step, and how many cancels are under way at a time.
const CANCEL_PAGE: usize = 500;
const CANCELS_AT_ONCE: usize = 100;

/// How long an answer waits until what waited of a batch is canceled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// Begins a batch that is to receive lines, or finds the one that was begun with the same key. Answered when it is
/// durable.
#[derive(Message)]
#[rtype(result = "Result<Begun, SubmitError>")]
pub struct BeginBatch {
    pub endpoint: EndpointName,
    /// Of those lines that name none.
    pub priority: Priority,
    pub idempotency_key: Option<String>,
    /// A URL that is told when it is over.
    pub webhook: Option<String>,
}

/// Records lines of a batch, as many as the queue has room for, from the first on. Answered when their tasks are
/// durable.
#[derive(Message)]
#[rtype(result = "Result<TakenIn, BatchError>")]
pub struct ReceiveLines {
    pub batch: BatchId,
    pub endpoint: EndpointName,
    pub lines: Vec<batches::Line>,
    /// How many lines of this upload could not be taken so far.
    pub refused: u64,
}

/// What `ReceiveLines` answers.
#[derive(Debug)]
pub struct TakenIn {
    /// What each line that was taken is to those before it.
    pub taken: Vec<Novelty>,
    /// The rest, for which there was no room.
    pub left: Vec<batches::Line>,
    /// Why there was no room for any.
    pub full: Option<SubmitError>,
}

/// Why a batch could not receive lines. None was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("there is no such batch")]
    Unknown,
    #[error("the batch is {0}: it takes no new lines")]
    Closed(BatchState),
    #[error(transparent)]
    Refused(#[from] SubmitError),
}

/// No more lines come. Answered when that is durable, with the batch as it is then.
#[derive(Message)]
#[rtype(result = "Result<Option<Batch>, StoreError>")]
pub struct CloseBatch {
    pub batch: BatchId,
    /// How many lines of the latest upload could not be taken.
    pub refused: u64,
}

/// Takes no more lines and cancels all that waits. Answered when that is done, or after ten seconds when the word
/// is durable and the tasks still follow, with the batch as it is then. What runs is left to its end, unless force is
/// wanted: then it is told to stop.
#[derive(Message)]
#[rtype(result = "Result<Option<Batch>, StoreError>")]
pub struct CancelBatch {
    pub batch: BatchId,
    pub force: bool,
}

/// The store has answered lines of a batch.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct LinesRecorded {
    line: usize,
    /// For how many there was a place.
    booked: u64,
    recorded: u64,
    /// When the first time of one of their tasks is over, where one has any.
    first_time: Option<Timestamp>,
}

/// Some canceled batch may have tasks that wait; the asker is to be told when they do no more.
#[derive(Message)]
#[rtype(result = "()")]
struct CancelMembers(oneshot::Sender<()>);

/// Whether what waits of canceled batches is being canceled, and what is asked for after that.
#[derive(Default)]
pub(super) struct Cancels {
    under_way: bool,
    once_more: bool,
    askers: Vec<oneshot::Sender<()>>,
}

impl Supervisor {
    /// The line of an endpoint, and how many more tasks may join it now.
    fn line_with_room(&self, endpoint: &EndpointName) -> Result<(usize, u64), SubmitError> {
        let retry_after = self.limits.retry_after;
        if self.drain.is_some() {
            return Err(SubmitError::Draining { retry_after });
        }
        let index = *self.by_name.get(endpoint).ok_or_else(|| SubmitError::UnknownEndpoint(endpoint.clone()))?;
        let all_waiting: u64 = self.lines.iter().map(|line| line.waiting).sum();
        let line = &self.lines[index];
        let line_max = line.crew.endpoint.queue_max.unwrap_or(u64::MAX);
        let room_in_line = line_max.saturating_sub(line.waiting);
        let room = self.limits.queue_max.saturating_sub(all_waiting);
        if room_in_line == 0 {
            return Err(SubmitError::EndpointFull { endpoint: endpoint.clone(), limit: line_max, retry_after });
        }
        if room == 0 {
            return Err(SubmitError::QueueFull { limit: self.limits.queue_max, retry_after });
        }
        Ok((index, room.min(room_in_line)))
    }

    fn cancel_pass(&self, ctx: &Context<Self>) -> CancelPass {
        CancelPass {
            queue: self.queue.clone(),
            registry: self.registry.clone(),
            supervisor: ctx.address(),
            retention: self.retention.clone(),
        }
    }

    /// Cancels what waits of canceled batches; one pass at a time.
    pub(super) fn cancel_members(&mut self, ctx: &mut Context<Self>) {
        if self.cancels.under_way {
            self.cancels.once_more = true;
            return;
        }
        self.cancels.under_way = true;
        let askers = std::mem::take(&mut self.cancels.askers);
        ctx.spawn(self.cancel_pass(ctx).run().into_actor(self).map(move |done, this, ctx| {
            this.cancels.under_way = false;
            for asker in askers {
                // Whoever asked may have gone away.
                let _ = asker.send(());
            }
            match done {
                Ok(()) | Err(StoreError::Closed) => {}
                Err(error) => tracing::warn!(%error, "a canceled batch could not be worked off; trying again"),
            }
            if std::mem::take(&mut this.cancels.once_more) {
                this.cancel_members(ctx);
            }
        }));
    }
}

/// What is canceled of a batch: what waits, or by force what runs too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    Gentle,
    Forced,
}

/// One pass over what waits of canceled batches.
struct CancelPass {
    queue: Arc<dyn Queue>,
    registry: Addr<RegistryActor>,
    supervisor: Addr<Supervisor>,
    retention: Arc<Retention>,
}

impl CancelPass {
    async fn run(self) -> Result<(), StoreError> {
        for batch in self.queue.batches_to_cancel(CANCEL_BATCHES).await? {
            self.cancel_all(batch, State::Pending, Force::Gentle).await?;
        }
        Ok(())
    }

    /// Cancels those tasks of a batch that are in a state, page by page.
    async fn cancel_all(&self, batch: BatchId, state: State, force: Force) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let query = MemberQuery { batch, after, limit: CANCEL_PAGE, state: Some(state) };
            let page = self.registry.send(BatchMembers(query)).await.unwrap_or(Err(StoreError::Closed))?;
            let cancels = futures::stream::iter(page.tasks).map(|task| self.cancel(task, force));
            let failed: Vec<StoreError> =
                cancels.buffer_unordered(CANCELS_AT_ONCE).filter_map(async |done| done.err()).collect().await;
            if let Some(error) = failed.into_iter().next() {
                return Err(error);
            }
            let Some(next) = page.next else { return Ok(()) };
            after = next;
        }
    }

    async fn cancel(&self, task: Task, force: Force) -> Result<(), StoreError> {
        let force = force == Force::Forced;
        let cancel = Cancel { task: task.id, endpoint: task.endpoint.clone(), force };
        match self.supervisor.send(cancel).await.unwrap_or(Err(StoreError::Closed))? {
            CancelAnswer::Canceled | CancelAnswer::Requested | CancelAnswer::Started | CancelAnswer::Finished(_) => {
                Ok(())
            }
            // Its endpoint is not served any more, so that nobody but the store knows it.
            CancelAnswer::Unknown => {
                let keep = self.retention.of(&task.endpoint);
                if let Canceled::Canceled(task) = self.queue.cancel(task.id, task.endpoint, keep).await? {
                    self.registry.do_send(SettledInStore(task));
                }
                Ok(())
            }
        }
    }
}

impl Handler<BeginBatch> for Supervisor {
    type Result = ResponseFuture<Result<Begun, SubmitError>>;

    fn handle(&mut self, begin: BeginBatch, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        // A full queue is no reason: the batch waits for room as its lines come.
        let refusal = match self.line_with_room(&begin.endpoint) {
            Err(refusal @ (SubmitError::Draining { .. } | SubmitError::UnknownEndpoint(_))) => Some(refusal),
            Ok(_) | Err(_) => None,
        };
        let unfit = begin.webhook.as_ref().and_then(|url| self.webhooks.check(url).err());
        if let Some(refusal) = refusal.or(unfit.map(SubmitError::Webhook)) {
            return Box::pin(std::future::ready(Err(refusal)));
        }
        let begun = self.queue.begin_batch(NewBatch {
            id: BatchId::generate(),
            keep: self.retention.of(&begin.endpoint),
            endpoint: begin.endpoint,
            priority: begin.priority,
            idempotency_key: begin.idempotency_key,
            webhook: begin.webhook,
        });
        Box::pin(async move {
            let begun = begun.await?;
            if !begun.known {
                journal::batch_begun(&begun.batch);
            }
            Ok(begun)
        })
    }
}

impl Handler<ReceiveLines> for Supervisor {
    type Result = ResponseFuture<Result<TakenIn, BatchError>>;

    fn handle(&mut self, receive: ReceiveLines, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        let ReceiveLines { batch, endpoint, mut lines, refused } = receive;
        if let Some(refusal) = lines.iter().find_map(|line| bounds::within(&line.task, &self.limits).err()) {
            return Box::pin(std::future::ready(Err(refusal.into())));
        }
        let (line, room) = match self.line_with_room(&endpoint) {
            Ok(found) => found,
            Err(full @ (SubmitError::EndpointFull { .. } | SubmitError::QueueFull { .. })) => {
                let answer = TakenIn { taken: Vec::new(), left: lines, full: Some(full) };
                return Box::pin(std::future::ready(Ok(answer)));
            }
            Err(refusal) => return Box::pin(std::future::ready(Err(refusal.into()))),
        };
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(lines.len());
        let left = lines.split_off(fits);
        let booked = lines.len() as u64;
        self.lines[line].waiting += booked;
        let received = self.queue.receive(Receive { batch, lines, refused });
        let supervisor = ctx.address();
        Box::pin(async move {
            let (mut recorded, mut first_time) = (0, None);
            let answer = match received.await {
                Ok(Received::Lines(enqueued)) => {
                    for new in enqueued.iter().filter(|enqueued| enqueued.novelty == Novelty::New) {
                        recorded += 1;
                        first_time = first_time.into_iter().chain(Times::of(&new.task).first()).min();
                        journal::submitted(&new.task);
                    }
                    let taken = enqueued.into_iter().map(|enqueued| enqueued.novelty).collect();
                    Ok(TakenIn { taken, left, full: None })
                }
                Ok(Received::Closed(state)) => Err(BatchError::Closed(state)),
                Ok(Received::Unknown) => Err(BatchError::Unknown),
                Err(error) => Err(SubmitError::Store(error).into()),
            };
            supervisor.do_send(LinesRecorded { line, booked, recorded, first_time });
            answer
        })
    }
}

impl Handler<LinesRecorded> for Supervisor {
    type Result = ();

    fn handle(&mut self, recorded: LinesRecorded, ctx: &mut Self::Context) {
        let LinesRecorded { line, booked, recorded, first_time } = recorded;
        let line = &mut self.lines[line];
        line.waiting -= booked - recorded;
        line.submitted += recorded;
        line.backlog += recorded;
        if let Some(first) = first_time {
            self.watch_stored(first, ctx);
        }
        self.refill(ctx);
    }
}

impl Handler<CloseBatch> for Supervisor {
    type Result = ResponseFuture<Result<Option<Batch>, StoreError>>;

    fn handle(&mut self, CloseBatch { batch, refused }: CloseBatch, _: &mut Self::Context) -> Self::Result {
        let closed = self.queue.close_batch(batch, Closing::Whole, Some(refused));
        Box::pin(async move {
            let batch = closed.await?;
            batch.iter().for_each(journal::batch_closed);
            Ok(batch)
        })
    }
}

impl Handler<CancelBatch> for Supervisor {
    type Result = ResponseFuture<Result<Option<Batch>, StoreError>>;

    fn handle(&mut self, CancelBatch { batch, force }: CancelBatch, ctx: &mut Self::Context) -> Self::Result {
        let closed = self.queue.close_batch(batch, Closing::Cancel, None);
        let cancels = self.cancel_pass(ctx);
        Box::pin(async move {
            let Some(closed) = closed.await? else { return Ok(None) };
            journal::batch_closed(&closed);
            if closed.state != BatchState::Canceled || closed.finished_at.is_some() {
                return Ok(Some(closed));
            }
            let (asker, done) = oneshot::channel();
            cancels.supervisor.do_send(CancelMembers(asker));
            // However it went: the answer tells how far it has come.
            let _ = tokio::time::timeout(CANCEL_PATIENCE, done).await;
            if force {
                cancels.cancel_all(batch, State::InProgress, Force::Forced).await?;
            }
            cancels.queue.close_batch(batch, Closing::Cancel, None).await
        })
    }
}

impl Handler<CancelMembers> for Supervisor {
    type Result = ();

    fn handle(&mut self, CancelMembers(asker): CancelMembers, ctx: &mut Self::Context) {
        self.cancels.askers.push(asker);
        self.cancel_members(ctx);
    }
}
