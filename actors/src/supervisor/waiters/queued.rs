//! Those of one caller who wait, in their order.
//!
//! Most callers have one task waiting, which needs no memory of its own here.

use super::WaitKey;
use crate::supervisor::ranks::Ranks;

#[derive(Default)]
pub(super) struct Queued {
    /// Before all the others; there where anybody is.
    first: Option<WaitKey>,
    others: Ranks<WaitKey>,
}

impl Queued {
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub fn first(&self) -> Option<&WaitKey> {
        self.first.as_ref()
    }

    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    /// How many stand before it; `None` where it is not there.
    pub fn place(&self, key: &WaitKey) -> Option<usize> {
        if self.first.as_ref() == Some(key) {
            return Some(0);
        }
        self.others.place(key).map(|place| place + 1)
    }

    pub fn insert(&mut self, key: WaitKey) {
        match self.first {
            None => self.first = Some(key),
            Some(first) => {
                self.others.insert(first.max(key));
                self.first = Some(first.min(key));
            }
        }
    }

    pub fn pop_first(&mut self) -> Option<WaitKey> {
        let first = self.first.take();
        self.first = self.others.pop_first();
        first
    }

    /// Answers whether it was there.
    pub fn remove(&mut self, key: &WaitKey) -> bool {
        if self.first.as_ref() == Some(key) {
            return self.pop_first().is_some();
        }
        self.others.remove(key)
    }

    /// Those behind a key, in their order; `None` for all.
    pub fn after(&self, key: Option<WaitKey>) -> impl Iterator<Item = &WaitKey> {
        let first = self.first.iter().filter(move |first| key.is_none_or(|key| **first > key));
        first.chain(self.others.after(key.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Priority, Rank, TaskId, Timestamp};

    #[test]
    fn it_keeps_them_in_order_whatever_order_they_come_and_go_in() {
        let rank = Rank::of(Priority(5), Timestamp::UNIX_EPOCH, Rank::AGING);
        let keys: Vec<WaitKey> = (0..9).map(|_| WaitKey { rank, task: TaskId::generate() }).collect();
        let mut queued = Queued::default();
        for index in [4, 2, 8, 0, 6, 1, 7, 3, 5] {
            queued.insert(keys[index]);
        }
        assert!(queued.after(None).eq(&keys));
        assert!(queued.after(Some(keys[3])).eq(&keys[4..]));
        assert!(keys.iter().enumerate().all(|(place, key)| queued.place(key) == Some(place)));
        assert_eq!(queued.len(), keys.len());
        assert!(queued.remove(&keys[0]) && queued.remove(&keys[5]) && !queued.remove(&keys[5]));
        let rest: Vec<WaitKey> = std::iter::from_fn(|| queued.pop_first()).collect();
        assert_eq!(rest, [1, 2, 3, 4, 6, 7, 8].map(|index: usize| keys[index]));
        assert!(queued.is_empty() && queued.first().is_none());
    }
}
