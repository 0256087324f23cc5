//! How many workers there should be, and when the next may be started. Pure: told the time, it decides.

use std::time::Duration;

use tokio::time::Instant;

use super::ProcessOptions;

/// How many workers a load asks for, counted in attempts that run or wait.
pub fn wanted(load: u64, threads: usize, options: &ProcessOptions) -> usize {
    let busy = usize::try_from(load.div_ceil(threads as u64)).unwrap_or(usize::MAX);
    busy.clamp(options.workers_min, options.workers_max)
}

/// The pause before workers are replaced, which doubles with each that dies young.
#[derive(Debug, Default)]
pub struct Backoff {
    deaths: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// A worker died young, or could not be started. Answers with the pause.
    pub fn lengthen(&mut self, now: Instant, options: &ProcessOptions) -> Duration {
        let pause = options.backoff_min.saturating_mul(2_u32.saturating_pow(self.deaths)).min(options.backoff_max);
        self.deaths = self.deaths.saturating_add(1);
        self.until = Some(now + pause);
        pause
    }

    /// A worker proved that the command works.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// When the pause ends; `None` where there is none.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// Whether the last worker that was started did well, so that several may be started at a time.
    pub fn is_trustful(&self) -> bool {
        self.deaths == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_follow_the_load_within_their_bounds() {
        let options = ProcessOptions { workers_min: 1, workers_max: 4, ..ProcessOptions::new(["worker"]) };
        let wanted = |load| wanted(load, 2, &options);
        assert_eq!([0, 1, 2, 3, 7, 8, 9, u64::MAX].map(wanted), [1, 1, 1, 2, 4, 4, 4, 4]);
        let idle = ProcessOptions { workers_min: 0, ..options };
        assert_eq!(super::wanted(0, 2, &idle), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_doubles_up_to_its_bound_until_it_is_reset() {
        let options = ProcessOptions::new(["worker"]);
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let pauses: Vec<u128> = (0..8).map(|_| backoff.lengthen(now, &options).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff.until(now), Some(now + Duration::from_secs(30)));
        assert_eq!(backoff.until(now + Duration::from_secs(30)), None);
        backoff.reset();
        assert_eq!((backoff.until(now), backoff.is_trustful()), (None, true));
    }
}
