//! Takes the noise out of speech: a stream of samples in, the same number out, each in its time.
//!
//! The work is done by a small recurrent network (RNNoise, in the crate `nnnoiseless`), which hears 48 kHz in
//! frames of 10 ms. Other rates are brought there and back, so of a higher one the sounds above 24 kHz are lost.

use std::sync::LazyLock;

use nnnoiseless::{DenoiseState, RnnModel};

use super::Planes;
use super::resample::Resampler;

/// The one rate the network hears.
const NETWORK_RATE: u32 = 48_000;

const FRAME: usize = DenoiseState::FRAME_SIZE;

/// Frames of silence that push the last of the sound out.
const SILENCE: usize = 1024;

static MODEL: LazyLock<RnnModel> = LazyLock::new(RnnModel::default);

/// Removes noise from one stream. Samples are in the range of 16 bits.
pub struct Suppressor {
    way_in: Option<Resampler>,
    /// One network a channel: each has its own memory of what it heard.
    networks: Vec<Box<DenoiseState<'static>>>,
    way_out: Option<Resampler>,
    /// At the network's rate, less than a frame of it.
    waiting: Planes,
    /// Frames to be left out yet, because all comes out later than it went in.
    late: usize,
    /// Frames that went in and have not come out.
    owed: u64,
}

impl Suppressor {
    pub fn new(rate: u32, channels: usize) -> Self {
        let resampled = rate != NETWORK_RATE;
        let way_in = resampled.then(|| Resampler::new(rate, NETWORK_RATE, channels));
        let way_out = resampled.then(|| Resampler::new(NETWORK_RATE, rate, channels));
        // A network gives out the frame before the one it takes.
        let mut delay = FRAME as f64 / f64::from(NETWORK_RATE);
        delay += way_in.as_ref().map_or(0.0, Resampler::delay) + way_out.as_ref().map_or(0.0, Resampler::delay);
        Self {
            way_in,
            networks: (0..channels).map(|_| DenoiseState::with_model(&MODEL)).collect(),
            way_out,
            waiting: Planes::new(channels),
            late: (delay * f64::from(rate)).round() as usize,
            owed: 0,
        }
    }

    /// Takes all of `noisy` and answers with what is clean by now.
    pub fn push(&mut self, noisy: &mut Planes) -> Planes {
        self.owed += noisy.frames() as u64;
        self.process(noisy)
    }

    /// Ends the stream and answers with all that was still to come; what is pushed later is another stream.
    pub fn finish(&mut self) -> Planes {
        let mut clean = Planes::new(self.waiting.channels());
        while self.owed > 0 {
            let mut silence = Planes::new(self.waiting.channels());
            silence.resize(SILENCE);
            clean.append(&mut self.process(&mut silence));
        }
        clean
    }

    fn process(&mut self, noisy: &mut Planes) -> Planes {
        match &mut self.way_in {
            Some(way_in) => way_in.push(noisy, &mut self.waiting),
            None => self.waiting.append(noisy),
        }
        let mut clean = self.suppress();
        if let Some(way_out) = &mut self.way_out {
            let mut resampled = Planes::new(clean.channels());
            way_out.push(&mut clean, &mut resampled);
            clean = resampled;
        }
        let late = self.late.min(clean.frames());
        self.late -= late;
        clean.drop_front(late);
        // What silence made at the end is more than went in.
        if clean.frames() as u64 > self.owed {
            clean.resize(usize::try_from(self.owed).expect("less than a length in memory"));
        }
        self.owed -= clean.frames() as u64;
        clean
    }

    /// Runs all whole frames that wait through the networks.
    fn suppress(&mut self) -> Planes {
        let whole = self.waiting.frames() / FRAME * FRAME;
        let mut clean = Planes::new(self.waiting.channels());
        clean.resize(whole);
        for (channel, network) in self.networks.iter_mut().enumerate() {
            let frames = self.waiting[channel].chunks_exact(FRAME).zip(clean[channel].chunks_exact_mut(FRAME));
            for (noisy_frame, clean_frame) in frames {
                network.process_frame(clean_frame, noisy_frame);
            }
        }
        self.waiting.drop_front(whole);
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_samples_come_out_as_went_in_however_they_are_cut() {
        for rate in [8_000, 48_000, 44_100] {
            for frames in [0, 1, 479, 480, 481, 5_000] {
                let mut suppressor = Suppressor::new(rate, 1);
                let mut came = 0;
                for _ in 0..3 {
                    let mut noisy = Planes::new(1);
                    noisy.resize(frames);
                    came += suppressor.push(&mut noisy).frames();
                }
                came += suppressor.finish().frames();
                assert_eq!(came, 3 * frames, "{frames} frames at {rate} Hz");
            }
        }
    }
}
