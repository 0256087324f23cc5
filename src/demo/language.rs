//! The demo endpoint `detect_language`: a text in, the name of its language out.
//!
//! The answer is worked out from the script and from how often groups of three letters occur (crate `whatlang`,
//! 70 languages). A text that tells nothing, be it empty or all digits, is answered too: language `null`,
//! confidence 0. Only an input that holds no text is a failure.

use std::sync::Arc;

use ekiben_actors::executor::{Attempt, Executor};
use ekiben_actors::task::{FailureCode, Outcome, Output};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{DemoEndpoint, Refusal};

/// The most bytes of an input: a text is told by its first page.
const INPUT_MAX: u64 = 1024 * 1024;

/// Names the language of a text.
struct DetectLanguage;

pub fn endpoint() -> DemoEndpoint {
    DemoEndpoint {
        description: "Names the language a text is written in.",
        input: json!({
            "type": "object",
            "title": "Input",
            "properties": {"text": {"type": "string", "title": "Text"}},
            "required": ["text"],
        }),
        output: json!({
            "type": "object",
            "properties": {
                "language": {"type": "string", "title": "Language", "description": "ISO 639-3, or null"},
                "name": {"type": "string", "title": "Name"},
                "confidence": {"type": "number", "title": "Confidence"},
                "reliable": {"type": "boolean", "title": "Reliable"},
                "script": {"type": "string", "title": "Script"},
            },
            "required": ["language", "name", "confidence", "reliable", "script"],
        }),
        executor: Arc::new(DetectLanguage),
    }
}

impl Executor for DetectLanguage {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            if attempt.cancellation.is_cancelled() {
                return Outcome::Canceled;
            }
            let len = attempt.input.body.len();
            if len > INPUT_MAX {
                return Refusal(format!("an input of {len} bytes: at most {INPUT_MAX} are taken")).into_outcome();
            }
            match spawn_blocking(move || detect(&attempt)).await {
                Ok(outcome) => outcome,
                // The TaskActor makes a failure of it.
                Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
                Err(_) => Outcome::Canceled,
            }
        })
    }
}

fn detect(attempt: &Attempt) -> Outcome {
    let input = match attempt.input.body.read() {
        Ok(input) => input,
        Err(error) => return Outcome::failed(FailureCode::Failed, format!("the input could not be read: {error}")),
    };
    match read_text(&input) {
        Ok(text) => Outcome::Done(answer(&text)),
        Err(refusal) => refusal.into_outcome(),
    }
}

/// The text in the input. What is wrong with one is told by its place, never by its content, because the reason
/// is also logged.
fn read_text(input: &[u8]) -> Result<String, Refusal> {
    let input: Value = serde_json::from_slice(input).map_err(|wrong| Refusal(format!("not JSON: {wrong}")))?;
    let Value::Object(mut input) = input else {
        return Err(Refusal::new("not a JSON object: {\"text\": \"...\"} is expected"));
    };
    match input.remove("text") {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Refusal::new("\"text\" is not a string")),
        None => Err(Refusal::new("\"text\" is missing: {\"text\": \"...\"} is expected")),
    }
}

fn answer(text: &str) -> Output {
    let told = whatlang::detect(text);
    let script = whatlang::detect_script(text);
    let answer = json!({
        "language": told.as_ref().map(|told| told.lang().code()),
        "name": told.as_ref().map(|told| told.lang().eng_name()),
        "confidence": told.as_ref().map_or(0.0, whatlang::Info::confidence),
        "reliable": told.as_ref().is_some_and(whatlang::Info::is_reliable),
        "script": script.as_ref().map(whatlang::Script::name),
    });
    Output::new("application/json", answer.to_string())
}

#[cfg(test)]
mod tests {
    use crate::demo::testing::{attempt, refusal_of};
    use ekiben_actors::task::Input;

    use super::*;

    async fn detected(text: &str) -> Value {
        let input = Input::json(&json!({"text": text})).unwrap();
        match DetectLanguage.run(attempt(input)).await {
            Outcome::Done(output) => serde_json::from_slice(&output.body.read().unwrap()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_text_in_each_of_many_languages_is_named_right() {
        let texts = [
            ("eng", "English", "Latin", "The ship left the harbour before dawn, and nobody on the pier waved."),
            ("deu", "German", "Latin", "Am frühen Morgen verließ das Schiff den Hafen, und niemand winkte ihm nach."),
            ("fra", "French", "Latin", "Le bateau a quitté le port avant l'aube, et personne ne lui a fait signe."),
            (
                "spa",
                "Spanish",
                "Latin",
                "El barco salió del puerto antes del amanecer y nadie lo saludó desde el muelle.",
            ),
            ("rus", "Russian", "Cyrillic", "Корабль вышел из гавани ещё до рассвета, и никто не махал ему с причала."),
            ("jpn", "Japanese", "Hiragana", "ふねはよあけまえにみなとをでて、だれもてをふりませんでした。"),
            ("ell", "Greek", "Greek", "Το πλοίο έφυγε από το λιμάνι πριν από την αυγή."),
        ];
        for (language, name, script, text) in texts {
            let answer = detected(text).await;
            assert_eq!((&answer["language"], &answer["name"]), (&json!(language), &json!(name)), "{text}");
            assert_eq!(answer["script"], script, "{text}");
            assert!(answer["confidence"].as_f64().unwrap() > 0.1, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_long_clear_text_is_told_reliably() {
        let text = "Nobody on the pier waved when the ship left, for it was early and the whole town was asleep. ";
        assert_eq!(detected(&text.repeat(20)).await["reliable"], true);
    }

    #[tokio::test]
    async fn a_text_that_tells_nothing_has_no_language() {
        for text in ["", " \n", "12345 67", "\0\0", "?!…"] {
            let answer = detected(text).await;
            let expected = json!({
                "language": null, "name": null, "confidence": 0.0, "reliable": false, "script": null,
            });
            assert_eq!(answer, expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn an_input_without_a_text_is_refused_and_not_repeated_in_the_reason() {
        let inputs = [
            "",
            "secret",
            "{\"text\": \"secret",
            "{\"text\": \"secret \\ud800\"}",
            "{\"text\": NaN}",
            "{\"text\": 17}",
            "{\"secret\": \"x\"}",
            "[\"secret\"]",
            "null",
        ];
        for input in inputs {
            let refusal = refusal_of(DetectLanguage.run(attempt(Input::new("application/json", input))).await);
            assert!(!refusal.contains("secret"), "{refusal}");
        }
        let not_utf8 = Input::new("application/json", b"{\"text\": \"\xff\"}".to_vec());
        refusal_of(DetectLanguage.run(attempt(not_utf8)).await);
    }

    #[tokio::test]
    async fn an_input_over_the_bound_and_one_of_endless_depth_are_refused() {
        let long = Input::new("application/json", vec![b' '; INPUT_MAX as usize + 1]);
        let refusal = refusal_of(DetectLanguage.run(attempt(long)).await);
        assert!(refusal.contains("at most 1048576"), "{refusal}");
        refusal_of(DetectLanguage.run(attempt(Input::new("application/json", vec![b'['; 100_000]))).await);
    }
}
