//! Worker processes as an executor: they are started, given attempts, watched, and replaced when they end.
//!
//! A worker may be written in any language; what is said to it and what it says is told in `clients/PROTOCOL.md`.
//! Whatever a worker does, the attempts it had come to an outcome, and the next attempt finds a working worker as
//! soon as its command gives one.
//!
//! - `frame` and `message`: the protocol
//! - `launch`: a process from its start to its hello, and its end
//! - `worker`: the attempts of one worker; `answer`: what is made of what it says; `ending`: how it may end
//! - `pool`: the workers together; `plan`: how many there should be
//! - `log` and `memory`: what is watched

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::pool::Pool;
use crate::executor::{Attempt, Demand, Description, Executor};
use crate::task::{EndpointName, Outcome};

mod answer;
mod ending;
mod frame;
mod launch;
mod log;
mod memory;
mod message;
mod plan;
mod pool;
mod worker;

/// Which command runs the workers of an endpoint, and how many of them there are.
///
/// It has no `Debug`, as the environment may hold secrets.
#[derive(Clone)]
pub struct ProcessOptions {
    /// The program and its arguments. It is not run by a shell.
    pub command: Vec<String>,
    /// Which of the worker's tasks is meant. Where nothing is said: the one named as the endpoint, or the only one.
    pub task: Option<String>,
    /// How many workers there are at least, with nothing to do, too. 0: the first attempt waits for the start of one.
    pub workers_min: usize,
    /// How many there are at most.
    pub workers_max: usize,
    /// How many attempts a worker is given at a time. The worker is told, and may say that it takes fewer.
    pub threads: usize,
    /// Variables of the environment, on top of our own.
    pub env: Vec<(String, String)>,
    /// The folder it is run in; ours where nothing is said.
    pub folder: Option<PathBuf>,
    /// The most bytes that a worker and its descendants may have in memory. Looked at four times a second; one
    /// over it is killed. Linux only.
    pub memory: Option<u64>,
    /// How long a worker may take to stop an attempt, or to exit, once told to; then it is killed.
    pub grace: Duration,
    /// How long a worker may take until it is ready to work.
    pub start_timeout: Duration,
    /// After how many attempts a worker is replaced by a fresh one.
    pub max_tasks: Option<u64>,
    /// How long a worker that is not needed stays.
    pub idle: Duration,
    /// The first pause before a worker is replaced that died young; the next is twice as long.
    pub backoff_min: Duration,
    /// The longest such pause.
    pub backoff_max: Duration,
    /// What a worker is told of how long an attempt may run. It is not enforced here.
    pub timeout: Option<Duration>,
}

impl ProcessOptions {
    pub const GRACE: Duration = Duration::from_secs(5);
    pub const START_TIMEOUT: Duration = Duration::from_secs(5 * 60);
    pub const IDLE: Duration = Duration::from_secs(60);
    pub const BACKOFF_MIN: Duration = Duration::from_millis(500);
    pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

    /// One worker with one attempt at a time, and the defaults of everything else.
    pub fn new<Word: Into<String>>(command: impl IntoIterator<Item = Word>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            task: None,
            workers_min: 1,
            workers_max: 1,
            threads: 1,
            env: Vec::new(),
            folder: None,
            memory: None,
            grace: Self::GRACE,
            start_timeout: Self::START_TIMEOUT,
            max_tasks: None,
            idle: Self::IDLE,
            backoff_min: Self::BACKOFF_MIN,
            backoff_max: Self::BACKOFF_MAX,
            timeout: None,
        }
    }
}

/// Why workers cannot be run as the options say.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    #[error("the command is empty; write one such as [\"python3\", \"worker.py\"]")]
    NoCommand,
    #[error("at least {min} workers and at most {max} cannot be had together; there is at least 1 at most")]
    BadWorkers { min: usize, max: usize },
    #[error("a worker has to run at least 1 attempt at a time, and 1 in its life")]
    NoAttempts,
    #[error("workers can be run within a runtime of tokio only")]
    NoRuntime,
}

/// Runs attempts in worker processes. When the last clone is dropped its workers are told to exit.
#[derive(Clone)]
pub struct Process {
    pool: Arc<Pool>,
    _open: Arc<DropGuard>,
}

impl Process {
    /// Starts the first worker, and is there before it. Must be called in a runtime of tokio, which then carries
    /// what workers say; when that goes down, they are killed.
    ///
    /// # Errors
    /// Options that cannot be used. Whether the command works is not known yet: where it does not, attempts are put
    /// back and it is tried again.
    pub fn new(endpoint: EndpointName, options: ProcessOptions) -> Result<Self, ProcessError> {
        if options.command.is_empty() {
            return Err(ProcessError::NoCommand);
        }
        let (min, max) = (options.workers_min, options.workers_max);
        if min > max || max == 0 {
            return Err(ProcessError::BadWorkers { min, max });
        }
        if options.threads == 0 || options.max_tasks == Some(0) {
            return Err(ProcessError::NoAttempts);
        }
        let runtime = Handle::try_current().map_err(|_| ProcessError::NoRuntime)?;
        let shutdown = CancellationToken::new();
        let pool = Pool::start(endpoint, options, runtime, shutdown.clone());
        Ok(Self { pool, _open: Arc::new(shutdown.drop_guard()) })
    }
}

impl Executor for Process {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        let pool = self.pool.clone();
        Box::pin(async move {
            loop {
                let Some(granted) = attempt.cancellation.run_until_cancelled(pool.slot()).await else {
                    return Outcome::Canceled;
                };
                let slot = match granted {
                    Ok(slot) => slot,
                    Err(refusal) => return refusal,
                };
                if let Some(outcome) = worker::run(slot, &attempt).await {
                    return outcome;
                }
            }
        })
    }

    fn description(&self) -> Option<Description> {
        self.pool.description()
    }

    fn demand(&self, demand: Demand) {
        self.pool.demand(demand);
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.pool.clone().close())
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Process")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(options: ProcessOptions) -> ProcessError {
        Process::new(EndpointName::new("test").unwrap(), options).expect_err("the options are wrong")
    }

    #[tokio::test]
    async fn options_that_cannot_be_used_are_refused() {
        let usable = || ProcessOptions::new(["worker"]);
        assert_eq!(refusal(ProcessOptions::new([""; 0])), ProcessError::NoCommand);
        assert_eq!(refusal(ProcessOptions { workers_min: 2, ..usable() }), ProcessError::BadWorkers { min: 2, max: 1 });
        assert_eq!(
            refusal(ProcessOptions { workers_min: 0, workers_max: 0, ..usable() }),
            ProcessError::BadWorkers { min: 0, max: 0 }
        );
        assert_eq!(refusal(ProcessOptions { threads: 0, ..usable() }), ProcessError::NoAttempts);
        assert_eq!(refusal(ProcessOptions { max_tasks: Some(0), ..usable() }), ProcessError::NoAttempts);
    }

    #[test]
    fn without_a_runtime_there_are_no_workers() {
        assert_eq!(refusal(ProcessOptions::new(["worker"])), ProcessError::NoRuntime);
    }
}
