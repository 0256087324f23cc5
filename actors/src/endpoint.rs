//! An endpoint as the actor system sees it: an executor and a policy.

use std::sync::Arc;
use std::time::Duration;

use crate::executor::Executor;
use crate::task::Rank;

/// What runs an endpoint's tasks, how many at once, for how long, and how long their results are kept.
#[derive(Clone)]
pub struct Endpoint {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) concurrency: usize,
    pub(crate) timeout: Duration,
    pub(crate) retention: Option<Duration>,
    pub(crate) queue_max: Option<u64>,
    pub(crate) aging: Duration,
}

impl Endpoint {
    /// How long a run may take unless told otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(60 * 60);

    /// One run at a time, an hour at most, results kept as long as the system's, a queue bounded by the
    /// system's.
    pub fn new(executor: impl Executor) -> Self {
        Self::shared(Arc::new(executor))
    }

    /// As [`Endpoint::new`], for an executor that is shared already.
    pub fn shared(executor: Arc<dyn Executor>) -> Self {
        Self { executor, concurrency: 1, timeout: Self::TIMEOUT, retention: None, queue_max: None, aging: Rank::AGING }
    }

    /// How many of its tasks run at once on this node; at least 1.
    pub fn concurrency(self, concurrency: usize) -> Self {
        Self { concurrency: concurrency.max(1), ..self }
    }

    /// How long one run may take before it is stopped and the task fails with `timeout`.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// How long its finished tasks are kept.
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention: Some(retention), ..self }
    }

    /// By how much later a task counts as due for each step of its priority, a minute unless told otherwise: so long
    /// newer tasks that are one step more urgent may go before it.
    pub fn aging(self, aging: Duration) -> Self {
        Self { aging, ..self }
    }

    /// How many of its tasks may wait before a submission is refused.
    pub fn queue_max(self, queue_max: u64) -> Self {
        Self { queue_max: Some(queue_max), ..self }
    }
}
