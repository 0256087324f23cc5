//! The main job on real input: what the service offers with no configuration does real work.

use ekiben::demo::sample::{SampleOptions, clean_wav, noisy_wav};
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::Server;

/// The samples of a 16-bit WAV.
fn samples(wav: &[u8]) -> Vec<f64> {
    let reader = hound::WavReader::new(wav).expect("it is a WAV");
    reader.into_samples::<i16>().map(|sample| f64::from(sample.expect("it is whole"))).collect()
}

/// The mean power where the clean recording is silent, from the second on that the network has heard a voice for.
fn power_in_pauses(samples: &[f64], clean: &[f64], from: usize) -> f64 {
    const QUIET_FOR: usize = 800;
    let mut quiet = 0;
    let mut powers = Vec::new();
    for (at, (sample, clean)) in samples.iter().zip(clean).enumerate() {
        quiet = if *clean == 0.0 { quiet + 1 } else { 0 };
        if at > from && quiet > QUIET_FOR {
            powers.push(sample * sample);
        }
    }
    assert!(powers.len() > 1000, "there is no pause to measure in");
    powers.iter().sum::<f64>() / powers.len() as f64
}

#[tokio::test]
async fn a_noisy_recording_comes_back_as_long_and_with_far_less_noise() {
    let server = Server::start_without_config();
    let denoise = Client::new(&server.url(), "denoise");
    let options = SampleOptions::default();
    let (noisy, clean) = (noisy_wav(&options), clean_wav(&options));

    let task = denoise.submit(noisy.clone()).await;
    assert_eq!(denoise.until_finished(&task).await, "completed");
    let result = denoise.get(&task).await;
    assert_eq!(result.headers()["content-type"], "audio/wav");
    let denoised = result.bytes().await.unwrap();
    assert_eq!(denoised.len(), noisy.len());

    let (noisy, clean, denoised) = (samples(&noisy), samples(&clean), samples(&denoised));
    let from = options.rate as usize;
    let before = power_in_pauses(&noisy, &clean, from);
    let after = power_in_pauses(&denoised, &clean, from);
    let decibels = 10.0 * (before / after.max(1.0)).log10();
    assert!(decibels >= 6.0, "the noise went down by {decibels:.1} dB only");
}

#[tokio::test]
async fn a_text_in_five_languages_is_named_right() {
    let server = Server::start_without_config();
    let client = Client::new(&server.url(), "detect_language");
    let texts = [
        ("eng", "The train leaves the station at noon, and the boxed meal was ordered the day before."),
        ("deu", "Der Zug verlässt den Bahnhof am Mittag, und das Essen wurde schon gestern bestellt."),
        ("fra", "Le train quitte la gare à midi, et le repas avait été commandé la veille par téléphone."),
        ("spa", "El tren sale de la estación al mediodía y la comida se había encargado el día anterior."),
        ("jpn", "列車は正午に駅を出発し、駅弁は前の日に注文してありました。"),
    ];
    for (language, text) in texts {
        let task = client.submit(json!({ "text": text }).to_string()).await;
        assert_eq!(client.until_finished(&task).await, "completed");
        let answer: Value = client.get(&task).await.json().await.unwrap();
        assert_eq!(answer["language"], language, "{text}: {answer}");
    }
}
