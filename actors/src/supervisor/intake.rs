//! How tasks without an actor come in: by claim, as far as there is room, and by reclaim, what others left behind.

use std::collections::HashMap;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::Supervisor;
use crate::journal;
use crate::registry::{Admitted, SettledInStore};
use crate::store::{Claimed, Claims, ReclaimPolicy, Reclaims, StoreError, Wanted};
use crate::task::{EndpointName, Timestamp};

/// The most tasks of an endpoint that one claim brings.
const CLAIM_BATCH: usize = 500;

/// The most tasks one step of recovery decides about.
const RECLAIM_BATCH: usize = 1000;

/// How long to wait before a claim that the store could not serve is tried again.
const CLAIM_AGAIN: Duration = Duration::from_secs(1);

impl Supervisor {
    // ---- claims ----

    /// Asks the store for tasks that have no actor yet, where there is room; one claim at a time, so that
    /// room gathers while one is under way.
    pub(super) fn refill(&mut self, ctx: &mut Context<Self>) {
        if self.claiming || self.drain.is_some() {
            return;
        }
        let wanted: Vec<Wanted> = (0..self.lines.len()).filter_map(|index| self.wanted(index)).collect();
        if wanted.is_empty() {
            return;
        }
        self.claiming = true;
        let claim = self.queue.claim(wanted.clone());
        ctx.spawn(claim.into_actor(self).map(move |claims, this, ctx| {
            this.claiming = false;
            match claims {
                Ok(claims) => this.note_claims(&wanted, claims, ctx),
                Err(StoreError::Closed) => {}
                Err(error) => {
                    tracing::warn!(%error, "waiting tasks could not be claimed; trying again");
                    ctx.run_later(CLAIM_AGAIN, Self::refill);
                }
            }
        }));
    }

    fn wanted(&self, index: usize) -> Option<Wanted> {
        let line = &self.lines[index];
        let backlog = usize::try_from(line.backlog).unwrap_or(usize::MAX);
        let max = backlog.min(self.room(index)).min(CLAIM_BATCH);
        (max > 0).then(|| Wanted { endpoint: line.crew.name.clone(), max })
    }

    fn note_claims(&mut self, wanted: &[Wanted], claims: Claims, ctx: &mut Context<Self>) {
        let mut came: HashMap<EndpointName, usize> = HashMap::new();
        for Claimed { task, lease } in claims.tasks {
            *came.entry(task.endpoint.clone()).or_default() += 1;
            let index = self.by_name[&task.endpoint];
            let line = &mut self.lines[index];
            line.backlog = line.backlog.saturating_sub(1);
            line.resident += 1;
            self.registry.do_send(Admitted(task.clone()));
            self.take_in(index, &task, lease, None, ctx);
        }
        for wanted in wanted {
            let all_that_is_due = came.get(&wanted.endpoint).copied().unwrap_or(0) < wanted.max;
            if all_that_is_due {
                self.lines[self.by_name[&wanted.endpoint]].backlog = 0;
            }
        }
        if let Some(due) = claims.next_due {
            self.wake_at(due, ctx);
        }
        self.refill(ctx);
    }

    /// Claims again when a task that waits for its time is due.
    fn wake_at(&mut self, due: Timestamp, ctx: &mut Context<Self>) {
        let pause = (due - self.clock.now()).to_std().unwrap_or_default();
        ctx.run_later(pause.max(Duration::from_millis(1)), |this, ctx| {
            this.expect_backlog();
            this.refill(ctx);
        });
    }

    /// Lets the next claim look into every line whose waiting tasks are not all resident.
    fn expect_backlog(&mut self) {
        for line in &mut self.lines {
            line.backlog = line.backlog.max(line.waiting.saturating_sub(line.waiters.len() as u64));
        }
    }

    // ---- leases ----

    /// Renews this node's lease, and decides about what other nodes, or an earlier life of this one, left.
    pub(super) fn heartbeat(&mut self, ctx: &mut Context<Self>) {
        let renewed = self.queue.renew();
        ctx.spawn(renewed.into_actor(self).map(|renewed, this, ctx| {
            if let Err(error) = renewed {
                tracing::warn!(%error, "this node's lease could not be renewed; trying again");
            }
            this.reclaim(ctx);
            this.end_overdue(ctx);
        }));
    }

    pub(super) fn reclaim(&mut self, ctx: &mut Context<Self>) {
        if self.reclaiming || self.drain.is_some() {
            return;
        }
        self.reclaiming = true;
        let policy = ReclaimPolicy { crash_budget: self.limits.crash_budget, retention: self.retention.clone() };
        let reclaimed = self.queue.reclaim(RECLAIM_BATCH, policy);
        ctx.spawn(reclaimed.into_actor(self).map(|reclaims, this, ctx| {
            this.reclaiming = false;
            match reclaims {
                Ok(reclaims) => this.note_reclaims(reclaims, ctx),
                Err(StoreError::Closed) => {}
                Err(error) => tracing::warn!(%error, "tasks left behind could not be reclaimed; trying again"),
            }
        }));
    }

    fn note_reclaims(&mut self, reclaims: Reclaims, ctx: &mut Context<Self>) {
        if reclaims.is_empty() {
            return;
        }
        for task in &reclaims.crashed {
            journal::recovered(task);
            if let Some(&index) = self.by_name.get(&task.endpoint) {
                self.lines[index].waiting += 1;
            }
        }
        for task in reclaims.lost.into_iter().chain(reclaims.canceled) {
            self.registry.do_send(SettledInStore(task));
        }
        self.expect_backlog();
        self.refill(ctx);
        self.reclaim(ctx);
    }
}
