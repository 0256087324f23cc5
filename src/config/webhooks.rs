//! Reads `[webhooks]`: who may be told of a task's end, and how.

use std::time::Duration;

use ekiben_actors::webhook::{Allowed, Secret};

use super::Webhooks;
use super::read::{MOMENT, TIME_MAX};
use super::section::Section;

/// The most tries at a time that a setting may allow.
const CONCURRENCY_MAX: usize = 1000;

pub fn webhooks(mut section: Section) -> Webhooks {
    let webhooks = Webhooks {
        secrets: section.texts("secrets", secret),
        allow: section.texts("allow", allowance),
        timeout: section.time("timeout", MOMENT..=Duration::from_secs(600)),
        concurrency: section.count("concurrency", 1..=CONCURRENCY_MAX),
        concurrency_per_host: section.count("concurrency_per_host", 1..=CONCURRENCY_MAX),
        first_pause: section.time("first_pause", MOMENT..=TIME_MAX),
        give_up: section.time("give_up", Duration::ZERO..=TIME_MAX),
    };
    section.end();
    webhooks
}

/// One that stands elsewhere is looked at when ekiben starts.
fn secret(text: &str) -> Result<String, String> {
    if stands_elsewhere(text) {
        return Ok(text.to_owned());
    }
    Secret::read(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Whether a text names where its secret stands rather than being it.
pub fn stands_elsewhere(text: &str) -> bool {
    text.contains("{env:") || text.contains("{file:")
}

fn allowance(text: &str) -> Result<String, String> {
    Allowed::read([text]).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
