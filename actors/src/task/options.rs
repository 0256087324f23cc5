//! What a submission asks for beside the settings of its endpoint.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Kept with the task, as JSON: a name that was written once keeps its meaning, and an unknown one is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskOptions {
    /// Whose task it is: those who wait share an endpoint's slots evenly, whatever number of tasks each has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_key: Option<String>,
    /// How long one run may take.
    #[serde(rename = "timeout_ms", with = "millis", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How many attempts may fail before the task does; 1 for no second one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// How long it is kept once it is finished.
    #[serde(rename = "retention_ms", with = "millis", skip_serializing_if = "Option::is_none")]
    pub retention: Option<Duration>,
    /// What it can be found by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// A URL that is told when it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

impl TaskOptions {
    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Roughly what they take in memory, for budgets.
    pub fn weight(&self) -> usize {
        /// What a node of a map takes, which has room for eleven tags and is at least half full but for the first.
        const NODE: usize = 11 * 2 * size_of::<String>() + 2 * size_of::<usize>();
        let texts = self.fairness_key.iter().chain(&self.webhook).map(String::len).sum::<usize>();
        let tags = self.tags.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        size_of::<Self>() + texts + tags + self.tags.len().div_ceil(6) * NODE
    }
}

/// Durations in whole milliseconds.
mod millis {
    use super::*;

    pub fn serialize<S: serde::Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).serialize(to)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_as_they_were_kept_and_none_cost_nothing() {
        let options = TaskOptions {
            fairness_key: Some("ana".to_owned()),
            timeout: Some(Duration::from_millis(1500)),
            max_attempts: Some(3),
            retention: Some(Duration::from_secs(7)),
            tags: BTreeMap::from([("project".to_owned(), "rice".to_owned())]),
            webhook: Some("https://example.com/hook".to_owned()),
        };
        let kept = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<TaskOptions>(&kept).unwrap(), options);
        assert_eq!(serde_json::to_string(&TaskOptions::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<TaskOptions>(r#"{"of_a_later_version":1}"#).unwrap().is_empty());
    }
}
