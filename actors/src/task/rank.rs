//! Who goes first: the most urgent, but nobody for ever.

use std::time::Duration;

use super::{Priority, Timestamp};

/// Where a task stands among those of its caller: the smaller goes first.
///
/// A task counts as due the later the less urgent it is, by one `aging` for each step of its priority. So of those
/// that came together the most urgent goes first, and one of priority `p` goes before all of priority `q < p` that
/// became due `(p - q) × aging` after it: newer tasks never hold one up for longer than 9 × `aging`. It is a number
/// that does not change while a task waits, so that a line can be kept sorted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Microseconds since 1970 at which the task counts as due.
    counts_as_due: i64,
    priority: Priority,
}

impl Rank {
    /// By how much later a task counts as due for each step of its priority, unless told otherwise.
    pub const AGING: Duration = Duration::from_secs(60);

    pub fn of(priority: Priority, due_at: Timestamp, aging: Duration) -> Self {
        let counts_as_due = due_at.timestamp_micros().saturating_add(handicap(priority, aging));
        Self { counts_as_due, priority }
    }

    /// The latest that a task of `priority` may have become due to go before this one, in microseconds since 1970.
    pub fn overtaken_until(self, priority: Priority, aging: Duration) -> i64 {
        let level = self.counts_as_due.saturating_sub(handicap(priority, aging));
        if priority < self.priority { level } else { level.saturating_sub(1) }
    }

    /// When the task became due, in microseconds since 1970.
    pub fn due_micros(self, aging: Duration) -> i64 {
        self.counts_as_due.saturating_sub(handicap(self.priority, aging))
    }
}

fn handicap(priority: Priority, aging: Duration) -> i64 {
    let aging = i64::try_from(aging.as_micros()).unwrap_or(i64::MAX);
    aging.saturating_mul(i64::from(priority.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    const AGING: Duration = Rank::AGING;

    fn rank(priority: u8, due_at_second: i64) -> Rank {
        Rank::of(Priority(priority), DateTime::from_timestamp(due_at_second, 0).unwrap(), AGING)
    }

    #[test]
    fn of_those_that_came_together_the_most_urgent_goes_first() {
        let ranks: Vec<Rank> = (0..=255).map(|priority| rank(priority, 7)).collect();
        assert!(ranks.is_sorted());
    }

    #[test]
    fn who_has_waited_long_enough_goes_before_newer_ones_that_are_more_urgent() {
        for priority in 1..=9 {
            let bound = i64::from(priority) * 60;
            assert!(rank(0, bound) < rank(priority, 0), "it is level with {priority}, so the more urgent goes first");
            assert!(rank(priority, 0) < rank(0, bound + 1), "{priority}");
        }
    }

    #[test]
    fn it_tells_until_when_another_priority_overtakes() {
        for (priority, other) in [(3, 5), (5, 3), (5, 5)] {
            let (one, aging) = (rank(priority, 1000), AGING);
            let until = one.overtaken_until(Priority(other), aging);
            let due = |micros| Rank::of(Priority(other), DateTime::from_timestamp_micros(micros).unwrap(), aging);
            assert!(due(until) < one && due(until + 1) >= one, "{priority} and {other}");
        }
        assert_eq!(rank(7, 1000).due_micros(AGING), 1_000_000_000);
    }
}
