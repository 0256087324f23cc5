//! How often and when a task that failed runs again.
//!
//! Exponential backoff with full jitter and a cap (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture
//! Blog, 2015): the pause is drawn evenly from zero to a bound that doubles with each failure. Tasks that failed
//! together come back spread out, and of the ways that article measures it makes the fewest calls.

use std::time::Duration;

use crate::task::{FailureCode, TaskId};

/// The retry policy of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many attempts may fail before the task does, at least 1, where the task itself does not say.
    pub max_attempts: u32,
    /// The most that the pause after the first failure can be; twice as much after each further one.
    pub backoff: Duration,
    /// The most that any pause can be, unless the upstream asks for more.
    pub backoff_max: Duration,
    /// After which failures a task runs again.
    pub codes: Vec<FailureCode>,
}

impl RetryPolicy {
    pub const BACKOFF: Duration = Duration::from_secs(1);
    pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

    /// The codes of failures that may well pass: of what was around the task, not in it.
    pub fn passing() -> Vec<FailureCode> {
        FailureCode::ALL.into_iter().filter(|code| code.is_retryable()).collect()
    }

    /// The pause after so many failures, the latest among them. `chance` is a number from 0 to below 1.
    pub fn pause(&self, failures: u32, chance: f64) -> Duration {
        self.bound(failures).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// The most that the pause after so many failures can be.
    pub fn bound(&self, failures: u32) -> Duration {
        doubled(self.backoff, failures).min(self.backoff_max)
    }
}

impl Default for RetryPolicy {
    /// A task fails with its first failure; where it asks for more attempts itself, the pauses are the usual ones.
    fn default() -> Self {
        Self { max_attempts: 1, backoff: Self::BACKOFF, backoff_max: Self::BACKOFF_MAX, codes: Self::passing() }
    }
}

/// A pause that doubles with each time after the first.
pub(super) fn doubled(first: Duration, times: u32) -> Duration {
    let doublings = times.saturating_sub(1).min(31);
    first.saturating_mul(1 << doublings)
}

/// A number from 0 to below 1 that is as good as random, and the same whenever it is asked of the same attempt: drawn
/// from the random bits of the task's id.
pub fn chance(task: TaskId, attempt: u32) -> f64 {
    let (time, random) = task.as_bytes().split_at(8);
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("an id is two words long"));
    // The last step of SplitMix64: every bit of the result depends on all of what goes in.
    let mut mixed = word(random) ^ word(time).rotate_left(32) ^ u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    // As many bits as a float holds exactly.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_a_pause_doubles_with_each_failure_up_to_the_cap() {
        let policy = RetryPolicy::default();
        let bounds: Vec<u64> = (1..=8).map(|failures| policy.bound(failures).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.bound(u32::MAX), policy.backoff_max);
    }

    #[test]
    fn a_pause_is_spread_over_all_of_zero_to_its_bound() {
        let policy = RetryPolicy::default();
        for failures in [1, 4, 100] {
            let bound = policy.bound(failures);
            assert_eq!(policy.pause(failures, 0.0), Duration::ZERO);
            assert_eq!(policy.pause(failures, 0.5), bound / 2);
            let most = policy.pause(failures, 1.0 - f64::EPSILON);
            assert!(most <= bound && most > bound.mul_f64(0.999), "{most:?} of {bound:?}");
        }
    }

    #[test]
    fn chances_are_even_and_differ_by_task_and_by_attempt() {
        let mut tenths = [0; 10];
        let ids: Vec<TaskId> = (0..2000).map(|_| TaskId::generate()).collect();
        for (id, attempt) in ids.iter().flat_map(|id| (1..=5).map(move |attempt| (*id, attempt))) {
            let chance = chance(id, attempt);
            assert!((0.0..1.0).contains(&chance), "{chance}");
            tenths[(chance * 10.0) as usize] += 1;
        }
        // Of ten thousand draws a tenth has 1000 ± 30; a deviation of 200 does not come up in the age of the universe.
        assert!(tenths.iter().all(|drawn| (800..1200).contains(drawn)), "{tenths:?}");
        assert_eq!(chance(ids[0], 1), chance(ids[0], 1));
        assert_ne!(chance(ids[0], 1), chance(ids[0], 2));
    }
}
