//! A queue of calls to one or more threads, which take all that waits in one step.
//!
//! Its length is bounded by who calls: each caller waits for its answer. Once closed it takes nothing more,
//! and what it still holds can be taken to the end.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::stopwatch;

pub(super) struct Inbox<T> {
    inside: Mutex<Inside<T>>,
    arrived: Condvar,
}

struct Inside<T> {
    waiting: VecDeque<T>,
    closed: bool,
    /// How many threads sleep until something comes. Waking costs a system call, so nobody is woken in vain.
    sleepers: usize,
}

/// Why [`Inbox::take`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Some,
    /// Nothing came in time.
    TimedOut,
    /// Nothing is left and nothing will come.
    Closed,
}

impl<T> Inbox<T> {
    pub fn new() -> Self {
        let inside = Inside { waiting: VecDeque::new(), closed: false, sleepers: 0 };
        Self { inside: Mutex::new(inside), arrived: Condvar::new() }
    }

    /// Adds an item; gives it back where the inbox is closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        let mut inside = self.lock();
        if inside.closed {
            return Err(item);
        }
        inside.waiting.push_back(item);
        let sleeps = inside.sleepers > 0;
        drop(inside);
        if sleeps {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Moves up to `most` waiting items into `taken`. Sleeps until there is one, or until the time is over.
    pub fn take(&self, taken: &mut VecDeque<T>, most: usize, patience: Option<Duration>) -> Taken {
        let began = stopwatch();
        let mut inside = self.lock();
        while inside.waiting.is_empty() {
            if inside.closed {
                return Taken::Closed;
            }
            inside.sleepers += 1;
            inside = match patience {
                None => self.arrived.wait(inside).expect("nobody panics under the lock"),
                Some(patience) => {
                    let left = patience.saturating_sub(began.elapsed());
                    self.arrived.wait_timeout(inside, left).expect("nobody panics under the lock").0
                }
            };
            inside.sleepers -= 1;
            let patience_is_over = patience.is_some_and(|patience| began.elapsed() >= patience);
            if patience_is_over && inside.waiting.is_empty() && !inside.closed {
                return Taken::TimedOut;
            }
        }
        take_front(&mut inside.waiting, taken, most);
        Taken::Some
    }

    /// Moves up to `most` waiting items into `taken`, if there are any now.
    pub fn take_now(&self, taken: &mut VecDeque<T>, most: usize) {
        take_front(&mut self.lock().waiting, taken, most);
    }

    /// Takes nothing more from now on, and wakes every sleeper.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Inside<T>> {
        self.inside.lock().expect("nobody panics under the lock")
    }
}

fn take_front<T>(waiting: &mut VecDeque<T>, taken: &mut VecDeque<T>, most: usize) {
    if taken.is_empty() && waiting.len() <= most {
        std::mem::swap(waiting, taken);
    } else {
        let count = waiting.len().min(most);
        taken.extend(waiting.drain(..count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_before_the_close_is_still_taken() {
        let inbox = Inbox::new();
        for number in 0..5 {
            inbox.push(number).unwrap();
        }
        inbox.close();
        assert_eq!(inbox.push(5), Err(5));

        let mut taken = VecDeque::new();
        assert_eq!(inbox.take(&mut taken, 3, None), Taken::Some);
        assert_eq!(taken, [0, 1, 2]);
        assert_eq!(inbox.take(&mut taken, 3, None), Taken::Some);
        assert_eq!(taken, [0, 1, 2, 3, 4]);
        assert_eq!(inbox.take(&mut taken, 3, None), Taken::Closed);
    }

    #[test]
    fn a_sleeper_is_woken_by_an_item_and_by_the_close() {
        let inbox = Inbox::new();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                let mut taken = VecDeque::new();
                while inbox.take(&mut taken, 1, None) == Taken::Some {}
                taken
            });
            inbox.push('a').unwrap();
            inbox.close();
            assert_eq!(sleeper.join().unwrap(), ['a']);
        });
    }

    #[test]
    fn patience_ends() {
        let inbox: Inbox<u8> = Inbox::new();
        let taken = inbox.take(&mut VecDeque::new(), 1, Some(Duration::from_millis(1)));
        assert_eq!(taken, Taken::TimedOut);
    }
}
