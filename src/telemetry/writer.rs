//! Writes lines in order by a thread of its own, many at a time.
//!
//! Tasks log several lines each, and at tens of thousands of tasks a second one write a line would cost more than
//! the tasks. Here a line costs a copy under a lock; the thread takes all that gathered in a single write.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The most bytes that wait to be written. Who would log more waits.
const WAITING_MAX: usize = 1 << 20;
/// How long lines gather after a write. The first line after a pause is written at once.
const GATHERING: Duration = Duration::from_millis(1);
/// How long a flush waits for a reader that may hang.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hands lines to the thread that writes them. Clones hand them to the same.
#[derive(Clone)]
pub struct LogWriter(Arc<Shared>);

struct Shared {
    lines: Mutex<Lines>,
    /// There is something to write.
    more: Condvar,
    /// There is room again, or all is written.
    less: Condvar,
}

struct Lines {
    waiting: Vec<u8>,
    thread: ThreadState,
}

#[derive(PartialEq)]
enum ThreadState {
    /// It sleeps until it is told that there is something.
    Idle,
    /// It will look for itself.
    Busy,
}

impl LogWriter {
    /// Starts the thread, which lives as long as the process. What `out` refuses to take is dropped: a log that
    /// nobody can read any more must not stop the service.
    pub fn start(out: impl Write + Send + 'static) -> Self {
        let lines = Lines { waiting: Vec::new(), thread: ThreadState::Busy };
        let shared = Arc::new(Shared { lines: Mutex::new(lines), more: Condvar::new(), less: Condvar::new() });
        let writer = Self(Arc::clone(&shared));
        let named = thread::Builder::new().name("log".to_owned());
        named.spawn(move || shared.write_to(out)).expect("a machine that can start no thread can run no service");
        writer
    }

    /// Waits until all lines so far are written, but not longer than [`PATIENCE`].
    pub fn flush(&self) {
        let unwritten = |lines: &mut Lines| !lines.waiting.is_empty() || lines.thread == ThreadState::Busy;
        let written = self.0.less.wait_timeout_while(self.0.lock(), PATIENCE, unwritten);
        drop(written);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().expect("nothing panics under this lock")
    }

    fn add(&self, line: &[u8]) {
        // A line that is longer than all the room there is goes in when there is nothing else.
        let full = |lines: &mut Lines| !lines.waiting.is_empty() && lines.waiting.len() + line.len() > WAITING_MAX;
        let mut lines = self.less.wait_while(self.lock(), full).expect("nothing panics under this lock");
        lines.waiting.extend_from_slice(line);
        if lines.thread == ThreadState::Idle {
            lines.thread = ThreadState::Busy;
            self.more.notify_one();
        }
    }

    fn write_to(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            self.take(&mut batch);
            let _ = out.write_all(&batch).and_then(|()| out.flush()); // Where could we report it?
            batch.clear();
            thread::sleep(GATHERING);
        }
    }

    /// Waits for lines and takes all there are.
    fn take(&self, batch: &mut Vec<u8>) {
        let mut lines = self.lock();
        if lines.waiting.is_empty() {
            lines.thread = ThreadState::Idle;
            self.less.notify_all();
            let idle = |lines: &mut Lines| lines.thread == ThreadState::Idle;
            lines = self.more.wait_while(lines, idle).expect("nothing panics under this lock");
        }
        std::mem::swap(&mut lines.waiting, batch);
        self.less.notify_all();
    }
}

/// One event's way to the thread: the formatter writes each event in one piece.
pub struct Line<'a>(&'a Shared);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Takes a write when it is let.
    struct Gate {
        open: Receiver<()>,
        written: SyncSender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.open.recv(); // A test that is over lets everything through.
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_many_threads_come_out_whole_and_none_is_lost() {
        let (open_gate, open) = sync_channel(0);
        let (written, out) = sync_channel(1000);
        let writer = LogWriter::start(Gate { open, written });
        drop(open_gate);

        thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let writer = &writer;
                scope.spawn(move || {
                    for number in 0..5000 {
                        writer.make_writer().write_all(format!("{name}{number}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        writer.flush();

        let text = String::from_utf8(out.try_iter().flatten().collect()).unwrap();
        for name in ["a", "b", "c", "d"] {
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(name)).collect();
            let expected: Vec<String> = (0..5000).map(|number| format!("{name}{number}")).collect();
            assert_eq!(lines, expected);
        }
    }

    #[test]
    fn who_logs_faster_than_the_reader_reads_waits_and_loses_nothing() {
        let (open_gate, open) = sync_channel(0);
        let (written, out) = sync_channel(1000);
        let writer = LogWriter::start(Gate { open, written });
        let line = vec![b'x'; WAITING_MAX / 2 + 1];

        // One is on its way out, one waits, and the third has no room.
        writer.make_writer().write_all(&line).unwrap();
        let (past, passed) = sync_channel(1);
        let logger = {
            let (writer, line) = (writer.clone(), line.clone());
            thread::spawn(move || {
                writer.make_writer().write_all(&line).unwrap();
                writer.make_writer().write_all(&line).unwrap();
                writer.make_writer().write_all(&line).unwrap();
                past.send(()).unwrap();
            })
        };
        assert!(passed.try_recv().is_err());
        drop(open_gate);
        logger.join().unwrap();
        passed.recv().unwrap();
        writer.flush();
        assert_eq!(out.try_iter().map(|bytes| bytes.len()).sum::<usize>(), 4 * line.len());
    }
}
