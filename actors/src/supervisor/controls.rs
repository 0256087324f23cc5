//! What an operator does to an endpoint while it runs: pause, resume, other concurrency, purge.
//!
//! How an endpoint is set is written first and obeyed then, so that it holds after a restart as well.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, Addr, AsyncContext, Handler, Message, ResponseActFuture, ResponseFuture, WrapFuture};
use futures::future::join_all;

use super::waiters::{CallerId, WaitKey};
use super::{ControlError, Pause, Purge, Resume, SetConcurrency, Supervisor};
use crate::registry::{RegistryActor, SettledInStore};
use crate::store::{self, Control, ControlChange, Queue};
use crate::task::{EndpointName, Timestamp};
use crate::task_actor::{Interrupt, Interrupted, TaskActor};

/// How many tasks one step of a purge cancels: in one transaction of the store, or through their actors.
const PURGE_STORED: usize = 1000;
const PURGE_RESIDENT: usize = 256;

/// How long a purge waits for a claim that is under way before it looks again.
const PURGE_PAUSE: Duration = Duration::from_millis(10);

type Controlled = ResponseActFuture<Supervisor, Result<(), ControlError>>;

/// Some of the actors that wait in a line, from one on, for a purge.
#[derive(Message)]
#[rtype(result = "Portion")]
struct Waiting {
    line: usize,
    after: Option<(CallerId, WaitKey)>,
    due_by: Timestamp,
}

struct Portion {
    actors: Vec<Addr<TaskActor>>,
    next: Next,
}

/// What comes after a portion.
enum Next {
    /// More, after this one.
    After(CallerId, WaitKey),
    /// Perhaps more: a claim is under way.
    Later,
    Nothing,
}

/// The store has canceled tasks of the line that had no actor.
#[derive(Message)]
#[rtype(result = "()")]
struct Purged {
    line: usize,
    tasks: u64,
}

/// A purge of the line is over.
#[derive(Message)]
#[rtype(result = "()")]
struct PurgeEnded {
    line: usize,
}

impl Supervisor {
    fn line_of(&self, endpoint: &EndpointName) -> Result<usize, ControlError> {
        self.by_name.get(endpoint).copied().ok_or_else(|| ControlError::UnknownEndpoint(endpoint.clone()))
    }

    /// Has a change written, then obeys it.
    fn change(&self, index: usize, change: ControlChange) -> Controlled {
        let written = self.queue.control(self.lines[index].crew.name.clone(), change);
        Box::pin(written.into_actor(self).map(move |written, this, ctx| {
            let line = &mut this.lines[index];
            if matches!(change, ControlChange::Concurrency(_)) {
                line.slots_asked = 0;
            }
            written?;
            // Only what was named: another change may have been answered before.
            line.set(line.control.with(change));
            let Control { paused, .. } = line.control;
            tracing::info!(endpoint = line.crew.name.as_str(), paused, concurrency = line.slots, "endpoint set");
            line.tell_demand();
            line.expect_all();
            this.dispatch(index, ctx);
            this.refill(ctx);
            Ok(())
        }))
    }

    /// The most slots the line may have, so that all lines together keep to the limit.
    fn slots_left(&self, index: usize) -> usize {
        let others = self.lines.iter().enumerate().filter(|(other, _)| *other != index);
        let taken: usize = others.map(|(_, line)| line.slots.max(line.slots_asked)).sum();
        self.slots_max.saturating_sub(taken)
    }
}

impl Handler<Pause> for Supervisor {
    type Result = Controlled;

    fn handle(&mut self, Pause { endpoint }: Pause, _: &mut Self::Context) -> Self::Result {
        match self.line_of(&endpoint) {
            Ok(line) => self.change(line, ControlChange::Paused(true)),
            Err(unknown) => refused(self, unknown),
        }
    }
}

impl Handler<Resume> for Supervisor {
    type Result = Controlled;

    fn handle(&mut self, Resume { endpoint }: Resume, _: &mut Self::Context) -> Self::Result {
        match self.line_of(&endpoint) {
            Ok(line) => self.change(line, ControlChange::Paused(false)),
            Err(unknown) => refused(self, unknown),
        }
    }
}

impl Handler<SetConcurrency> for Supervisor {
    type Result = Controlled;

    fn handle(&mut self, wish: SetConcurrency, _: &mut Self::Context) -> Self::Result {
        let index = match self.line_of(&wish.endpoint) {
            Ok(index) => index,
            Err(unknown) => return refused(self, unknown),
        };
        let slots = wish.concurrency.unwrap_or(self.lines[index].crew.endpoint.concurrency);
        let most = self.slots_left(index);
        // What is configured is granted in any case.
        if wish.concurrency.is_some() && !(1..=most).contains(&slots) {
            let bounds = ControlError::Concurrency { endpoint: wish.endpoint, asked: slots, most };
            return refused(self, bounds);
        }
        let line = &mut self.lines[index];
        line.slots_asked = line.slots_asked.max(slots);
        let concurrency = wish.concurrency.map(|slots| u32::try_from(slots).unwrap_or(u32::MAX));
        self.change(index, ControlChange::Concurrency(concurrency))
    }
}

fn refused(supervisor: &Supervisor, error: ControlError) -> Controlled {
    Box::pin(std::future::ready(Err(error)).into_actor(supervisor))
}

impl Handler<Purge> for Supervisor {
    type Result = ResponseFuture<Result<u64, ControlError>>;

    fn handle(&mut self, Purge { endpoint }: Purge, ctx: &mut Self::Context) -> Self::Result {
        let line = match self.line_of(&endpoint) {
            Ok(line) => line,
            Err(unknown) => return Box::pin(std::future::ready(Err(unknown))),
        };
        self.lines[line].purges += 1;
        let purge = Purging {
            supervisor: ctx.address(),
            queue: self.queue.clone(),
            registry: self.registry.clone(),
            line,
            keep: self.lines[line].crew.keep,
            endpoint,
            begun: self.clock.now(),
        };
        Box::pin(async move {
            let canceled = purge.run().await;
            purge.supervisor.do_send(PurgeEnded { line });
            let endpoint = purge.endpoint.as_str();
            match &canceled {
                Ok(tasks) => tracing::info!(endpoint, tasks, "endpoint purged"),
                Err(error) => tracing::warn!(endpoint, %error, "an endpoint could not be purged to the end"),
            }
            canceled
        })
    }
}

/// A purge under way.
struct Purging {
    supervisor: Addr<Supervisor>,
    queue: Arc<dyn Queue>,
    registry: Addr<RegistryActor>,
    line: usize,
    endpoint: EndpointName,
    keep: Duration,
    /// What was submitted later is left.
    begun: Timestamp,
}

impl Purging {
    /// First those with an actor, then those without: nothing is claimed meanwhile, so none escapes in between.
    async fn run(&self) -> Result<u64, ControlError> {
        let residents = self.residents().await?;
        Ok(residents + self.stored().await?)
    }

    async fn residents(&self) -> Result<u64, ControlError> {
        let (mut canceled, mut after, mut found) = (0, None, false);
        loop {
            let wish = Waiting { line: self.line, after, due_by: self.begun };
            // A Supervisor that is gone holds nothing.
            let Ok(Portion { actors, next }) = self.supervisor.send(wish).await else { return Ok(canceled) };
            found |= !actors.is_empty();
            // An actor that has ended has nothing waiting.
            for interrupted in join_all(actors.iter().map(|actor| actor.send(Interrupt))).await.into_iter().flatten() {
                canceled += u64::from(interrupted? == Interrupted::Canceled);
            }
            match next {
                Next::After(caller, key) => after = Some((caller, key)),
                Next::Later => {
                    tokio::time::sleep(PURGE_PAUSE).await;
                    after = None;
                }
                // Callers come and go meanwhile: it is over when one look at all finds none.
                Next::Nothing if found => (after, found) = (None, false),
                Next::Nothing => return Ok(canceled),
            }
        }
    }

    async fn stored(&self) -> Result<u64, ControlError> {
        let mut canceled = 0;
        loop {
            let wish = store::Purge {
                endpoint: self.endpoint.clone(),
                max: PURGE_STORED,
                submitted_by: self.begun,
                keep: self.keep,
            };
            let purged = self.queue.purge(wish).await?;
            let tasks = purged.len() as u64;
            canceled += tasks;
            self.supervisor.do_send(Purged { line: self.line, tasks });
            let is_last = purged.len() < PURGE_STORED;
            for task in purged {
                self.registry.do_send(SettledInStore(task));
            }
            if is_last {
                return Ok(canceled);
            }
        }
    }
}

impl Handler<Waiting> for Supervisor {
    type Result = actix::MessageResult<Waiting>;

    fn handle(&mut self, Waiting { line, after, due_by }: Waiting, _: &mut Self::Context) -> Self::Result {
        let line = &self.lines[line];
        let aging = line.crew.endpoint.aging;
        let page = line.waiters.page(after, PURGE_RESIDENT);
        let next = match page.last() {
            Some((caller, key)) => Next::After(*caller, *key),
            None if line.claiming => Next::Later,
            None => Next::Nothing,
        };
        let due_by = due_by.timestamp_micros();
        let meant = page.iter().filter(|(_, key)| key.rank.due_micros(aging) <= due_by);
        let actors = meant.filter_map(|(_, key)| self.residents.get(&key.task)).map(|resident| resident.actor.clone());
        actix::MessageResult(Portion { actors: actors.collect(), next })
    }
}

impl Handler<Purged> for Supervisor {
    type Result = ();

    fn handle(&mut self, Purged { line, tasks }: Purged, _: &mut Self::Context) {
        let line = &mut self.lines[line];
        line.waiting = line.waiting.saturating_sub(tasks);
        line.backlog = line.backlog.saturating_sub(tasks);
    }
}

impl Handler<PurgeEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, PurgeEnded { line }: PurgeEnded, ctx: &mut Self::Context) {
        self.lines[line].purges -= 1;
        self.lines[line].tell_demand();
        self.refill(ctx);
    }
}
