//! The limits of the actor system: each has a name, a default and a documented end.

use std::time::Duration;

/// What the system holds at most, and how long it waits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Tasks that may wait, all endpoints together; over it a submission is refused.
    pub queue_max: u64,
    /// Tasks that have an actor. The rest wait in the store. Over the bound each endpoint still keeps
    /// twice its slots resident, so that no endpoint starves another.
    pub resident_max: usize,
    /// Bytes of finished tasks and outputs the Registry keeps at hand; older ones are read from the store.
    pub registry_memory: usize,
    /// Bytes of one output; an attempt that makes more fails with `too_large`.
    pub output_max: u64,
    /// Attempts that may end with their process before a task fails as `lost`.
    pub crash_budget: u32,
    /// How often a task may find nobody to run it, an upstream that is away or has no room, before it fails.
    pub put_backs: u32,
    /// The most attempts that a task may ask for.
    pub max_attempts: u32,
    /// The longest time for one run that a task may ask for.
    pub run_time_max: Duration,
    /// The longest time to be kept that a task may ask for.
    pub retention_max: Duration,
    /// How long an executor may take to stop once its token has fired, before it is abandoned.
    pub stop_grace: Duration,
    /// The least time between two reports of a running task that are passed on; the last of them always is.
    pub progress_interval: Duration,
    /// Lines of an attempt's log that are kept, the last ones.
    pub log_lines: usize,
    /// Bytes of them, all together.
    pub log_bytes: usize,
    /// How often finished tasks whose time is over are looked for.
    pub sweep_interval: Duration,
    /// How often this node's lease is renewed; well under the lease.
    pub heartbeat: Duration,
    /// What a refused client is told to wait before it tries again.
    pub retry_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_max: 1_000_000,
            resident_max: 100_000,
            registry_memory: 256 << 20,
            output_max: 1 << 30,
            crash_budget: 3,
            put_backs: 1000,
            max_attempts: 100,
            run_time_max: Duration::from_secs(24 * 60 * 60),
            retention_max: Duration::from_secs(30 * 24 * 60 * 60),
            stop_grace: Duration::from_secs(2),
            progress_interval: Duration::from_secs(1),
            log_lines: 200,
            log_bytes: 64 << 10,
            sweep_interval: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            retry_after: Duration::from_secs(5),
        }
    }
}
