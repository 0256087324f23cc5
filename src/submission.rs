//! What a submission asks for beside its input: in headers, or in an envelope of JSON with the input in it. Each wish
//! is held to the bounds of the settings.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use chrono::{DateTime, Utc};
use ekiben_actors::task::{NewTask, Priority, TaskOptions, Timestamp};

use crate::config::{Submit, nearest, parse_time, show_time};
use crate::error::ApiError;

mod envelope;
mod tags;

pub use envelope::Envelope;
pub use tags::read as read_tag_in_query;

/// The most bytes of a fairness key.
pub const FAIRNESS_KEY_MAX: usize = 128;
/// The most bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_MAX: usize = 255;

/// The header of the idempotency key, which other APIs have too.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Something that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Priority,
    FairnessKey,
    Delay,
    NotBefore,
    QueueTtl,
    Timeout,
    Deadline,
    MaxAttempts,
    Retention,
    Tags,
    IdempotencyKey,
}

/// Each wish with its header and its field in an envelope.
const WISHES: [(Wish, &str, &str); 11] = [
    (Wish::Priority, "ekiben-priority", "priority"),
    (Wish::FairnessKey, "ekiben-fairness-key", "fairness_key"),
    (Wish::Delay, "ekiben-delay", "delay"),
    (Wish::NotBefore, "ekiben-not-before", "not_before"),
    (Wish::QueueTtl, "ekiben-queue-ttl", "queue_ttl"),
    (Wish::Timeout, "ekiben-timeout", "timeout"),
    (Wish::Deadline, "ekiben-deadline", "deadline"),
    (Wish::MaxAttempts, "ekiben-max-attempts", "max_attempts"),
    (Wish::Retention, "ekiben-retention", "retention"),
    (Wish::Tags, "ekiben-tags", "tags"),
    (Wish::IdempotencyKey, IDEMPOTENCY_KEY, "idempotency_key"),
];

/// Headers of this kind that another ekiben sends with its requests: they ask for nothing.
const NO_WISHES: [&str; 2] = ["ekiben-task-id", "ekiben-attempt"];

/// All that a submission asks for, within bounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    priority: Option<Priority>,
    fairness_key: Option<String>,
    delay: Option<Duration>,
    queue_ttl: Option<Duration>,
    timeout: Option<Duration>,
    deadline: Option<Duration>,
    max_attempts: Option<u32>,
    retention: Option<Duration>,
    tags: Option<BTreeMap<String, String>>,
    pub idempotency_key: Option<String>,
}

/// By what wishes are judged.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    pub bounds: &'a Submit,
    pub now: Timestamp,
}

impl Wishes {
    /// What the headers ask for. A header of ours that is not known is refused, lest a slip go unnoticed.
    ///
    /// # Errors
    /// [`ApiError::BadOption`], naming the header.
    pub fn of_headers(headers: &HeaderMap, judge: Judge) -> Result<Self, ApiError> {
        let mut wishes = Self::default();
        for (name, value) in headers {
            let Some((wish, name, _)) = WISHES.into_iter().find(|(_, header, _)| *header == name.as_str()) else {
                refuse_unknown(name.as_str())?;
                continue;
            };
            let text = std::str::from_utf8(value.as_bytes())
                .map_err(|_| bad(name, "its value is not text; send UTF-8 or percent-encode it".to_owned()))?;
            match wish {
                // A list, which may come in several parts.
                Wish::Tags => {
                    let tags = wishes.tags.get_or_insert_default();
                    tags::add_list(tags, text, judge.bounds).map_err(|complaint| bad(name, complaint))?;
                }
                wish => wishes.set(wish, name, text, judge)?,
            }
        }
        Ok(wishes)
    }

    /// The idempotency key alone, for routes that take nothing else.
    ///
    /// # Errors
    /// It is none that can be kept.
    pub fn key_of_headers(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
        let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let text = String::from_utf8_lossy(value.as_bytes());
        word(&text, IDEMPOTENCY_KEY_MAX).map(Some).map_err(|complaint| bad(IDEMPOTENCY_KEY, complaint))
    }

    /// Takes a wish that is written as text.
    fn set(&mut self, wish: Wish, name: &str, text: &str, judge: Judge) -> Result<(), ApiError> {
        let bounds = judge.bounds;
        let text = text.trim();
        let time = |least, most| time(text, least, most).map(Some);
        let judged = match wish {
            Wish::Priority => once(&mut self.priority, || text.parse().map(Some).map_err(complaint)),
            Wish::FairnessKey => once(&mut self.fairness_key, || word(text, FAIRNESS_KEY_MAX).map(Some)),
            Wish::Delay => once(&mut self.delay, || time(Duration::ZERO, bounds.delay)),
            Wish::NotBefore => once(&mut self.delay, || delay_until(text, judge).map(Some)),
            Wish::QueueTtl => once(&mut self.queue_ttl, || time(MOMENT, bounds.deadline)),
            Wish::Timeout => once(&mut self.timeout, || time(MOMENT, bounds.timeout)),
            Wish::Deadline => once(&mut self.deadline, || time(MOMENT, bounds.deadline)),
            Wish::MaxAttempts => once(&mut self.max_attempts, || attempts(text, bounds.max_attempts).map(Some)),
            Wish::Retention => once(&mut self.retention, || time(SECOND, bounds.retention)),
            Wish::Tags => once(&mut self.tags, || {
                let mut tags = BTreeMap::new();
                tags::add_list(&mut tags, text, bounds)?;
                Ok(Some(tags))
            }),
            Wish::IdempotencyKey => once(&mut self.idempotency_key, || word(text, IDEMPOTENCY_KEY_MAX).map(Some)),
        };
        judged.map_err(|complaint| bad(name, complaint))
    }

    /// Makes them the task's. What was not asked for stays as it is.
    pub fn apply(self, task: &mut NewTask) {
        task.priority = self.priority.unwrap_or(task.priority);
        task.delay = self.delay.unwrap_or(task.delay);
        task.queue_ttl = self.queue_ttl.or(task.queue_ttl);
        task.deadline = self.deadline.or(task.deadline);
        task.idempotency_key = self.idempotency_key.or(task.idempotency_key.take());
        task.options = TaskOptions {
            fairness_key: self.fairness_key,
            timeout: self.timeout,
            max_attempts: self.max_attempts,
            retention: self.retention,
            tags: self.tags.unwrap_or_default(),
        };
    }
}

const MOMENT: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Sets what was not set before.
fn once<T>(place: &mut Option<T>, value: impl FnOnce() -> Result<Option<T>, String>) -> Result<(), String> {
    if place.is_some() {
        return Err("it is said twice, or `delay` beside `not_before`; say it once".to_owned());
    }
    *place = value()?;
    Ok(())
}

fn bad(name: &str, complaint: String) -> ApiError {
    ApiError::BadOption { name: name.to_owned(), complaint }
}

fn complaint(error: impl std::error::Error) -> String {
    error.to_string()
}

fn refuse_unknown(header: &str) -> Result<(), ApiError> {
    if !header.starts_with("ekiben-") || NO_WISHES.contains(&header) {
        return Ok(());
    }
    let known = nearest(header, WISHES.iter().map(|(_, header, _)| *header));
    let meant = known.map_or_else(String::new, |known| format!("; did you mean {known}?"));
    Err(bad(header, format!("there is no such option{meant}")))
}

/// A time with its unit, within bounds.
fn time(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let Some(time) = parse_time(text) else {
        let unit = text.parse::<u64>().map_or(String::new(), |number| format!("; write \"{number}s\" for seconds"));
        return Err(format!("{text:?} is no time with a unit, such as \"500ms\", \"30s\" or \"24h\"{unit}"));
    };
    if (least..=most).contains(&time) {
        return Ok(time);
    }
    Err(format!("{text:?} is out of bounds: the least is {}, the most {}", show_time(least), show_time(most)))
}

/// How long until a time of day and date; no time for one that is over.
fn delay_until(text: &str, judge: Judge) -> Result<Duration, String> {
    let at = instant(text)?;
    let delay = (at - judge.now).to_std().unwrap_or(Duration::ZERO);
    let most = judge.bounds.delay;
    if delay <= most {
        return Ok(delay);
    }
    Err(format!("{text:?} is too far away: a task can be put off for {} at most", show_time(most)))
}

/// An instant as RFC 3339 writes it, taken to whole microseconds.
///
/// # Errors
/// It is none; the text says so, with an example.
pub fn instant(text: &str) -> Result<Timestamp, String> {
    let read = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc));
    let micros = read.ok().and_then(|time| DateTime::from_timestamp_micros(time.timestamp_micros()));
    micros.ok_or_else(|| format!("{text:?} is no time as RFC 3339 has it, such as \"2026-01-31T18:30:00Z\""))
}

fn attempts(text: &str, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{text:?} is no number of attempts from 1 to {most}"))
}

/// A text without control characters, of some bytes.
fn word(text: &str, most: usize) -> Result<String, String> {
    if text.is_empty() || text.len() > most {
        return Err(format!("it has {} bytes; 1 to {most} are taken", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("it has control characters; leave them out".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::Config;

    fn read(headers: &[(&str, &str)]) -> Result<Wishes, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let bounds = Config::default().submit;
        let now = instant("2026-01-01T00:00:00Z").unwrap();
        Wishes::of_headers(&map, Judge { bounds: &bounds, now }).map_err(|error| error.to_string())
    }

    #[test]
    fn all_wishes_of_headers_are_the_tasks() {
        let wishes = read(&[
            ("Ekiben-Priority", "urgent"),
            ("Ekiben-Fairness-Key", "ana"),
            ("Ekiben-Not-Before", "2026-01-01T00:01:00+00:00"),
            ("Ekiben-Queue-Ttl", "2m"),
            ("Ekiben-Timeout", "500ms"),
            ("Ekiben-Deadline", "1h 30m"),
            ("Ekiben-Max-Attempts", "7"),
            ("Ekiben-Retention", "2d"),
            ("Ekiben-Tags", "project=rice%2C red, empty="),
            ("Ekiben-Tags", "more=1"),
            ("Idempotency-Key", "order 7"),
            ("Ekiben-Task-Id", "another's"),
            ("content-type", "text/plain"),
        ]);
        let wishes = wishes.unwrap();
        let tags = [("empty", ""), ("more", "1"), ("project", "rice, red")];
        let expected = Wishes {
            priority: Some(Priority::URGENT),
            fairness_key: Some("ana".into()),
            delay: Some(Duration::from_secs(60)),
            queue_ttl: Some(Duration::from_secs(120)),
            timeout: Some(Duration::from_millis(500)),
            deadline: Some(Duration::from_secs(5400)),
            max_attempts: Some(7),
            retention: Some(Duration::from_secs(2 * 86_400)),
            tags: Some(tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            idempotency_key: Some("order 7".into()),
        };
        assert_eq!(wishes, expected);
    }

    #[test]
    fn a_time_that_is_over_is_no_delay() {
        let wishes = read(&[("ekiben-not-before", "2025-12-31T23:59:59Z")]).unwrap();
        assert_eq!(wishes.delay, Some(Duration::ZERO));
    }

    #[test]
    fn what_cannot_be_granted_is_refused_with_the_value_and_the_way_out() {
        let long = "x".repeat(300);
        let many: Vec<String> = (0..17).map(|number| format!("t{number}=1")).collect();
        let many = many.join(",");
        let cases: &[(&str, &str, &str)] = &[
            ("ekiben-priority", "10", "\"10\" is no priority"),
            ("ekiben-priority", "Urgent", "urgent, high, normal"),
            ("ekiben-delay", "30", "write \"30s\" for seconds"),
            ("ekiben-delay", "-1s", "no time with a unit"),
            ("ekiben-delay", "366d", "the most "),
            ("ekiben-not-before", "tomorrow", "no time as RFC 3339"),
            ("ekiben-not-before", "2030-01-01T00:00:00Z", "too far away"),
            ("ekiben-queue-ttl", "0s", "the least is 1ms"),
            ("ekiben-timeout", "8d", "out of bounds"),
            ("ekiben-retention", "10ms", "the least is 1s"),
            ("ekiben-max-attempts", "0", "from 1 to 100"),
            ("ekiben-max-attempts", "1.5", "from 1 to 100"),
            ("ekiben-tags", "novalue", "key=value"),
            ("ekiben-tags", "a=1, a=2", "\"a\" stands there twice"),
            ("ekiben-tags", "a b=1", "letters, digits"),
            ("ekiben-tags", "a=%zz", "percent"),
            ("ekiben-tags", &many, "17 tags"),
            ("ekiben-fairness-key", &long, "300 bytes"),
            ("ekiben-fairness-key", "", "0 bytes"),
            ("idempotency-key", &long, "300 bytes"),
            ("ekiben-prioritty", "1", "did you mean ekiben-priority?"),
        ];
        for (name, value, expected) in cases {
            let complaint = read(&[(name, value)]).expect_err(name);
            assert!(complaint.contains(name) && complaint.contains(expected), "{complaint}");
        }
        let twice = read(&[("ekiben-delay", "1s"), ("ekiben-not-before", "2026-01-01T00:00:01Z")]).unwrap_err();
        assert!(twice.contains("say it once"), "{twice}");
    }
}
