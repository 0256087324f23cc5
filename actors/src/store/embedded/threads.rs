//! The threads of a store: how each begins, and in which order they end.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use crate::spool::{BlobName, Blobs};

use super::Shared;
use super::calls::{Asker, Call, answer};
use super::housekeeper::{Housekeeper, Job};
use super::inbox::Inbox;
use super::lock::FolderLock;
use super::reader::{Question, Reader};
use super::schema::{self, OpenError};
use super::writer::{Desk, Writer};

/// How many threads read. Two, so that a long list does not hold up a short question.
const READERS: usize = 2;

/// The readers and the housekeeper. Dropped, they answer what waits and end.
pub(super) struct Helpers {
    questions: Arc<Inbox<Question>>,
    jobs: Arc<Inbox<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Helpers {
    pub fn new() -> Self {
        Self { questions: Arc::new(Inbox::new()), jobs: Arc::new(Inbox::new()), threads: Vec::new() }
    }

    pub fn questions(&self) -> Arc<Inbox<Question>> {
        self.questions.clone()
    }

    pub fn jobs(&self) -> Arc<Inbox<Job>> {
        self.jobs.clone()
    }

    pub fn start_readers(&mut self, database: &Path, shared: &Arc<Shared>, blobs: &Blobs) -> Result<(), OpenError> {
        for _ in 0..READERS {
            let connection = schema::open_reader(database)?;
            let (questions, shared, blobs) = (self.questions(), shared.clone(), blobs.clone());
            self.threads.push(start("ekiben-reader", database, move |ready| {
                let _end = CloseOnPanic(questions.clone());
                let reader = Reader::new(&connection, shared, blobs);
                if let Some(mut reader) = begun(reader, ready) {
                    reader.run(&questions);
                }
            })?);
        }
        Ok(())
    }

    /// `suspects` are the bodies that were there before the store was opened.
    pub fn start_housekeeper(
        &mut self,
        database: &Path,
        shared: &Arc<Shared>,
        blobs: &Blobs,
        calls: &Arc<Inbox<Call>>,
        suspects: Vec<BlobName>,
    ) -> Result<(), OpenError> {
        let connection = schema::open_reader(database)?;
        let (jobs, shared, blobs, calls) = (self.jobs(), shared.clone(), blobs.clone(), calls.clone());
        self.threads.push(start("ekiben-files", database, move |ready| {
            let _end = CloseOnPanic(jobs.clone());
            let housekeeper = Housekeeper::new(&connection, shared, blobs, calls, suspects);
            if let Some(mut housekeeper) = begun(housekeeper, ready) {
                housekeeper.run(&jobs);
            }
        })?);
        Ok(())
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.questions.close();
        self.jobs.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

/// Starts the writer, which from then on owns the connection, the helpers and the lock.
pub(super) fn start_writer(
    database: &Path,
    connection: Connection,
    desk: Desk,
    helpers: Helpers,
    lock: FolderLock,
) -> Result<JoinHandle<()>, OpenError> {
    start("ekiben-writer", database, move |ready| {
        let _end = CloseOnPanic(desk.calls.clone());
        let writer = Writer::new(&connection, desk);
        let Some(mut writer) = begun(writer, ready) else { return };
        let closing: Option<Asker<()>> = writer.run();
        drop(writer);
        // The last connection to go empties the log into the database, which those that only read cannot do.
        drop(helpers);
        drop(connection);
        drop(lock);
        // Only now may another process have the folder.
        if let Some(asker) = closing {
            answer(asker, Ok(()));
        }
    })
}

/// Says to the opener whether a thread could begin.
type Ready = mpsc::Sender<rusqlite::Result<()>>;

fn begun<T>(worker: rusqlite::Result<T>, ready: Ready) -> Option<T> {
    let (worker, said) = match worker {
        Ok(worker) => (Some(worker), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // The opener waits for it, unless it is gone itself.
    let _ = ready.send(said);
    worker
}

/// Starts a thread and waits until it is ready for work.
fn start(name: &str, database: &Path, work: impl FnOnce(Ready) + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let (ready, said) = mpsc::channel();
    let cannot_start = |source| OpenError::Thread { path: database.to_owned(), source };
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(ready)).map_err(cannot_start)?;
    match said.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(schema::refusal(database, error)),
        Err(_) => Err(cannot_start(io::Error::other("it ended before it began"))),
    }
}

/// A thread that panics must not leave callers waiting for ever: those that wait are told by the end of their
/// channel, and later ones by a closed inbox.
struct CloseOnPanic<T>(Arc<Inbox<T>>);

impl<T> Drop for CloseOnPanic<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
            self.0.take_now(&mut VecDeque::new(), usize::MAX);
        }
    }
}
