//! A sorted set that also knows at which place a member stands, without counting through all of them.
//!
//! The members lie in order in blocks of bounded length. To find a place, the lengths of the blocks before are added
//! up: for a hundred thousand members some hundred additions, where a tree would have to be walked.

use std::collections::VecDeque;

/// The most members of a block; a fuller one is cut in half.
const BLOCK_MAX: usize = 512;

#[derive(Clone, Debug)]
pub struct Ranks<K> {
    /// None of them empty.
    blocks: Vec<VecDeque<K>>,
    len: usize,
}

impl<K> Default for Ranks<K> {
    fn default() -> Self {
        Self { blocks: Vec::new(), len: 0 }
    }
}

impl<K: Ord> Ranks<K> {
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn first(&self) -> Option<&K> {
        self.blocks.first()?.front()
    }

    /// Takes a member in, and answers whether it is new.
    pub fn insert(&mut self, key: K) -> bool {
        if self.blocks.is_empty() {
            self.blocks.push(VecDeque::new());
        }
        let index = self.block_of(&key).min(self.blocks.len() - 1);
        let block = &mut self.blocks[index];
        let Err(at) = block.binary_search(&key) else { return false };
        block.insert(at, key);
        self.len += 1;
        if block.len() > BLOCK_MAX {
            let upper = block.split_off(BLOCK_MAX / 2);
            self.blocks.insert(index + 1, upper);
        }
        true
    }

    /// Lets a member go, and answers whether it was one.
    pub fn remove(&mut self, key: &K) -> bool {
        let index = self.block_of(key);
        let Some(at) = self.blocks.get(index).and_then(|block| block.binary_search(key).ok()) else { return false };
        self.take(index, at);
        true
    }

    pub fn pop_first(&mut self) -> Option<K> {
        (self.len > 0).then(|| self.take(0, 0))
    }

    /// How many members stand before it; `None` where it is no member.
    pub fn place(&self, key: &K) -> Option<usize> {
        let index = self.block_of(key);
        let at = self.blocks.get(index)?.binary_search(key).ok()?;
        Some(self.blocks[..index].iter().map(VecDeque::len).sum::<usize>() + at)
    }

    /// The block in which a key stands or would: the first whose last member is not before it.
    fn block_of(&self, key: &K) -> usize {
        self.blocks.partition_point(|block| block.back().is_some_and(|last| last < key))
    }

    fn take(&mut self, index: usize, at: usize) -> K {
        self.len -= 1;
        let key = self.blocks[index].remove(at).expect("it was found there");
        if self.blocks[index].is_empty() {
            self.blocks.remove(index);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_sorted_set_in_which_every_member_knows_its_place() {
        let (mut ranks, mut plain) = (Ranks::default(), BTreeSet::new());
        let mut number = 1u64;
        for step in 0..20_000u64 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (number >> 33) % 6000;
            match number >> 61 {
                0 => assert_eq!(ranks.remove(&key), plain.remove(&key)),
                1 => assert_eq!(ranks.pop_first(), plain.pop_first()),
                _ => assert_eq!(ranks.insert(key), plain.insert(key)),
            }
            assert_eq!((ranks.len(), ranks.is_empty(), ranks.first()), (plain.len(), plain.is_empty(), plain.first()));
            if step % 500 == 0 {
                for (place, key) in plain.iter().enumerate() {
                    assert_eq!(ranks.place(key), Some(place));
                }
                assert_eq!(ranks.place(&10_000), None);
            }
        }
        assert!(ranks.blocks.iter().all(|block| (1..=BLOCK_MAX).contains(&block.len())));
        while ranks.pop_first().is_some() {}
        assert_eq!((ranks.first(), ranks.place(&1)), (None, None));
    }
}
