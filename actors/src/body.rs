//! The bytes of an input or an output: small ones in memory, large ones in a file.
//!
//! Cloning a body never copies its bytes. How a large body is written is told in [`crate::spool`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

/// Bytes, wherever they are.
#[derive(Clone, Debug)]
pub enum Body {
    Inline(Bytes),
    File(BodyFile),
}

impl Body {
    pub fn len(&self) -> u64 {
        match self {
            Body::Inline(bytes) => bytes.len() as u64,
            Body::File(file) => file.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it takes in memory, for budgets.
    pub fn weight(&self) -> usize {
        match self {
            Body::Inline(bytes) => bytes.len(),
            Body::File(_) => size_of::<BodyFile>(),
        }
    }

    /// All of it in memory. Blocks on the disk where the body is a file: call it where that is allowed.
    ///
    /// # Errors
    /// The file could not be read.
    pub fn read(&self) -> io::Result<Bytes> {
        match self {
            Body::Inline(bytes) => Ok(bytes.clone()),
            Body::File(file) => file.read_at(0, usize::try_from(file.len()).map_err(io::Error::other)?),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Body::Inline(Bytes::new())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body::Inline(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Body::Inline(bytes.into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Body::Inline(text.into())
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Body::Inline(text.into())
    }
}

/// A body in a file. Until a store adopts it, the file is deleted with the last clone of this handle;
/// once open, it can be read to its end even after the store has deleted it.
#[derive(Clone, Debug)]
pub struct BodyFile {
    owned: Arc<Inner>,
    len: u64,
}

#[derive(Debug)]
struct Inner {
    file: File,
    path: PathBuf,
    adopted: AtomicBool,
}

impl BodyFile {
    /// A new, empty file; nobody's until a store adopts it.
    ///
    /// # Errors
    /// The file is there already or cannot be created.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let owned = Arc::new(Inner { file, path: path.to_owned(), adopted: AtomicBool::new(false) });
        Ok(Self { owned, len: 0 })
    }

    /// The same file, known to hold `len` bytes by now.
    pub(crate) fn with_len(self, len: u64) -> Self {
        Self { len, ..self }
    }

    pub(crate) fn as_file(&self) -> &File {
        &self.owned.file
    }

    /// Opens a file that a store owns.
    ///
    /// # Errors
    /// The file is not there or cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let owned = Arc::new(Inner { file, path: path.to_owned(), adopted: AtomicBool::new(true) });
        Ok(Self { owned, len })
    }

    /// From now on the store deletes the file, not this handle.
    pub fn adopt(&self) {
        self.owned.adopted.store(true, Ordering::Release);
    }

    /// Takes an adoption back: the store could not record the task.
    pub fn disown(&self) {
        self.owned.adopted.store(false, Ordering::Release);
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn path(&self) -> &Path {
        &self.owned.path
    }

    /// Up to `most` bytes from `offset`; fewer only at the end of the file. Blocks on the disk.
    ///
    /// # Errors
    /// The file could not be read.
    pub fn read_at(&self, offset: u64, most: usize) -> io::Result<Bytes> {
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        let mut bytes = vec![0; wanted];
        self.owned.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !*self.adopted.get_mut() {
            // An orphan that cannot be deleted now is swept when the store is next opened.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
