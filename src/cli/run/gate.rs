//! Holds requests back while the service is away or has no room, so that a thousand lines ask no more than one would.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use ekiben_actors::clock::stopwatch;

use crate::client::ClientError;

/// The first pause, which doubles with each that follows, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The longest pause that the service may ask for; it would look like standing still.
const ASKED_MAX: Duration = Duration::from_secs(60);

/// Requests pass while it is open. It is shut by an answer that says to come again, and opens by itself.
#[derive(Debug, Default)]
pub struct Gate {
    opens: Cell<Option<Instant>>,
    pause: Cell<Duration>,
    trouble: RefCell<Option<Trouble>>,
}

/// Why nothing gets through at present.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub why: String,
    since: Instant,
}

impl Trouble {
    pub fn lasts(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Gate {
    /// Waits until it is open. `spread`, from 0 to 1, tells apart those that wait, so that they don't all come at once.
    pub async fn pass(&self, spread: f64) {
        while let Some(opens) = self.opens.get() {
            if opens <= stopwatch() {
                return;
            }
            let late = self.pause.get().mul_f64(spread / 2.0);
            tokio::time::sleep_until((opens + late).into()).await;
        }
    }

    /// Takes note of a request that is to be made again later.
    pub fn shut(&self, error: &ClientError) {
        let now = stopwatch();
        let mut trouble = self.trouble.borrow_mut();
        let since = trouble.as_ref().map_or(now, |trouble| trouble.since);
        *trouble = Some(Trouble { why: error.to_string(), since });
        // Those that were under way when the first of them failed say nothing new.
        if self.opens.get().is_some_and(|opens| opens > now) {
            return;
        }
        let longer = (self.pause.get() * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let pause = error.retry_after().map_or(longer, |asked| asked.clamp(PAUSE_MIN, ASKED_MAX));
        self.pause.set(pause);
        self.opens.set(Some(now + pause));
    }

    /// Takes note of an answer.
    pub fn open(&self) {
        self.opens.set(None);
        self.pause.set(Duration::ZERO);
        self.trouble.take();
    }

    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> ClientError {
        ClientError::Unreachable { server: "http://a".into(), cause: "connection refused".into() }
    }

    #[actix::test]
    async fn many_that_fail_together_make_one_pause_and_one_that_gets_through_ends_it() {
        let gate = Gate::default();
        for _ in 0..1000 {
            gate.shut(&away());
        }
        assert_eq!(gate.pause.get(), PAUSE_MIN);
        gate.pass(1.0).await;
        gate.shut(&away());
        assert_eq!(gate.pause.get(), PAUSE_MIN * 2);
        assert!(gate.trouble().is_some());
        gate.open();
        assert!(gate.trouble().is_none());
        gate.pass(0.0).await;
    }
}
