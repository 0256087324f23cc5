//! The workers of an endpoint: hands out their slots, starts as many as there is work for, and replaces those that end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ending::Ending;
use super::launch::{self, Group, Ready};
use super::plan::{self, Backoff};
use super::worker::{Attendance, Worker};
use super::{ProcessOptions, memory};
use crate::executor::{Demand, Description};
use crate::task::{EndpointName, Failure, Outcome};

/// How often the memory of the workers is looked at, where it has a limit.
const MEMORY_INTERVAL: Duration = Duration::from_millis(250);

/// A worker that lived so long shows that its command works, even where it completed nothing.
const HEALTHY_SPELL: Duration = Duration::from_secs(60);

pub struct Pool {
    endpoint: EndpointName,
    options: ProcessOptions,
    runtime: Handle,
    /// Fires when the executor is dropped.
    shutdown: CancellationToken,
    /// Told when there may be a worker to start.
    changed: Notify,
    /// Told when a worker is gone.
    ended: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: Vec<Member>,
    /// Workers that have not said hello yet.
    starting: usize,
    /// Every process that was started and is not gone.
    groups: Vec<Arc<Group>>,
    /// Attempts that wait for a slot, in the order they came.
    waiting: VecDeque<oneshot::Sender<Result<Slot, Outcome>>>,
    demand: Demand,
    /// How many workers there were to be when it was last told in the log.
    told: usize,
    backoff: Backoff,
    /// Why the last worker could not be started, until one could.
    trouble: Option<Failure>,
    description: Option<Description>,
    /// What a worker said of its concurrency.
    threads: Option<usize>,
    closed: bool,
}

/// A worker among the others.
struct Member {
    worker: Arc<Worker>,
    running: usize,
    /// How many attempts it was given in its life.
    given: u64,
    started: Instant,
    idle_since: Instant,
    /// Gets no more attempts: it ends.
    leaving: bool,
}

/// The right to give one attempt to a worker; let go of, it is free for the next.
pub struct Slot {
    pool: Arc<Pool>,
    worker: Arc<Worker>,
}

impl Slot {
    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.release(&self.worker);
    }
}

/// What a change left to be done when the state is no longer held.
#[must_use]
struct Undelivered(#[expect(dead_code, reason = "dropping them frees them")] Vec<Slot>);

impl Pool {
    /// Begins with one worker, or as many as there are at least. They end when `shutdown` fires.
    pub fn start(
        endpoint: EndpointName,
        options: ProcessOptions,
        runtime: Handle,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let limits_memory = options.memory.is_some();
        let (changed, ended, state) = (Notify::new(), Notify::new(), Mutex::default());
        let pool = Arc::new(Self { endpoint, options, runtime, shutdown, changed, ended, state });
        pool.runtime.spawn(pool.clone().keep());
        if limits_memory {
            pool.runtime.spawn(pool.clone().watch_memory());
        }
        pool
    }

    pub fn description(&self) -> Option<Description> {
        self.state().description.clone()
    }

    pub fn demand(&self, demand: Demand) {
        self.state().demand = demand;
        self.changed.notify_one();
    }

    /// A slot of a worker; waits until there is one.
    ///
    /// # Errors
    /// No worker can be started now.
    pub async fn slot(self: &Arc<Self>) -> Result<Slot, Outcome> {
        let granted = {
            let mut state = self.state();
            if let Some(refusal) = state.refusal(Instant::now()) {
                return Err(refusal);
            }
            let (grant, granted) = oneshot::channel();
            state.waiting.push_back(grant);
            let undelivered = state.grant(self);
            let has_to_wait = !state.waiting.is_empty();
            drop(state);
            drop(undelivered);
            if has_to_wait {
                self.changed.notify_one();
            }
            granted
        };
        // Without an answer the pool was closed.
        granted.await.unwrap_or(Err(Outcome::Canceled))
    }

    fn release(self: &Arc<Self>, worker: &Arc<Worker>) {
        let mut state = self.state();
        if worker.has_completed() {
            state.backoff.reset();
        }
        if let Some(member) = state.member(worker) {
            member.running -= 1;
            member.idle_since = Instant::now();
            let is_spent = self.options.max_tasks.is_some_and(|most| member.given >= most);
            if is_spent && member.running == 0 {
                member.leaving = true;
                tracing::info!(
                    target: "ekiben::worker",
                    endpoint = %self.endpoint, worker = worker.group.pid, tasks = member.given, "worker recycled"
                );
                worker.exit();
                self.changed.notify_one();
            }
        }
        let undelivered = state.grant(self);
        drop(state);
        drop(undelivered);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }

    // ---- keeping as many workers as there is work for ----

    async fn keep(self: Arc<Self>) {
        loop {
            let look_again = self.tend();
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                () = self.changed.notified() => {}
                () = sleep_until(look_again) => {}
            }
        }
        self.end_all();
    }

    /// Starts what is missing and lets go what is idle; answers when to look again if nothing changes before.
    fn tend(self: &Arc<Self>) -> Instant {
        let now = Instant::now();
        let mut state = self.state();
        state.waiting.retain(|waiter| !waiter.is_closed());
        let wanted = state.wanted(&self.options);
        let staying = state.members.iter().filter(|member| !member.leaving).count() + state.starting;
        if staying > wanted {
            return self.let_go(&mut state, staying, staying - wanted, now);
        }
        let room = self.options.workers_max.saturating_sub(state.members.len() + state.starting);
        let missing = (wanted - staying).min(room);
        if missing == 0 {
            return now + self.options.idle;
        }
        if let Some(until) = state.backoff.until(now) {
            return until;
        }
        // After a death one at a time, until it is seen to live.
        let begin =
            if state.backoff.is_trustful() { missing } else { missing.min(1_usize.saturating_sub(state.starting)) };
        for _ in 0..begin {
            self.runtime.spawn(self.clone().start_one());
        }
        if begin > 0 {
            state.starting += begin;
            self.tell_scaled(&mut state, staying + begin);
        }
        now + self.options.idle
    }

    /// A worker that only replaces another is told of as it starts.
    fn tell_scaled(&self, state: &mut State, to: usize) {
        let from = std::mem::replace(&mut state.told, to);
        if from != to {
            let Demand { waiting, running } = state.load();
            tracing::info!(target: "ekiben::worker", endpoint = %self.endpoint, from, to, waiting, running, "scaled");
        }
    }

    /// Ends the workers that have been idle for long enough, but no more of them than are spare.
    fn let_go(&self, state: &mut State, staying: usize, spare: usize, now: Instant) -> Instant {
        let idle = self.options.idle;
        let mut look_again = now + idle;
        let mut stays = staying;
        let mut resting: Vec<&mut Member> =
            state.members.iter_mut().filter(|member| member.running == 0 && !member.leaving).collect();
        resting.sort_by_key(|member| member.idle_since);
        for member in resting.into_iter().take(spare) {
            let since = member.idle_since;
            if since + idle > now {
                look_again = since + idle;
                break;
            }
            member.leaving = true;
            member.worker.exit();
            stays -= 1;
        }
        if stays < staying {
            self.tell_scaled(state, stays);
        }
        look_again
    }

    /// Tells all workers to exit, and comes to an end when they are gone.
    pub async fn close(self: Arc<Self>) {
        self.shutdown.cancel();
        loop {
            let ended = self.ended.notified();
            let are_gone = {
                let state = self.state();
                state.closed && state.members.is_empty() && state.starting == 0
            };
            if are_gone {
                return;
            }
            ended.await;
        }
    }

    fn end_all(&self) {
        let mut state = self.state();
        state.closed = true;
        state.waiting.clear();
        for member in state.members.iter_mut().filter(|member| !member.leaving) {
            member.leaving = true;
            member.worker.exit();
        }
        drop(state);
        self.ended.notify_waiters();
    }

    // ---- the life of one worker ----

    async fn start_one(self: Arc<Self>) {
        let began = Instant::now();
        let shutdown = self.shutdown.clone();
        match shutdown.run_until_cancelled(self.ready_worker()).await {
            Some(Ok(ready)) => {
                let attendance = self.join(ready, began);
                let worker = attendance.worker().clone();
                let ending = attendance.attend().await;
                self.leave(&worker, &ending);
            }
            Some(Err(failure)) => self.fail_to_start(failure),
            // It was killed as it was let go of.
            None => self.state().starting -= 1,
        }
        self.ended.notify_waiters();
    }

    async fn ready_worker(&self) -> Result<Ready, Failure> {
        let launched = launch::launch(&self.endpoint, &self.options)?;
        let group = launched.leash.group.clone();
        self.state().groups.push(group.clone());
        let greeted = launched.greet(&self.endpoint, &self.options).await;
        if greeted.is_err() {
            self.forget(&group);
        }
        greeted
    }

    fn join(self: &Arc<Self>, ready: Ready, began: Instant) -> Attendance {
        let (hello, offer) = (ready.hello.clone(), ready.offer.clone());
        let (worker, attendance) = Worker::new(ready, &self.options, self.runtime.clone());
        let now = Instant::now();
        tracing::info!(
            target: "ekiben::worker",
            endpoint = %self.endpoint, worker = worker.group.pid, client = hello.client, task = offer.name,
            concurrency = worker.concurrency, started_in_ms = (now - began).as_millis() as u64, "worker started"
        );
        let mut state = self.state();
        state.starting -= 1;
        state.trouble = None;
        state.threads = Some(worker.concurrency);
        state.description = Some(Description { text: offer.description, input: offer.input, output: offer.output });
        let leaving = state.closed;
        if leaving {
            worker.exit();
        }
        state.members.push(Member { worker, running: 0, given: 0, started: now, idle_since: now, leaving });
        let undelivered = state.grant(self);
        drop(state);
        drop(undelivered);
        self.changed.notify_one();
        attendance
    }

    fn leave(&self, worker: &Arc<Worker>, ending: &Ending) {
        self.forget(&worker.group);
        let now = Instant::now();
        let mut state = self.state();
        let at = state.members.iter().position(|member| Arc::ptr_eq(&member.worker, worker));
        let member = state.members.remove(at.expect("a worker is a member until it leaves"));
        let (endpoint, pid, tasks) = (&self.endpoint, worker.group.pid, member.given);
        let lived_s = (now - member.started).as_secs();
        if member.leaving {
            tracing::info!(target: "ekiben::worker", %endpoint, worker = pid, tasks, lived_s, "worker ended: it {ending}");
        } else {
            let died_young = now - member.started < HEALTHY_SPELL && !worker.has_completed() && !ending.is_ours();
            let pause = match died_young {
                true => state.backoff.lengthen(now, &self.options),
                false => {
                    state.backoff.reset();
                    Duration::ZERO
                }
            };
            tracing::warn!(
                target: "ekiben::worker",
                %endpoint, worker = pid, tasks, lived_s, replaced_in_ms = pause.as_millis() as u64,
                "worker ended: it {ending}"
            );
        }
        drop(state);
        self.changed.notify_one();
    }

    fn fail_to_start(&self, failure: Failure) {
        let mut state = self.state();
        state.starting -= 1;
        let now = Instant::now();
        let pause = state.backoff.lengthen(now, &self.options);
        tracing::warn!(
            target: "ekiben::worker",
            endpoint = %self.endpoint, code = %failure.code, again_in_ms = pause.as_millis() as u64, "{}", failure.message
        );
        state.trouble = Some(failure);
        if let Some(refusal) = state.refusal(now) {
            for waiter in state.waiting.drain(..) {
                // It is lost on one who waits no longer.
                let _ = waiter.send(Err(refusal.clone()));
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    fn forget(&self, group: &Arc<Group>) {
        self.state().groups.retain(|known| !Arc::ptr_eq(known, group));
    }

    async fn watch_memory(self: Arc<Self>) {
        let limit = self.options.memory.expect("memory is watched where it has a limit");
        while self.shutdown.run_until_cancelled(sleep(MEMORY_INTERVAL)).await.is_some() {
            let groups = self.state().groups.clone();
            if groups.is_empty() {
                continue;
            }
            let pids: Vec<i32> = groups.iter().map(|group| group.pid).collect();
            let Ok(resident) = spawn_blocking(move || memory::resident(&pids)).await else { return };
            for group in groups {
                let used = resident.get(&group.pid).copied().unwrap_or(0);
                if used > limit {
                    group.end(Ending::OverMemory { used, limit });
                }
            }
        }
    }
}

impl State {
    fn member(&mut self, worker: &Arc<Worker>) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| Arc::ptr_eq(&member.worker, worker))
    }

    /// What is known of the work there is: by the Supervisor, or by ourselves where we know of more.
    fn load(&self) -> Demand {
        let own_running = self.members.iter().map(|member| member.running).sum();
        let told_in_line = self.demand.running.saturating_sub(own_running) as u64 + self.demand.waiting;
        Demand { waiting: told_in_line.max(self.waiting.len() as u64), running: own_running }
    }

    fn wanted(&self, options: &ProcessOptions) -> usize {
        let Demand { waiting, running } = self.load();
        let threads = self.threads.unwrap_or(options.threads);
        let wanted = plan::wanted(waiting.saturating_add(running as u64), threads, options);
        // Until one has told what it takes and gives.
        if self.description.is_none() { wanted.max(1) } else { wanted }
    }

    /// Why nobody should wait now, where that is so.
    fn refusal(&self, now: Instant) -> Option<Outcome> {
        if self.closed {
            return Some(Outcome::Canceled);
        }
        let until = self.backoff.until(now)?;
        let failure = self.trouble.clone().filter(|_| self.members.is_empty() && self.starting == 0)?;
        Some(Outcome::PutBack { failure, retry_after: Some(until - now) })
    }

    /// Gives free slots to those who wait. Those that nobody took are to be let go of without the state.
    fn grant(&mut self, pool: &Arc<Pool>) -> Undelivered {
        let mut undelivered = Vec::new();
        while !self.waiting.is_empty() {
            let most = pool.options.max_tasks.unwrap_or(u64::MAX);
            let free = self
                .members
                .iter_mut()
                .filter(|member| !member.leaving && member.running < member.worker.concurrency && member.given < most);
            let Some(member) = free.min_by_key(|member| member.running) else { break };
            let Some(waiter) = self.waiting.pop_front().filter(|waiter| !waiter.is_closed()) else { continue };
            member.running += 1;
            member.given += 1;
            let slot = Slot { pool: pool.clone(), worker: member.worker.clone() };
            if let Err(Ok(slot)) = waiter.send(Ok(slot)) {
                undelivered.push(slot);
            }
        }
        Undelivered(undelivered)
    }
}
