//! A worker's standard output and error: its lines go to our log and to the report of the attempt that runs, and the
//! last of them are kept for its failures.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::executor::Report;
use crate::task::{EndpointName, Failure, Level, TaskId};

/// The most bytes of a line; a longer one is taken as several.
const LINE_MAX: usize = 8 * 1024;

/// The log of one worker.
pub struct WorkerLog {
    endpoint: EndpointName,
    pid: i32,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Whose attempt runs and its report, where it is the only one.
    sole: Option<(TaskId, Report)>,
    tail: VecDeque<String>,
    tail_bytes: usize,
}

impl WorkerLog {
    pub fn new(endpoint: EndpointName, pid: i32) -> Self {
        Self { endpoint, pid, inner: Mutex::default() }
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

    /// Takes a stream in, line by line, until it ends.
    pub async fn capture(&self, stream: impl AsyncRead + Unpin, name: &'static str) {
        let mut source = BufReader::with_capacity(LINE_MAX, stream);
        let mut line = Vec::new();
        loop {
            // A stream that broke has ended.
            let available = source.fill_buf().await.unwrap_or_default();
            if available.is_empty() {
                self.line(&line, name);
                return;
            }
            let room = &available[..available.len().min(LINE_MAX - line.len())];
            let newline = room.iter().position(|byte| *byte == b'\n');
            let taken = newline.unwrap_or(room.len());
            line.extend_from_slice(&room[..taken]);
            source.consume(taken + usize::from(newline.is_some()));
            if newline.is_some() || line.len() == LINE_MAX {
                self.line(&line, name);
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
    use super::*;

    async fn captured(text: &[u8]) -> WorkerLog {
        let log = WorkerLog::new(EndpointName::new("test").unwrap(), 1);
        log.capture(text, "stdout").await;
        log
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
