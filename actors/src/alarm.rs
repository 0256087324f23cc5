//! Tells when an actor has died that should not have.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Sounds when one of its sentinels is dropped before it was disarmed.
#[derive(Clone)]
pub struct Alarm {
    disarmed: Arc<AtomicBool>,
    sound: Arc<watch::Sender<Option<&'static str>>>,
}

impl Alarm {
    pub fn new() -> Self {
        Self { disarmed: Arc::default(), sound: Arc::new(watch::channel(None).0) }
    }

    /// One to live in the actor of that name.
    pub fn sentinel(&self, actor: &'static str) -> Sentinel {
        Sentinel { actor, alarm: self.clone() }
    }

    /// From now on actors may end.
    pub fn disarm(&self) {
        self.disarmed.store(true, Ordering::Release);
    }

    /// Comes to an end when an actor has died, with its name.
    pub fn sounded(&self) -> impl Future<Output = &'static str> + use<> {
        let mut listener = self.sound.subscribe();
        async move {
            match listener.wait_for(Option::is_some).await {
                Ok(actor) => actor.expect("it was waited for"),
                // Nobody is left who could die.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Lives in an actor and sounds the alarm when it dies with it.
pub struct Sentinel {
    actor: &'static str,
    alarm: Alarm,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if !self.alarm.disarmed.load(Ordering::Acquire) {
            self.alarm.sound.send_replace(Some(self.actor));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn an_alarm_sounds_for_a_death_and_is_silent_for_an_orderly_end() {
        let alarm = Alarm::new();
        let (first, second) = (alarm.sentinel("first"), alarm.sentinel("second"));
        assert_eq!(alarm.sounded().now_or_never(), None);
        drop(first);
        assert_eq!(alarm.sounded().now_or_never(), Some("first"));

        let quiet = Alarm::new();
        quiet.disarm();
        drop(quiet.sentinel("third"));
        assert_eq!(quiet.sounded().now_or_never(), None);
        drop(second);
    }
}
