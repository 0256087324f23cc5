//! The journal of a run: a small file beside the output, from which the same command goes on after any interruption.
//!
//! It says which run this is and how far what it wrote is safe on disk. Which lines have their answer stands in the
//! results themselves; which were submitted stands nowhere: such a line is submitted again with the same key, and the
//! service answers with the task it has.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The version of the form below.
const VERSION: u32 = 1;

/// An open journal; no other process has it.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    pub header: Header,
    pub checkpoint: Checkpoint,
    /// Counts up each time the failed lines are run again, so that they get keys of their own.
    pub round: u32,
}

/// What a run is, once and for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub version: u32,
    pub id: String,
    pub endpoint: String,
    pub server: String,
    pub input: PathBuf,
    /// As RFC 3339 has it; for people.
    pub started_at: String,
}

/// How far things are safe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The results are at least so long, and all of that is on disk.
    pub results_bytes: u64,
    /// How much of the input had been read, and the digest of that: it must not have changed when the run goes on.
    pub input_bytes: u64,
    pub input_digest: String,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Run(Header),
    Checkpoint(Checkpoint),
    Round(u32),
}

/// Why a journal could not be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{0} cannot be used: {1}")]
    Io(PathBuf, io::Error),
    #[error("another `ekiben run` works on {0}; wait for it, or end it")]
    InUse(PathBuf),
    #[error("{0} is no journal of a run that this version knows; move it away, or start over with --fresh")]
    Foreign(PathBuf),
}

impl Journal {
    /// An empty journal, in the place of one that is there.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let failed = |error| JournalError::Io(path.to_owned(), error);
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).append(true).open(path).map_err(failed)?;
        lock(&file, path)?;
        file.set_len(0).and_then(|()| file.sync_data()).map_err(failed)?;
        let (header, checkpoint) = (Header::default(), Checkpoint::default());
        Ok(Self { path: path.to_owned(), file, header, checkpoint, round: 1 })
    }

    /// Says which run it is of.
    pub fn begin(&mut self, header: Header) -> Result<(), JournalError> {
        self.header = header.clone();
        self.append(&Record::Run(header))
    }

    /// Opens a journal that is there; `None` where there is none, or one that was only just begun.
    pub fn open(path: &Path) -> Result<Option<Self>, JournalError> {
        let failed = |error| JournalError::Io(path.to_owned(), error);
        let file = match OpenOptions::new().read(true).append(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        lock(&file, path)?;
        let (mut header, mut checkpoint, mut round) = (None, Checkpoint::default(), 1);
        let mut whole = 0;
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            reader.read_until(b'\n', &mut line).map_err(failed)?;
            // What the last write of a crash left is cut off below.
            if line.last() != Some(&b'\n') {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(Record::Run(read)) if read.version == VERSION => header = Some(read),
                Ok(Record::Checkpoint(read)) => checkpoint = read,
                Ok(Record::Round(read)) => round = read,
                Ok(Record::Run(_)) | Err(_) => return Err(JournalError::Foreign(path.to_owned())),
            }
            whole += line.len() as u64;
        }
        let Some(header) = header else {
            return if whole == 0 && line.is_empty() { Ok(None) } else { Err(JournalError::Foreign(path.to_owned())) };
        };
        file.set_len(whole).map_err(failed)?;
        Ok(Some(Self { path: path.to_owned(), file, header, checkpoint, round }))
    }

    /// Records how far things are, once they are; durable when it returns.
    pub fn check(&mut self, mut checkpoint: Checkpoint) -> Result<(), JournalError> {
        // A run that goes on reads its input from the start; what was vouched for stays so.
        if checkpoint.input_bytes < self.checkpoint.input_bytes {
            checkpoint.input_bytes = self.checkpoint.input_bytes;
            checkpoint.input_digest.clone_from(&self.checkpoint.input_digest);
        }
        if checkpoint == self.checkpoint {
            return Ok(());
        }
        self.append(&Record::Checkpoint(checkpoint.clone()))?;
        self.checkpoint = checkpoint;
        Ok(())
    }

    /// Begins another round, for which the results are about to be made shorter.
    pub fn next_round(&mut self) -> Result<(), JournalError> {
        let round = self.round + 1;
        self.append(&Record::Checkpoint(Checkpoint { results_bytes: 0, ..self.checkpoint.clone() }))?;
        self.append(&Record::Round(round))?;
        self.round = round;
        Ok(())
    }

    fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(record).expect("plain data");
        line.push(b'\n');
        let written = self.file.seek(io::SeekFrom::End(0)).and_then(|_| self.file.write_all(&line));
        written.and_then(|()| self.file.sync_data()).map_err(|error| JournalError::Io(self.path.clone(), error))
    }
}

impl Header {
    pub fn new(id: String, endpoint: &str, server: &str, input: &Path, started_at: DateTime<Utc>) -> Self {
        let (endpoint, server) = (endpoint.to_owned(), server.to_owned());
        let started_at = started_at.to_rfc3339();
        Self { version: VERSION, id, endpoint, server, input: input.to_owned(), started_at }
    }
}

/// Two at once would submit nothing twice, but write each result twice.
fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(JournalError::Io(path.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header::new("r1".into(), "e", "http://127.0.0.1:1", Path::new("/in.jsonl"), DateTime::UNIX_EPOCH)
    }

    fn checkpoint(results_bytes: u64, input_bytes: u64) -> Checkpoint {
        Checkpoint { results_bytes, input_bytes, input_digest: format!("d{input_bytes}") }
    }

    #[test]
    fn a_journal_comes_back_as_it_was_left_but_for_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert!(Journal::open(&path).unwrap().is_none());
        let mut journal = Journal::create(&path).unwrap();
        journal.begin(header()).unwrap();
        journal.check(checkpoint(10, 20)).unwrap();
        journal.check(checkpoint(30, 5)).unwrap();
        drop(journal);
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"{\"checkpoint\":{\"resu").unwrap();
        drop(torn);

        let mut journal = Journal::open(&path).unwrap().unwrap();
        assert_eq!(journal.header, header());
        assert_eq!(journal.checkpoint, checkpoint(30, 20), "what was vouched for of the input stays");
        journal.next_round().unwrap();
        drop(journal);
        let journal = Journal::open(&path).unwrap().unwrap();
        assert_eq!((journal.round, journal.checkpoint), (2, checkpoint(0, 20)));
    }

    #[test]
    fn a_journal_in_use_and_a_foreign_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let held = Journal::create(&path).unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::InUse(_))));
        drop(held);
        std::fs::write(&path, "my notes\n").unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Foreign(_))));
    }
}
