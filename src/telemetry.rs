//! Where log lines go: to stderr, by a thread of their own, as text or as JSON.
//!
//! No line is lost while the process lives: who logs faster than stderr takes it waits. Before the process ends,
//! [`flush`] is to be called, or the [`LogGuard`] dropped.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Log, LogFormat};

mod writer;

use writer::LogWriter;

static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Writes what was logged when it goes out of scope.
#[must_use = "dropping it at once flushes a log in which nothing is yet"]
pub struct LogGuard(());

impl Drop for LogGuard {
    fn drop(&mut self) {
        flush();
    }
}

/// Sets up the log for the whole process. To be called once, before anything logs.
pub fn start(log: &Log) -> LogGuard {
    let writer = WRITER.get_or_init(|| LogWriter::start(std::io::stderr()));
    let colour = std::io::stderr().is_terminal();
    subscriber(log, writer.clone(), colour).init();
    LogGuard(())
}

/// Waits until what was logged so far is written; not longer than a second, lest a reader that hangs keeps the
/// process from ending. For an end that runs no destructors.
pub fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush();
    }
}

/// What takes the events: those that the level lets pass, formatted as the settings say.
fn subscriber(
    log: &Log,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    colour: bool,
) -> impl Subscriber + Send + Sync {
    let filter = EnvFilter::try_new(&log.level).expect("the settings were checked");
    let lines = match log.format {
        LogFormat::Text => layer().with_ansi(colour).with_writer(writer).boxed(),
        LogFormat::Json => {
            let json = layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
            json.with_writer(writer).boxed()
        }
    };
    tracing_subscriber::registry().with(filter).with(lines)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    fn logged(format: LogFormat, level: &str) -> String {
        let log = Log { format, level: level.to_owned(), ..crate::config::Config::default().log };
        let out = Shared::default();
        let writer = LogWriter::start(out.clone());
        tracing::subscriber::with_default(subscriber(&log, writer.clone(), false), || {
            tracing::info!(target: "ekiben::lifecycle", task_id = "0af", attempt = 1, "started");
            tracing::debug!("too fine");
        });
        writer.flush();
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_is_one_object_with_its_fields_at_the_top() {
        let lines = logged(LogFormat::Json, "info");
        assert_eq!(lines.lines().count(), 1, "{lines}");
        let line: Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(line["message"], "started");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], "ekiben::lifecycle");
        assert_eq!(line["task_id"], "0af");
        assert_eq!(line["attempt"], 1);
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_text_line_has_no_colours_where_there_is_no_terminal() {
        let lines = logged(LogFormat::Text, "info");
        assert!(lines.contains("INFO ekiben::lifecycle: started task_id=\"0af\" attempt=1\n"), "{lines:?}");
        assert!(!lines.contains('\u{1b}'), "{lines:?}");
    }

    #[test]
    fn a_level_can_be_set_by_target() {
        assert_eq!(logged(LogFormat::Text, "info,ekiben::lifecycle=warn"), "");
    }
}
