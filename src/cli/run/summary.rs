//! What is said of a run when it begins anew or ends.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::journal::Header;
use super::pace::{show_left, thousands};
use super::results::Tally;

/// What a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Lines,
    Files,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Files => "files",
        }
    }
}

pub fn resumed(unit: Unit, tally: &Tally, total: u64) -> String {
    let (answered, unit) = (thousands(tally.answered), unit.name());
    if tally.answered == total {
        return format!("all {answered} {unit} have their answer already; --fresh starts over");
    }
    format!("going on: {answered} of {} {unit} have their answer already", thousands(total))
}

pub fn completed(unit: Unit, tally: &Tally, elapsed: Duration, results: &Path) -> String {
    let (completed, elapsed) = (thousands(tally.completed), show_left(elapsed));
    format!("all {completed} {} completed, in {elapsed}; the results are in {}", unit.name(), results.display())
}

/// How many failed, why, and where they are.
pub fn failed(unit: Unit, tally: &Tally, results: &Path) -> String {
    let mut kinds: Vec<(&String, &u64)> = tally.kinds.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {}", thousands(**count))).collect();
    let mut lines = tally.lines.clone();
    lines.sort_unstable();
    let lines: Vec<String> = lines.iter().map(u64::to_string).collect();
    let named = match unit {
        Unit::Lines => format!("; lines {}", lines.join(", ")),
        // A number tells nothing of a file.
        Unit::Files => String::new(),
    };
    let more = if unit == Unit::Lines && tally.failed() > tally.lines.len() as u64 { ", …" } else { "" };
    format!(
        "{} of {} {} did not complete: {}{named}{more}.\n\
         In {} they are those whose \"state\" is not \"completed\":\n  grep -v '\"state\":\"completed\"' {}\n\
         The same command with --retry-failed runs them again.",
        thousands(tally.failed()),
        thousands(tally.answered),
        unit.name(),
        kinds.join(", "),
        results.display(),
        quoted(&results.display().to_string()),
    )
}

/// Says how to go on: by the very words that the program was called with.
pub fn interrupted(unit: Unit, tally: &Tally, total: Option<u64>) -> String {
    let of = total.map_or_else(String::new, |total| format!(" of {}", thousands(total)));
    // Not to start over once more.
    let words = std::env::args().filter(|word| word != "--fresh");
    let command: Vec<String> = words.map(|word| quoted(&word)).collect();
    format!(
        "interrupted: {}{of} {} have their answer; tasks that are under way go on at the service.\nThe same command goes on from here:\n  {}",
        thousands(tally.answered),
        unit.name(),
        command.join(" ")
    )
}

pub fn away(why: &str, patience: Duration) -> String {
    format!("{why}, for {} now (--patience); the same command goes on from here", show_left(patience))
}

pub fn changed(input: &Path) -> String {
    format!(
        "{} is not what it was when this run began: what was read of it has changed since. Lines may be added at its end, \
         but not changed; put it back, name another --output, or start over with --fresh",
        input.display()
    )
}

pub fn all_refused(why: &str) -> String {
    format!(
        "the service refused every line so far, the last with: {why}\n\
         Once that is put right, start over with --fresh"
    )
}

/// The same for machines.
pub fn json(header: &Header, results: &Path, tally: &Tally, total: Option<u64>, interrupted: bool) -> Value {
    json!({
        "run": header.id,
        "endpoint": header.endpoint,
        "results": results.display().to_string(),
        "lines": total,
        "answered": tally.answered,
        "completed": tally.completed,
        "failures": tally.kinds,
        "interrupted": interrupted,
    })
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_./:=@,+".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(["a/b.jsonl", "my file", "it's", ""].map(quoted), ["a/b.jsonl", "'my file'", r"'it'\''s'", "''"]);
    }
}
