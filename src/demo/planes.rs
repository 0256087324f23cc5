//! Audio as one row of samples a channel, all of the same length.

use std::ops::{Index, IndexMut};

/// One row of samples a channel.
#[derive(Clone, Debug)]
pub struct Planes(Vec<Vec<f32>>);

impl Planes {
    pub fn new(channels: usize) -> Self {
        Self(vec![Vec::new(); channels])
    }

    pub fn channels(&self) -> usize {
        self.0.len()
    }

    /// The samples of each channel.
    pub fn frames(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    /// The rows, for those who take slices.
    pub fn rows(&self) -> &[Vec<f32>] {
        &self.0
    }

    pub fn rows_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.0
    }

    pub fn iter(&self) -> impl Iterator<Item = &Vec<f32>> {
        self.0.iter()
    }

    /// Sets the length, with silence at the end where there was less.
    pub fn resize(&mut self, frames: usize) {
        for row in &mut self.0 {
            row.resize(frames, 0.0);
        }
    }

    /// Takes frames away from the beginning.
    pub fn drop_front(&mut self, frames: usize) {
        for row in &mut self.0 {
            row.drain(..frames);
        }
    }

    /// Moves all of `other` to the end.
    pub fn append(&mut self, other: &mut Planes) {
        for (row, more) in self.0.iter_mut().zip(&mut other.0) {
            row.append(more);
        }
    }
}

impl Index<usize> for Planes {
    type Output = Vec<f32>;

    fn index(&self, channel: usize) -> &Vec<f32> {
        &self.0[channel]
    }
}

impl IndexMut<usize> for Planes {
    fn index_mut(&mut self, channel: usize) -> &mut Vec<f32> {
        &mut self.0[channel]
    }
}
