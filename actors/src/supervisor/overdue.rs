//! Sees to it that tasks which wait end when their own time is over: those with an actor are told, those in the store
//! are settled there.
//!
//! Nothing is lost when a wake-up comes late or not at all: the store is asked with every heartbeat, and a TaskActor
//! looks at the time before it starts.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, SpawnHandle, WrapFuture};

use super::Supervisor;
use crate::lifecycle::Times;
use crate::registry::SettledInStore;
use crate::store::{Overdue, StoreError};
use crate::task::{Task, TaskId, Timestamp};
use crate::task_actor::{Ending, TimeIsUp};

/// The most tasks that the store settles in one step.
const OVERDUE_BATCH: usize = 1000;

/// When whose time is over. Small, as most tasks have no such times.
#[derive(Default)]
pub(super) struct Watch {
    /// The times of those that have an actor.
    times: HashMap<TaskId, Times>,
    /// When those that have an actor and wait are to be told.
    waiting: BTreeSet<(Timestamp, TaskId)>,
    /// When the next time of a task in the store is over, as far as we know.
    in_store: Option<Timestamp>,
    /// The next wake-up.
    wake: Option<(Timestamp, SpawnHandle)>,
    asking: bool,
}

impl Watch {
    fn next(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(time, _)| *time).into_iter().chain(self.in_store).min()
    }
}

impl Supervisor {
    /// A task got its actor.
    pub(super) fn watch_resident(&mut self, task: &Task, waits: bool, ctx: &mut Context<Self>) {
        let times = Times::of(task);
        let Some(first) = times.first() else { return };
        self.overdue.times.insert(task.id, times);
        if waits {
            self.overdue.waiting.insert((first, task.id));
            self.wake_for_overdue(ctx);
        }
    }

    /// A task with an actor does not wait any more: it has been told to start.
    pub(super) fn unwatch_waiting(&mut self, task: TaskId) {
        if let Some(first) = self.overdue.times.get(&task).and_then(|times| times.first()) {
            self.overdue.waiting.remove(&(first, task));
        }
    }

    /// A task has no actor any more.
    pub(super) fn unwatch_resident(&mut self, task: TaskId, ending: Ending, ctx: &mut Context<Self>) {
        self.unwatch_waiting(task);
        let deadline = self.overdue.times.remove(&task).and_then(|times| times.deadline);
        if let (Ending::PutBack, Some(deadline)) = (ending, deadline) {
            self.watch_stored(deadline, ctx);
        }
    }

    /// A task waits in the store whose time will be over then.
    pub(super) fn watch_stored(&mut self, time: Timestamp, ctx: &mut Context<Self>) {
        self.overdue.in_store = Some(self.overdue.in_store.map_or(time, |known| known.min(time)));
        self.wake_for_overdue(ctx);
    }

    fn wake_for_overdue(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.overdue.next() else { return };
        if let Some((planned, handle)) = self.overdue.wake {
            if planned <= next {
                return;
            }
            ctx.cancel_future(handle);
        }
        let pause = (next - self.clock.now()).to_std().unwrap_or_default();
        let handle = ctx.run_later(pause.max(Duration::from_millis(1)), |this, ctx| {
            this.overdue.wake = None;
            this.look_at_the_time(ctx);
        });
        self.overdue.wake = Some((next, handle));
    }

    /// Ends what is overdue as far as we know, with an actor and without.
    fn look_at_the_time(&mut self, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        self.tell_overdue(now);
        match self.overdue.in_store {
            Some(time) if time <= now => self.ask_for_overdue(ctx),
            Some(_) | None => self.wake_for_overdue(ctx),
        }
    }

    /// Ends what is overdue, with an actor and without, whatever we know.
    pub(super) fn end_overdue(&mut self, ctx: &mut Context<Self>) {
        self.tell_overdue(self.clock.now());
        self.ask_for_overdue(ctx);
    }

    fn tell_overdue(&mut self, now: Timestamp) {
        if self.drain.is_some() {
            return;
        }
        while let Some((time, task)) = self.overdue.waiting.first().copied()
            && time <= now
        {
            self.overdue.waiting.pop_first();
            if let Some(resident) = self.residents.get(&task) {
                resident.actor.do_send(TimeIsUp { now });
            }
        }
    }

    /// Has the store end what is overdue there; it answers when the next one will be.
    fn ask_for_overdue(&mut self, ctx: &mut Context<Self>) {
        if self.drain.is_some() || self.overdue.asking {
            return;
        }
        self.overdue.asking = true;
        // What comes to wait there from now on may not be in the answer.
        self.overdue.in_store = None;
        let asked = self.queue.overdue(OVERDUE_BATCH, self.retention.clone());
        ctx.spawn(asked.into_actor(self).map(|overdue, this, ctx| {
            this.overdue.asking = false;
            match overdue {
                Ok(overdue) => this.note_overdue(overdue, ctx),
                Err(StoreError::Closed) => {}
                Err(error) => tracing::warn!(%error, "overdue tasks could not be ended; trying again"),
            }
        }));
    }

    fn note_overdue(&mut self, overdue: Overdue, ctx: &mut Context<Self>) {
        let maybe_more = overdue.settled.len() == OVERDUE_BATCH;
        for task in overdue.settled {
            if let Some(&index) = self.by_name.get(&task.endpoint) {
                self.note_withdrawn(index);
            }
            self.registry.do_send(SettledInStore(task));
        }
        if maybe_more {
            self.ask_for_overdue(ctx);
        }
        match overdue.next {
            Some(next) => self.watch_stored(next, ctx),
            None => self.wake_for_overdue(ctx),
        }
    }
}
