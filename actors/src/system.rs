//! Starts the actors, hands out their addresses, drains and stops them, and tells when one of them has failed.
//!
//! A [`System`] is a handle: clone it freely. With the last clone the actors and their threads end; call
//! [`System::drain`] and [`System::stop`] before that for an orderly end.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, AsyncContext};
use futures::future::{join, join_all};
use tokio::runtime;
use tokio_util::sync::CancellationToken;

use crate::alarm::Alarm;
use crate::clock::{Clock, SystemClock};
use crate::endpoint::Endpoint;
use crate::events::EventId;
use crate::executor::report::LogBounds;
use crate::executor::{Description, Executor};
use crate::follower::Follower;
use crate::lifecycle::{Budgets, Retention};
use crate::limits::Limits;
use crate::registry::{DismissWatchers, Fetch, RegistryActor, Watch, Watched};
use crate::spool::Blobs;
use crate::store::{Ledger, Store, StoreError, StoreStats};
use crate::supervisor::{AddEndpoint, Drain, Drained, Parts, Recorded, Submit, SubmitError, Supervisor};
use crate::task::{BadEndpointName, EndpointName, Input, NewTask, Output, Task, TaskId};
use crate::task_actor::Crew;

/// Threads for blocking work beyond one a slot, for reading and writing large bodies.
const SPARE_BLOCKING_THREADS: usize = 32;

/// A running queue. See the module's own words.
#[derive(Clone)]
pub struct System {
    /// Takes commands: submit, cancel, retry.
    pub supervisor: Addr<Supervisor>,
    /// Takes questions: status, fetch, watch.
    pub registry: Addr<RegistryActor>,
    executors: Arc<RwLock<HashMap<EndpointName, Arc<dyn Executor>>>>,
    owned: Arc<Owned>,
}

/// What ends with the last handle.
struct Owned {
    store: Arc<dyn Store>,
    arbiters: Vec<Arbiter>,
    pool: Option<runtime::Runtime>,
    alarm: Alarm,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.alarm.disarm();
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        if let Some(pool) = self.pool.take() {
            pool.shutdown_background();
        }
    }
}

/// What a system is made of, before it starts.
pub struct Builder {
    store: Arc<dyn Store>,
    endpoints: Vec<(EndpointName, Endpoint)>,
    retention: Duration,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

/// Why a system could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Name(#[from] BadEndpointName),
    #[error("the threads for the work could not be started: {0}")]
    Threads(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Builder {
    /// Adds an endpoint; a later one of the same name takes its place.
    ///
    /// # Errors
    /// The name is not one an endpoint can have.
    pub fn endpoint(mut self, name: &str, endpoint: Endpoint) -> Result<Self, BadEndpointName> {
        let name = EndpointName::new(name)?;
        self.endpoints.retain(|(known, _)| *known != name);
        self.endpoints.push((name, endpoint));
        Ok(self)
    }

    /// How long finished tasks are kept where their endpoint does not say; a day unless told otherwise.
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The clock the actors go by; give the store the same one.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Starts the actors, the two great ones on threads of their own. Must be called within an actix
    /// system. What the store holds already is taken up at once.
    ///
    /// # Errors
    /// The store could not be read, or threads could not be started.
    pub async fn start(self) -> Result<System, StartError> {
        let waiting = self.store.waiting().await?;
        self.warn_of_strangers(&waiting);
        let pool = self.pool()?;
        let alarm = Alarm::new();
        let arbiters: Vec<Arbiter> = (0..great_threads()).map(|_| Arbiter::new()).collect();
        let (first, last) = (&arbiters[0], &arbiters[arbiters.len() - 1]);
        let registry = self.start_registry(first, &alarm);
        let store = self.store.clone();
        let executors = self.endpoints.iter().map(|(name, endpoint)| (name.clone(), endpoint.executor.clone()));
        let executors = Arc::new(RwLock::new(executors.collect()));
        let supervisor = self.start_supervisor(last, &alarm, registry.clone(), pool.handle().clone(), waiting);
        let owned = Owned { store, arbiters, pool: Some(pool), alarm };
        Ok(System { supervisor, registry, executors, owned: Arc::new(owned) })
    }

    /// Tasks of an endpoint that is no longer configured are kept, but nothing runs them.
    fn warn_of_strangers(&self, waiting: &[(EndpointName, u64)]) {
        for (name, tasks) in waiting {
            let configured = self.endpoints.iter().any(|(known, _)| known == name);
            if !configured && *tasks > 0 {
                tracing::warn!(endpoint = %name, tasks, "tasks wait for an endpoint that is not configured");
            }
        }
    }

    /// The threads that run the work, apart from those of the actors.
    fn pool(&self) -> Result<runtime::Runtime, std::io::Error> {
        let slots: usize = self.endpoints.iter().map(|(_, endpoint)| endpoint.concurrency).sum();
        runtime::Builder::new_multi_thread()
            .thread_name("ekiben-work")
            .max_blocking_threads(slots + SPARE_BLOCKING_THREADS)
            .enable_all()
            .build()
    }

    fn start_registry(&self, arbiter: &Arbiter, alarm: &Alarm) -> Addr<RegistryActor> {
        let ledger: Arc<dyn Ledger> = self.store.clone();
        let (memory, sweep_interval) = (self.limits.registry_memory, self.limits.sweep_interval);
        let sentinel = alarm.sentinel("the registry");
        RegistryActor::start_in_arbiter(&arbiter.handle(), move |_| {
            RegistryActor::new(ledger, memory, sweep_interval, sentinel)
        })
    }

    fn start_supervisor(
        self,
        arbiter: &Arbiter,
        alarm: &Alarm,
        registry: Addr<RegistryActor>,
        pool: runtime::Handle,
        waiting: Vec<(EndpointName, u64)>,
    ) -> Addr<Supervisor> {
        let sentinel = alarm.sentinel("the supervisor");
        Supervisor::start_in_arbiter(&arbiter.handle(), move |ctx| {
            let out_of_patience = CancellationToken::new();
            let recruit = {
                let (drain, ended) = (out_of_patience.clone(), ctx.address().recipient());
                let (store, clock, registry) = (self.store.clone(), self.clock.clone(), registry.clone());
                let (limits, retention) = (self.limits.clone(), self.retention);
                move |name, endpoint: Endpoint| {
                    Arc::new(Crew {
                        keep: endpoint.retention.unwrap_or(retention),
                        name,
                        endpoint,
                        output_max: limits.output_max,
                        stop_grace: limits.stop_grace,
                        progress_interval: limits.progress_interval,
                        log_bounds: LogBounds { lines: limits.log_lines, bytes: limits.log_bytes },
                        budgets: Budgets { crashes: limits.crash_budget, put_backs: limits.put_backs },
                        drain: drain.clone(),
                        ended: ended.clone(),
                        registry: registry.clone(),
                        ledger: store.clone(),
                        blobs: store.blobs(),
                        clock: clock.clone(),
                        pool: pool.clone(),
                    })
                }
            };
            Supervisor::new(Parts {
                queue: self.store,
                registry,
                clock: self.clock,
                limits: self.limits,
                retention: self.retention,
                endpoints: self.endpoints,
                recruit: Box::new(recruit),
                out_of_patience,
                waiting,
                sentinel,
            })
        })
    }
}

/// How many threads the Supervisor and the Registry have between them. A task is four messages from one to the
/// other: where there are cores to spare they work side by side, on two cores the change of threads costs more.
fn great_threads() -> usize {
    const SPARE_FROM: usize = 4;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores >= SPARE_FROM { 2 } else { 1 }
}

/// A task that has ended, with its output where it has one.
pub type Finished = (Task, Option<Output>);

impl System {
    pub fn builder(store: Arc<dyn Store>) -> Builder {
        Builder {
            store,
            endpoints: Vec::new(),
            retention: Retention::DEFAULT,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Records a task and starts it as soon as a slot is free. Answered when the task is durable.
    ///
    /// # Errors
    /// Those of [`SubmitError`]; nothing was recorded then.
    pub async fn submit(&self, endpoint: &str, input: Input) -> Result<Task, SubmitError> {
        let name = EndpointName::new(endpoint).map_err(SubmitError::BadEndpoint)?;
        let submitted = self.supervisor.send(Submit(NewTask::new(name, input))).await;
        submitted.unwrap_or(Err(SubmitError::Store(StoreError::Closed))).map(Recorded::into_task)
    }

    /// Waits until a task has ended, and answers with it and its output; `None` for a task that is not known,
    /// or that had not ended when this node drained.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn wait(&self, task: &Task) -> Result<Option<Finished>, StoreError> {
        let watched = self.registry.send(Watch { task: task.id }).await.unwrap_or(Err(StoreError::Closed))?;
        match watched {
            Watched::Unknown => return Ok(None),
            Watched::Finished(_) => {}
            Watched::Unfinished(news) => {
                if news.await.is_err() {
                    return Ok(None);
                }
            }
        }
        let fetch = Fetch { task: task.id, endpoint: task.endpoint.clone() };
        self.registry.send(fetch).await.unwrap_or(Err(StoreError::Closed))
    }

    /// Follows a task through its events, after one of them or from the first; `None` for one that is not known.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn follow(&self, task: TaskId, after: Option<EventId>) -> Result<Option<Follower>, StoreError> {
        Follower::new(self.registry.clone(), task, after).await
    }

    /// Begins to run one more endpoint while the system runs; what waits for it in the store is taken up. Answers
    /// whether it is new: one that runs already is left as it is.
    ///
    /// # Errors
    /// The store could not be read; nothing was changed.
    pub async fn add(&self, name: EndpointName, endpoint: Endpoint) -> Result<bool, StoreError> {
        let executor = endpoint.executor.clone();
        let added = self.supervisor.send(AddEndpoint { name: name.clone(), endpoint }).await;
        let is_new = added.unwrap_or(Err(StoreError::Closed))?;
        if is_new {
            self.executors.write().expect("nobody panics while holding it").insert(name, executor);
        }
        Ok(is_new)
    }

    /// What an endpoint's executor tells of itself; `None` where there is nothing or no such endpoint.
    pub fn description(&self, endpoint: &EndpointName) -> Option<Description> {
        self.executors.read().expect("nobody panics while holding it").get(endpoint)?.description()
    }

    /// Where large bodies go on their way in.
    pub fn blobs(&self) -> Blobs {
        self.owned.store.blobs()
    }

    /// How the store works, for the metrics.
    pub fn store_stats(&self) -> StoreStats {
        self.owned.store.stats()
    }

    /// Takes no new tasks, starts none, and waits until what runs has ended or the grace time has; what was cut
    /// short waits in the store for the next start. Questions and cancels are still answered afterwards.
    ///
    /// The drain has begun when this returns; the future waits for its end.
    pub fn drain(&self, grace: Duration) -> impl Future<Output = Drained> + use<> {
        let drained = self.supervisor.send(Drain { grace });
        let registry = self.registry.clone();
        async move {
            let drained = drained.await.unwrap_or_default();
            registry.do_send(DismissWatchers);
            drained
        }
    }

    /// Closes the executors and the store, and lets the actors go. Drain first.
    ///
    /// # Errors
    /// The store could not write what was left to write; nothing acknowledged is lost by that.
    pub async fn stop(&self) -> Result<(), StoreError> {
        self.owned.alarm.disarm();
        let closing: Vec<_> = {
            let executors = self.executors.read().expect("nobody panics while holding it");
            executors.values().map(|executor| executor.close()).collect()
        };
        let (_, closed) = join(join_all(closing), self.owned.store.close()).await;
        closed
    }

    /// Comes to an end only when one of the great actors has failed: a bug. The process should end then; the
    /// store has all, and a restart resumes.
    pub fn failure(&self) -> impl Future<Output = &'static str> + use<> {
        self.owned.alarm.sounded()
    }
}
