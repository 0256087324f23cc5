//! How many requests of a kind may be under way at a time: those that bring something in, and those that wait.
//!
//! The two are apart, so that neither a flood of submissions nor a crowd of waiters keeps the other out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// The bounds in effect.
pub struct Gates {
    submissions: Gate,
    waiting: Gate,
}

struct Gate {
    limit: usize,
    free: Arc<Semaphore>,
}

/// The right to be under way; over when it is dropped.
#[must_use = "it is over when it is dropped"]
pub struct Pass(#[allow(dead_code, reason = "it is held, not looked at")] OwnedSemaphorePermit);

impl Gates {
    pub fn new(submissions: usize, waiting: usize) -> Self {
        Self { submissions: Gate::new(submissions), waiting: Gate::new(waiting) }
    }

    /// Lets a submission in until it is recorded.
    ///
    /// # Errors
    /// [`ApiError::TooManySubmissions`]
    pub fn submission(&self) -> Result<Pass, ApiError> {
        self.submissions.enter().ok_or(ApiError::TooManySubmissions { limit: self.submissions.limit })
    }

    /// Lets a request wait for a task.
    ///
    /// # Errors
    /// [`ApiError::TooManyWaiting`]
    pub fn waiting(&self) -> Result<Pass, ApiError> {
        self.waiting.enter().ok_or(ApiError::TooManyWaiting { limit: self.waiting.limit })
    }

    /// How many requests wait now.
    pub fn waiting_now(&self) -> usize {
        self.waiting.limit - self.waiting.free.available_permits()
    }
}

impl Gate {
    fn new(limit: usize) -> Self {
        Self { limit, free: Arc::new(Semaphore::new(limit)) }
    }

    fn enter(&self) -> Option<Pass> {
        self.free.clone().try_acquire_owned().ok().map(Pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_limit_of_its_own_and_a_place_is_free_again() {
        let gates = Gates::new(1, 1);
        let first = gates.submission().ok();
        assert!(first.is_some() && gates.submission().is_err());
        assert!(gates.waiting().is_ok());
        drop(first);
        assert!(gates.submission().is_ok());
    }
}
