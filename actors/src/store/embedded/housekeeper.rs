//! The thread that handles the files of large bodies, so that the writer never waits for one.
//!
//! It deletes what a prune leaves, links the input of a resubmitted task to its new name, and after opening
//! sweeps the orphans: files that a crash left without a row. Only files that were there before the store was
//! opened can be orphans.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Statement};

use crate::body::BodyFile;
use crate::spool::{BlobName, Blobs};
use crate::store::{Resubmit, Resubmitted, StoreError};
use crate::task::TaskId;

use super::Shared;
use super::calls::{Asker, Call, answer, store_error};
use super::inbox::{Inbox, Taken};
use super::rows::Row;

/// How many files are looked at before waiting jobs get their turn.
const SWEEP_STEP: usize = 100;

pub(super) enum Job {
    /// Deletes files, then says so.
    Delete(Vec<PathBuf>, Box<dyn FnOnce() + Send>),
    /// Gives the input file of a finished task a second name, then passes the wish on to the writer.
    Link(Resubmit, Asker<Resubmitted>),
}

pub(super) struct Housekeeper<'c> {
    task_by_id: Statement<'c>,
    shared: Arc<Shared>,
    blobs: Blobs,
    calls: Arc<Inbox<Call>>,
    /// Files that may be orphans.
    suspects: Vec<BlobName>,
}

/// The bodies in a folder that has just been opened. Files of other names are none of ours.
pub(super) fn bodies_in(folder: &Path) -> io::Result<Vec<BlobName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().to_str().and_then(BlobName::from_file_name));
    }
    Ok(names)
}

impl<'c> Housekeeper<'c> {
    pub fn new(
        connection: &'c Connection,
        shared: Arc<Shared>,
        blobs: Blobs,
        calls: Arc<Inbox<Call>>,
        suspects: Vec<BlobName>,
    ) -> rusqlite::Result<Self> {
        let task_by_id = connection.prepare(include_str!("task_by_id.sql"))?;
        Ok(Self { task_by_id, shared, blobs, calls, suspects })
    }

    /// Works until the inbox is closed and empty. What is not swept by then is swept after the next opening.
    pub fn run(&mut self, jobs: &Inbox<Job>) {
        let mut taken = VecDeque::new();
        loop {
            let patience = (!self.suspects.is_empty()).then_some(Duration::ZERO);
            match jobs.take(&mut taken, usize::MAX, patience) {
                Taken::Some => taken.drain(..).for_each(|job| self.do_one(job)),
                Taken::TimedOut => self.sweep_some(),
                Taken::Closed => return,
            }
        }
    }

    fn do_one(&mut self, job: Job) {
        match job {
            Job::Delete(files, done) => {
                files.iter().for_each(|file| delete(file));
                done();
            }
            Job::Link(wish, asker) => match self.linked_input(&wish) {
                Ok(input) => {
                    if let Err(call) = self.calls.push(Call::Resubmit(wish, input, asker)) {
                        call.refuse(StoreError::Closed);
                    }
                }
                Err(error) => answer(asker, Err(error)),
            },
        }
    }

    /// The input file of the task to come, where the finished task's input is in a file. Nobody's yet: unless the
    /// writer adopts it, it goes as it came.
    fn linked_input(&mut self, wish: &Resubmit) -> Result<Option<BodyFile>, StoreError> {
        let row = self.row(wish.of).map_err(|error| store_error(&error))?;
        // What is wrong with the wish is for the writer to say.
        let Some(row) = row.filter(|row| row.input_in_file && row.task.state.is_finished()) else { return Ok(None) };
        let old = self.blobs.path(BlobName::Input(row.task.id));
        let new = self.blobs.path(BlobName::Input(wish.id));
        let (Some(old), Some(new)) = (old, new) else { return Ok(None) };
        match link(&old, &new) {
            Ok(input) => Ok(Some(input)),
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let reason = format!("cannot link {} to {}: {error}", old.display(), new.display());
                let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                Err(if full { StoreError::Full(reason) } else { StoreError::Failed(reason) })
            }
        }
    }

    fn sweep_some(&mut self) {
        for _ in 0..SWEEP_STEP {
            let Some(name) = self.suspects.pop() else { return };
            match self.is_orphan(name) {
                Ok(true) => {
                    tracing::info!(file = name.file_name(), "deleting a body that belongs to no task");
                    self.blobs.path(name).iter().for_each(|file| delete(file));
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, file = name.file_name(), "cannot tell whose body this is"),
            }
        }
    }

    fn is_orphan(&mut self, name: BlobName) -> rusqlite::Result<bool> {
        let Some(row) = self.row(name.task())? else { return Ok(true) };
        let belongs = match name {
            BlobName::Input(_) => row.input_in_file,
            BlobName::Output(_, fence) => row.output_in_file && row.fence == fence,
        };
        Ok(!belongs)
    }

    fn row(&mut self, task: TaskId) -> rusqlite::Result<Option<Row>> {
        let names = self.shared.counts.names();
        self.task_by_id.query_row([task.as_bytes()], |row| Row::read(row, &names)).optional()
    }
}

fn delete(file: &Path) {
    match fs::remove_file(file) {
        Ok(()) => {}
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
        // It is an orphan from now on.
        Err(error) => tracing::warn!(%error, file = %file.display(), "cannot delete a body; the next start will"),
    }
}

/// Gives a file a second name for good; copies it where the file system has no links.
fn link(old: &Path, new: &Path) -> io::Result<BodyFile> {
    match fs::hard_link(old, new) {
        Ok(()) => {}
        // The name is another task's: its file must stay.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
        Err(_) => copy(old, new)?,
    }
    let file = BodyFile::open(new)?;
    file.disown();
    let folder = new.parent().expect("a body lies in a folder");
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn copy(old: &Path, new: &Path) -> io::Result<()> {
    let copied = fs::copy(old, new).and_then(|_| File::open(new)?.sync_all());
    if copied.is_err() {
        // Half a body is of no use; if it cannot be deleted now, it is an orphan.
        let _ = fs::remove_file(new);
    }
    copied
}
