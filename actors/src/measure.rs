//! Counters and histograms that their owner keeps without locks and hands out as copies.

use std::time::Duration;

/// Upper bounds, in seconds, for times a task waits or runs: from half a millisecond to a day.
pub const TASK_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
    3600.0, 14400.0, 86400.0,
];

/// Upper bounds, in seconds, for one commit of the store or one HTTP request.
pub const SHORT_SECONDS: &[f64] =
    &[0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds for how many calls share a commit.
pub const BATCH_CALLS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// How often a value fell under each of some bounds.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One count a bound, not cumulated, and a last one for what is over every bound.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// An empty one; `bounds` rise.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    pub fn observe_duration(&mut self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    pub fn sum(&self) -> f64 {
        self.sum
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The value that this share of all values is at or under, from 0 to 1, as if they lay evenly within their bounds;
    /// what is over every bound counts as the last. `None` where nothing was observed.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let (mut below, mut least) = (0.0, 0.0);
        for (bound, count) in self.buckets() {
            let up_to = below + count as f64;
            if count > 0 && up_to >= wanted {
                if bound.is_infinite() {
                    return self.bounds.last().copied();
                }
                return Some(least + (bound - least) * (wanted - below) / count as f64);
            }
            (below, least) = (up_to, bound);
        }
        None
    }

    /// Each bound with the count that fell at or under it and over the one before; the last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_within_the_bounds_that_its_share_falls_in() {
        let mut histogram = Histogram::new(&[1.0, 2.0, 4.0]);
        assert_eq!(histogram.quantile(0.5), None);
        for value in [0.5, 3.0, 3.0, 3.0] {
            histogram.observe(value);
        }
        assert_eq!(histogram.quantile(0.25), Some(1.0));
        assert_eq!(histogram.quantile(1.0), Some(4.0));
        let median = histogram.quantile(0.5).unwrap();
        assert!(median > 2.0 && median < 4.0, "{median}");
        histogram.observe(100.0);
        assert_eq!(histogram.quantile(0.99), Some(4.0));
    }

    #[test]
    fn a_value_falls_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 9.0] {
            histogram.observe(value);
        }
        let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
        assert_eq!(buckets, [(1.0, 2), (2.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((histogram.count(), histogram.sum()), (4, 12.0));
    }
}
