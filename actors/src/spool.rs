//! Large bodies in and out of files, a chunk at a time, so that a body of any size costs little memory.
//!
//! A body up to `inline_max` stays in memory and later lies in the store's row. A larger one goes to a file of
//! its own, named after its task, and is synced before anybody is told of it. Which files belong to which
//! rows, and which are orphans, is the store's knowledge, not ours.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use futures::stream;
use tokio::task::spawn_blocking;

use crate::body::{Body, BodyFile};
use crate::task::{Failure, FailureCode, TaskId};

/// Bytes written to or read from a file in one step.
const CHUNK: usize = 256 * 1024;

/// Whose body a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlobName {
    Input(TaskId),
    /// An output belongs to one lease of the task, so that a late attempt cannot overwrite a newer one's.
    Output(TaskId, u32),
}

impl BlobName {
    pub fn task(&self) -> TaskId {
        match self {
            BlobName::Input(task) | BlobName::Output(task, _) => *task,
        }
    }

    /// `<id>.input` or `<id>.<fence>.output`.
    pub fn file_name(&self) -> String {
        match self {
            BlobName::Input(task) => format!("{task}.input"),
            BlobName::Output(task, fence) => format!("{task}.{fence}.output"),
        }
    }

    /// Reads a file's name back; `None` for a file that is not ours.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (task, rest) = name.split_once('.')?;
        let task = task.parse().ok()?;
        match rest.strip_suffix(".output") {
            Some(fence) => Some(BlobName::Output(task, fence.parse().ok()?)),
            None => (rest == "input").then_some(BlobName::Input(task)),
        }
    }
}

/// Where large bodies go: a folder, or nowhere (all stays in memory).
#[derive(Clone, Debug)]
pub struct Blobs {
    folder: Option<Arc<Path>>,
    inline_max: usize,
}

impl Blobs {
    /// Every body stays in memory, however large.
    pub fn in_memory() -> Self {
        Self { folder: None, inline_max: usize::MAX }
    }

    /// Bodies of more than `inline_max` bytes go to files in `folder`, which must exist.
    pub fn in_folder(folder: &Path, inline_max: usize) -> Self {
        Self { folder: Some(Arc::from(folder)), inline_max }
    }

    /// The most bytes of a body that stays in memory.
    pub fn inline_max(&self) -> usize {
        self.inline_max
    }

    /// Where the file of that name is, or would be; `None` where all stays in memory.
    pub fn path(&self, name: BlobName) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(name.file_name()))
    }

    /// Begins a body of at most `limit` bytes.
    pub fn spool(&self, name: BlobName, limit: u64) -> Spool {
        Spool {
            path: self.path(name),
            inline_max: self.inline_max,
            limit,
            len: 0,
            gathered: BytesMut::new(),
            file: None,
        }
    }
}

/// Why a body could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the body is larger than the limit of {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the body could not be written to {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
}

impl SpoolError {
    /// Whether the disk, or the quota on it, is full.
    pub fn is_full(&self) -> bool {
        match self {
            SpoolError::TooLarge { .. } => false,
            SpoolError::Write { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
        }
    }
}

impl From<SpoolError> for Failure {
    /// The failure of an output that could not be kept. The path is left out: failures are shown to clients.
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::TooLarge { limit } => {
                Failure::new(FailureCode::TooLarge, format!("the output is larger than the limit of {limit} bytes"))
            }
            SpoolError::Write { source, .. } => {
                Failure::new(FailureCode::Failed, format!("the output could not be written to disk: {source}"))
            }
        }
    }
}

/// A body on its way in. Dropped before [`Spool::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Spool {
    path: Option<PathBuf>,
    inline_max: usize,
    limit: u64,
    len: u64,
    gathered: BytesMut,
    file: Option<BodyFile>,
}

impl Spool {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`SpoolError::TooLarge`] as soon as the limit is passed; a failed write. Drop the spool then.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), SpoolError> {
        self.len += chunk.len() as u64;
        if self.len > self.limit {
            return Err(SpoolError::TooLarge { limit: self.limit });
        }
        self.gathered.extend_from_slice(chunk);
        let outgrown = self.path.is_some() && self.len > self.inline_max as u64;
        if outgrown && self.gathered.len() >= CHUNK {
            self.flush(Sync::Later).await?;
        }
        Ok(())
    }

    /// Ends the body; one in a file is on the disk for good when this returns.
    ///
    /// # Errors
    /// A failed write or sync.
    pub async fn finish(mut self) -> Result<Body, SpoolError> {
        if self.path.is_none() || self.len <= self.inline_max as u64 {
            return Ok(Body::Inline(self.gathered.freeze()));
        }
        self.flush(Sync::Now).await?;
        Ok(Body::File(self.file.expect("a flush leaves a file")))
    }

    /// Writes what was gathered, on a thread that may block. The file is created by the first flush.
    async fn flush(&mut self, sync: Sync) -> Result<(), SpoolError> {
        let path = self.path.clone().expect("only a body that has a path is flushed");
        let gathered = self.gathered.split().freeze();
        let (file, len) = (self.file.take(), self.len);
        let written = spawn_blocking({
            let path = path.clone();
            move || write_out(file, &path, &gathered, len, sync)
        });
        let written = written.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        self.file = Some(written.map_err(|source| SpoolError::Write { path, source })?);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Later,
    Now,
}

/// Appends to the file, creating it at first, and answers with a handle that knows its length so far.
fn write_out(file: Option<BodyFile>, path: &Path, bytes: &Bytes, len: u64, sync: Sync) -> io::Result<BodyFile> {
    let file = match file {
        Some(file) => file,
        None => BodyFile::create(path)?,
    };
    let mut writer: &File = file.as_file();
    writer.write_all(bytes)?;
    if sync == Sync::Now {
        writer.sync_all()?;
        sync_folder(path)?;
    }
    Ok(file.with_len(len))
}

/// Makes the file's name as durable as its bytes: on Linux a new name is only safe once its folder is synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().expect("a blob lies in a folder");
    File::open(folder)?.sync_all()
}

/// All of a body in memory; a file is read on a thread that may block.
///
/// # Errors
/// The file could not be read.
pub async fn whole(body: Body) -> io::Result<Bytes> {
    match body {
        Body::Inline(bytes) => Ok(bytes),
        Body::File(_) => spawn_blocking(move || body.read()).await.map_err(io::Error::other)?,
    }
}

/// The bytes of a body, in chunks; a file is read on threads that may block.
pub fn chunks(body: Body) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let end = body.len();
    chunks_between(body, 0, end)
}

/// The bytes of a body from `start` up to `end`, which is not past the body's own, in chunks.
pub fn chunks_between(body: Body, start: u64, end: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((body, start), move |(body, offset)| async move {
        let chunk = match &body {
            Body::Inline(bytes) => {
                let place = |offset| usize::try_from(offset).map_err(io::Error::other);
                bytes.slice(place(offset)?..place(end)?)
            }
            Body::File(file) => {
                let file = file.clone();
                let most = usize::try_from(end - offset).unwrap_or(usize::MAX).min(CHUNK);
                let read = spawn_blocking(move || file.read_at(offset, most));
                read.await.map_err(io::Error::other)??
            }
        };
        let next = offset + chunk.len() as u64;
        Ok((!chunk.is_empty()).then_some((chunk, (body, next))))
    })
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    async fn spooled(blobs: &Blobs, name: BlobName, bytes: &[u8]) -> Body {
        let mut spool = blobs.spool(name, 1 << 30);
        for chunk in bytes.chunks(1000) {
            spool.write(chunk).await.unwrap();
        }
        spool.finish().await.unwrap()
    }

    #[tokio::test]
    async fn a_body_over_the_inline_bound_lies_in_a_file_and_reads_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path(), 4096);
        let bytes: Vec<u8> = (0..3 * CHUNK + 17).map(|i| (i % 251) as u8).collect();

        let small = spooled(&blobs, BlobName::Input(TaskId::generate()), &bytes[..4096]).await;
        let large = spooled(&blobs, BlobName::Input(TaskId::generate()), &bytes).await;

        assert!(matches!(small, Body::Inline(_)) && matches!(large, Body::File(_)));
        let read: Vec<Bytes> = chunks(large).try_collect().await.unwrap();
        assert_eq!(read.concat(), bytes);
    }

    #[tokio::test]
    async fn a_part_of_a_body_is_read_wherever_the_body_is() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path(), 4096);
        let bytes: Vec<u8> = (0..2 * CHUNK + 17).map(|i| (i % 251) as u8).collect();
        let file = spooled(&blobs, BlobName::Input(TaskId::generate()), &bytes).await;
        for body in [file, Body::from(bytes.clone())] {
            for (start, end) in [(0, 0), (0, 1), (5, CHUNK + 9), (CHUNK - 1, 2 * CHUNK + 17), (7, 7)] {
                let part = chunks_between(body.clone(), start as u64, end as u64);
                let read: Vec<Bytes> = part.try_collect().await.unwrap();
                assert_eq!(read.concat(), bytes[start..end]);
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_nobody_adopts_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path(), 10);
        let files = || std::fs::read_dir(folder.path()).unwrap().count();

        let body = spooled(&blobs, BlobName::Input(TaskId::generate()), &[7; 100]).await;
        assert_eq!(files(), 1);
        drop(body);
        assert_eq!(files(), 0);
    }

    #[tokio::test]
    async fn a_body_over_its_limit_is_refused_while_it_comes_in() {
        let mut spool = Blobs::in_memory().spool(BlobName::Input(TaskId::generate()), 10);
        spool.write(&[0; 10]).await.unwrap();
        assert!(matches!(spool.write(&[0]).await, Err(SpoolError::TooLarge { limit: 10 })));
    }

    #[test]
    fn a_blob_is_named_so_that_its_owner_can_be_read_back() {
        let task = TaskId::generate();
        for name in [BlobName::Input(task), BlobName::Output(task, 7)] {
            assert_eq!(BlobName::from_file_name(&name.file_name()), Some(name));
        }
        assert_eq!(BlobName::from_file_name("notes.txt"), None);
    }
}
