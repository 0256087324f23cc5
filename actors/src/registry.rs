//! Holds the state of every live task and of the recently finished, answers questions about tasks, and
//! records what TaskActors report: store first, then tell.
//!
//! It never decides what becomes of a task and starts nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, Response, ResponseActFuture,
    ResponseFuture, WrapFuture,
};
use tokio::sync::oneshot;

use crate::alarm::Sentinel;
use crate::bell::Bell;
use crate::executor::Report;
use crate::journal;
use crate::lifecycle::{Setback, Verdict};
use crate::store::{Count, Deleted, Ledger, Page, Pruned, Run, Settled, Started, StoreError};
use crate::task::{AttemptOutcome, AttemptRecord, EndpointName, Input, Output, State, Task, TaskId, Timestamp};
use crate::turns::Turns;

mod batches;
mod following;
mod messages;
mod recent;
mod waiting;

pub use batches::{BatchMembers, FindBatch, ListBatches, OutputOf, PositionOf};
pub use following::{Follow, Followed, Standing};
pub use messages::{
    Admitted, AttemptLog, AttemptStarted, Attempts, Counts, Delete, DismissWatchers, EndpointMeasures, Fetch,
    FetchInput, Find, List, Live, Logs, MeasureTasks, Progressed, RequestCancel, Settle, SettledInStore, Status, Told,
    Watch, Watched,
};

use following::Following;
use recent::Recent;
use waiting::Waiting;

/// How many expired tasks are deleted in one transaction.
const SWEEP_BATCH: usize = 1000;

/// See the module's own words.
pub struct RegistryActor {
    ledger: Arc<dyn Ledger>,
    /// The courier's: an end may have left a delivery.
    bell: Bell,
    waiting: Waiting,
    /// As many as there are slots at most.
    running: HashMap<TaskId, Running>,
    recent: Recent,
    watchers: HashMap<TaskId, Vec<oneshot::Sender<Task>>>,
    following: Following,
    measures: HashMap<EndpointName, EndpointMeasures>,
    sweep_interval: Duration,
    sweeping: bool,
    dismissed: bool,
    turns: Turns,
    _sentinel: Sentinel,
}

/// A task whose attempt runs.
struct Running {
    task: Task,
    report: Report,
    /// The fraction that was logged last.
    logged: Option<f32>,
}

impl RegistryActor {
    pub(crate) fn new(
        ledger: Arc<dyn Ledger>,
        bell: Bell,
        memory: usize,
        sweep_interval: Duration,
        sentinel: Sentinel,
    ) -> Self {
        Self {
            ledger,
            bell,
            waiting: Waiting::default(),
            running: HashMap::new(),
            recent: Recent::new(memory),
            watchers: HashMap::new(),
            following: Following::default(),
            measures: HashMap::new(),
            sweep_interval,
            sweeping: false,
            dismissed: false,
            turns: Turns::default(),
            _sentinel: sentinel,
        }
    }

    /// A task of this node that has not ended.
    fn live(&self, task: TaskId) -> Option<Task> {
        self.running.get(&task).map(|running| running.task.clone()).or_else(|| self.waiting.get(task))
    }

    /// How a task stands, where that is at hand.
    fn standing(&self, task: TaskId) -> Option<Standing> {
        if let Some(running) = self.running.get(&task) {
            return Some(Standing { task: running.task.clone(), report: Some(running.report.clone()) });
        }
        if let Some(task) = self.waiting.get(task) {
            return Some(Standing { task, report: None });
        }
        let finished = self.recent.task(task)?.clone();
        Some(Standing { report: self.recent.report(task).cloned(), task: finished })
    }

    fn forget_live(&mut self, task: TaskId) {
        self.running.remove(&task);
        self.waiting.remove(task);
    }

    fn measures_of(&mut self, endpoint: &EndpointName) -> &mut EndpointMeasures {
        self.measures.entry(endpoint.clone()).or_insert_with(|| EndpointMeasures::new(endpoint.clone()))
    }

    /// A start as the rest of the world sees it: at once, while the store writes it.
    fn note_start(&mut self, task: TaskId, run: Run, report: Report) {
        let Some(mut task) = self.waiting.remove(task) else { return };
        task.state = State::InProgress;
        task.attempt = run.attempt;
        task.started_at = Some(run.started_at);
        journal::started(&task);
        let queued = seconds_between(task.due_at, run.started_at);
        self.measures_of(&task.endpoint).queue_seconds.observe(queued);
        self.following.tell(task.id, || Standing { task: task.clone(), report: Some(report.clone()) });
        self.running.insert(task.id, Running { task, report, logged: None });
    }

    /// Takes over what the store has recorded, and tells those who wait for it.
    fn note_settled(&mut self, task: Task, output: Option<Output>, setback: Option<&Setback>) {
        journal::settled(&task, setback);
        self.measure_settled(&task, self.running.contains_key(&task.id));
        let report = self.running.get(&task.id).map(|running| running.report.clone()).filter(Report::has_told);
        self.forget_live(task.id);
        self.following.tell(task.id, || Standing { task: task.clone(), report: report.clone() });
        if !task.state.is_finished() {
            return;
        }
        for watcher in self.watchers.remove(&task.id).unwrap_or_default() {
            // A watcher that has gone away is not missed.
            let _ = watcher.send(task.clone());
        }
        if task.options.as_ref().is_some_and(|options| options.webhook.is_some()) {
            self.bell.ring();
        }
        self.recent.keep(task, output, report);
    }

    fn measure_settled(&mut self, task: &Task, ran: bool) {
        let measures = self.measures_of(&task.endpoint);
        if task.state.is_finished() {
            let code = task.failure.as_ref().map(|failure| failure.code);
            *measures.finished.entry((task.state, code)).or_default() += 1;
            measures.finished_lately.note();
        }
        // One that ended while it waited has a start of an earlier attempt, if any.
        if let (true, Some(started), Some(finished)) = (ran, task.started_at, task.finished_at) {
            measures.run_seconds.observe(seconds_between(started, finished));
        }
    }

    /// Deletes what has expired, batch after batch, unless that is under way already.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        self.following.tidy();
        if self.sweeping {
            return;
        }
        self.sweeping = true;
        let pruned = self.ledger.prune(SWEEP_BATCH);
        ctx.spawn(pruned.into_actor(self).map(|pruned, this, ctx| {
            this.sweeping = false;
            match pruned {
                Ok(pruned) => this.note_pruned(pruned, ctx),
                Err(StoreError::Closed) => {}
                Err(error) => tracing::warn!(%error, "expired results could not be deleted; trying again later"),
            }
        }));
    }

    fn note_pruned(&mut self, pruned: Vec<Pruned>, ctx: &mut Context<Self>) {
        let maybe_more = pruned.len() == SWEEP_BATCH;
        for gone in pruned {
            self.recent.forget(gone.id);
            journal::expired(&gone);
        }
        if maybe_more {
            self.sweep(ctx);
        }
    }
}

impl Actor for RegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.sweep_interval, Self::sweep);
    }
}

impl Handler<Admitted> for RegistryActor {
    type Result = ();

    fn handle(&mut self, Admitted(task): Admitted, ctx: &mut Self::Context) {
        self.turns.count(ctx);
        self.waiting.insert(&task);
    }
}

impl Handler<AttemptStarted> for RegistryActor {
    type Result = Response<Result<Started, StoreError>>;

    fn handle(&mut self, started: AttemptStarted, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        self.note_start(started.lease.task, started.run, started.report);
        Response::fut(self.ledger.start(started.lease, started.run, started.durability))
    }
}

impl Handler<RequestCancel> for RegistryActor {
    type Result = ResponseFuture<Result<Settled, StoreError>>;

    fn handle(&mut self, RequestCancel(lease): RequestCancel, ctx: &mut Self::Context) -> Self::Result {
        let (requesting, registry) = (self.ledger.request_cancel(lease), ctx.address());
        Box::pin(async move {
            let requested = requesting.await;
            if let Ok(Settled::Recorded(task)) = &requested {
                registry.do_send(CancelNoted(task.id));
            }
            requested
        })
    }
}

/// The store has recorded that the task is to be canceled.
#[derive(Message)]
#[rtype(result = "()")]
struct CancelNoted(TaskId);

impl Handler<CancelNoted> for RegistryActor {
    type Result = ();

    fn handle(&mut self, CancelNoted(task): CancelNoted, _: &mut Self::Context) {
        if let Some(running) = self.running.get_mut(&task) {
            running.task.cancel_requested = true;
            journal::cancel_requested(&running.task);
            let (now, report) = (&running.task, &running.report);
            self.following.tell(task, || Standing { task: now.clone(), report: Some(report.clone()) });
        }
    }
}

impl Handler<Progressed> for RegistryActor {
    type Result = ();

    fn handle(&mut self, Progressed { task }: Progressed, _: &mut Self::Context) {
        let Some(running) = self.running.get_mut(&task) else { return };
        let fraction = running.report.latest().and_then(|progress| progress.fraction);
        if let Some(fraction) = fraction.filter(|_| fraction != running.logged) {
            running.logged = Some(fraction);
            journal::progressed(&running.task, fraction);
        }
        let (now, report) = (&running.task, &running.report);
        self.following.tell(task, || Standing { task: now.clone(), report: Some(report.clone()) });
    }
}

impl Handler<Settle> for RegistryActor {
    type Result = ResponseFuture<Result<Settled, StoreError>>;

    fn handle(&mut self, Settle(settlement): Settle, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        let lease = settlement.lease;
        let output = match &settlement.verdict {
            Verdict::Completed(output) => Some(output.clone()),
            Verdict::Failed(_, answer) => answer.clone(),
            Verdict::Canceled(_) | Verdict::Again { .. } => None,
        };
        let setback = match &settlement.verdict {
            Verdict::Again { setback, .. } => Some(setback.clone()),
            Verdict::Completed(_) | Verdict::Failed(..) | Verdict::Canceled(_) => None,
        };
        let (settling, registry) = (self.ledger.settle(settlement), ctx.address());
        Box::pin(async move {
            let settled = settling.await;
            match &settled {
                Ok(Settled::Recorded(task)) => registry.do_send(Noted { task: task.clone(), output, setback }),
                Ok(Settled::FenceLost) => registry.do_send(NotOurs(lease.task)),
                Err(_) => {}
            }
            settled
        })
    }
}

/// The store has recorded a settlement.
#[derive(Message)]
#[rtype(result = "()")]
struct Noted {
    task: Task,
    output: Option<Output>,
    /// What put the task back, where something did.
    setback: Option<Setback>,
}

impl Handler<Noted> for RegistryActor {
    type Result = ();

    fn handle(&mut self, Noted { task, output, setback }: Noted, ctx: &mut Self::Context) {
        self.turns.count(ctx);
        self.note_settled(task, output, setback.as_ref());
    }
}

/// The task is somebody else's by now: the store knows how it stands, we do not.
#[derive(Message)]
#[rtype(result = "()")]
struct NotOurs(TaskId);

impl Handler<NotOurs> for RegistryActor {
    type Result = ();

    fn handle(&mut self, NotOurs(task): NotOurs, _: &mut Self::Context) {
        self.forget_live(task);
    }
}

impl Handler<SettledInStore> for RegistryActor {
    type Result = ();

    fn handle(&mut self, SettledInStore(task): SettledInStore, _: &mut Self::Context) {
        self.note_settled(task, None, None);
    }
}

impl Handler<Delete> for RegistryActor {
    type Result = ResponseActFuture<Self, Result<Deleted, StoreError>>;

    fn handle(&mut self, Delete(task): Delete, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.ledger.delete(task).into_actor(self).map(|deleted, this, _| {
            if let Ok(Deleted::Deleted(gone)) = &deleted {
                this.recent.forget_for_good(gone.id);
                journal::deleted(gone);
            }
            deleted
        }))
    }
}

impl Handler<DismissWatchers> for RegistryActor {
    type Result = ();

    fn handle(&mut self, _: DismissWatchers, _: &mut Self::Context) {
        self.dismissed = true;
        self.watchers.clear();
        self.following.dismiss();
    }
}

impl Handler<Status> for RegistryActor {
    type Result = Response<Result<Option<Task>, StoreError>>;

    fn handle(&mut self, Status { task, endpoint }: Status, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        if let Some(task) = self.live(task).or_else(|| self.recent.task(task).cloned()) {
            return Response::reply(Ok(Some(task).filter(|task| task.endpoint == endpoint)));
        }
        let stored = self.ledger.get(task);
        Response::fut(async move { Ok(stored.await?.filter(|task| task.endpoint == endpoint)) })
    }
}

impl Handler<Find> for RegistryActor {
    type Result = Response<Result<Option<Task>, StoreError>>;

    fn handle(&mut self, Find(task): Find, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        match self.live(task).or_else(|| self.recent.task(task).cloned()) {
            Some(task) => Response::reply(Ok(Some(task))),
            None => Response::fut(self.ledger.get(task)),
        }
    }
}

impl Handler<FetchInput> for RegistryActor {
    type Result = ResponseFuture<Result<Option<Input>, StoreError>>;

    fn handle(&mut self, FetchInput(task): FetchInput, _: &mut Self::Context) -> Self::Result {
        self.ledger.input(task)
    }
}

impl Handler<Fetch> for RegistryActor {
    type Result = Response<Result<Option<(Task, Option<Output>)>, StoreError>>;

    fn handle(&mut self, Fetch { task, endpoint }: Fetch, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        if let Some(task) = self.live(task) {
            return Response::reply(Ok(Some((task, None)).filter(|(task, _)| task.endpoint == endpoint)));
        }
        if let Some((task, output)) = self.recent.get(task) {
            return Response::reply(Ok((task.endpoint == endpoint).then(|| (task.clone(), output.cloned()))));
        }
        let ledger = self.ledger.clone();
        Response::fut(async move {
            let Some(found) = ledger.get(task).await?.filter(|task| task.endpoint == endpoint) else {
                return Ok(None);
            };
            let output = if found.state.is_finished() { ledger.output(task).await? } else { None };
            Ok(Some((found, output)))
        })
    }
}

impl Handler<Attempts> for RegistryActor {
    type Result = ResponseFuture<Result<Vec<AttemptRecord>, StoreError>>;

    fn handle(&mut self, Attempts { task }: Attempts, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        let recorded = self.ledger.attempts(task);
        // Who runs it is told by the attempt, and recorded at its end.
        let running = self.running.get(&task).map(|running| (running.task.attempt, running.report.clone()));
        Box::pin(async move {
            let mut attempts = recorded.await?;
            if let (Some((number, report)), Some(latest)) = (running, attempts.last_mut())
                && (latest.number, latest.outcome) == (number, AttemptOutcome::Running)
            {
                latest.worker = report.worker_name();
                latest.log = report.log_text();
            }
            Ok(attempts)
        })
    }
}

impl Handler<Watch> for RegistryActor {
    type Result = Response<Result<Watched, StoreError>>;

    fn handle(&mut self, Watch { task }: Watch, _: &mut Self::Context) -> Self::Result {
        if let Some(task) = self.recent.task(task) {
            return Response::reply(Ok(Watched::Finished(task.clone())));
        }
        let (teller, listener) = oneshot::channel();
        if !self.dismissed {
            let watchers = self.watchers.entry(task).or_default();
            watchers.retain(|watcher| !watcher.is_closed());
            watchers.push(teller);
        }
        if self.running.contains_key(&task) || self.waiting.contains(task) {
            return Response::reply(Ok(Watched::Unfinished(listener)));
        }
        // Subscribed first, read after: a task that finishes in between is seen by the read.
        let stored = self.ledger.get(task);
        Response::fut(async move {
            Ok(match stored.await? {
                Some(task) if task.state.is_finished() => Watched::Finished(task),
                Some(_) => Watched::Unfinished(listener),
                None => Watched::Unknown,
            })
        })
    }
}

impl Handler<Follow> for RegistryActor {
    type Result = Response<Result<Option<Followed>, StoreError>>;

    fn handle(&mut self, Follow { task }: Follow, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        // Joined first, read after: what changes in between is told.
        let news = self.following.join(task);
        if let Some(standing) = self.standing(task) {
            return Response::reply(Ok(Some(Followed { standing: Arc::new(standing), news })));
        }
        let stored = self.ledger.get(task);
        Response::fut(async move {
            let found = stored.await?;
            Ok(found.map(|task| Followed { standing: Arc::new(Standing { task, report: None }), news }))
        })
    }
}

impl Handler<Live> for RegistryActor {
    type Result = MessageResult<Live>;

    fn handle(&mut self, Live { task }: Live, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        let standing = self.standing(task);
        MessageResult(
            standing.and_then(|Standing { task, report }| Some(Told { attempt: task.attempt, report: report? })),
        )
    }
}

impl Handler<Logs> for RegistryActor {
    type Result = Response<Result<AttemptLog, StoreError>>;

    fn handle(&mut self, Logs { task }: Logs, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        if let Some(Standing { task, report: Some(report) }) = self.standing(task) {
            return Response::reply(Ok(AttemptLog { attempt: task.attempt, tail: report.log_tail() }));
        }
        let recorded = self.ledger.attempts(task);
        Response::fut(async move { Ok(recorded.await?.pop().map(AttemptLog::from).unwrap_or_default()) })
    }
}

impl Handler<List> for RegistryActor {
    type Result = ResponseFuture<Result<Page, StoreError>>;

    fn handle(&mut self, List(query): List, _: &mut Self::Context) -> Self::Result {
        self.ledger.list(query)
    }
}

impl Handler<Counts> for RegistryActor {
    type Result = ResponseFuture<Result<Vec<Count>, StoreError>>;

    fn handle(&mut self, _: Counts, _: &mut Self::Context) -> Self::Result {
        self.ledger.counts()
    }
}

impl Handler<MeasureTasks> for RegistryActor {
    type Result = MessageResult<MeasureTasks>;

    fn handle(&mut self, _: MeasureTasks, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.measures.values().cloned().collect())
    }
}

fn seconds_between(earlier: Timestamp, later: Timestamp) -> f64 {
    (later - earlier).as_seconds_f64().max(0.0)
}
