//! An endpoint as the actor system sees it: an executor and a policy.

use std::sync::Arc;
use std::time::Duration;

use crate::executor::Executor;
use crate::lifecycle::RetryPolicy;
use crate::task::FailureCode;

/// What runs an endpoint's tasks, how many at once, for how long and how often, and how long their results are kept.
#[derive(Clone)]
pub struct Endpoint {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) concurrency: usize,
    pub(crate) timeout: Duration,
    pub(crate) retention: Option<Duration>,
    pub(crate) queue_max: Option<u64>,
    pub(crate) retry: RetryPolicy,
}

impl Endpoint {
    /// How long a run may take unless told otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(60 * 60);

    /// One run at a time, an hour at most, failed at the first failure, results kept as long as the system's, a queue
    /// bounded by the system's.
    pub fn new(executor: impl Executor) -> Self {
        Self::shared(Arc::new(executor))
    }

    /// As [`Endpoint::new`], for an executor that is shared already.
    pub fn shared(executor: Arc<dyn Executor>) -> Self {
        let retry = RetryPolicy::default();
        Self { executor, concurrency: 1, timeout: Self::TIMEOUT, retention: None, queue_max: None, retry }
    }

    /// How many of its tasks run at once on this node; at least 1.
    pub fn concurrency(self, concurrency: usize) -> Self {
        Self { concurrency: concurrency.max(1), ..self }
    }

    /// How long one run may take before it is stopped and fails with `timeout`, where the task itself does not say.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// How long its finished tasks are kept that do not say so themselves.
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention: Some(retention), ..self }
    }

    /// How many attempts of a task may fail before the task does, at least 1, where the task itself does not say.
    pub fn max_attempts(self, max_attempts: u32) -> Self {
        Self { retry: RetryPolicy { max_attempts: max_attempts.max(1), ..self.retry }, ..self }
    }

    /// How long a task that failed waits before it runs again: a random time up to `first`, twice that after each
    /// further failure, and never more than `most` unless the upstream asks for more.
    pub fn backoff(self, first: Duration, most: Duration) -> Self {
        Self { retry: RetryPolicy { backoff: first, backoff_max: most.max(first), ..self.retry }, ..self }
    }

    /// After which failures a task runs again; unless told otherwise, those of [`FailureCode::is_retryable`].
    pub fn retry_on(self, codes: impl IntoIterator<Item = FailureCode>) -> Self {
        Self { retry: RetryPolicy { codes: codes.into_iter().collect(), ..self.retry }, ..self }
    }

    /// How many of its tasks may wait before a submission is refused.
    pub fn queue_max(self, queue_max: u64) -> Self {
        Self { queue_max: Some(queue_max), ..self }
    }
}
