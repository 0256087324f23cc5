//! How fast a run is, of late, and how long it has still to go.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back "of late" reaches.
const WINDOW: Duration = Duration::from_secs(20);

/// Before this much was seen, no rate is told.
const SEEN_MIN: Duration = Duration::from_secs(1);

/// Keeps what was done when.
#[derive(Debug, Default)]
pub struct Pace {
    /// Times since the start of the run, and how much was done by then.
    samples: VecDeque<(Duration, u64)>,
}

impl Pace {
    pub fn note(&mut self, at: Duration, done: u64) {
        self.samples.push_back((at, done));
        while self.samples.len() > 2 && at.saturating_sub(self.samples[1].0) >= WINDOW {
            self.samples.pop_front();
        }
    }

    /// How much is done in a second; `None` as long as that cannot be told.
    pub fn rate(&self) -> Option<f64> {
        let ((from, done_then), (to, done)) = (self.samples.front()?, self.samples.back()?);
        let seen = to.saturating_sub(*from);
        (seen >= SEEN_MIN).then(|| (done - done_then) as f64 / seen.as_secs_f64())
    }

    /// How long so much more takes; `None` where that cannot be told, or nothing moves.
    pub fn time_for(&self, left: u64) -> Option<Duration> {
        let rate = self.rate().filter(|rate| *rate > 0.0)?;
        Duration::try_from_secs_f64(left as f64 / rate).ok()
    }
}

/// A rate as people read it.
pub fn show_rate(rate: f64) -> String {
    match rate {
        rate if rate >= 10.0 => format!("{}/s", thousands(rate.round() as u64)),
        rate if rate >= 1.0 || rate == 0.0 => format!("{rate:.1}/s"),
        rate => format!("{:.1}/min", rate * 60.0),
    }
}

/// A time as people read it: its two largest units.
pub fn show_left(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A number in groups of three.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_late() {
        let mut pace = Pace::default();
        assert_eq!(pace.rate(), None);
        for second in 0..100 {
            pace.note(Duration::from_secs(second), if second < 50 { 0 } else { (second - 50) * 10 });
        }
        assert_eq!(pace.rate(), Some(10.0));
        assert_eq!(pace.time_for(600), Some(Duration::from_secs(60)));
        for second in 100..200 {
            pace.note(Duration::from_secs(second), 490);
        }
        assert_eq!(pace.time_for(600), None, "what stands still never ends");
    }

    #[test]
    fn numbers_are_shown_as_people_read_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.25, 2.5, 1234.6].map(show_rate), ["0.0/s", "15.0/min", "2.5/s", "1,235/s"]);
        assert_eq!(
            [5, 65, 7260, 90_000].map(|s| show_left(Duration::from_secs(s))),
            ["5 s", "1 min 5 s", "2 h 1 min", "1 d 1 h"]
        );
    }
}
