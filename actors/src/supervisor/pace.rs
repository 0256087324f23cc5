//! How many of an endpoint's slots may be used just now: fewer while those who run the work have no room or are away.
//!
//! Additive increase, multiplicative decrease, as TCP's congestion control (Chiu and Jain, 1989): each refusal
//! halves the count, each answer adds one to it for every round of answers. It never leaves 1 to the endpoint's
//! concurrency. After a refusal nothing starts for a while, which doubles while refusals go on.

use std::time::{Duration, Instant};

use crate::lifecycle::RETRY_AFTER_MAX;
use crate::task_actor::Pressure;

/// The pause after a refusal; doubled with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause we choose ourselves. An upstream may ask for a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// See the module's own words.
pub struct Pace {
    ceiling: usize,
    allowed: f64,
    held_until: Option<Instant>,
    /// Refusals since the last answer.
    refusals: u32,
    /// Attempts under way when the count was last halved: what they tell is of the time before.
    before_the_cut: usize,
}

impl Pace {
    pub fn new(ceiling: usize) -> Self {
        Self { ceiling, allowed: ceiling as f64, held_until: None, refusals: 0, before_the_cut: 0 }
    }

    /// Another number of slots. At its full pace it stays at its full pace.
    pub fn set_ceiling(&mut self, ceiling: usize) {
        let is_full = self.allowed() >= self.ceiling;
        self.ceiling = ceiling;
        self.allowed = if is_full { ceiling as f64 } else { self.allowed.min(ceiling as f64) };
    }

    /// How many slots may be used in all.
    pub fn allowed(&self) -> usize {
        self.allowed as usize
    }

    /// How long nothing may start yet; `None` when it may.
    pub fn hold(&self, now: Instant) -> Option<Duration> {
        let left = self.held_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Learns from the end of an attempt; `running` is how many are still under way.
    pub fn note(&mut self, pressure: Pressure, running: usize, now: Instant) {
        let of_before = self.before_the_cut > 0;
        self.before_the_cut = self.before_the_cut.saturating_sub(1);
        match pressure {
            Pressure::Unknown => {}
            Pressure::Answered => {
                self.refusals = 0;
                self.held_until = None;
                self.allowed = (self.allowed + 1.0 / self.allowed).min(self.ceiling as f64);
            }
            Pressure::Refused { .. } if of_before => {}
            Pressure::Refused { retry_after_ms } => {
                let pause = PAUSE_MIN.saturating_mul(1 << self.refusals.min(16)).min(PAUSE_MAX);
                let asked = Duration::from_millis(retry_after_ms.into()).min(RETRY_AFTER_MAX);
                self.held_until = Some(now + pause.max(asked));
                self.refusals += 1;
                self.allowed = (self.allowed / 2.0).max(1.0);
                self.before_the_cut = running;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::stopwatch;

    const REFUSED: Pressure = Pressure::Refused { retry_after_ms: 0 };

    #[test]
    fn a_refusal_halves_the_count_and_answers_bring_it_back_to_the_ceiling_and_no_further() {
        let (mut pace, now) = (Pace::new(8), stopwatch());
        assert_eq!((pace.allowed(), pace.hold(now)), (8, None));
        pace.note(REFUSED, 0, now);
        assert_eq!(pace.allowed(), 4);
        assert!(pace.hold(now).is_some());
        for _ in 0..1000 {
            pace.note(Pressure::Answered, 0, now);
        }
        assert_eq!((pace.allowed(), pace.hold(now)), (8, None));
    }

    #[test]
    fn attempts_of_before_the_cut_do_not_cut_again() {
        let (mut pace, now) = (Pace::new(8), stopwatch());
        for running in (0..8).rev() {
            pace.note(REFUSED, running, now);
        }
        assert_eq!(pace.allowed(), 4);
    }

    #[test]
    fn another_ceiling_is_reached_at_once_at_full_pace_and_by_answers_at_less() {
        let (mut pace, now) = (Pace::new(4), stopwatch());
        pace.set_ceiling(16);
        assert_eq!(pace.allowed(), 16);
        pace.note(REFUSED, 0, now);
        pace.set_ceiling(32);
        assert_eq!(pace.allowed(), 8);
        for _ in 0..1000 {
            pace.note(Pressure::Answered, 0, now);
        }
        assert_eq!(pace.allowed(), 32);
        pace.set_ceiling(2);
        assert_eq!(pace.allowed(), 2);
    }

    #[test]
    fn one_at_a_time_is_always_tried_after_a_pause_that_grows_to_its_bound() {
        let (mut pace, now) = (Pace::new(4), stopwatch());
        let mut pauses = Vec::new();
        for _ in 0..20 {
            pace.note(REFUSED, 0, now);
            pauses.push(pace.hold(now).unwrap());
        }
        assert!(pauses.is_sorted());
        assert_eq!((pace.allowed(), pauses[0], pauses[19]), (1, PAUSE_MIN, PAUSE_MAX));
        assert_eq!(pace.hold(now + PAUSE_MAX), None);
    }

    #[test]
    fn the_upstream_may_ask_for_a_longer_pause_within_reason() {
        let now = stopwatch();
        for (asked, pause) in [(90, 90), (1_000_000, 600)] {
            let mut pace = Pace::new(4);
            pace.note(Pressure::Refused { retry_after_ms: asked * 1000 }, 0, now);
            assert_eq!(pace.hold(now), Some(Duration::from_secs(pause)));
        }
    }
}
