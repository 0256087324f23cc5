//! `type = "process"`: worker processes that ekiben starts and watches.

use ekiben_actors::executor::process::ProcessOptions;

use super::CONCURRENCY_MAX;
use crate::config::Workers;
use crate::config::read::{MOMENT, TIME_MAX};
use crate::config::section::{Section, count_within, size_within};
use crate::config::tree::{Table, Value};
use crate::config::units::show_time;

pub const KEYS: &[&str] = &[
    "command",
    "task",
    "workers",
    "threads",
    "env",
    "folder",
    "memory",
    "grace",
    "start_timeout",
    "max_tasks",
    "idle",
];

/// The most worker processes of one endpoint.
const WORKERS_MAX: usize = 1000;
/// The least memory that a limit may leave to a worker, and the most that it may name.
const MEMORY: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 50;

pub fn workers(section: &mut Section) -> Workers {
    section.otherwise("workers", Value::Integer(1));
    section.otherwise("threads", Value::Integer(1));
    section.otherwise("env", Value::Table(Table::default()));
    section.otherwise("grace", Value::Text(show_time(ProcessOptions::GRACE)));
    section.otherwise("start_timeout", Value::Text(show_time(ProcessOptions::START_TIMEOUT)));
    section.otherwise("idle", Value::Text(show_time(ProcessOptions::IDLE)));
    let (min, max) = section.required("workers", "4", (1, 1), how_many);
    Workers {
        command: section.required("command", "[\"python3\", \"worker.py\"]", Vec::new(), command),
        task: section.optional_of("task", text),
        min,
        max,
        threads: section.count("threads", 1..=CONCURRENCY_MAX),
        env: section.required("env", "{ NAME = \"value\" }", Vec::new(), env),
        folder: section.optional_of("folder", text).map(Into::into),
        memory: section.optional_of("memory", |value| size_within(value, &MEMORY)),
        grace: section.time("grace", MOMENT..=TIME_MAX),
        start_timeout: section.time("start_timeout", MOMENT..=TIME_MAX),
        max_tasks: section.optional_of("max_tasks", |value| count_within(value, &(1..=usize::MAX))),
        idle: section.time("idle", MOMENT..=TIME_MAX),
    }
}

/// A list of words, or a text that is split at its spaces.
fn command(value: &Value) -> Result<Vec<String>, String> {
    let way_out = "write the program and its arguments, such as [\"python3\", \"worker.py\"]";
    let words: Vec<String> = match value {
        Value::Text(line) => line.split_whitespace().map(str::to_owned).collect(),
        Value::List(items) => items
            .iter()
            .map(|item| text(&item.value))
            .collect::<Result<_, _>>()
            .map_err(|_| format!("{value} is not a list of texts; {way_out}"))?,
        other => return Err(format!("{other} is not a command; {way_out}")),
    };
    if words.first().is_none_or(String::is_empty) {
        return Err(format!("{value} names no program; {way_out}"));
    }
    Ok(words)
}

/// The least and the most workers.
fn how_many(value: &Value) -> Result<(usize, usize), String> {
    let way_out = "write a whole number, or { min = 1, max = 4 }";
    let Value::Table(table) = value else {
        let number = count_within(value, &(1..=WORKERS_MAX)).map_err(|complaint| format!("{complaint}; {way_out}"))?;
        return Ok((number, number));
    };
    if let Some(strange) = table.keys().find(|key| !["min", "max"].contains(key)) {
        return Err(format!("\"{strange}\" says nothing of how many there are; {way_out}"));
    }
    let bound = |key, least| match table.get(key) {
        Some(node) => {
            count_within(&node.value, &(least..=WORKERS_MAX)).map_err(|complaint| format!("{key}: {complaint}"))
        }
        None => Ok(1),
    };
    let (min, max) = (bound("min", 0)?, bound("max", 1)?);
    if min > max {
        return Err(format!("at least {min} and at most {max} cannot be had together; {way_out}"));
    }
    Ok((min, max))
}

fn env(value: &Value) -> Result<Vec<(String, String)>, String> {
    let way_out = "write { NAME = \"value\" }";
    let Value::Table(table) = value else { return Err(format!("{value} is not a table of variables; {way_out}")) };
    let mut variables = Vec::new();
    for (name, node) in table.iter() {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(format!("\"{}\" cannot name a variable; {way_out}", name.escape_debug()));
        }
        let written = match &node.value {
            Value::Text(text) => text.clone(),
            plain @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_)) => plain.to_string(),
            Value::List(_) | Value::Table(_) => return Err(format!("the variable {name} is not a text; {way_out}")),
        };
        variables.push((name.to_owned(), written));
    }
    Ok(variables)
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        other => Err(format!("{other} is not a text with something in it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree::{self, Origin};

    fn value(toml: &str) -> Value {
        let mut table = tree::parse(&format!("it = {toml}"), &|_| Origin::Default).expect("it is TOML");
        table.remove("it").expect("it is there").value
    }

    #[test]
    fn workers_may_be_a_number_or_two_bounds() {
        let cases = [
            ("4", (4, 4)),
            ("\"4\"", (4, 4)),
            ("{ min = 0, max = 3 }", (0, 3)),
            ("{ max = 3 }", (1, 3)),
            ("{ min = 0 }", (0, 1)),
        ];
        for (written, bounds) in cases {
            assert_eq!(how_many(&value(written)), Ok(bounds), "{written}");
        }
        for wrong in ["0", "1001", "true", "{ min = 2, max = 1 }", "{ min = 2 }", "{ max = 0 }", "{ most = 2 }"] {
            assert!(how_many(&value(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_command_may_be_a_list_or_a_text() {
        for written in ["[\"python3\", \"worker.py\"]", "\"python3  worker.py\""] {
            assert_eq!(command(&value(written)).unwrap(), ["python3", "worker.py"], "{written}");
        }
        for wrong in ["[]", "\" \"", "[\"\"]", "[1]", "7"] {
            assert!(command(&value(wrong)).unwrap_err().ends_with("[\"python3\", \"worker.py\"]"), "{wrong}");
        }
    }

    #[test]
    fn variables_may_be_written_as_what_they_are() {
        let written = value("{ NAME = \"a b\", OMP_NUM_THREADS = 2, VERBOSE = true }");
        let variables = [("NAME", "a b"), ("OMP_NUM_THREADS", "2"), ("VERBOSE", "true")];
        assert_eq!(env(&written).unwrap(), variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for wrong in ["7", "{ NAME = [] }", "{ \"A=B\" = \"c\" }"] {
            assert!(env(&value(wrong)).is_err(), "{wrong}");
        }
    }
}
