//! The database file: how it is opened, checked and brought to the newest shape.
//!
//! A file that is not ours is refused before anything is written to it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::task::{EndpointName, Timestamp};

use super::rows::{EndpointId, micros, state_at, unreadable};
use super::tally::Tally;

/// One file a version, in their order. A version that was released is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_tasks.sql"),
    include_str!("migrations/0002_failure_log.sql"),
    include_str!("migrations/0003_policy.sql"),
    include_str!("migrations/0004_attempts.sql"),
    include_str!("migrations/0005_tags.sql"),
];

/// Marks a database as ours: "Ekib" in ASCII.
const APPLICATION_ID: i64 = 0x456b_6962;

/// Measured: a tenth faster than pages of 4 KiB, since a group then writes fewer of them.
const PAGE_BYTES: usize = 8192;

/// How long to wait for a person who writes to the file with a tool of their own.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// What the log may keep of the disk after a burst.
const LOG_BYTES_KEPT: usize = 64 << 20;

const WRITER_CACHE_KIB: usize = 64 << 10;
const READER_CACHE_KIB: usize = 16 << 10;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot create the store's folder {path}: {source}; create it yourself or name another one")]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot lock {path}: {source}; the folder must be writable, on a file system that has locks")]
    Lock { path: PathBuf, source: io::Error },
    #[error("the folder {folder} is in use by {holder}; stop that one first, or name another folder")]
    InUse { folder: PathBuf, holder: String },
    #[error("{path} is not a database of Ekiben; it was left as it is: move it away, or name another folder")]
    Foreign { path: PathBuf },
    #[error(
        "{path} was written by a newer Ekiben (version {found} of its tables, this one knows up to {known}); \
         run the newer one, or name another folder"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("cannot open {path}: {reason}; restore it from a backup or name another folder if it is damaged")]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot read the folder {path}: {source}; make it readable for this user")]
    Blobs { path: PathBuf, source: io::Error },
    #[error("cannot start a thread for {path}: {source}; allow this user more of them")]
    Thread { path: PathBuf, source: io::Error },
}

/// Opens the database for its one writer, in the newest shape.
///
/// `size_max` bounds the file; `None` leaves it to the disk.
pub(super) fn open_writer(path: &Path, size_max: Option<u64>) -> Result<Connection, OpenError> {
    let damaged = |error: rusqlite::Error| refusal(path, error);
    let mut connection = Connection::open(path).map_err(damaged)?;
    connection.busy_timeout(BUSY_PATIENCE).map_err(damaged)?;
    check_is_ours(&connection, path)?;
    prepare_writer(&connection, size_max).map_err(damaged)?;
    migrate(&mut connection).map_err(damaged)?;
    Ok(connection)
}

/// Opens the database for reading only; the writer's connection must be there already.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_PATIENCE)?;
        connection.execute_batch(&format!("PRAGMA cache_size = -{READER_CACHE_KIB}; PRAGMA temp_store = MEMORY;"))?;
        Ok(connection)
    };
    open().map_err(|error| refusal(path, error))
}

/// Refuses what is no database, what is somebody else's, and what is newer than we are. Writes nothing.
fn check_is_ours(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let number = |sql: &str| {
        let read = connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        read.map_err(|error| refusal(path, error))
    };
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let is_new = tables == 0;
    if is_new {
        return Ok(());
    }
    if number("PRAGMA application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let found = number("PRAGMA user_version")?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}

/// Why a database cannot be used, from what SQLite says of it.
pub(super) fn refusal(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path },
        _ => OpenError::Damaged { path, reason: error.to_string() },
    }
}

fn prepare_writer(connection: &Connection, size_max: Option<u64>) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{WRITER_CACHE_KIB};
         PRAGMA journal_size_limit = {LOG_BYTES_KEPT};"
    ))?;
    if let Some(size_max) = size_max {
        // A file that is larger already stays as it is and does not grow.
        let pages = size_max.div_ceil(PAGE_BYTES as u64);
        connection.execute_batch(&format!("PRAGMA max_page_count = {pages}"))?;
    }
    Ok(())
}

/// Each step is a transaction of its own, with the number of the version in it.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let already = usize::try_from(version).unwrap_or(0);
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(already) {
        let step = connection.transaction()?;
        step.execute_batch(migration)?;
        step.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {};", index + 1))?;
        step.commit()?;
    }
    Ok(())
}

/// What the writer must know when it begins.
pub(super) struct Begun {
    pub epoch: i64,
    /// In the order of their numbers, which begin with 1 and have no gap.
    pub names: Vec<EndpointName>,
    pub tally: Tally,
}

/// Begins a new epoch: whatever was held is from now on held by somebody who is gone.
pub(super) fn begin_epoch(connection: &Connection, now: Timestamp) -> rusqlite::Result<Begun> {
    let epoch = connection.query_row(include_str!("open_node.sql"), [micros(now)], |row| row.get(0))?;
    let mut names = Vec::new();
    let mut endpoints = connection.prepare(include_str!("all_endpoints.sql"))?;
    let mut rows = endpoints.query([])?;
    while let Some(row) = rows.next()? {
        let name = EndpointName::new(row.get_ref(1)?.as_str()?);
        names.push(name.map_err(|error| unreadable(1, &error.to_string()))?);
        if row.get::<_, i64>(0)? != names.len() as i64 {
            return Err(unreadable(0, "numbers of endpoints with a gap"));
        }
    }
    let mut tally = Tally::default();
    let mut tallies = connection.prepare(include_str!("all_tallies.sql"))?;
    let mut rows = tallies.query([])?;
    while let Some(row) = rows.next()? {
        tally.add(EndpointId(row.get(0)?), state_at(row, 1)?, row.get(2)?);
    }
    Ok(Begun { epoch, names, tally })
}
