//! What an attempt tells of itself while it runs, as data: how far it has come, and the last lines of its log.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// How far an attempt has come, in as many ways as it told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The done part of the whole, from 0 to 1.
    pub fraction: Option<f32>,
    /// What it is at, for people.
    pub message: Option<String>,
    /// What it counts, such as tokens; finite numbers.
    pub counters: BTreeMap<String, f64>,
}

/// How much a line of a log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

impl FromStr for Level {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let all = [Level::Debug, Level::Info, Level::Warning, Level::Error];
        all.into_iter().find(|level| level.as_str() == word).ok_or(())
    }
}

/// A line of an attempt's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub at: Timestamp,
    pub level: Level,
    /// Without a line break.
    pub message: String,
}

/// The last lines of an attempt's log, up to a number of lines and of bytes.
///
/// As text it has a line each, `2026-11-25T13:15:41.222358Z info loaded`, under a line that tells how many came
/// before and are gone; that text is read back by [`LogTail::read`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTail {
    pub lines: VecDeque<LogLine>,
    /// How many lines before these are gone.
    pub dropped: u64,
}

/// What the line that tells of dropped ones ends with.
const DROPPED: &str = " earlier lines were dropped";

impl LogTail {
    /// Reads a text that was written by [`LogTail`]'s `Display`. A line of another form is taken as one of level
    /// `info`, at the time of the one before it or else at `at`; a first one that was cut off counts as dropped.
    pub fn read(text: &str, at: Timestamp) -> Self {
        let mut tail = Self::default();
        let mut lines = text.lines().peekable();
        let mut after_first = text.lines().skip(1).map(LogLine::read);
        let is_cut = lines.peek().is_some_and(|first| LogLine::read(first).is_none() && !first.ends_with(DROPPED));
        if is_cut && after_first.next().flatten().is_some() {
            lines.next();
            tail.dropped = 1;
        }
        for line in lines {
            if let Some(dropped) = line.strip_suffix(DROPPED).and_then(|count| count.parse().ok()) {
                tail.dropped = dropped;
                continue;
            }
            let before = tail.lines.back().map_or(at, |before| before.at);
            let unformed = || LogLine { at: before, level: Level::Info, message: line.to_owned() };
            tail.lines.push_back(LogLine::read(line).unwrap_or_else(unformed));
        }
        tail
    }
}

impl LogLine {
    fn read(line: &str) -> Option<Self> {
        let (at, rest) = line.split_once(' ')?;
        let (level, message) = rest.split_once(' ')?;
        let at = DateTime::parse_from_rfc3339(at).ok()?.with_timezone(&Utc);
        Some(Self { at, level: level.parse().ok()?, message: message.to_owned() })
    }
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dropped > 0 {
            writeln!(f, "{}{DROPPED}", self.dropped)?;
        }
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.to_rfc3339_opts(SecondsFormat::Micros, true);
        write!(f, "{at} {} {}", self.level.as_str(), self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_written_as_text_is_read_back_as_it_was() {
        let at = DateTime::from_timestamp_micros(1_750_000_000_000_001).unwrap();
        let line = |level, message: &str| LogLine { at, level, message: message.to_owned() };
        let lines = [line(Level::Info, "loaded"), line(Level::Error, "a  b "), line(Level::Debug, "")];
        for dropped in [0, 17] {
            let tail = LogTail { lines: lines.clone().into(), dropped };
            assert_eq!(LogTail::read(&tail.to_string(), DateTime::UNIX_EPOCH), tail);
        }
        let foreign = LogTail::read("no time\n", at);
        assert_eq!(foreign.lines, [line(Level::Info, "no time")]);
        let whole = LogTail { lines: lines.clone().into(), dropped: 0 }.to_string();
        let cut = LogTail::read(&whole[5..], DateTime::UNIX_EPOCH);
        assert_eq!((cut.lines, cut.dropped), (lines[1..].to_vec().into(), 1));
    }
}
