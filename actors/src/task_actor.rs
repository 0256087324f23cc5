//! One actor a task, from submission to its end: it waits in its mailbox until it is started or interrupted.
//!
//! The mailbox is the linearization point: whichever of `Start` and `Interrupt` it takes first decides, so one
//! task is never both canceled and run. While it waits it holds no input; that is read when it starts.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, AtomicResponse, Context, Handler, Message, Recipient,
    ResponseActFuture, WrapFuture,
};
use tokio::runtime;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::executor::guard::{self, Bounds};
use crate::executor::report::LogBounds;
use crate::executor::{Attempt, Outputs, Report};
use crate::lifecycle::{Budgets, History, Rules, Setback, Times, Verdict, chance, overdue, verdict};
use crate::registry::{AttemptStarted, Progressed, RegistryActor, RequestCancel, Settle};
use crate::spool::{BlobName, Blobs};
use crate::store::{Lease, Ledger, Run, Settled, Settlement, StartDurability, Started, StoreError};
use crate::task::{EndpointName, Failure, FailureCode, Input, Outcome, RunNotes, Task, TaskId, TaskOptions, Timestamp};

/// How long to wait before a settlement that the store could not write is tried again.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);

/// Begin; a slot is held for it. The input is given where it is still at hand.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Start {
    pub input: Option<Input>,
}

/// Cancel, if it has not started.
#[derive(Message)]
#[rtype(result = "Result<Interrupted, StoreError>")]
pub struct Interrupt;

/// The task's own time is over at `now`: it ends, if it has not started.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TimeIsUp {
    pub now: Timestamp,
}

/// Stop what runs, and have the task canceled.
#[derive(Message)]
#[rtype(result = "Result<Stopping, StoreError>")]
pub struct StopRun;

/// What `StopRun` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// It is recorded that the task is to be canceled, and its attempt is told to stop.
    Requested,
    /// It does not run, or does no more.
    NotRunning,
}

/// What `Interrupt` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// It was waiting, and is now settled as canceled.
    Canceled,
    Started,
}

/// A TaskActor's life is over; sent to the Supervisor whatever happened.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Ended {
    pub task: TaskId,
    pub ending: Ending,
    pub pressure: Pressure,
}

/// What an attempt told of those who ran it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Nothing: it was stopped, or never got that far.
    Unknown,
    /// There was room.
    Answered,
    /// There was no room, or nobody there; for how many milliseconds we were asked to wait.
    Refused { retry_after_ms: u32 },
}

impl Pressure {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done(_) | Outcome::Failed(..) | Outcome::FailedForNow { .. } => Pressure::Answered,
            Outcome::Canceled | Outcome::Crashed(_) => Pressure::Unknown,
            Outcome::PutBack { retry_after, .. } => {
                let asked = retry_after.unwrap_or_default().as_millis();
                Pressure::Refused { retry_after_ms: u32::try_from(asked).unwrap_or(u32::MAX) }
            }
        }
    }
}

/// How a TaskActor's life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Settled, or lost to another claim: the task needs this node no more.
    Settled,
    /// It waits in the store again.
    PutBack,
    /// It ended without a verdict in the store: by a bug, or because the store was closed before it could write.
    Unsettled,
}

/// What all TaskActors of an endpoint share.
pub struct Crew {
    pub name: EndpointName,
    pub endpoint: Endpoint,
    /// How long finished tasks of the endpoint are kept.
    pub keep: Duration,
    pub output_max: u64,
    pub stop_grace: Duration,
    pub progress_interval: Duration,
    /// How much of an attempt's log is kept.
    pub log_bounds: LogBounds,
    pub budgets: Budgets,
    /// Fires when a drain has no more patience with what runs.
    pub drain: CancellationToken,
    /// To whom a TaskActor reports its end.
    pub ended: Recipient<Ended>,
    pub registry: Addr<RegistryActor>,
    pub ledger: Arc<dyn Ledger>,
    pub blobs: Blobs,
    pub clock: Arc<dyn Clock>,
    /// Where the work runs.
    pub pool: runtime::Handle,
}

/// See the module's own words. Small on purpose: a million of them may wait.
pub struct TaskActor {
    crew: Arc<Crew>,
    lease: Lease,
    /// How many attempts came before.
    attempts: u32,
    /// How many of them ended with the process that ran them.
    crashes: u32,
    /// How many of them failed.
    failures: u32,
    phase: Phase,
    /// What most tasks do without.
    wishes: Option<Box<Wishes>>,
    /// Fires when what runs is to be canceled.
    cancel: Option<CancellationToken>,
}

/// What a task asks for beside the settings of its endpoint.
#[derive(Clone, Default)]
struct Wishes {
    times: Times,
    options: Option<Arc<TaskOptions>>,
}

impl Wishes {
    fn of(task: &Task) -> Option<Box<Self>> {
        let times = Times::of(task);
        let has_some = times.first().is_some() || task.options.is_some();
        has_some.then(|| Box::new(Self { times, options: task.options.clone() }))
    }

    fn timeout(&self, endpoint: &Endpoint) -> Duration {
        self.options.as_ref().and_then(|options| options.timeout).unwrap_or(endpoint.timeout)
    }

    fn max_attempts(&self, endpoint: &Endpoint) -> u32 {
        self.options.as_ref().and_then(|options| options.max_attempts).unwrap_or(endpoint.retry.max_attempts)
    }

    /// How long it is until the deadline.
    fn time_left(&self, now: Timestamp) -> Option<Duration> {
        Some((self.times.deadline? - now).to_std().unwrap_or_default())
    }
}

/// All that the life of a task needs to know from its start on.
struct Begun {
    lease: Lease,
    run: Run,
    history: History,
    wishes: Wishes,
    cancel: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Running,
    Ended(Ending, Pressure),
}

impl TaskActor {
    pub(crate) fn new(crew: Arc<Crew>, lease: Lease, task: &Task) -> Self {
        let Task { attempt: attempts, crashes, failures, .. } = *task;
        let wishes = Wishes::of(task);
        Self { crew, lease, attempts, crashes, failures, phase: Phase::Waiting, wishes, cancel: None }
    }

    fn run_now(&mut self, input: Option<Input>, ctx: &mut Context<Self>) {
        let now = self.crew.clock.now();
        if let Some(verdict) = self.overdue(now) {
            return self.give_up(verdict, ctx);
        }
        self.phase = Phase::Running;
        let attempts = self.attempts + 1;
        let cancel = self.cancel.insert(CancellationToken::new()).clone();
        let begun = Begun {
            lease: self.lease,
            run: Run { attempt: attempts, started_at: now },
            history: History { attempts, crashes: self.crashes, failures: self.failures },
            wishes: self.wishes.as_deref().cloned().unwrap_or_default(),
            cancel,
        };
        let life = run_and_settle(self.crew.clone(), begun, input);
        ctx.spawn(life.into_actor(self).map(|(ending, pressure), this, ctx| {
            this.phase = Phase::Ended(ending, pressure);
            ctx.stop();
        }));
    }

    fn overdue(&self, now: Timestamp) -> Option<Verdict> {
        overdue(self.wishes.as_ref()?.times, now)
    }

    /// Ends the task without a run. Nothing else is taken from the mailbox until that is in the store.
    fn give_up(&mut self, verdict: Verdict, ctx: &mut Context<Self>) {
        let (crew, lease) = (self.crew.clone(), self.lease);
        let settled = async move { settle(&crew, unrun(lease, verdict, &crew)).await };
        ctx.wait(settled.into_actor(self).map(|ending, this, ctx| {
            this.phase = Phase::Ended(ending, Pressure::Unknown);
            ctx.stop();
        }));
    }
}

impl Actor for TaskActor {
    type Context = Context<Self>;

    /// Comes after a panic too, so that the slot is freed whatever happens.
    fn stopped(&mut self, _: &mut Self::Context) {
        let (ending, pressure) = match self.phase {
            Phase::Ended(ending, pressure) => (ending, pressure),
            Phase::Waiting | Phase::Running => (Ending::Unsettled, Pressure::Unknown),
        };
        self.crew.ended.do_send(Ended { task: self.lease.task, ending, pressure });
    }
}

impl Handler<Start> for TaskActor {
    type Result = ();

    fn handle(&mut self, Start { input }: Start, ctx: &mut Self::Context) {
        match self.phase {
            Phase::Waiting => self.run_now(input, ctx),
            Phase::Running | Phase::Ended(..) => {}
        }
    }
}

impl Handler<Interrupt> for TaskActor {
    type Result = AtomicResponse<Self, Result<Interrupted, StoreError>>;

    /// Nothing else is taken from the mailbox until the answer is there: a `Start` behind this one is dropped
    /// with the actor, or obeyed when the store could not record the cancel.
    fn handle(&mut self, _: Interrupt, _: &mut Self::Context) -> Self::Result {
        if self.phase != Phase::Waiting {
            return AtomicResponse::new(Box::pin(std::future::ready(Ok(Interrupted::Started)).into_actor(self)));
        }
        let crew = self.crew.clone();
        let settlement = unrun(self.lease, Verdict::Canceled(None), &crew);
        let settled = async move { crew.registry.send(Settle(settlement)).await.unwrap_or(Err(StoreError::Closed)) };
        AtomicResponse::new(Box::pin(settled.into_actor(self).map(|settled, this, ctx| {
            let answer = match settled? {
                Settled::Recorded(_) => Interrupted::Canceled,
                // Somebody else has it by now, so it may well run.
                Settled::FenceLost => Interrupted::Started,
            };
            this.phase = Phase::Ended(Ending::Settled, Pressure::Unknown);
            ctx.stop();
            Ok(answer)
        })))
    }
}

impl Handler<TimeIsUp> for TaskActor {
    type Result = ();

    fn handle(&mut self, TimeIsUp { now }: TimeIsUp, ctx: &mut Self::Context) {
        if self.phase == Phase::Waiting
            && let Some(verdict) = self.overdue(now)
        {
            self.give_up(verdict, ctx);
        }
    }
}

impl Handler<StopRun> for TaskActor {
    type Result = ResponseActFuture<Self, Result<Stopping, StoreError>>;

    /// Recorded first, told then: what was answered holds after a crash.
    fn handle(&mut self, _: StopRun, _: &mut Self::Context) -> Self::Result {
        if self.phase != Phase::Running {
            return Box::pin(std::future::ready(Ok(Stopping::NotRunning)).into_actor(self));
        }
        let requested = self.crew.registry.send(RequestCancel(self.lease));
        let requested = async move { requested.await.unwrap_or(Err(StoreError::Closed)) };
        Box::pin(requested.into_actor(self).map(|requested, this, _| match (requested?, &this.cancel) {
            (Settled::Recorded(_), Some(cancel)) => {
                cancel.cancel();
                Ok(Stopping::Requested)
            }
            (Settled::Recorded(_) | Settled::FenceLost, _) => Ok(Stopping::NotRunning),
        }))
    }
}

/// The life of a task from its start to its end in the store.
async fn run_and_settle(crew: Arc<Crew>, begun: Begun, input: Option<Input>) -> (Ending, Pressure) {
    let (lease, run) = (begun.lease, begun.run);
    let report = report(&crew, lease.task);
    match report_start(&crew, lease, run, report.clone()).await {
        Ok(Started::Recorded) => {}
        Ok(Started::FenceLost) => return (Ending::Settled, Pressure::Unknown),
        Err(error) => {
            tracing::warn!(task_id = %lease.task, %error, "an attempt could not be recorded, so it was not begun");
            return (settle(&crew, unrun(lease, again_soon(), &crew)).await, Pressure::Unknown);
        }
    }
    let ran = crew.pool.spawn(attempt(crew.clone(), begun, input, report.clone())).await;
    report.close();
    let notes = RunNotes { worker: report.worker_name(), log: report.log_text() };
    let (verdict, pressure) = ran.unwrap_or_else(|broken| {
        let failure = Failure::new(FailureCode::Panic, format!("the run broke: {broken}"));
        (Verdict::Failed(failure, None), Pressure::Unknown)
    });
    let settlement = Settlement { lease, run: Some(run), verdict, keep: crew.keep, notes };
    (settle(&crew, settlement).await, pressure)
}

/// A report on a task that has not run.
fn unrun(lease: Lease, verdict: Verdict, crew: &Crew) -> Settlement {
    Settlement { lease, run: None, verdict, keep: crew.keep, notes: RunNotes::default() }
}

/// For what is not the task's fault: it waits until the store serves again.
fn again_soon() -> Verdict {
    Verdict::Again { delay: SETTLE_AGAIN, setback: Setback::Interrupted }
}

/// Tells the Registry. A first claim goes on at once: should the process die now, the task is pending and no
/// harm is done. A task that was claimed before may be one that takes the process down, so its start is made
/// durable first, and counts.
async fn report_start(crew: &Crew, lease: Lease, run: Run, report: Report) -> Result<Started, StoreError> {
    let first_claim = lease.fence == 1;
    if first_claim {
        crew.registry.do_send(AttemptStarted { lease, run, durability: StartDurability::Lazy, report });
        return Ok(Started::Recorded);
    }
    let started = AttemptStarted { lease, run, durability: StartDurability::Durable, report };
    crew.registry.send(started).await.unwrap_or(Err(StoreError::Closed))
}

/// Reads the input where it is not at hand, runs the executor, and decides.
async fn attempt(crew: Arc<Crew>, begun: Begun, input: Option<Input>, report: Report) -> (Verdict, Pressure) {
    let Begun { lease, run, history, wishes, cancel } = begun;
    let input = match input {
        Some(input) => input,
        None => match crew.ledger.input(lease.task).await {
            Ok(Some(input)) => input,
            Ok(None) => return (unreadable("it is not there"), Pressure::Unknown),
            Err(error) => {
                tracing::warn!(task_id = %lease.task, %error, "an input could not be read; the task waits again");
                return (again_soon(), Pressure::Unknown);
            }
        },
    };
    if cancel.is_cancelled() {
        return (Verdict::Canceled(None), Pressure::Unknown);
    }
    let bounds = Bounds {
        timeout: wishes.timeout(&crew.endpoint),
        stop_grace: crew.stop_grace,
        time_left: wishes.time_left(crew.clock.now()),
        cancel,
        drain: crew.drain.clone(),
    };
    let attempt = Attempt {
        task: lease.task,
        endpoint: crew.name.clone(),
        number: run.attempt,
        timeout: Some(bounds.time_left.unwrap_or(Duration::MAX).min(bounds.timeout)),
        input,
        cancellation: CancellationToken::new(),
        report,
        outputs: Outputs::new(crew.blobs.clone(), BlobName::Output(lease.task, lease.fence), crew.output_max),
    };
    let (outcome, interruption) = guard::run(crew.endpoint.executor.clone(), attempt, bounds).await;
    let pressure = Pressure::of(&outcome);
    let rules = Rules {
        budgets: crew.budgets,
        retry: &crew.endpoint.retry,
        max_attempts: wishes.max_attempts(&crew.endpoint),
        time_left: wishes.time_left(crew.clock.now()),
        chance: chance(lease.task, run.attempt),
    };
    (verdict(outcome, interruption, history, &rules), pressure)
}

fn unreadable(why: &str) -> Verdict {
    Verdict::Failed(Failure::new(FailureCode::Failed, format!("the stored input could not be read: {why}")), None)
}

/// Has the Registry told when there is something new, at most once an interval.
fn report(crew: &Crew, task: TaskId) -> Report {
    let registry = crew.registry.clone();
    let tell = move || registry.do_send(Progressed { task });
    Report::paced(crew.clock.clone(), crew.log_bounds, crew.progress_interval, crew.pool.clone(), tell)
}

/// Has the verdict recorded, however long the store cannot write; only a drain's end gives up.
async fn settle(crew: &Crew, settlement: Settlement) -> Ending {
    let lease = settlement.lease;
    loop {
        let settled = crew.registry.send(Settle(settlement.clone())).await.unwrap_or(Err(StoreError::Closed));
        match settled {
            Ok(Settled::Recorded(task)) if task.state.is_finished() => return Ending::Settled,
            Ok(Settled::Recorded(_)) => return Ending::PutBack,
            Ok(Settled::FenceLost) => {
                tracing::warn!(task_id = %lease.task, fence = lease.fence, "a late report was refused: the task was claimed again");
                return Ending::Settled;
            }
            Err(StoreError::Closed) => return Ending::Unsettled,
            Err(error) => {
                tracing::warn!(task_id = %lease.task, %error, "a verdict could not be recorded; trying again");
                if pause_or_drain(crew).await.is_none() {
                    return Ending::Unsettled;
                }
            }
        }
    }
}

/// Waits a little; `None` when the drain's end came first.
async fn pause_or_drain(crew: &Crew) -> Option<()> {
    if crew.drain.is_cancelled() {
        return None;
    }
    // Should the drain come first, the verdict still gets one more try.
    tokio::select! {
        () = tokio::time::sleep(SETTLE_AGAIN) => {}
        () = crew.drain.cancelled() => {}
    }
    Some(())
}
