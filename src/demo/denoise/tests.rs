//! What `denoise` promises, seen through its executor. Files are written and read back by the crate `hound`, so
//! that our own reading of the format has a witness.

use std::io::Cursor;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ekiben_actors::executor::report::Said;
use ekiben_actors::executor::{Outputs, Report};
use ekiben_actors::spool::{BlobName, Blobs};
use ekiben_actors::task::{Input, TaskId};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::*;
use crate::demo::sample::{SampleOptions, clean_wav, noisy_wav};
use crate::demo::testing::{attempt, refusal_of};

async fn denoised(input: Input) -> Vec<u8> {
    match Denoise.run(attempt(input)).await {
        Outcome::Done(output) => output.body.read().unwrap().to_vec(),
        other => panic!("{other:?}"),
    }
}

fn wav_input(bytes: &[u8]) -> Input {
    Input::new("audio/wav", bytes.to_vec())
}

fn short(rate: u32) -> SampleOptions {
    SampleOptions { length: Duration::from_millis(800), rate, ..SampleOptions::default() }
}

/// The samples of a file, of full scale 1, whatever they are stored as.
fn samples(wav: &[u8]) -> Vec<f64> {
    let mut reader = WavReader::new(wav).unwrap();
    let full_scale = 2_f64.powi(i32::from(reader.spec().bits_per_sample) - 1);
    match reader.spec().sample_format {
        SampleFormat::Float => reader.samples::<f32>().map(|sample| f64::from(sample.unwrap())).collect(),
        SampleFormat::Int => reader.samples::<i32>().map(|sample| f64::from(sample.unwrap()) / full_scale).collect(),
    }
}

/// The same sound in every channel of a file of that kind.
fn wav_of(spec: WavSpec, sound: &[f64]) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    let full_scale = 2_f64.powi(i32::from(spec.bits_per_sample) - 1) - 1.0;
    for sample in sound {
        for _ in 0..spec.channels {
            match spec.sample_format {
                SampleFormat::Float => writer.write_sample(*sample as f32).unwrap(),
                SampleFormat::Int => writer.write_sample((sample * full_scale) as i32).unwrap(),
            }
        }
    }
    writer.finalize().unwrap();
    file.into_inner()
}

/// The mean power of the samples that `keep` picks by their place, in decibels.
fn power(samples: &[f64], keep: impl Fn(usize) -> bool) -> f64 {
    let kept: Vec<f64> = samples.iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, sample)| *sample).collect();
    let mean = kept.iter().map(|sample| sample * sample).sum::<f64>() / kept.len() as f64;
    10.0 * mean.log10()
}

/// What a cleaning did: to the noise in the pauses and to the voice's loudness, in decibels, and how like the
/// voice without noise the result is, where 1 is the same.
#[derive(Debug)]
struct Effect {
    pauses: f64,
    voice: f64,
    likeness: f64,
}

async fn effect(options: &SampleOptions) -> Effect {
    let (clean, noisy_file) = (samples(&clean_wav(options)), noisy_wav(options));
    let noisy = samples(&noisy_file);
    let cleaned = samples(&denoised(wav_input(&noisy_file)).await);
    let mut silent_since = 0;
    let mut silence: Vec<usize> = Vec::new();
    for sample in &clean {
        silent_since = if *sample == 0.0 { silent_since + 1 } else { 0 };
        silence.push(silent_since);
    }
    // The network needs a moment to hear that a voice has ended.
    let in_pause = |at: usize| silence[at] > options.rate as usize / 20;
    let in_voice = |at: usize| clean[at] != 0.0;
    let product = |one: &[f64], other: &[f64]| -> f64 { one.iter().zip(other).map(|(a, b)| a * b).sum() };
    let voiced: Vec<f64> = cleaned.iter().enumerate().filter(|(at, _)| in_voice(*at)).map(|(_, it)| *it).collect();
    let voice: Vec<f64> = clean.iter().copied().filter(|sample| *sample != 0.0).collect();
    Effect {
        pauses: power(&cleaned, in_pause) - power(&noisy, in_pause),
        voice: power(&cleaned, in_voice) - power(&clean, in_voice),
        likeness: product(&voiced, &voice) / (product(&voiced, &voiced) * product(&voice, &voice)).sqrt(),
    }
}

#[tokio::test]
async fn noise_goes_down_by_far_more_than_six_decibels_and_the_voice_stays() {
    for rate in [8_000, 16_000, 44_100, 48_000] {
        let effect = effect(&SampleOptions { rate, ..SampleOptions::default() }).await;
        assert!(effect.pauses < -12.0, "{rate} Hz: {effect:?}");
        assert!(effect.voice.abs() < 2.0, "{rate} Hz: {effect:?}");
        assert!(effect.likeness > 0.9, "{rate} Hz: {effect:?}");
    }
}

#[tokio::test]
async fn a_recording_comes_back_in_time_to_within_a_sample() {
    for rate in [8_000, 16_000, 44_100, 48_000, 96_000] {
        let clean_file = clean_wav(&short(rate));
        let clean = samples(&clean_file);
        let cleaned = samples(&denoised(wav_input(&clean_file)).await);
        let likeness = |lag: usize| -> f64 { clean[lag..].iter().zip(&cleaned).map(|(a, b)| a * b).sum() };
        let lead = |lag: usize| -> f64 { cleaned[lag..].iter().zip(&clean).map(|(a, b)| a * b).sum() };
        // Half a sample is lost to rounding, and the network shifts the lowest tones a little.
        for lag in 2..12 {
            assert!(likeness(0) > likeness(lag) && likeness(0) > lead(lag), "{rate} Hz, {lag} samples");
        }
    }
}

#[tokio::test]
async fn every_rate_channel_count_and_sample_format_comes_back_as_it_was() {
    let formats = [
        (8, SampleFormat::Int),
        (16, SampleFormat::Int),
        (24, SampleFormat::Int),
        (32, SampleFormat::Int),
        (32, SampleFormat::Float),
    ];
    let rates = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000, 44_099];
    let sound = samples(&noisy_wav(&SampleOptions { length: Duration::from_millis(60), ..short(16_000) }));
    for (turn, sample_rate) in rates.into_iter().enumerate() {
        for (other_turn, (bits_per_sample, sample_format)) in formats.into_iter().enumerate() {
            // Each rate and format meets each channel count in another turn.
            let channels = [1, 2, 6][(turn + other_turn) % 3];
            let spec = WavSpec { channels, sample_rate, bits_per_sample, sample_format };
            let noisy = wav_of(spec, &sound);
            let cleaned = denoised(wav_input(&noisy)).await;

            let reader = WavReader::new(&cleaned[..]).unwrap();
            assert_eq!((reader.spec(), reader.duration() as usize), (spec, sound.len()));
            assert_eq!(cleaned.len(), noisy.len(), "{spec:?}");
        }
    }
}

#[tokio::test]
async fn channels_do_not_leak_into_each_other() {
    let sound = samples(&noisy_wav(&short(48_000)));
    let spec = WavSpec { channels: 1, sample_rate: 48_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mono = samples(&denoised(wav_input(&wav_of(spec, &sound))).await);

    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, WavSpec { channels: 2, ..spec }).unwrap();
    for sample in &sound {
        writer.write_sample((sample * 32_767.0) as i16).unwrap();
        writer.write_sample(0_i16).unwrap();
    }
    writer.finalize().unwrap();

    let stereo = samples(&denoised(wav_input(&file.into_inner())).await);
    let (left, right): (Vec<f64>, Vec<f64>) = stereo.chunks(2).map(|frame| (frame[0], frame[1])).unzip();
    assert_eq!(left, mono);
    assert!(right.iter().all(|sample| *sample == 0.0));
}

#[tokio::test]
async fn a_form_with_a_file_and_the_file_itself_give_the_same_answer() {
    let noisy = noisy_wav(&short(16_000));
    let mut form = b"--b\r\nContent-Disposition: form-data; name=\"audio\"; filename=\"noisy.wav\"\r\n\
        Content-Type: audio/x-wav\r\n\r\n"
        .to_vec();
    form.extend(&noisy);
    form.extend(b"\r\n--b--\r\n");

    let plain = denoised(wav_input(&noisy)).await;
    assert_eq!(denoised(Input::new("multipart/form-data; boundary=b", form)).await, plain);
    assert_eq!(denoised(Input::new("application/x-www-form-urlencoded", noisy)).await, plain);
}

#[tokio::test]
async fn a_body_in_a_file_is_cleaned_like_one_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let noisy = noisy_wav(&SampleOptions::default());
    let mut spool = Blobs::in_folder(folder.path(), 0).spool(BlobName::Input(TaskId::generate()), u64::MAX);
    spool.write(&noisy).await.unwrap();
    let mut input = wav_input(&[]);
    input.body = spool.finish().await.unwrap();
    assert!(matches!(input.body, Body::File(_)));
    assert_eq!(denoised(input).await, denoised(wav_input(&noisy)).await);
}

#[tokio::test]
async fn all_but_the_samples_comes_back_byte_for_byte() {
    let mut noisy = noisy_wav(&short(16_000));
    noisy.extend(b"LIST\x04\0\0\0INFO");
    let cleaned = denoised(wav_input(&noisy)).await;
    assert_eq!(cleaned[..44], noisy[..44]);
    assert_eq!(cleaned[cleaned.len() - 12..], *b"LIST\x04\0\0\0INFO");
    assert_ne!(cleaned, noisy);
}

#[tokio::test]
async fn a_recording_of_open_length_is_cleaned_to_its_end() {
    let noisy = noisy_wav(&short(16_000));
    let mut open = noisy.clone();
    open[40..44].copy_from_slice(&[0xFF; 4]);
    let (cleaned, cleaned_open) = (denoised(wav_input(&noisy)).await, denoised(wav_input(&open)).await);
    assert_eq!(cleaned_open[44..], cleaned[44..]);
    assert_eq!(cleaned_open.len(), open.len());
}

#[tokio::test]
async fn a_recording_without_a_sample_comes_back_empty() {
    let empty = noisy_wav(&SampleOptions { length: Duration::ZERO, ..SampleOptions::default() });
    assert_eq!(denoised(wav_input(&empty)).await, empty);
}

#[tokio::test]
async fn what_is_not_a_number_does_not_spoil_what_follows() {
    let spec = WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 32, sample_format: SampleFormat::Float };
    let mut sound = samples(&noisy_wav(&short(16_000)));
    for (at, strange) in [f64::NAN, f64::INFINITY, -1e38, f64::NEG_INFINITY, 1e30].into_iter().enumerate() {
        sound[at * 100] = strange;
    }
    let cleaned = samples(&denoised(wav_input(&wav_of(spec, &sound))).await);
    assert!(cleaned.iter().all(|sample| sample.is_finite()));
    let late = |at: usize| at > sound.len() / 2;
    assert!(power(&cleaned, late) > power(&sound, late) - 6.0, "the voice is gone");
}

#[tokio::test]
async fn an_input_that_is_no_whole_wav_is_refused() {
    let noisy = noisy_wav(&short(16_000));
    let form = "multipart/form-data; boundary=b";
    let inputs = [
        ("audio/wav", Vec::new(), "empty"),
        ("audio/wav", b"hello".to_vec(), "does not begin with RIFF"),
        ("audio/wav", vec![0; 3 * BLOCK], "does not begin with RIFF"),
        ("application/x-www-form-urlencoded", b"audio=http%3A%2F%2Fexample.com".to_vec(), "does not begin with RIFF"),
        ("audio/wav", noisy[..30].to_vec(), "before its samples"),
        ("audio/wav", noisy[..noisy.len() - 100].to_vec(), "25500 of 25600 bytes"),
        ("multipart/form-data", noisy.clone(), "no boundary"),
        (form, noisy, "cut"),
        (form, b"--b--\r\n".to_vec(), "no file part"),
        (form, b"--b\r\nContent-Disposition: form-data; name=audio\r\n\r\nhi\r\n--b--".to_vec(), "not a WAV"),
    ];
    for (content_type, body, reason) in inputs {
        let refusal = refusal_of(Denoise.run(attempt(Input::new(content_type, body))).await);
        assert!(refusal.contains(reason), "{refusal} / {reason}");
    }
}

#[tokio::test]
async fn a_header_without_end_is_refused_before_it_is_all_taken_in() {
    let mut endless = b"RIFF\0\0\0\0WAVEJUNK\xFF\xFF\xFF\x7F".to_vec();
    endless.resize(2 * crate::demo::cleaning::HEAD_MAX, 0);
    let refusal = refusal_of(Denoise.run(attempt(wav_input(&endless))).await);
    assert!(refusal.contains("do not begin in its first"), "{refusal}");
}

#[tokio::test]
async fn it_stops_between_two_blocks_when_it_is_canceled() {
    let options = SampleOptions { length: Duration::from_secs(20), rate: 8_000, ..SampleOptions::default() };
    let mut attempt = attempt(wav_input(&noisy_wav(&options)));
    let cancellation = attempt.cancellation.clone();
    let reports = std::sync::Arc::new(AtomicU32::new(0));
    attempt.report = Report::heard({
        let reports = reports.clone();
        move |said| {
            let Said::Progress(fraction) = said else { panic!("not a progress: {said:?}") };
            assert!(fraction > 0.0 && fraction < 1.0, "{fraction}");
            reports.fetch_add(1, Ordering::SeqCst);
            cancellation.cancel();
        }
    });
    assert!(matches!(Denoise.run(attempt).await, Outcome::Canceled));
    assert_eq!(reports.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_output_over_the_limit_is_a_failure_that_says_so() {
    let mut attempt = attempt(wav_input(&noisy_wav(&short(16_000))));
    attempt.outputs = Outputs::new(Blobs::in_memory(), BlobName::Output(TaskId::generate(), 1), 1000);
    let Outcome::Failed(failure, None) = Denoise.run(attempt).await else { panic!("it did not fail") };
    assert_eq!(failure.code, FailureCode::TooLarge);
}

#[tokio::test]
async fn the_answer_is_a_file_with_a_name() {
    let Outcome::Done(output) = Denoise.run(attempt(wav_input(&noisy_wav(&short(16_000))))).await else {
        panic!("it failed")
    };
    assert_eq!(output.headers.content_type(), Some("audio/wav"));
    assert_eq!(output.headers.get("content-disposition"), Some("attachment; filename=\"denoised.wav\""));
}
