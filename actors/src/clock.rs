//! The only place where the time of day is asked.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::task::Timestamp;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// The current instant, in whole microseconds.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
    fn now(&self) -> Timestamp {
        Utc::now().trunc_subsecs(6)
    }
}

/// A clock that stands still until it is moved, for tests that must not wait.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows an arbitrary but fixed morning.
    pub fn new() -> Self {
        Self(Mutex::new(DateTime::from_timestamp(1_750_000_000, 0).expect("an instant chrono can show")))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().expect("nobody panics while holding the time") += by;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("nobody panics while holding the time")
    }
}

/// A reading of the monotonic clock, for measuring how long something takes.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub fn stopwatch() -> Instant {
    Instant::now()
}

/// The instant so long after another, in whole microseconds; the end of the calendar where it would be later.
pub fn after(instant: Timestamp, delay: Duration) -> Timestamp {
    let delay = TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
    instant.checked_add_signed(delay).unwrap_or(DateTime::<Utc>::MAX_UTC).trunc_subsecs(6)
}

/// How long after `earlier` it is, in milliseconds; zero where the clock was set back in between.
pub fn millis_between(earlier: Timestamp, later: Timestamp) -> u64 {
    u64::try_from((later - earlier).num_milliseconds()).unwrap_or(0)
}
