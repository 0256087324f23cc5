//! How often something happens, by the minute.

use std::time::Instant;

use crate::clock::stopwatch;

/// How many came within the last minute, to the second.
#[derive(Clone, Debug)]
pub struct Rate {
    begun: Instant,
    /// One count a second of a minute, and the second each is of, counted from the beginning.
    seconds: [(u64, u32); 60],
}

impl Rate {
    pub fn new() -> Self {
        Self { begun: stopwatch(), seconds: [(0, 0); 60] }
    }

    /// One more came.
    pub fn note(&mut self) {
        self.note_at(stopwatch());
    }

    pub fn per_minute(&self) -> u64 {
        self.per_minute_at(stopwatch())
    }

    fn note_at(&mut self, now: Instant) {
        let second = self.second(now);
        let slot = &mut self.seconds[(second % 60) as usize];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 = slot.1.saturating_add(1);
    }

    fn per_minute_at(&self, now: Instant) -> u64 {
        let now = self.second(now);
        let lately = self.seconds.iter().filter(|(second, _)| second + 60 > now && *second <= now);
        lately.map(|(_, count)| u64::from(*count)).sum()
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs()
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_counts_the_last_minute_and_no_more() {
        let mut rate = Rate::new();
        let begun = rate.begun;
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        assert_eq!(rate.per_minute_at(after(0)), 0);
        for second in [0, 0, 30, 59, 60] {
            rate.note_at(after(second));
        }
        assert_eq!(rate.per_minute_at(after(59)), 2, "the slot of the first second is the latest's by now");
        assert_eq!(rate.per_minute_at(after(60)), 3);
        assert_eq!(rate.per_minute_at(after(90)), 2);
        assert_eq!(rate.per_minute_at(after(1000)), 0);
    }
}
