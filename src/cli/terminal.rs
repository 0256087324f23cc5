//! Text for people: colour where it is seen, columns that line up, times as "3 min ago".

use std::io::IsTerminal;

use chrono::{DateTime, Utc};
use ekiben_actors::clock::{Clock, SystemClock};

use crate::client::task::TaskState;

/// Whether stdout shows colour: on a terminal, unless NO_COLOR says otherwise.
pub fn has_colour() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    std::io::stdout().is_terminal() && !is_unwanted && !is_dumb
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    colour: Option<&'static str>,
}

impl Cell {
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: clean(&text.into()), colour: None }
    }

    pub fn state(state: TaskState) -> Self {
        let colour = match state {
            TaskState::Pending => None,
            TaskState::InProgress => Some("36"),
            TaskState::Completed => Some("32"),
            TaskState::Failed => Some("31"),
            TaskState::Canceled => Some("33"),
        };
        Self { text: state.name().to_owned(), colour }
    }

    pub fn warning(text: impl Into<String>) -> Self {
        Self { colour: Some("33"), ..Self::plain(text) }
    }
}

/// Rows under a heading, in columns as wide as their widest cell; the last is as long as it likes.
pub fn table(heading: &[&str], rows: &[Vec<Cell>], colour: bool) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|name| name.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    let heading: Vec<Cell> = heading.iter().map(|name| Cell { text: name.to_string(), colour: Some("1") }).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = width - cell.text.chars().count();
            match cell.colour.filter(|_| colour) {
                Some(code) => line.push_str(&format!("\x1b[{code}m{}\x1b[0m", cell.text)),
                None => line.push_str(&cell.text),
            }
            if column + 1 < row.len() {
                line.extend(std::iter::repeat_n(' ', padding + 2));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How long ago that was, or how far ahead it is.
pub fn ago(time: DateTime<Utc>) -> String {
    let seconds = (SystemClock.now() - time).num_seconds();
    let size = match seconds.unsigned_abs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    };
    if seconds < 0 { format!("in {size}") } else { format!("{size} ago") }
}

/// A time in seconds.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.9995 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.0} h", seconds / 3600.0),
    }
}

/// Without what could make a terminal do things: a message of a task is not ours.
pub fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let rows =
            [vec![Cell::plain("a"), Cell::state(TaskState::Failed), Cell::plain("é")], vec![Cell::plain("long")]];
        assert_eq!(table(&["ID", "STATE", "X"], &rows, false), "ID    STATE   X\na     failed  é\nlong\n");
        assert!(table(&["ID", "STATE", "X"], &rows, true).contains("\x1b[31mfailed\x1b[0m  é"));
    }

    #[test]
    fn what_a_task_says_cannot_steer_the_terminal() {
        assert_eq!(Cell::plain("a\x1b[2Jb\nc").text, "a [2Jb c");
    }
}
