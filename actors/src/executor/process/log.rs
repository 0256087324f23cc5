//! A worker's standard output and error: its lines go to our log and to the report of the attempt that runs, and the
//! last of them are kept for its failures.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeWriter, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::unix::pipe;
use tokio::task::yield_now;

use crate::executor::Report;
use crate::task::{EndpointName, Failure, Level, TaskId};

/// The most bytes of a line; a longer one is taken as several.
const LINE_MAX: usize = 8 * 1024;

/// The most bytes that a pipe of somebody without privileges holds (pipe(7)).
const PIPE_MAX: usize = 1 << 20;

/// The log of one worker.
pub struct WorkerLog {
    endpoint: EndpointName,
    pid: i32,
    streams: Vec<Arc<Stream>>,
    inner: Mutex<Inner>,
}

/// Where a worker writes to, and we read from.
pub struct Stream {
    name: &'static str,
    pipe: pipe::Receiver,
    /// The same pipe, to be read without asking the runtime, which may not have heard yet that there is something.
    file: File,
    /// The line that is not complete yet. Locked by who reads.
    line: Mutex<Vec<u8>>,
}

impl Stream {
    /// The two ends of a new one. Must be called in a runtime of tokio.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn new(name: &'static str) -> io::Result<(Arc<Self>, PipeWriter)> {
        let (ours, theirs) = io::pipe()?;
        let file = File::from(OwnedFd::from(ours.try_clone()?));
        let pipe = pipe::Receiver::from_owned_fd(ours.into())?;
        Ok((Arc::new(Self { name, pipe, file, line: Mutex::default() }), theirs))
    }

    fn line(&self) -> MutexGuard<'_, Vec<u8>> {
        self.line.lock().expect("nobody panics while holding it")
    }
}

#[derive(PartialEq, Eq)]
enum Taken {
    AllThereWas,
    Ended,
}

#[derive(Default)]
struct Inner {
    /// Whose attempt runs and its report, where it is the only one.
    sole: Option<(TaskId, Report)>,
    tail: VecDeque<String>,
    tail_bytes: usize,
}

impl WorkerLog {
    pub fn new(endpoint: EndpointName, pid: i32, streams: Vec<Arc<Stream>>) -> Self {
        Self { endpoint, pid, streams, inner: Mutex::default() }
    }

    /// From now on lines are told as those of that attempt, or of none.
    pub fn tag(&self, sole: Option<(TaskId, Report)>) {
        self.inner().sole = sole;
    }

    /// The last lines, of which there are about as many as a failure keeps.
    pub fn tail(&self) -> String {
        let inner = self.inner();
        let lines: Vec<&str> = inner.tail.iter().map(String::as_str).collect();
        lines.join("\n")
    }

    /// Takes one of its streams in, line by line, until it ends.
    pub async fn capture(&self, stream: &Stream) {
        loop {
            if stream.pipe.readable().await.is_err() {
                return;
            }
            if self.take_in(stream, |buffer| stream.pipe.try_read(buffer)) == Taken::Ended {
                return;
            }
            // A stream that never rests leaves others their turn.
            yield_now().await;
        }
    }

    /// Takes in what its streams hold at this moment, so that the lines of an attempt are told as such.
    pub fn catch_up(&self) {
        for stream in &self.streams {
            self.take_in(stream, |buffer| (&stream.file).read(buffer));
        }
    }

    fn take_in(&self, stream: &Stream, mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> Taken {
        let mut line = stream.line();
        let mut buffer = [0; LINE_MAX];
        let mut taken = 0;
        while taken < PIPE_MAX {
            match read(&mut buffer) {
                Ok(count) if count > 0 => {
                    taken += count;
                    self.lines(&buffer[..count], &mut line, stream.name);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A stream that broke has ended.
                Ok(_) | Err(_) => {
                    self.line(&line, stream.name);
                    line.clear();
                    return Taken::Ended;
                }
            }
        }
        Taken::AllThereWas
    }

    /// Tells the lines that a piece of a stream completes, and keeps the rest of it in `line`.
    fn lines(&self, mut piece: &[u8], line: &mut Vec<u8>, stream: &'static str) {
        while !piece.is_empty() {
            let room = &piece[..piece.len().min(LINE_MAX - line.len())];
            let newline = room.iter().position(|byte| *byte == b'\n');
            let taken = newline.unwrap_or(room.len());
            line.extend_from_slice(&room[..taken]);
            piece = &piece[taken + usize::from(newline.is_some())..];
            if newline.is_some() || line.len() == LINE_MAX {
                self.line(line, stream);
                line.clear();
            }
        }
    }

    fn line(&self, line: &[u8], stream: &'static str) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if !line.is_empty() {
            let sole = self.inner().sole.clone();
            self.tell(Level::Info, sole.as_ref(), stream, line);
        }
    }

    /// A line that the worker sent for an attempt.
    pub fn message(&self, level: Level, teller: &(TaskId, Report), line: &str) {
        self.tell(level, Some(teller), "channel", line);
    }

    fn tell(&self, level: Level, teller: Option<&(TaskId, Report)>, stream: &'static str, line: &str) {
        self.keep(line);
        if let Some((_, report)) = teller {
            report.log(level, line);
        }
        let task_id = teller.map(|(task, _)| tracing::field::display(task));
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: "ekiben::worker",
                    endpoint = %self.endpoint, worker = self.pid, task_id, stream, "{line}"
                )
            };
        }
        match level {
            Level::Debug => event!(debug),
            Level::Info => event!(info),
            Level::Warning => event!(warn),
            Level::Error => event!(error),
        }
    }

    fn keep(&self, line: &str) {
        let mut inner = self.inner();
        inner.tail.push_back(line.to_owned());
        inner.tail_bytes += line.len() + 1;
        while let Some(oldest) = inner.tail.front()
            && inner.tail_bytes - (oldest.len() + 1) >= Failure::LOG_MAX
        {
            inner.tail_bytes -= oldest.len() + 1;
            inner.tail.pop_front();
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn log_of(stream: &Arc<Stream>) -> WorkerLog {
        WorkerLog::new(EndpointName::new("test").unwrap(), 1, vec![stream.clone()])
    }

    async fn captured(text: &[u8]) -> WorkerLog {
        let (stream, mut theirs) = Stream::new("stdout").unwrap();
        let text = text.to_vec();
        let writer = std::thread::spawn(move || theirs.write_all(&text).unwrap());
        let log = log_of(&stream);
        log.capture(&stream).await;
        writer.join().unwrap();
        log
    }

    #[tokio::test]
    async fn what_was_written_before_an_attempt_ended_is_told_as_its_own() {
        let (stream, mut theirs) = Stream::new("stdout").unwrap();
        let log = log_of(&stream);
        let report = Report::unwatched();
        theirs.write_all(b"before\n").unwrap();
        log.catch_up();
        log.tag(Some((TaskId::generate(), report.clone())));
        theirs.write_all(b"one\ntw").unwrap();
        log.catch_up();
        theirs.write_all(b"o\n").unwrap();
        log.catch_up();
        log.tag(None);
        theirs.write_all(b"after\n").unwrap();
        drop(theirs);
        log.capture(&stream).await;
        let lines: Vec<String> = report.log_tail().lines.into_iter().map(|line| line.message).collect();
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(log.tail(), "before\none\ntwo\nafter");
    }

    #[tokio::test]
    async fn lines_are_kept_with_or_without_a_last_newline() {
        assert_eq!(captured(b"one\n\r\ntwo\n").await.tail(), "one\ntwo");
        assert_eq!(captured(b"one\ntwo").await.tail(), "one\ntwo");
        assert_eq!(captured(b"\xffn").await.tail(), "\u{fffd}n");
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_and_the_tail_stays_bounded() {
        let log = captured(&vec![b'x'; 100 * LINE_MAX + 1]).await;
        assert!(log.tail().ends_with("x\nx"));
        assert!(log.tail().len() <= LINE_MAX + Failure::LOG_MAX, "{}", log.tail().len());

        let many = captured("line\n".repeat(10_000).as_bytes()).await;
        assert!((Failure::LOG_MAX..Failure::LOG_MAX + 10).contains(&(many.tail().len() + 1)), "{}", many.tail().len());
    }
}
