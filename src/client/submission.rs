//! A task to be submitted: its input, and the options that go with it as headers.

use std::time::Duration;

use bytes::Bytes;
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, HeaderValue};

/// Everything an endpoint's `POST …/tasks` takes.
#[derive(Clone, Debug)]
pub struct Submission {
    pub content_type: String,
    pub input: Bytes,
    pub options: Options,
    pub idempotency_key: Option<String>,
    /// How long the answer may wait for the task's end.
    pub wait: Option<Duration>,
}

/// What is asked for beside the endpoint's settings, as texts: what they mean is for the service to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    headers: Vec<(&'static str, HeaderValue)>,
    tags: Vec<(String, String)>,
}

/// The options by the names that an envelope has for them, and the headers for the same; tags are apart.
const NAMES: [(&str, &str); 10] = [
    ("priority", "ekiben-priority"),
    ("fairness_key", "ekiben-fairness-key"),
    ("delay", "ekiben-delay"),
    ("not_before", "ekiben-not-before"),
    ("queue_ttl", "ekiben-queue-ttl"),
    ("timeout", "ekiben-timeout"),
    ("deadline", "ekiben-deadline"),
    ("max_attempts", "ekiben-max-attempts"),
    ("retention", "ekiben-retention"),
    ("webhook", "ekiben-webhook"),
];

impl Options {
    /// Every name that [`Options::set`] takes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// Sets an option by its name, over an earlier value.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong, where the name is unknown or the value cannot stand in a header.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let Some((_, header)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = Self::names().collect();
            return Err(format!("there is no option {name:?}; there are {}, tags", known.join(", ")));
        };
        let value = HeaderValue::from_str(value)
            .map_err(|_| format!("{name} cannot be {value:?}: it has characters that no header can hold"))?;
        self.headers.retain(|(set, _)| set != header);
        self.headers.push((header, value));
        Ok(())
    }

    /// Adds a tag, over an earlier one of the same key.
    pub fn tag(&mut self, key: &str, value: &str) {
        self.tags.retain(|(set, _)| set != key);
        self.tags.push((key.to_owned(), value.to_owned()));
    }

    /// These options, with those of `over` in their place where both say something.
    pub fn with(&self, over: &Options) -> Options {
        let mut both = self.clone();
        for (header, value) in &over.headers {
            both.headers.retain(|(set, _)| set != header);
            both.headers.push((header, value.clone()));
        }
        for (key, value) in &over.tags {
            both.tag(key, value);
        }
        both
    }
}

impl Submission {
    /// Puts it into a request.
    pub(super) fn fill(&self, request: RequestBuilder) -> RequestBuilder {
        let mut request = request.header(CONTENT_TYPE, &self.content_type).body(self.input.clone());
        for (name, value) in &self.options.headers {
            request = request.header(*name, value);
        }
        if !self.options.tags.is_empty() {
            let pair = |(key, value): &(String, String)| format!("{}={}", encoded(key), encoded(value));
            let tags: Vec<String> = self.options.tags.iter().map(pair).collect();
            request = request.header("ekiben-tags", tags.join(", "));
        }
        if let Some(key) = &self.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(wait) = self.wait {
            request = request.header("prefer", format!("wait={}", wait.as_secs()));
        }
        request
    }
}

/// A text that means the same in a list of `key=value`: all but plain characters percent-encoded.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:/@+".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_encoded_where_a_list_would_break() {
        assert_eq!(encoded("a=b, c%"), "a%3Db%2C%20c%25");
        assert_eq!(encoded("näh"), "n%C3%A4h");
        assert_eq!(encoded("run-1.a:b"), "run-1.a:b");
    }

    #[test]
    fn what_a_line_says_goes_before_what_the_command_says() {
        let (mut command, mut line) = (Options::default(), Options::default());
        command.set("priority", "low").unwrap();
        command.set("timeout", "30s").unwrap();
        command.tag("run", "1");
        line.set("priority", "2").unwrap();
        line.tag("kind", "a");
        let both = command.with(&line);
        assert_eq!(
            both.headers,
            [("ekiben-timeout", HeaderValue::from_static("30s")), ("ekiben-priority", HeaderValue::from_static("2")),]
        );
        assert_eq!(both.tags.len(), 2);
    }

    #[test]
    fn an_unknown_option_is_told_with_the_known_ones() {
        assert!(Options::default().set("colour", "red").unwrap_err().contains("max_attempts"));
        assert!(Options::default().set("fairness_key", "a\nb").unwrap_err().contains("header"));
    }
}
