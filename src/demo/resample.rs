//! Brings a stream of samples to another rate, late by a time that it tells.
//!
//! The filter is band-limited interpolation, which takes any pair of rates for the same little memory; the
//! faster method by Fourier transform needs blocks as long as the rates' common period.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters, SincInterpolationType, WindowFunction,
};

use super::Planes;

/// Frames that go through the filter at once.
const CHUNK: usize = 1024;

/// The filter's length, in samples of the lower rate: it passes 90 percent of what that rate can carry.
const FILTER_LEN: usize = 128;

/// The steps between two samples that the filter is tabled for; between those lies a straight line, whose error
/// is below what 16 bits can tell.
const STEPS: usize = 256;

/// Takes frames at one rate and gives them out at another.
pub struct Resampler {
    filter: Async<f32>,
    waiting: Planes,
    made: Planes,
    /// In seconds.
    delay: f64,
}

impl Resampler {
    pub fn new(from: u32, to: u32, channels: usize) -> Self {
        let filter_len = FILTER_LEN * from.div_ceil(to) as usize;
        let parameters = SincInterpolationParameters::new(filter_len, WindowFunction::BlackmanHarris2)
            .oversampling_factor(STEPS)
            .interpolation(SincInterpolationType::Linear);
        let ratio = f64::from(to) / f64::from(from);
        let filter = Async::new_sinc(ratio, 1.0, &parameters, CHUNK, channels, FixedAsync::Input)
            .expect("a WAV's rate makes a ratio above zero");
        let mut made = Planes::new(channels);
        made.resize(filter.output_frames_max());
        // The filter looks half its length ahead. Its first frame lies one step after the time it begins at, which
        // its own `output_delay` leaves out.
        let delay = filter_len as f64 / 2.0 / f64::from(from) - 1.0 / f64::from(to);
        Self { filter, waiting: Planes::new(channels), made, delay }
    }

    /// How much later a sound comes out than it went in, in seconds.
    pub fn delay(&self) -> f64 {
        self.delay
    }

    /// Takes all of `input` and appends what can be given out by now. The last frames come out only when more
    /// follow; silence will do.
    pub fn push(&mut self, input: &mut Planes, output: &mut Planes) {
        self.waiting.append(input);
        let mut taken = 0;
        while self.waiting.frames() - taken >= CHUNK {
            let made = self.resample_chunk(taken);
            taken += CHUNK;
            for (row, made_row) in output.rows_mut().iter_mut().zip(self.made.iter()) {
                row.extend_from_slice(&made_row[..made]);
            }
        }
        self.waiting.drop_front(taken);
    }

    /// Resamples the chunk that begins at `from` among the waiting frames, and answers how many frames it made.
    fn resample_chunk(&mut self, from: usize) -> usize {
        const FITS: &str = "the buffers have the filter's own sizes";
        let (channels, waiting, room) = (self.made.channels(), self.waiting.frames(), self.made.frames());
        let input = SequentialSliceOfVecs::new(self.waiting.rows(), channels, waiting).expect(FITS);
        let mut output = SequentialSliceOfVecs::new_mut(self.made.rows_mut(), channels, room).expect(FITS);
        let chunk = Indexing::new().input_offset(from);
        let (_, made) = self.filter.process_into_buffer(&input, &mut output, Some(&chunk)).expect(FITS);
        made
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    /// A tone of 440 Hz that begins `delay` seconds late.
    fn tone(rate: u32, frames: usize, delay: f64) -> Planes {
        let mut planes = Planes::new(1);
        let at_time = |time: f64| (TAU * 440.0 * (time - delay)).sin() as f32;
        planes[0].extend((0..frames).map(|at| at_time(at as f64 / f64::from(rate))));
        planes
    }

    #[test]
    fn a_tone_keeps_its_shape_and_comes_as_late_as_is_told_at_any_pair_of_rates() {
        for (from, to) in [(8_000, 48_000), (44_100, 48_000), (48_000, 16_000), (11_025, 48_000), (48_000, 44_099)] {
            let mut output = Planes::new(1);
            let mut resampler = Resampler::new(from, to, 1);
            resampler.push(&mut tone(from, from as usize / 2, 0.0), &mut output);

            let expected = tone(to, output.frames(), resampler.delay());
            let settled = to as usize / 50..output.frames();
            assert!(settled.len() > to as usize / 3, "{from} to {to}: {} frames came out", output.frames());
            for at in settled {
                let error = (output[0][at] - expected[0][at]).abs();
                assert!(error < 0.003, "{from} to {to}: {error} at {at}");
            }
        }
    }
}
