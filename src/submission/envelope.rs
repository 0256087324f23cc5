//! The envelope: a submission as one JSON object, for callers who have nothing but JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Judge, WISHES, Wish, Wishes, bad, tags};
use crate::config::nearest;
use crate::error::ApiError;

/// The content type of an envelope.
pub const CONTENT_TYPE: &str = "application/vnd.ekiben.task+json";

/// An envelope taken apart.
pub struct Envelope<'a> {
    /// The input, as it was written.
    pub input: &'a RawValue,
    fields: Vec<(Wish, &'static str, Value)>,
}

impl<'a> Envelope<'a> {
    /// Whether a content type is that of an envelope, whatever its parameters.
    pub fn is(content_type: &str) -> bool {
        content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(CONTENT_TYPE))
    }

    /// Takes an envelope apart.
    ///
    /// # Errors
    /// [`ApiError::BadEnvelope`]: it is not the JSON of one, has a key that is not known, or one twice.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(bytes).map_err(|error| ApiError::BadEnvelope(error.to_string()))
    }

    /// Adds what it asks for to what the headers do.
    ///
    /// # Errors
    /// [`ApiError::BadOption`], naming the field.
    pub fn add_to(self, wishes: &mut Wishes, judge: Judge) -> Result<(), ApiError> {
        for (wish, name, value) in self.fields {
            match (wish, value) {
                (_, Value::Null) => {}
                (Wish::Tags, Value::Object(given)) if wishes.tags.is_none() => {
                    let mut all = BTreeMap::new();
                    for (key, value) in given {
                        let Value::String(value) = value else {
                            return Err(bad(name, format!("the value of the tag {key:?} is not text: {value}")));
                        };
                        tags::add(&mut all, &key, value, judge.bounds).map_err(|complaint| bad(name, complaint))?;
                    }
                    wishes.tags = Some(all);
                }
                (Wish::Tags, Value::Object(_)) => {
                    return Err(bad(name, "tags stand in the headers already".to_owned()));
                }
                (Wish::Tags, other) => return Err(bad(name, format!("{other} is no object of texts"))),
                (_, Value::String(text)) => wishes.set(wish, name, &text, judge)?,
                (Wish::Priority | Wish::MaxAttempts, Value::Number(number)) => {
                    wishes.set(wish, name, &number.to_string(), judge)?;
                }
                (_, other) => return Err(bad(name, format!("{other} is not a text"))),
            }
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the key \"input\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut input = None;
        let mut fields: Vec<(Wish, &'static str, Value)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "input" {
                if input.replace(map.next_value()?).is_some() {
                    return Err(A::Error::custom("\"input\" stands there twice"));
                }
                continue;
            }
            let Some((wish, _, name)) = WISHES.into_iter().find(|(_, _, field)| *field == key) else {
                let known = nearest(&key, WISHES.iter().map(|(_, _, field)| *field).chain(["input"]));
                let meant = known.map_or_else(String::new, |known| format!("; did you mean {known:?}?"));
                return Err(A::Error::custom(format!("there is no option {key:?}{meant}")));
            };
            if fields.iter().any(|(known, _, _)| *known == wish) {
                return Err(A::Error::custom(format!("{name:?} stands there twice")));
            }
            fields.push((wish, name, map.next_value()?));
        }
        let input = input.ok_or_else(|| A::Error::custom("the key \"input\" is missing"))?;
        Ok(Envelope { input, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::submission::instant;

    fn read(text: &str) -> Result<(String, Wishes), String> {
        let bounds = Config::default().submit;
        let judge = Judge { bounds: &bounds, now: instant("2026-01-01T00:00:00Z").unwrap() };
        let read = || {
            let envelope = Envelope::read(text.as_bytes())?;
            let input = envelope.input.get().to_owned();
            let mut wishes = Wishes::default();
            envelope.add_to(&mut wishes, judge)?;
            Ok((input, wishes))
        };
        read().map_err(|error: ApiError| error.to_string())
    }

    #[test]
    fn the_input_stays_as_it_was_written_and_wishes_are_read() {
        let text = r#"{"input": {"b": 1.50, "a": [ ]}, "priority": 2, "max_attempts": "3", "delay": "5s", "timeout": null,
            "tags": {"project": "rice, red"}, "idempotency_key": "k"}"#;
        let (input, wishes) = read(text).unwrap();
        assert_eq!(input, r#"{"b": 1.50, "a": [ ]}"#);
        let tags = Some(BTreeMap::from([("project".to_owned(), "rice, red".to_owned())]));
        assert_eq!((wishes.tags, wishes.max_attempts, wishes.timeout), (tags, Some(3), None));
        assert_eq!(wishes.idempotency_key.as_deref(), Some("k"));
        assert_eq!(read(r#"{"input": null}"#).unwrap(), ("null".to_owned(), Wishes::default()));
    }

    #[test]
    fn what_is_no_envelope_is_refused_with_what_is_wrong() {
        let cases = [
            ("", "EOF"),
            ("[1]", "an object with the key"),
            ("{}", "\"input\" is missing"),
            (r#"{"input": 1, "input": 2}"#, "twice"),
            (r#"{"input": 1, "delay": "1s", "delay": "1s"}"#, "twice"),
            (r#"{"input": 1, "delai": "1s"}"#, "did you mean \"delay\"?"),
            (r#"{"input": 1, "priority": 2.5}"#, "\"2.5\" is no priority"),
            (r#"{"input": 1, "delay": 5}"#, "5 is not a text"),
            (r#"{"input": 1, "tags": ["a"]}"#, "no object of texts"),
            (r#"{"input": 1, "tags": {"a": 1}}"#, "is not text: 1"),
            (r#"{"input": 1} x"#, "trailing"),
        ];
        for (text, expected) in cases {
            let complaint = read(text).expect_err(text);
            assert!(complaint.contains(expected), "{text}: {complaint}");
        }
    }
}
