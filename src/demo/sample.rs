//! Makes a recording to try `denoise` on: a voice that says nothing, and hiss.
//!
//! The voice is made of the harmonics of a gliding pitch, shaped by the resonances of vowels, four syllables a
//! second, in phrases with pauses: enough like speech for a network that was trained on speech. The same options
//! make the same bytes.

use std::f64::consts::TAU;
use std::time::Duration;

use super::wav::{RATE_MAX, RATE_MIN};

/// The longest recording made.
pub const LENGTH_MAX: Duration = Duration::from_secs(60);

/// What the recording is like.
#[derive(Clone, Debug)]
pub struct SampleOptions {
    /// At most [`LENGTH_MAX`]; what is more is cut.
    pub length: Duration,
    /// In hertz, brought within what `denoise` takes.
    pub rate: u32,
    /// How much louder the voice is than the hiss, in decibels.
    pub voice_over_noise: f64,
    /// Another seed is another hiss.
    pub seed: u64,
}

impl Default for SampleOptions {
    /// Three seconds at 16 kHz: 96 kB.
    fn default() -> Self {
        Self { length: Duration::from_secs(3), rate: 16_000, voice_over_noise: 10.0, seed: 1 }
    }
}

impl SampleOptions {
    fn within_bounds(&self) -> Self {
        let (length, rate) = (self.length.min(LENGTH_MAX), self.rate.clamp(RATE_MIN, RATE_MAX));
        Self { length, rate, ..self.clone() }
    }
}

/// The voice with hiss, as a WAV of one channel and 16 bits.
pub fn noisy_wav(options: &SampleOptions) -> Vec<u8> {
    let options = options.within_bounds();
    let mut samples = voice(&options);
    let mut noise = Noise(options.seed);
    let loudness = VOICE_LOUDNESS / 10_f64.powf(options.voice_over_noise / 20.0);
    for sample in &mut samples {
        *sample += loudness * noise.next_normal();
    }
    wav(&samples, options.rate)
}

/// The voice alone, sample by sample the one in [`noisy_wav`].
pub fn clean_wav(options: &SampleOptions) -> Vec<u8> {
    let options = options.within_bounds();
    wav(&voice(&options), options.rate)
}

/// The mean (quadratic) level of the voice where it is loud, as a part of full scale.
const VOICE_LOUDNESS: f64 = 0.1;

/// A phrase and the pause after it, in seconds. The voice begins at once: until it has heard one, the network
/// is not sure what is noise.
const PHRASE: f64 = 1.1;
const PAUSE: f64 = 0.4;

/// Syllables a second, as people speak.
const SYLLABLES: f64 = 4.0;

/// The three lowest resonances of vowels, in hertz: a, i, o, e, u.
const VOWELS: [[f64; 3]; 5] = [
    [730.0, 1090.0, 2440.0],
    [290.0, 2250.0, 2990.0],
    [550.0, 880.0, 2540.0],
    [520.0, 1850.0, 2500.0],
    [320.0, 870.0, 2250.0],
];

/// How wide a resonance is, in hertz.
const RESONANCE_WIDTH: f64 = 90.0;

/// No harmonic above this, in hertz.
const VOICE_TOP: f64 = 5_000.0;

fn voice(options: &SampleOptions) -> Vec<f64> {
    let rate = f64::from(options.rate);
    let len = (options.length.as_secs_f64() * rate) as usize;
    let mut turns = 0.0;
    let mut samples = Vec::with_capacity(len);
    for at in 0..len {
        let time = at as f64 / rate;
        let pitch = pitch(time);
        turns += pitch / rate;
        samples.push(match syllable(time) {
            Some(syllable) => syllable.loudness * vowel_sound(turns, pitch, syllable.vowel, rate),
            None => 0.0,
        });
    }
    level(&mut samples);
    samples
}

/// A pitch that rises and falls with the phrase and trembles a little, between 110 and 180 Hz.
fn pitch(time: f64) -> f64 {
    145.0 + 30.0 * (TAU * 0.45 * time).sin() + 4.0 * (TAU * 5.5 * time).sin()
}

struct Syllable {
    loudness: f64,
    vowel: &'static [f64; 3],
}

/// What is being said at that time; nothing in a pause.
fn syllable(time: f64) -> Option<Syllable> {
    let into_phrase = time % (PHRASE + PAUSE);
    if into_phrase > PHRASE {
        return None;
    }
    let syllables = into_phrase * SYLLABLES;
    let swell = (TAU / 2.0 * syllables.fract()).sin();
    // A phrase that stops within a syllable fades: a click is not speech.
    let fade = ((PHRASE - into_phrase) / 0.05).min(1.0);
    let phrase = (time / (PHRASE + PAUSE)) as usize;
    let vowel = &VOWELS[(phrase + syllables as usize) % VOWELS.len()];
    Some(Syllable { loudness: fade * (0.1 + 0.9 * swell.sqrt()), vowel })
}

/// The harmonics of the pitch, weaker the higher they are and the further from a resonance.
fn vowel_sound(turns: f64, pitch: f64, vowel: &[f64; 3], rate: f64) -> f64 {
    let top = VOICE_TOP.min(0.45 * rate);
    let mut sound = 0.0;
    for harmonic in 1..=(top / pitch) as u32 {
        let hertz = f64::from(harmonic) * pitch;
        let mut resonance = 0.02;
        for formant in vowel {
            let distance = (hertz - formant) / RESONANCE_WIDTH;
            resonance += 1.0 / (1.0 + distance * distance);
        }
        sound += resonance / f64::from(harmonic).sqrt() * (TAU * f64::from(harmonic) * turns).sin();
    }
    sound
}

/// Brings the voice to its loudness, measured where it speaks.
fn level(samples: &mut [f64]) {
    let spoken: Vec<f64> = samples.iter().copied().filter(|sample| *sample != 0.0).collect();
    let power = spoken.iter().map(|sample| sample * sample).sum::<f64>() / spoken.len().max(1) as f64;
    if power > 0.0 {
        let gain = VOICE_LOUDNESS / power.sqrt();
        samples.iter_mut().for_each(|sample| *sample *= gain);
    }
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, without 0.
    fn next_fraction(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Of the normal distribution (Box and Muller).
    fn next_normal(&mut self) -> f64 {
        (-2.0 * self.next_fraction().ln()).sqrt() * (TAU * self.next_fraction()).cos()
    }
}

fn wav(samples: &[f64], rate: u32) -> Vec<u8> {
    let len = 2 * samples.len() as u32;
    let mut wav = Vec::with_capacity(44 + len as usize);
    wav.extend(b"RIFF");
    wav.extend((36 + len).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    for field in [1_u16, 1] {
        wav.extend(field.to_le_bytes());
    }
    wav.extend(rate.to_le_bytes());
    wav.extend((2 * rate).to_le_bytes());
    for field in [2_u16, 16] {
        wav.extend(field.to_le_bytes());
    }
    wav.extend(b"data");
    wav.extend(len.to_le_bytes());
    for sample in samples {
        wav.extend(((sample * 32_768.0).round() as i16).to_le_bytes());
    }
    wav
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_a_wav_of_the_length_and_rate_asked_for() {
        let options = SampleOptions { length: Duration::from_millis(500), rate: 8_000, ..SampleOptions::default() };
        for wav in [noisy_wav(&options), clean_wav(&options)] {
            let reader = hound::WavReader::new(&wav[..]).unwrap();
            assert_eq!((reader.spec().sample_rate, reader.spec().channels, reader.duration()), (8_000, 1, 4_000));
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_brought_inside() {
        let endless = SampleOptions { length: Duration::MAX, rate: 0, ..SampleOptions::default() };
        let frames = LENGTH_MAX.as_secs() as usize * RATE_MIN as usize;
        assert_eq!(clean_wav(&endless).len(), 44 + 2 * frames);
        let fast = SampleOptions { length: Duration::from_millis(1), rate: u32::MAX, ..SampleOptions::default() };
        assert_eq!(noisy_wav(&fast).len(), 44 + 2 * RATE_MAX as usize / 1000);
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes_and_another_seed_others() {
        let options = SampleOptions { length: Duration::from_millis(100), ..SampleOptions::default() };
        let other = SampleOptions { seed: 2, ..options.clone() };
        assert_eq!(noisy_wav(&options), noisy_wav(&options));
        assert_ne!(noisy_wav(&options), noisy_wav(&other));
    }

    #[test]
    fn the_hiss_is_as_much_softer_than_the_voice_as_was_asked_for() {
        let options = SampleOptions { voice_over_noise: 20.0, ..SampleOptions::default() };
        let samples = |wav: Vec<u8>| -> Vec<f64> {
            let mut reader = hound::WavReader::new(&wav[..]).unwrap();
            reader.samples::<i16>().map(|sample| f64::from(sample.unwrap())).collect()
        };
        let (clean, noisy) = (samples(clean_wav(&options)), samples(noisy_wav(&options)));
        let spoken = clean.iter().filter(|sample| **sample != 0.0).count() as f64;
        let voice_power = clean.iter().map(|sample| sample * sample).sum::<f64>() / spoken;
        let noise_power =
            clean.iter().zip(&noisy).map(|(clean, noisy)| (noisy - clean).powi(2)).sum::<f64>() / clean.len() as f64;
        let measured = 10.0 * (voice_power / noise_power).log10();
        assert!((measured - 20.0).abs() < 0.5, "{measured} dB");
    }
}
