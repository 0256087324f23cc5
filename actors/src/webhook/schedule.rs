//! When a delivery is tried again, and when no more.

use std::time::Duration;

use crate::clock;
use crate::task::Timestamp;

use super::Parcel;

/// The pause after each try, as multiples of the first one, which is 5 s where nothing else is said: 5 s, 5 min,
/// 30 min, 2 h, 5 h, 10 h, and 10 h from then on.
const PAUSES: [u32; 6] = [1, 60, 360, 1440, 3600, 7200];

/// How far a pause is from the table's, either way, as a part of it: those who failed together do not come back
/// together.
const JITTER: f64 = 0.2;

/// How long a delivery is worth trying, and how soon at first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The pause after the first try; the later ones are multiples of it.
    pub first_pause: Duration,
    /// When so long has passed since the first try was due, the next failure is the last.
    pub give_up: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { first_pause: Duration::from_secs(5), give_up: Duration::from_secs(24 * 60 * 60) }
    }
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// With this status.
    With(u16),
    /// Not at all.
    Not,
}

/// What becomes of a delivery after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Delivered,
    Gone,
    GivenUp,
    Again(Timestamp),
}

impl Schedule {
    /// Decides after a try of the parcel that ended now.
    pub fn next(&self, parcel: &Parcel, answered: Answered, now: Timestamp) -> Next {
        match answered {
            Answered::With(200..=299) => Next::Delivered,
            Answered::With(410) => Next::Gone,
            Answered::With(_) | Answered::Not => self.after_failure(parcel, now, luck(parcel)),
        }
    }

    fn after_failure(&self, parcel: &Parcel, now: Timestamp, luck: f64) -> Next {
        let give_up_at = clock::after(parcel.begun_at, self.give_up);
        if now >= give_up_at {
            return Next::GivenUp;
        }
        // The last try comes when the time is over, not long before.
        Next::Again(clock::after(now, self.pause(parcel.tries, luck)).min(give_up_at))
    }

    /// The pause after that many tries and one more.
    fn pause(&self, before: u32, luck: f64) -> Duration {
        let place = usize::try_from(before).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
        let pause = self.first_pause.saturating_mul(PAUSES[place]);
        let stretched = pause.as_secs_f64() * (1.0 - JITTER + 2.0 * JITTER * luck.clamp(0.0, 1.0));
        Duration::try_from_secs_f64(stretched).unwrap_or(Duration::MAX)
    }
}

/// A number from 0 to 1 that is as good as random, and the same whenever it is asked of the same try: drawn from the
/// random bits of the id, by the mix of SplitMix64.
fn luck(parcel: &Parcel) -> f64 {
    let random = parcel.id.as_bytes()[8..].try_into().expect("an id has sixteen bytes");
    let mut mixed = u64::from_be_bytes(random) ^ u64::from(parcel.fence).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::DeliveryId;

    fn parcel(tries: u32) -> Parcel {
        Parcel {
            id: DeliveryId::from_bytes([7; 16]),
            fence: 1,
            host: "example.com:80".to_owned(),
            url: "http://example.com/".to_owned(),
            body: "{}".to_owned(),
            traceparent: None,
            begun_at: Timestamp::UNIX_EPOCH,
            tries,
        }
    }

    fn after_hours(hours: u64) -> Timestamp {
        clock::after(Timestamp::UNIX_EPOCH, Duration::from_secs(hours * 3600))
    }

    #[test]
    fn an_answer_of_2xx_delivers_and_410_ends() {
        let schedule = Schedule::default();
        let next = |status| schedule.next(&parcel(0), Answered::With(status), Timestamp::UNIX_EPOCH);
        assert_eq!((next(200), next(204), next(299)), (Next::Delivered, Next::Delivered, Next::Delivered));
        assert_eq!(next(410), Next::Gone);
        for status in [301, 302, 307, 400, 404, 429, 500, 503] {
            assert!(matches!(next(status), Next::Again(_)), "{status}");
        }
    }

    #[test]
    fn a_day_of_failures_is_eight_tries_the_last_when_it_is_over() {
        let schedule = Schedule::default();
        let (mut now, mut pauses, mut tries) = (Timestamp::UNIX_EPOCH, Vec::new(), 0);
        while let Next::Again(at) = schedule.after_failure(&parcel(tries), now, 0.5) {
            pauses.push((at - now).num_seconds());
            now = at;
            tries += 1;
        }
        assert_eq!(pauses[..6], [5, 300, 1800, 7200, 18_000, 36_000]);
        assert_eq!((tries, now), (7, after_hours(24)));
    }

    #[test]
    fn a_pause_is_within_a_fifth_of_the_table() {
        let schedule = Schedule::default();
        for (place, pause) in [(0, 5), (1, 300), (2, 1800), (5, 36_000), (6, 36_000), (u32::MAX, 36_000)] {
            let pause = Duration::from_secs(pause);
            assert_eq!(schedule.pause(place, 0.0).as_secs_f64().round(), (pause.as_secs_f64() * 0.8).round());
            assert_eq!(schedule.pause(place, 1.0).as_secs_f64().round(), (pause.as_secs_f64() * 1.2).round());
        }
    }

    #[test]
    fn those_who_fail_together_come_back_at_different_times() {
        let luck_of = |number: u32, fence: u32| {
            let id = crate::task::TaskId::generate();
            luck(&Parcel { id: id.into(), fence, ..parcel(number) })
        };
        let drawn: Vec<f64> = (0..1000).map(|number| luck_of(0, number % 7)).collect();
        for tenth in 0..10 {
            let within = drawn.iter().filter(|luck| (**luck * 10.0) as u32 == tenth).count();
            assert!((50..200).contains(&within), "{within} of 1000 in tenth {tenth}");
        }
    }

    #[test]
    fn the_whole_table_shrinks_with_its_first_pause() {
        let schedule = Schedule { first_pause: Duration::from_millis(50), ..Schedule::default() };
        assert_eq!(schedule.pause(1, 0.5), Duration::from_secs(3));
        let endless = Schedule { first_pause: Duration::MAX, give_up: Duration::from_secs(3600) };
        assert_eq!(endless.after_failure(&parcel(3), after_hours(0), 1.0), Next::Again(after_hours(1)));
    }
}
