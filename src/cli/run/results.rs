//! The results of a run: a file with a line for each line of the input that has its answer, in the order they came.
//!
//! The file is only ever appended to, so that what it holds after a crash is its beginning; a torn end is cut off.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::done::Done;

/// How many kinds of failure are counted by name; further ones are counted together.
const KINDS_MAX: usize = 32;

/// How many lines that did not complete are remembered, to be named at the end.
const NAMED: usize = 5;

/// How much is written at a time.
const WRITE: usize = 256 * 1024;

/// The open file, and what it holds.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    pub done: Done,
    pub tally: Tally,
}

/// Counts of what came out.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: u64,
    pub completed: u64,
    /// Of those that did not complete, the ones that the service took no task for.
    pub refused: u64,
    /// Those that did not complete, by the code of their failure, or their state where there is none.
    pub kinds: BTreeMap<String, u64>,
    /// The first few of them.
    pub lines: Vec<u64>,
}

/// What came of a line.
#[derive(Debug, Serialize)]
pub struct ResultLine<'a> {
    pub line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_id: Option<&'a str>,
    pub task_id: Option<&'a str>,
    /// `completed`, `failed`, `canceled`, or `refused`: the service took no task for it.
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'a str>,
    /// JSON as it is, or the text of an output of type `text/…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_base64: Option<&'a str>,
    /// The file that holds the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureOf<'a>>,
}

impl ResultLine<'_> {
    pub fn of(line: u64, state: &'static str) -> Self {
        Self {
            line,
            file: None,
            custom_id: None,
            task_id: None,
            state,
            content_type: None,
            output: None,
            output_base64: None,
            output_file: None,
            failure: None,
        }
    }
}

#[derive(Debug, Serialize)]
pub struct FailureOf<'a> {
    pub code: &'a str,
    pub message: &'a str,
    pub retryable: bool,
}

/// As much of a result as counts when a run goes on.
#[derive(Debug, Deserialize)]
struct Seen {
    line: u64,
    state: String,
    failure: Option<SeenFailure>,
}

#[derive(Debug, Deserialize)]
struct SeenFailure {
    code: String,
}

/// Why results could not be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    #[error("{0} cannot be used: {1}")]
    Io(PathBuf, io::Error),
    #[error(
        "{path} has {found} bytes, but {safe} were written and safe: it was changed since. Put it back, or start over with --fresh"
    )]
    Shorter { path: PathBuf, found: u64, safe: u64 },
    #[error(
        "{path} has something other than a result at byte {at}: it was changed since. Put it back, or start over with --fresh"
    )]
    Foreign { path: PathBuf, at: u64 },
}

impl Results {
    /// Begins with none, in the place of a file that is there.
    pub fn create(path: &Path) -> Result<Self, ResultsError> {
        let file = File::create(path).map_err(|error| ResultsError::Io(path.to_owned(), error))?;
        Ok(Self::of(path, file, 0, Done::default(), Tally::default()))
    }

    /// Goes on with those that are there, of which `safe` bytes are known to be whole.
    pub fn open(path: &Path, safe: u64) -> Result<Self, ResultsError> {
        let failed = |error| ResultsError::Io(path.to_owned(), error);
        let file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?.len();
        if found < safe {
            return Err(ResultsError::Shorter { path: path.to_owned(), found, safe });
        }
        let (mut done, mut tally, mut whole) = (Done::default(), Tally::default(), 0);
        let mut reader = BufReader::with_capacity(WRITE, &file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(failed)? as u64;
            let seen = if line.last() == Some(&b'\n') { serde_json::from_slice::<Seen>(&line).ok() } else { None };
            let Some(seen) = seen else {
                if whole < safe {
                    return Err(ResultsError::Foreign { path: path.to_owned(), at: whole });
                }
                // The end of the file, or what a crash made of its end: those lines get their answers again.
                break;
            };
            whole += read;
            if done.insert(seen.line) {
                let kind = seen.failure.as_ref().map_or(&seen.state, |failure| &failure.code);
                tally.count(seen.line, &seen.state, kind);
            }
        }
        file.set_len(whole).map_err(failed)?;
        Ok(Self::of(path, file, whole, done, tally))
    }

    /// Leaves out those that did not complete, so that their lines are to be answered again.
    pub fn drop_failed(self) -> Result<Self, ResultsError> {
        let path = self.path.clone();
        let failed = |error| ResultsError::Io(path.clone(), error);
        let (kept_path, mut kept_bytes) = (super::files::beside(&path, "part"), 0);
        let mut kept = BufWriter::with_capacity(WRITE, File::create(&kept_path).map_err(failed)?);
        let mut reader = BufReader::with_capacity(WRITE, File::open(&path).map_err(failed)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            if serde_json::from_slice::<Seen>(&line).is_ok_and(|seen| seen.state == "completed") {
                kept.write_all(&line).map_err(failed)?;
                kept_bytes += line.len() as u64;
            }
            line.clear();
        }
        let kept = kept.into_inner().map_err(|error| failed(error.into_error()))?;
        kept.sync_all().and_then(|()| std::fs::rename(&kept_path, &path)).map_err(failed)?;
        Self::open(&path, kept_bytes)
    }

    fn of(path: &Path, file: File, bytes: u64, done: Done, tally: Tally) -> Self {
        Self { path: path.to_owned(), file: BufWriter::with_capacity(WRITE, file), bytes, done, tally }
    }

    /// Adds one, unless its line has one already.
    pub fn add(&mut self, result: &ResultLine<'_>) -> Result<(), ResultsError> {
        if !self.done.insert(result.line) {
            return Ok(());
        }
        let mut line = serde_json::to_vec(result).expect("plain data");
        line.push(b'\n');
        self.file.write_all(&line).map_err(|error| ResultsError::Io(self.path.clone(), error))?;
        self.bytes += line.len() as u64;
        let kind = result.failure.as_ref().map_or(result.state, |failure| failure.code);
        self.tally.count(result.line, result.state, kind);
        Ok(())
    }

    /// Hands what was added to the system, for whoever reads along; it is not safe by that.
    pub fn flush(&mut self) -> Result<(), ResultsError> {
        self.file.flush().map_err(|error| ResultsError::Io(self.path.clone(), error))
    }

    /// Makes all that was added safe; so many bytes are.
    pub fn sync(&mut self) -> Result<u64, ResultsError> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        synced.map_err(|error| ResultsError::Io(self.path.clone(), error))?;
        Ok(self.bytes)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Tally {
    /// How many did not complete.
    pub fn failed(&self) -> u64 {
        self.answered - self.completed
    }

    /// Counts a line by its state and the kind of its failure, if it has one.
    fn count(&mut self, line: u64, state: &str, kind: &str) {
        self.answered += 1;
        match state {
            "completed" => {
                self.completed += 1;
                return;
            }
            "refused" => self.refused += 1,
            _ => {}
        }
        if self.lines.len() < NAMED {
            self.lines.push(line);
        }
        let is_known = self.kinds.contains_key(kind);
        let kind = if is_known || self.kinds.len() < KINDS_MAX { kind } else { "other" };
        *self.kinds.entry(kind.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(line: u64, failure: Option<&'static str>) -> ResultLine<'static> {
        let state = if failure.is_some() { "failed" } else { "completed" };
        let failure = failure.map(|code| FailureOf { code, message: "why", retryable: true });
        ResultLine { task_id: Some("0123"), failure, ..ResultLine::of(line, state) }
    }

    #[test]
    fn results_are_gone_on_with_and_a_torn_end_is_answered_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut results = Results::create(&path).unwrap();
        results.add(&result(2, None)).unwrap();
        results.add(&result(1, Some("timeout"))).unwrap();
        results.add(&result(1, None)).unwrap();
        let safe = results.sync().unwrap();
        drop(results);
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"{\"line\":3,\"task_id\":\"0").unwrap();
        drop(torn);

        let results = Results::open(&path, safe).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), safe);
        assert!(results.done.contains(1) && results.done.contains(2) && !results.done.contains(3));
        assert_eq!((results.tally.answered, results.tally.failed()), (2, 1));
        assert_eq!(results.tally.kinds, BTreeMap::from([("timeout".to_owned(), 1)]));

        let results = results.drop_failed().unwrap();
        assert!(!results.done.contains(1) && results.done.contains(2));
        assert_eq!(results.tally.failed(), 0);
    }

    #[test]
    fn results_that_were_changed_since_are_not_built_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut results = Results::create(&path).unwrap();
        results.add(&result(1, None)).unwrap();
        let safe = results.sync().unwrap();
        drop(results);
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(Results::open(&path, safe), Err(ResultsError::Shorter { .. })));
        std::fs::write(&path, "y".repeat(usize::try_from(safe).unwrap())).unwrap();
        assert!(matches!(Results::open(&path, safe), Err(ResultsError::Foreign { at: 0, .. })));
    }
}
