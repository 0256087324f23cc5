//! When a waiting task will start and end, as far as that can be known: a range, from how long runs took lately.
//!
//! The line is played forward many times over: each slot is free when its run has ended, each run takes as long as
//! one of the latest did, drawn at random, and the tasks before ours start one after the other. The range is that in
//! which ours starts in 49 of 50 such plays; as a play takes what is known of the runs for all there is to know, about 19
//! of 20 tasks then start within it. This is the bootstrap (B. Efron and R. Tibshirani, An Introduction to the Bootstrap,
//! 1993) on a queue with several servers. Three things are added:
//!
//! - A run under way takes as long as one of the latest that took longer than it has taken so far.
//! - The latest runs are a sample. In each play all of them are longer or shorter by one factor, which is spread as
//!   the mean of such a sample is: by its deviation over the root of its size.
//! - Beyond some starts the rest is not played but drawn at once: with c slots and runs of mean m and deviation s, the
//!   time of r further starts is about normal, of mean r·m/c and variance r·s²/c², as D. R. Cox, Renewal Theory
//!   (1962), has it for the count of the events of a renewal process.
//!
//! What it takes for granted, and an answer therefore does not promise: that nobody comes in before the task, that
//! runs go on as they did, and that one run tells nothing of the next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::f64::consts::TAU;
use std::time::Duration;

use crate::clock;
use crate::task::Timestamp;

/// The fewest runs from which anything is told.
const RUNS_MIN: usize = 10;
/// How often the line is played.
const PLAYS: usize = 200;
/// How many starts are played; the rest is drawn at once.
const STARTS: u64 = 64;
/// The most slots that are played; more are played as if there were so many, and as fewer tasks.
pub const SLOTS: usize = 64;
/// The part of the plays that lies before the range, and behind it.
const TAIL: f64 = 0.01;

/// Where a task stands, and what can be told from.
#[derive(Clone, Debug)]
pub struct Prospect {
    /// 1 for the one that starts next, 0 for one that runs.
    pub position: u64,
    pub now: Timestamp,
    /// How many tasks can run at a time; 0 while nothing is started.
    pub slots: usize,
    /// For how many seconds the task itself has been running.
    pub elapsed: Option<f32>,
    /// The same of all that run, or of the first 64 of them.
    pub running: Vec<f32>,
    /// How many seconds the latest runs took.
    pub runs: Vec<f32>,
}

/// Within which time something will most likely come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    pub earliest: Timestamp,
    pub latest: Timestamp,
}

/// When a task will start and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// `None` for one that runs, too.
    pub start: Option<Within>,
    pub finish: Option<Within>,
}

impl Prospect {
    /// Plays the line forward. Takes some ten to some hundred microseconds; the same question gets the same answer.
    pub fn estimate(&self) -> Estimate {
        if self.runs.len() < RUNS_MIN {
            return Estimate::default();
        }
        let mut play = Play::new(&self.runs);
        if let Some(elapsed) = self.elapsed {
            let finishes = (0..PLAYS).map(|_| play.anew().rest(elapsed)).collect();
            return Estimate { start: None, finish: Some(self.within(finishes)) };
        }
        if self.slots == 0 || self.position == 0 {
            return Estimate::default();
        }
        let (mut starts, mut finishes) = (Vec::with_capacity(PLAYS), Vec::with_capacity(PLAYS));
        for _ in 0..PLAYS {
            let start = self.start_in(play.anew());
            starts.push(start);
            finishes.push(start + play.run());
        }
        Estimate { start: Some(self.within(starts)), finish: Some(self.within(finishes)) }
    }

    /// After how many seconds the task starts in one play.
    fn start_in(&self, play: &mut Play) -> f64 {
        let slots = self.slots.min(SLOTS);
        // Of a part of the slots, that part of those who wait.
        let before = (self.position - 1) * slots as u64 / self.slots as u64;
        let running = self.running.iter().take(slots);
        let mut free: BinaryHeap<Reverse<Moment>> =
            running.map(|elapsed| Moment(play.rest(*elapsed))).map(Reverse).collect();
        free.extend(std::iter::repeat_n(Reverse(Moment(0.0)), slots.saturating_sub(free.len())));
        for _ in 0..before.min(STARTS) {
            let mut next = free.peek_mut().expect("there is a slot");
            next.0.0 += play.run();
        }
        let Some(Reverse(Moment(start))) = free.pop() else { return 0.0 };
        start + play.runs_after_another(before.saturating_sub(STARTS), slots)
    }

    /// The range of what came out of the plays, in seconds from now.
    fn within(&self, mut seconds: Vec<f64>) -> Within {
        seconds.sort_unstable_by(f64::total_cmp);
        let cut = (seconds.len() as f64 * TAIL) as usize;
        let at = |seconds: f64| clock::after(self.now, Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        Within { earliest: at(seconds[cut]), latest: at(seconds[seconds.len() - 1 - cut]) }
    }
}

/// A time in seconds that can be put in order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moment(f64);

impl Eq for Moment {}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// One play of the line, and the chance in it.
struct Play {
    /// In order.
    runs: Vec<f64>,
    mean: f64,
    deviation: f64,
    /// By how much all runs of this play are longer.
    factor: f64,
    /// The state of a SplitMix64 (G. Steele, D. Lea and C. Flood, 2014).
    chance: u64,
}

impl Play {
    fn new(runs: &[f32]) -> Self {
        let mut runs: Vec<f64> = runs.iter().copied().map(f64::from).collect();
        runs.sort_unstable_by(f64::total_cmp);
        let count = runs.len() as f64;
        let mean = runs.iter().sum::<f64>() / count;
        let variance = runs.iter().map(|run| (run - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { runs, mean, deviation: variance.sqrt(), factor: 1.0, chance: 0 }
    }

    /// The next play.
    fn anew(&mut self) -> &mut Self {
        let spread = if self.mean > 0.0 { self.deviation / self.mean / (self.runs.len() as f64).sqrt() } else { 0.0 };
        self.factor = (1.0 + spread * self.normal()).max(0.1);
        self
    }

    /// How long one run takes.
    fn run(&mut self) -> f64 {
        let drawn = self.below(self.runs.len());
        self.runs[drawn] * self.factor
    }

    /// How long a run goes on that has taken so long; another whole one where none took longer.
    fn rest(&mut self, elapsed: f32) -> f64 {
        let elapsed = f64::from(elapsed) / self.factor;
        let shorter = self.runs.partition_point(|run| *run <= elapsed);
        if shorter == self.runs.len() {
            return self.run();
        }
        let drawn = shorter + self.below(self.runs.len() - shorter);
        (self.runs[drawn] - elapsed) * self.factor
    }

    /// How long so many runs take on so many slots that are always taken.
    fn runs_after_another(&mut self, runs: u64, slots: usize) -> f64 {
        let (runs, slots) = (runs as f64, slots as f64);
        let expected = runs * self.mean / slots;
        let deviation = runs.sqrt() * self.deviation / slots;
        ((expected + deviation * self.normal()) * self.factor).max(0.0)
    }

    fn below(&mut self, bound: usize) -> usize {
        ((self.uniform() * bound as f64) as usize).min(bound - 1)
    }

    /// Of the standard normal distribution, by the method of G. Box and M. Muller (1958).
    fn normal(&mut self) -> f64 {
        let (first, second) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * first.ln()).sqrt() * (TAU * second).cos()
    }

    /// From 0 up to below 1.
    fn uniform(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn prospect(position: u64, slots: usize, running: &[f32], runs: &[f32]) -> Prospect {
        let (running, runs) = (running.to_vec(), runs.to_vec());
        Prospect { position, now: DateTime::UNIX_EPOCH, slots, elapsed: None, running, runs }
    }

    fn seconds(within: Option<Within>) -> (f64, f64) {
        let within = within.expect("it is known");
        let since = |time: Timestamp| (time - DateTime::UNIX_EPOCH).as_seconds_f64();
        (since(within.earliest), since(within.latest))
    }

    #[test]
    fn where_all_runs_take_the_same_the_time_is_known_to_the_moment() {
        let even = [2.0; 20];
        let cases = [
            (1, 1, &[0.5][..], 1.5),
            (3, 1, &[0.5], 5.5),
            (1, 2, &[0.5, 1.5], 0.5),
            (3, 2, &[0.5, 1.5], 2.5),
            (1, 2, &[0.5], 0.0),
            (1001, 1, &[0.0], 2002.0),
            (401, 4, &[0.0; 4], 202.0),
            (1, 1, &[], 0.0),
            (1281, 128, &[1.0; SLOTS], 21.0),
        ];
        for (position, slots, running, expected) in cases {
            let estimate = prospect(position, slots, running, &even).estimate();
            let (earliest, latest) = seconds(estimate.start);
            let close = |time: f64, expected: f64| (time - expected).abs() < 1.0 + expected / 100.0;
            assert!(close(earliest, expected) && close(latest, expected), "{position}: {earliest} to {latest}");
            let (earliest, latest) = seconds(estimate.finish);
            assert!(close(earliest, expected + 2.0) && close(latest, expected + 2.0), "{position}");
        }
    }

    #[test]
    fn one_that_runs_has_an_end_and_no_start() {
        let estimate = Prospect { elapsed: Some(1.5), ..prospect(0, 1, &[1.5], &[2.0; 20]) }.estimate();
        assert_eq!(estimate.start, None);
        assert_eq!(seconds(estimate.finish), (0.5, 0.5));
        let overdue = Prospect { elapsed: Some(9.0), ..prospect(0, 1, &[9.0], &[2.0; 20]) }.estimate();
        assert_eq!(seconds(overdue.finish), (2.0, 2.0));
    }

    #[test]
    fn nothing_is_told_from_too_few_runs_or_while_nothing_is_started() {
        assert_eq!(prospect(1, 1, &[0.5], &[2.0; RUNS_MIN - 1]).estimate(), Estimate::default());
        assert_eq!(prospect(1, 0, &[], &[2.0; 20]).estimate(), Estimate::default());
    }

    /// Against a queue that is played with its true run times, of which the range knows a hundred.
    #[test]
    fn of_twenty_starts_nineteen_lie_within() {
        let uneven = |chance: &mut Play| (0.5 * chance.normal()).exp() as f32;
        // At any moment, a slot is more likely in a long run than in a short one.
        let long = |chance: &mut Play| {
            let drawn: Vec<f32> = (0..20).map(|_| uneven(chance)).collect();
            let mut left = drawn.iter().sum::<f32>() * chance.uniform() as f32;
            let found = drawn.iter().find(|run| {
                left -= **run;
                left < 0.0
            });
            *found.unwrap_or(&drawn[0])
        };
        for (slots, position) in [(1, 2), (1, 40), (1, 400), (4, 3), (4, 90), (4, 900), (100, 3000)] {
            let (mut within, mut all) = (0, 0);
            for seed in 0..200 {
                let mut chance = Play { chance: seed * 7919, ..Play::new(&[1.0; 10]) };
                let runs: Vec<f32> = (0..100).map(|_| uneven(&mut chance)).collect();
                let lasting: Vec<f32> = (0..slots).map(|_| long(&mut chance)).collect();
                let elapsed: Vec<f32> = lasting.iter().map(|run| run * chance.uniform() as f32).collect();
                let (earliest, latest) = seconds(prospect(position, slots, &elapsed, &runs).estimate().start);
                let rest = lasting.iter().zip(&elapsed).map(|(run, elapsed)| Reverse(Moment(f64::from(run - elapsed))));
                let mut free: BinaryHeap<_> = rest.collect();
                for _ in 1..position {
                    free.peek_mut().unwrap().0.0 += f64::from(uneven(&mut chance));
                }
                let start = free.peek().unwrap().0.0;
                within += u32::from((earliest..=latest).contains(&start));
                all += 1;
            }
            assert!(within * 100 >= all * 93, "{position} on {slots}: {within} of {all}");
        }
    }
}
