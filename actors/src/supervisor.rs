//! Admits submissions, gives each its TaskActor, and starts the next one when a slot is free.
//!
//! It obeys commands and answers them; how a task stands is the Registry's to tell. What waits in the store
//! without an actor — over the resident bound, due later, left behind by a crash — comes in by `claim`, the only
//! way in there is: the first claim is the recovery.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, ResponseActFuture,
    ResponseFuture, WrapFuture,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::alarm::Sentinel;
use crate::clock::{Clock, stopwatch};
use crate::endpoint::Endpoint;
use crate::journal;
use crate::lifecycle::{Retention, Times};
use crate::limits::Limits;
use crate::registry::{Admitted, RegistryActor, SettledInStore};
use crate::store::{Canceled, Enqueued, Lease, Novelty, Place, Queue, Resubmit, Resubmitted, StoreError};
use crate::task::{EndpointName, Input, State, Task, TaskId};
use crate::task_actor::{Crew, Ended, Ending, Interrupt, Interrupted, Pressure, Start, StopRun, Stopping, TaskActor};
use crate::turns::Turns;

mod bounds;
mod commands;
mod intake;
mod line;
mod overdue;
mod pace;
mod prospect;
mod ranks;
mod runs;

pub use commands::{
    AddEndpoint, Cancel, CancelAnswer, Drain, Drained, Foresee, LineMeasures, MeasureLines, Recorded, Retry,
    RetryError, Submit, SubmitError,
};
use line::{Line, Rank, WaitKey};
pub use prospect::{Estimate, Prospect, Within};

/// How often, and after what pause, a cancel asks again about a task that is just changing hands.
const CANCEL_TRIES: u32 = 100;
const CANCEL_PAUSE: Duration = Duration::from_millis(10);

// ---- events, from the store's answers ----

/// The store has answered a submission.
#[derive(Message)]
#[rtype(result = "()")]
struct Submitted {
    line: usize,
    place: Place,
    /// `None` when the store refused, or knew the task's key.
    task: Option<(Task, Option<Lease>)>,
    input: Option<Input>,
}

/// The store has canceled a task of the line that had no actor.
#[derive(Message)]
#[rtype(result = "()")]
struct Withdrawn {
    line: usize,
}

/// The actor of a task of the line, if it has one by now.
#[derive(Message)]
#[rtype(result = "Result<Option<Addr<TaskActor>>, OfAnotherEndpoint>")]
struct ActorOf {
    task: TaskId,
    line: usize,
}

/// The task has an actor, but not on the endpoint that was named.
struct OfAnotherEndpoint;

// ---- the actor ----

/// See the module's own words.
pub struct Supervisor {
    queue: Arc<dyn Queue>,
    registry: Addr<RegistryActor>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    retention: Arc<Retention>,
    recruit: Box<dyn Fn(EndpointName, Endpoint) -> Arc<Crew>>,
    lines: Vec<Line>,
    by_name: HashMap<EndpointName, usize>,
    residents: HashMap<TaskId, Resident>,
    claiming: bool,
    reclaiming: bool,
    overdue: overdue::Watch,
    drain: Option<Draining>,
    /// Fires when a drain's grace time is over; every crew holds it.
    out_of_patience: CancellationToken,
    turns: Turns,
    _sentinel: Sentinel,
}

/// A task that has an actor. Small on purpose, as the actor is.
struct Resident {
    actor: Addr<TaskActor>,
    rank: Rank,
    line: u32,
    /// Whether it stands in its line; not any more once it was told to start.
    waits: bool,
}

struct Draining {
    drained: Drained,
    /// Who asked, to be answered when nothing runs.
    askers: Vec<oneshot::Sender<Drained>>,
}

/// What a Supervisor is made of.
pub(crate) struct Parts {
    pub queue: Arc<dyn Queue>,
    pub registry: Addr<RegistryActor>,
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
    /// How long finished tasks are kept where their endpoint does not say.
    pub retention: Duration,
    pub endpoints: Vec<(EndpointName, Endpoint)>,
    /// Puts together what the TaskActors of an endpoint share.
    pub recruit: Box<dyn Fn(EndpointName, Endpoint) -> Arc<Crew>>,
    pub out_of_patience: CancellationToken,
    /// What the store holds already, by endpoint.
    pub waiting: Vec<(EndpointName, u64)>,
    pub sentinel: Sentinel,
}

impl Supervisor {
    pub(crate) fn new(parts: Parts) -> Self {
        let waiting: HashMap<EndpointName, u64> = parts.waiting.into_iter().collect();
        let mut supervisor = Self {
            queue: parts.queue,
            registry: parts.registry,
            clock: parts.clock,
            limits: parts.limits,
            retention: Arc::new(Retention::new(parts.retention)),
            recruit: parts.recruit,
            lines: Vec::new(),
            by_name: HashMap::new(),
            residents: HashMap::new(),
            claiming: false,
            reclaiming: false,
            overdue: overdue::Watch::default(),
            drain: None,
            out_of_patience: parts.out_of_patience,
            turns: Turns::default(),
            _sentinel: parts.sentinel,
        };
        for (name, endpoint) in parts.endpoints {
            let left_over = waiting.get(&name).copied().unwrap_or(0);
            supervisor.open_line(name, endpoint, left_over);
        }
        supervisor
    }

    /// Begins to run an endpoint, of which the store holds `left_over` waiting tasks.
    fn open_line(&mut self, name: EndpointName, endpoint: Endpoint, left_over: u64) {
        if let Some(keep) = endpoint.retention {
            Arc::make_mut(&mut self.retention).set(name.clone(), keep);
        }
        self.by_name.insert(name.clone(), self.lines.len());
        self.lines.push(Line::new((self.recruit)(name, endpoint), left_over));
    }

    // ---- admission ----

    /// The line of an endpoint, if one more task may join it now.
    fn admit(&mut self, endpoint: &EndpointName) -> Result<usize, SubmitError> {
        let retry_after = self.limits.retry_after;
        if self.drain.is_some() {
            return Err(SubmitError::Draining { retry_after });
        }
        let Some(&index) = self.by_name.get(endpoint) else {
            return Err(SubmitError::UnknownEndpoint(endpoint.clone()));
        };
        let all_waiting: u64 = self.lines.iter().map(|line| line.waiting).sum();
        let line = &mut self.lines[index];
        let line_max = line.crew.endpoint.queue_max.unwrap_or(u64::MAX);
        if line.waiting >= line_max {
            line.refused += 1;
            return Err(SubmitError::EndpointFull { endpoint: endpoint.clone(), limit: line_max, retry_after });
        }
        if all_waiting >= self.limits.queue_max {
            line.refused += 1;
            return Err(SubmitError::QueueFull { limit: self.limits.queue_max, retry_after });
        }
        Ok(index)
    }

    /// Books a place for a task that is about to be recorded. A task gets its actor at once where there is
    /// room and nobody waits in the store before it.
    fn book(&mut self, index: usize, delay: Duration) -> Place {
        let room = self.room(index);
        let line = &mut self.lines[index];
        line.waiting += 1;
        if room > 0 && line.backlog == 0 && delay.is_zero() {
            line.resident += 1;
            Place::Here
        } else {
            Place::Queue
        }
    }

    /// How many more TaskActors the line may have.
    fn room(&self, index: usize) -> usize {
        let all_resident: usize = self.lines.iter().map(|line| line.resident).sum();
        let line = &self.lines[index];
        let assured = (2 * line.crew.endpoint.concurrency).saturating_sub(line.resident);
        self.limits.resident_max.saturating_sub(all_resident).max(assured)
    }

    /// Takes in what the store has answered to a submission.
    fn note_submitted(&mut self, submitted: Submitted, ctx: &mut Context<Self>) {
        let line = &mut self.lines[submitted.line];
        let Some((task, lease)) = submitted.task else {
            line.waiting -= 1;
            line.resident -= usize::from(submitted.place == Place::Here);
            return;
        };
        line.note_submission();
        match lease {
            Some(lease) => self.take_in(submitted.line, &task, lease, submitted.input, ctx),
            None => {
                line.resident -= usize::from(submitted.place == Place::Here);
                line.backlog += 1;
                if let Some(first) = Times::of(&task).first() {
                    self.watch_stored(first, ctx);
                }
                self.refill(ctx);
            }
        }
    }

    /// Gives a task its actor and starts what can be started. Its residency is booked already.
    fn take_in(&mut self, index: usize, task: &Task, lease: Lease, input: Option<Input>, ctx: &mut Context<Self>) {
        let line = &mut self.lines[index];
        let actor = TaskActor::new(line.crew.clone(), lease, task).start();
        let rank = Rank::of(task);
        let starts_now = line.starts_soon() && self.drain.is_none();
        if starts_now {
            line.note_start(task.id, self.clock.now());
            actor.do_send(Start { input });
        } else {
            line.waiters.insert(WaitKey { rank, task: task.id });
        }
        line.tell_demand();
        self.wake_after_hold(index, ctx);
        let line = u32::try_from(index).expect("there are far fewer lines");
        self.residents.insert(task.id, Resident { actor, rank, line, waits: !starts_now });
        self.watch_resident(task, !starts_now, ctx);
    }

    fn actor_of(&self, task: TaskId, line: usize) -> Result<Option<Addr<TaskActor>>, OfAnotherEndpoint> {
        match self.residents.get(&task) {
            Some(resident) if resident.line as usize != line => Err(OfAnotherEndpoint),
            Some(resident) => Ok(Some(resident.actor.clone())),
            None => Ok(None),
        }
    }

    // ---- slots ----

    /// Starts the next of those who wait, as many as there are free slots and the pace allows.
    fn dispatch(&mut self, index: usize, ctx: &mut Context<Self>) {
        if self.drain.is_some() {
            return;
        }
        while self.lines[index].has_room()
            && let Some(next) = self.lines[index].waiters.pop_first()
        {
            let resident = self.residents.get_mut(&next.task).expect("who waits in a line is resident");
            resident.waits = false;
            self.lines[index].note_start(next.task, self.clock.now());
            resident.actor.do_send(Start { input: None });
            self.unwatch_waiting(next.task);
        }
        self.lines[index].tell_demand();
        self.wake_after_hold(index, ctx);
    }

    /// Has the line looked at again when its pace lets the next one start.
    fn wake_after_hold(&mut self, index: usize, ctx: &mut Context<Self>) {
        let line = &mut self.lines[index];
        let someone_could_start = line.slots_free > 0 && !line.waiters.is_empty() && !line.wakes;
        if someone_could_start && let Some(hold) = line.pace.hold(stopwatch()) {
            line.wakes = true;
            ctx.run_later(hold, move |this, ctx| {
                this.lines[index].wakes = false;
                this.dispatch(index, ctx);
            });
        }
    }

    /// Learns from an attempt's end how those who run the work are doing.
    fn note_pressure(&mut self, index: usize, pressure: Pressure) {
        let line = &mut self.lines[index];
        let (before, running) = (line.pace.allowed(), line.slots_used());
        line.pace.note(pressure, running, stopwatch());
        let (allowed, slots) = (line.pace.allowed(), line.crew.endpoint.concurrency);
        let endpoint = line.crew.name.as_str();
        match allowed.cmp(&before) {
            Ordering::Less => tracing::warn!(endpoint, allowed, slots, "no room upstream: the endpoint slows down"),
            Ordering::Greater if allowed == slots => {
                tracing::info!(endpoint, allowed, "there is room upstream: the endpoint is at its full pace");
            }
            Ordering::Greater | Ordering::Equal => {}
        }
    }

    fn note_ended(&mut self, Ended { task, ending, pressure }: Ended, ctx: &mut Context<Self>) {
        let Some(resident) = self.residents.remove(&task) else { return };
        self.unwatch_resident(task, ending, ctx);
        let index = resident.line as usize;
        let line = &mut self.lines[index];
        line.resident -= 1;
        if resident.waits {
            line.waiters.remove(&WaitKey { rank: resident.rank, task });
            line.waiting -= 1;
        } else {
            line.slots_free += 1;
            line.runs.note_end(task, self.clock.now(), ending != Ending::Unsettled);
            self.note_pressure(index, pressure);
        }
        let line = &mut self.lines[index];
        match ending {
            Ending::Settled => {}
            Ending::PutBack => {
                line.waiting += 1;
                line.backlog += 1;
            }
            Ending::Unsettled => tracing::error!(
                task_id = %task,
                "a task's actor ended without a verdict in the store; the task runs again after the next start"
            ),
        }
        if !resident.waits
            && let Some(draining) = &mut self.drain
        {
            draining.drained.count(ending);
        }
        self.dispatch(index, ctx);
        self.refill(ctx);
        self.answer_drain();
    }

    /// A task of the line that had no actor has ended in the store.
    fn note_withdrawn(&mut self, index: usize) {
        let line = &mut self.lines[index];
        line.waiting = line.waiting.saturating_sub(1);
        line.backlog = line.backlog.saturating_sub(1);
    }

    // ---- drain ----

    fn answer_drain(&mut self) {
        let running = self.lines.iter().any(|line| line.slots_used() > 0);
        if !running && let Some(draining) = &mut self.drain {
            for asker in draining.askers.drain(..) {
                // Whoever asked may have gone away.
                let _ = asker.send(draining.drained);
            }
        }
    }
}

impl Drained {
    fn count(&mut self, ending: Ending) {
        match ending {
            Ending::Settled => self.finished += 1,
            Ending::PutBack => self.put_back += 1,
            Ending::Unsettled => self.unsettled += 1,
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.reclaim(ctx);
        self.end_overdue(ctx);
        self.refill(ctx);
        ctx.run_interval(self.limits.heartbeat, Self::heartbeat);
    }
}

impl Handler<Submit> for Supervisor {
    type Result = ResponseFuture<Result<Recorded, SubmitError>>;

    fn handle(&mut self, Submit(task): Submit, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        let within_bounds = bounds::within(&task, &self.limits);
        let line = match within_bounds.and_then(|()| self.admit(&task.endpoint)) {
            Ok(line) => line,
            Err(refusal) => return Box::pin(std::future::ready(Err(refusal))),
        };
        let place = self.book(line, task.delay);
        // Kept at hand while a slot waits for it, so that it need not be read back.
        let starts_soon = place == Place::Here && self.lines[line].starts_soon();
        let input = starts_soon.then(|| task.input.clone());
        let enqueued = self.queue.enqueue(vec![(task, place)]);
        let (supervisor, registry) = (ctx.address(), self.registry.clone());
        Box::pin(async move {
            let enqueued = enqueued.await.map(|mut all| all.pop().expect("one task in, one answer out"));
            let answer = match &enqueued {
                Ok(Enqueued { task, novelty: Novelty::New, .. }) => Ok(Recorded::New(task.clone())),
                Ok(Enqueued { task, novelty: Novelty::Replay, .. }) => Ok(Recorded::Before(task.clone())),
                Ok(Enqueued { task, novelty: Novelty::OtherInput, .. }) => {
                    Err(SubmitError::OtherInput { first: task.id })
                }
                Err(error) => Err(error.clone().into()),
            };
            let new = enqueued.ok().filter(|enqueued| enqueued.novelty == Novelty::New);
            let task = new.map(|new| tell_registry(&registry, new));
            supervisor.do_send(Submitted { line, place, task, input });
            answer
        })
    }
}

/// Logs a new task, and tells the Registry of it before anybody can ask.
fn tell_registry(registry: &Addr<RegistryActor>, enqueued: Enqueued) -> (Task, Option<Lease>) {
    journal::submitted(&enqueued.task);
    if enqueued.lease.is_some() {
        registry.do_send(Admitted(enqueued.task.clone()));
    }
    (enqueued.task, enqueued.lease)
}

impl Handler<Submitted> for Supervisor {
    type Result = ();

    fn handle(&mut self, submitted: Submitted, ctx: &mut Self::Context) {
        self.turns.count(ctx);
        self.note_submitted(submitted, ctx);
    }
}

impl Handler<Retry> for Supervisor {
    type Result = ResponseFuture<Result<Task, RetryError>>;

    fn handle(&mut self, Retry { of, endpoint }: Retry, ctx: &mut Self::Context) -> Self::Result {
        let line = match self.admit(&endpoint) {
            Ok(line) => line,
            Err(refusal) => return Box::pin(std::future::ready(Err(refusal.into()))),
        };
        let place = self.book(line, Duration::ZERO);
        let resubmitted = self.queue.resubmit(Resubmit { of, endpoint, id: TaskId::generate(), place });
        let (supervisor, registry) = (ctx.address(), self.registry.clone());
        Box::pin(async move {
            let (answer, task) = match resubmitted.await {
                Ok(Resubmitted::Enqueued(enqueued)) => {
                    journal::retried(of, &enqueued.task);
                    let (task, lease) = tell_registry(&registry, enqueued);
                    (Ok(task.clone()), Some((task, lease)))
                }
                Ok(Resubmitted::Unfinished(state)) => (Err(RetryError::Unfinished(state)), None),
                Ok(Resubmitted::Unknown) => (Err(RetryError::Unknown), None),
                Err(error) => (Err(SubmitError::Store(error).into()), None),
            };
            supervisor.do_send(Submitted { line, place, task, input: None });
            answer
        })
    }
}

impl Handler<Cancel> for Supervisor {
    type Result = ResponseFuture<Result<CancelAnswer, StoreError>>;

    fn handle(&mut self, cancel: Cancel, ctx: &mut Self::Context) -> Self::Result {
        let Some(&line) = self.by_name.get(&cancel.endpoint) else {
            return Box::pin(std::future::ready(Ok(CancelAnswer::Unknown)));
        };
        let keep = self.lines[line].crew.keep;
        let (supervisor, queue, registry) = (ctx.address(), self.queue.clone(), self.registry.clone());
        let mut actor = match self.actor_of(cancel.task, line) {
            Ok(actor) => actor,
            Err(OfAnotherEndpoint) => return Box::pin(std::future::ready(Ok(CancelAnswer::Unknown))),
        };
        Box::pin(async move {
            for _ in 0..CANCEL_TRIES {
                if let Some(actor) = actor
                    && let Ok(interrupted) = actor.send(Interrupt).await
                {
                    match interrupted? {
                        Interrupted::Canceled => return Ok(CancelAnswer::Canceled),
                        Interrupted::Started if !cancel.force => return Ok(CancelAnswer::Started),
                        Interrupted::Started => {}
                    }
                    if let Ok(stopping) = actor.send(StopRun).await
                        && stopping? == Stopping::Requested
                    {
                        return Ok(CancelAnswer::Requested);
                    }
                }
                // It has no actor, or the actor ended before it took our message: the store knows.
                match queue.cancel(cancel.task, cancel.endpoint.clone(), keep).await? {
                    Canceled::Canceled(task) => {
                        supervisor.do_send(Withdrawn { line });
                        registry.do_send(SettledInStore(task));
                        return Ok(CancelAnswer::Canceled);
                    }
                    Canceled::Finished(State::Canceled) => return Ok(CancelAnswer::Canceled),
                    Canceled::Finished(state) => return Ok(CancelAnswer::Finished(state)),
                    Canceled::Unknown => return Ok(CancelAnswer::Unknown),
                    // It is just changing hands: claimed, and not yet given its actor, or the reverse.
                    Canceled::Held(_) => tokio::time::sleep(CANCEL_PAUSE).await,
                }
                actor = supervisor.send(ActorOf { task: cancel.task, line }).await.unwrap_or(Ok(None)).unwrap_or(None);
            }
            Err(StoreError::Failed(format!("task {} is held by another node", cancel.task)))
        })
    }
}

impl Handler<ActorOf> for Supervisor {
    type Result = Result<Option<Addr<TaskActor>>, OfAnotherEndpoint>;

    fn handle(&mut self, ActorOf { task, line }: ActorOf, _: &mut Self::Context) -> Self::Result {
        self.actor_of(task, line)
    }
}

impl Handler<Withdrawn> for Supervisor {
    type Result = ();

    fn handle(&mut self, Withdrawn { line }: Withdrawn, _: &mut Self::Context) {
        self.note_withdrawn(line);
    }
}

impl Handler<Ended> for Supervisor {
    type Result = ();

    fn handle(&mut self, ended: Ended, ctx: &mut Self::Context) {
        self.turns.count(ctx);
        self.note_ended(ended, ctx);
    }
}

impl Handler<Drain> for Supervisor {
    type Result = ResponseFuture<Drained>;

    fn handle(&mut self, Drain { grace }: Drain, ctx: &mut Self::Context) -> Self::Result {
        let (asker, drained) = oneshot::channel();
        let draining = self.drain.get_or_insert_with(|| Draining { drained: Drained::default(), askers: Vec::new() });
        draining.askers.push(asker);
        ctx.run_later(grace, |this, _| this.out_of_patience.cancel());
        self.answer_drain();
        Box::pin(async move { drained.await.unwrap_or_default() })
    }
}

impl Handler<AddEndpoint> for Supervisor {
    type Result = ResponseActFuture<Self, Result<bool, StoreError>>;

    fn handle(&mut self, AddEndpoint { name, endpoint }: AddEndpoint, _: &mut Self::Context) -> Self::Result {
        Box::pin(self.queue.waiting().into_actor(self).map(move |waiting, this, ctx| {
            let left_over = waiting?.into_iter().find(|(of, _)| *of == name).map_or(0, |(_, tasks)| tasks);
            if this.by_name.contains_key(&name) {
                return Ok(false);
            }
            this.open_line(name, endpoint, left_over);
            this.refill(ctx);
            Ok(true)
        }))
    }
}

impl Handler<Foresee> for Supervisor {
    type Result = MessageResult<Foresee>;

    fn handle(&mut self, Foresee { task }: Foresee, ctx: &mut Self::Context) -> Self::Result {
        self.turns.count(ctx);
        let prospect = self.residents.get(&task).and_then(|resident| {
            let key = WaitKey { rank: resident.rank, task };
            self.lines[resident.line as usize].prospect(&key, self.clock.now())
        });
        MessageResult(prospect.map(|prospect| match self.drain {
            // Nothing is started any more.
            Some(_) => Prospect { slots: 0, ..prospect },
            None => prospect,
        }))
    }
}

impl Handler<MeasureLines> for Supervisor {
    type Result = MessageResult<MeasureLines>;

    fn handle(&mut self, _: MeasureLines, _: &mut Self::Context) -> Self::Result {
        let now = self.clock.now();
        MessageResult(self.lines.iter().map(|line| line.measures(now)).collect())
    }
}
