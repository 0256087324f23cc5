//! Which lines have their answer: ranges, so that it stays small however many lines there are.
//!
//! Lines are begun in their order and only so many are under way at a time, so the ranges are at most one more than
//! those under way.

use std::collections::BTreeMap;

/// A set of line numbers.
#[derive(Debug, Default)]
pub struct Done {
    /// The first number of each range, and its last. No two ranges touch.
    ranges: BTreeMap<u64, u64>,
}

impl Done {
    /// Adds a line. Whether it is new.
    pub fn insert(&mut self, line: u64) -> bool {
        if self.contains(line) {
            return false;
        }
        let mut range = (line, line);
        if let Some(before) = line.checked_sub(1).and_then(|before| self.range_of(before)) {
            range.0 = before.0;
        }
        if let Some(last) = line.checked_add(1).and_then(|after| self.ranges.remove(&after)) {
            range.1 = last;
        }
        self.ranges.insert(range.0, range.1);
        true
    }

    pub fn contains(&self, line: u64) -> bool {
        self.range_of(line).is_some()
    }

    fn range_of(&self, line: u64) -> Option<(u64, u64)> {
        let (first, last) = self.ranges.range(..=line).next_back()?;
        (*last >= line).then_some((*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_end_in_any_order_are_held_in_as_few_ranges_as_there_are_gaps() {
        let mut done = Done::default();
        // 7 has no common factor with 1000: each number comes once.
        let scattered: Vec<u64> = (0..1000).map(|step| step * 7 % 1000 + 1).collect();
        for (count, line) in scattered.iter().enumerate() {
            assert!(!done.contains(*line));
            assert!(done.insert(*line), "line {line}, after {count}");
            assert!(!done.insert(*line));
        }
        assert_eq!(done.ranges, BTreeMap::from([(1, 1000)]));
        assert!(!done.contains(0) && !done.contains(1001));
    }

    #[test]
    fn a_straggler_costs_one_range_more() {
        let mut done = Done::default();
        for line in (1..=100_000).filter(|line| *line != 17) {
            done.insert(line);
        }
        assert_eq!(done.ranges, BTreeMap::from([(1, 16), (18, 100_000)]));
    }
}
