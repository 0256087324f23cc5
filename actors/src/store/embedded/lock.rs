//! The lock that keeps a second process out of a store's folder.
//!
//! The operating system gives it up when the process ends, however it ends. What is written in the file is
//! for people and for the message to the second process.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use crate::task::Timestamp;

use super::schema::OpenError;

/// Holds the folder until dropped.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    pub fn take(folder: &Path, now: Timestamp) -> Result<Self, OpenError> {
        let path = folder.join("ekiben.lock");
        let cannot_lock = |source| OpenError::Lock { path: path.clone(), source };
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(cannot_lock)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Whoever holds it may not have written yet: the message then names nobody.
                let _ = file.read_to_string(&mut holder);
                let holder = Some(holder.trim().to_owned()).filter(|holder| !holder.is_empty());
                let holder = holder.unwrap_or_else(|| "another process".to_owned());
                return Err(OpenError::InUse { folder: folder.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(cannot_lock(source)),
        }
        sign(&mut file, now).map_err(cannot_lock)?;
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File, now: Timestamp) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    let since = now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    writeln!(file, "process {} since {since}", std::process::id())
}
