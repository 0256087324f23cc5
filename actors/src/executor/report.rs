//! What an attempt tells of itself while it runs: how far it has come, what it is at, what it counts, its log, and
//! who runs it.
//!
//! It is kept here, within bounds; who is to be told hears that something is new, and reads it here. So nothing is
//! copied for nobody, and the latest is always at hand.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use tokio::runtime;

use crate::clock::{Clock, SystemClock, stopwatch};
use crate::task::{Level, LogLine, LogTail, Progress};

/// The most bytes of a message; the rest is cut off.
pub const MESSAGE_MAX: usize = 1024;
/// The most bytes of a line of the log; the rest is cut off.
pub const LINE_MAX: usize = 8 * 1024;
/// How many counters an attempt may have; one more is not taken.
pub const COUNTERS_MAX: usize = 32;
/// The most bytes of the name of a counter, and of a worker; the rest is cut off.
pub const NAME_MAX: usize = 64;

/// What a report weighs beside its texts, in bytes.
const WEIGHT: usize = size_of::<Record>() + size_of::<Report>();

/// How much of an attempt's log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    pub lines: usize,
    pub bytes: usize,
}

impl Default for LogBounds {
    fn default() -> Self {
        Self { lines: 200, bytes: 64 << 10 }
    }
}

/// Takes what an attempt tells. Cheap; may be called from any thread, as often as is convenient.
#[derive(Clone)]
pub struct Report {
    /// One, or those of a batch.
    records: Arc<[Arc<Record>]>,
}

/// Something that an attempt tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said<'a> {
    Progress(f32),
    Message(&'a str),
    Counter(&'a str, f64),
    Log(Level, &'a str),
    Worker(&'a str),
}

/// Something new: a line of the log, or how far the attempt has come. The steps of an attempt count what it told,
/// from 1.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    Progress { step: u64, progress: Progress },
    Log { step: u64, line: LogLine },
}

impl News {
    pub fn step(&self) -> u64 {
        match self {
            News::Progress { step, .. } | News::Log { step, .. } => *step,
        }
    }
}

/// What one attempt told.
struct Record {
    clock: Arc<dyn Clock>,
    bounds: LogBounds,
    told: Told,
    state: Mutex<State>,
}

/// Who hears of it.
enum Told {
    Nobody,
    /// Of everything that is said, at once.
    Everything(Box<dyn Fn(Said<'_>) + Send + Sync>),
    /// That there is something new, at most once an interval; and of the last of it after the interval.
    Paced {
        interval: Duration,
        runtime: runtime::Handle,
        tell: Box<dyn Fn() + Send + Sync>,
    },
}

#[derive(Default)]
struct State {
    /// The attempt has ended: nothing more is taken.
    closed: bool,
    steps: u64,
    progress: Progress,
    /// The step at which the progress became what it is; 0 where nothing was told.
    progress_step: u64,
    worker: Option<String>,
    lines: VecDeque<(u64, LogLine)>,
    line_bytes: usize,
    dropped: u64,
    /// When something was told last.
    told_at: Option<Instant>,
    /// A timer runs at whose end it is told.
    tells_later: bool,
}

impl Report {
    /// A report of which `tell` hears that there is something new, at most once an interval. What is new within one
    /// is told at its end, by a timer on `runtime`.
    pub fn paced(
        clock: Arc<dyn Clock>,
        bounds: LogBounds,
        interval: Duration,
        runtime: runtime::Handle,
        tell: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::of(Record::new(clock, bounds, Told::Paced { interval, runtime, tell: Box::new(tell) }))
    }

    /// For attempts that nobody watches.
    pub fn unwatched() -> Self {
        Self::of(Record::new(Arc::new(SystemClock), LogBounds::default(), Told::Nobody))
    }

    /// Of which `hear` hears each thing that is said, at once.
    pub fn heard(hear: impl Fn(Said<'_>) + Send + Sync + 'static) -> Self {
        Self::of(Record::new(Arc::new(SystemClock), LogBounds::default(), Told::Everything(Box::new(hear))))
    }

    /// One report for attempts that run as one: what is said to it is said to each.
    pub fn joined<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Self {
        Self { records: reports.into_iter().flat_map(|report| report.records.iter().cloned()).collect() }
    }

    fn of(record: Record) -> Self {
        Self { records: Arc::new([Arc::new(record)]) }
    }

    // ---- for who runs the attempt ----

    /// The done part of the whole, from 0 to 1; what is outside is brought inside.
    pub fn progress(&self, fraction: f32) {
        self.say(Said::Progress(if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) }));
    }

    /// What it is at, for people; up to [`MESSAGE_MAX`].
    pub fn message(&self, text: &str) {
        self.say(Said::Message(cut(text, MESSAGE_MAX)));
    }

    /// The value of something that it counts, which takes the place of the value before. There may be
    /// [`COUNTERS_MAX`] of them; a value that is no number is not taken.
    pub fn counter(&self, name: &str, value: f64) {
        if value.is_finite() {
            self.say(Said::Counter(cut(name, NAME_MAX), value));
        }
    }

    /// A line for its log, up to [`LINE_MAX`]; a text with line breaks is several lines. Of all lines the last are
    /// kept, within [`LogBounds`].
    pub fn log(&self, level: Level, text: &str) {
        for line in text.lines() {
            self.say(Said::Log(level, cut(line, LINE_MAX)));
        }
    }

    /// Who runs it, such as `pid 4711`.
    pub fn worker(&self, name: &str) {
        self.say(Said::Worker(cut(name, NAME_MAX)));
    }

    fn say(&self, said: Said<'_>) {
        self.records.iter().for_each(|record| record.take(said));
    }

    // ---- for who watches it; of several attempts in one report, the first's ----

    /// Whether it has told anything.
    pub fn has_told(&self) -> bool {
        self.first().is_some_and(|state| state.steps > 0)
    }

    /// How far it has come; `None` where it has told nothing.
    pub fn latest(&self) -> Option<Progress> {
        let state = self.first()?;
        (state.progress_step > 0).then(|| state.progress.clone())
    }

    /// What is new since a step, as far as it is kept, in the order of the steps.
    pub fn news(&self, since: u64) -> Vec<News> {
        let Some(state) = self.first() else { return Vec::new() };
        let first_new = state.lines.partition_point(|(step, _)| *step <= since);
        let lines = state.lines.range(first_new..);
        let mut news: Vec<News> = lines.map(|(step, line)| News::Log { step: *step, line: line.clone() }).collect();
        if state.progress_step > since {
            let at = news.partition_point(|one| one.step() < state.progress_step);
            news.insert(at, News::Progress { step: state.progress_step, progress: state.progress.clone() });
        }
        news
    }

    /// The lines of the log that are kept.
    pub fn log_tail(&self) -> LogTail {
        let Some(state) = self.first() else { return LogTail::default() };
        LogTail { lines: state.lines.iter().map(|(_, line)| line.clone()).collect(), dropped: state.dropped }
    }

    /// The same as text, for the record of the attempt; `None` where there are none.
    pub fn log_text(&self) -> Option<String> {
        let tail = self.log_tail();
        (!tail.lines.is_empty()).then(|| tail.to_string())
    }

    /// Who ran it, where that was told.
    pub fn worker_name(&self) -> Option<String> {
        self.first()?.worker.clone()
    }

    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        let Some(state) = self.first() else { return WEIGHT };
        let counters = state.progress.counters.keys().map(|name| name.len() + 2 * size_of::<(String, f64)>());
        let message = state.progress.message.as_ref().map_or(0, String::len);
        let lines = state.line_bytes + state.lines.len() * size_of::<(u64, LogLine)>();
        WEIGHT + message + lines + counters.sum::<usize>()
    }

    /// The attempt has ended: what an abandoned one still says is not taken any more.
    pub fn close(&self) {
        self.records.iter().for_each(|record| record.state().closed = true);
    }

    fn first(&self) -> Option<MutexGuard<'_, State>> {
        self.records.first().map(|record| record.state())
    }
}

impl Record {
    fn new(clock: Arc<dyn Clock>, bounds: LogBounds, told: Told) -> Self {
        Self { clock, bounds, told, state: Mutex::default() }
    }

    fn take(self: &Arc<Self>, said: Said<'_>) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        match said {
            Said::Worker(name) => {
                state.worker = Some(name.to_owned());
                drop(state);
                if let Told::Everything(hear) = &self.told {
                    hear(said);
                }
                return;
            }
            Said::Log(level, message) => {
                let line = LogLine { at: self.clock.now(), level, message: message.to_owned() };
                state.keep(line, self.bounds);
            }
            Said::Progress(fraction) => state.progress.fraction = Some(fraction),
            Said::Message(text) => state.progress.message = Some(text.to_owned()),
            Said::Counter(name, value) => {
                let is_full = state.progress.counters.len() >= COUNTERS_MAX;
                if is_full && !state.progress.counters.contains_key(name) {
                    return;
                }
                state.progress.counters.insert(name.to_owned(), value);
            }
        }
        if !matches!(said, Said::Log(..)) {
            state.steps += 1;
            state.progress_step = state.steps;
        }
        self.tell(said, state);
    }

    /// Tells who is to be told, outside the lock.
    fn tell(self: &Arc<Self>, said: Said<'_>, mut state: MutexGuard<'_, State>) {
        match &self.told {
            Told::Nobody => {}
            Told::Everything(hear) => {
                drop(state);
                hear(said);
            }
            Told::Paced { interval, runtime, tell } => {
                let now = stopwatch();
                let rest = state.told_at.map_or(Duration::ZERO, |at| interval.saturating_sub(now - at));
                if rest.is_zero() {
                    state.told_at = Some(now);
                    drop(state);
                    tell();
                } else if !std::mem::replace(&mut state.tells_later, true) {
                    let record = Arc::downgrade(self);
                    runtime.spawn(async move {
                        tokio::time::sleep(rest).await;
                        Self::tell_now(&record);
                    });
                }
            }
        }
    }

    /// The interval is over, within which something was said.
    fn tell_now(record: &Weak<Self>) {
        let Some(record) = record.upgrade() else { return };
        let mut state = record.state();
        state.tells_later = false;
        state.told_at = Some(stopwatch());
        let is_over = state.closed;
        drop(state);
        if let Told::Paced { tell, .. } = &record.told
            && !is_over
        {
            tell();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

impl State {
    fn keep(&mut self, line: LogLine, bounds: LogBounds) {
        self.steps += 1;
        self.line_bytes += line.message.len();
        self.lines.push_back((self.steps, line));
        while self.lines.len() > bounds.lines || self.line_bytes > bounds.bytes {
            let Some((_, oldest)) = self.lines.pop_front() else { break };
            self.line_bytes -= oldest.message.len();
            self.dropped += 1;
        }
    }
}

/// As much of a text as fits, whole letters.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.expect("the start is a boundary")]
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Report")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::clock::ManualClock;

    fn messages(report: &Report) -> Vec<String> {
        report.log_tail().lines.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn the_latest_of_everything_is_at_hand_and_steps_tell_what_is_new() {
        let report = Report::unwatched();
        assert_eq!((report.latest(), report.log_text(), report.worker_name()), (None, None, None));
        report.progress(0.25);
        report.log(Level::Warning, "one\ntwo");
        report.counter("tokens", 3.0);
        report.message("halfway");
        report.worker("pid 7");
        report.log(Level::Info, "three");

        let progress = report.latest().unwrap();
        assert_eq!((progress.fraction, progress.message.as_deref()), (Some(0.25), Some("halfway")));
        assert_eq!(progress.counters["tokens"], 3.0);
        assert_eq!(report.worker_name().as_deref(), Some("pid 7"));
        assert!(report.log_text().unwrap().lines().nth(2).unwrap().ends_with(" info three"));

        let steps = |since| report.news(since).iter().map(News::step).collect::<Vec<_>>();
        assert_eq!(steps(0), [2, 3, 5, 6]);
        assert_eq!(steps(3), [5, 6]);
        assert_eq!(steps(5), [6]);
        assert!(steps(6).is_empty());
    }

    #[test]
    fn everything_is_bounded() {
        let report = Report::unwatched();
        report.progress(f32::NAN);
        assert_eq!(report.latest().unwrap().fraction, Some(0.0));
        report.message(&"é".repeat(MESSAGE_MAX));
        for number in 0..2 * COUNTERS_MAX {
            report.counter(&format!("{number:0100}"), 1.0);
            report.counter(&number.to_string(), 1.0);
        }
        report.counter("0", 2.0);
        report.counter("0", f64::INFINITY);
        let progress = report.latest().unwrap();
        assert_eq!(progress.message.unwrap().len(), MESSAGE_MAX);
        assert_eq!((progress.counters.len(), progress.counters["0"]), (COUNTERS_MAX, 2.0));
        assert!(progress.counters.keys().all(|name| name.len() <= NAME_MAX));

        for number in 0..1000 {
            report.log(Level::Info, &format!("{number}"));
        }
        let tail = report.log_tail();
        assert_eq!((tail.lines.len(), tail.dropped), (200, 800));
        for _ in 0..100 {
            report.log(Level::Info, &"x".repeat(2 * LINE_MAX));
        }
        assert_eq!(messages(&report), vec!["x".repeat(LINE_MAX); 8]);
        assert!(report.weight() < (64 << 10) + 16 * 1024, "{}", report.weight());
    }

    #[test]
    fn after_its_end_nothing_is_taken_and_a_joined_report_is_one_of_each() {
        let all = [Report::unwatched(), Report::unwatched()];
        let joined = Report::joined(&all);
        joined.progress(0.5);
        joined.worker("pid 1");
        all[0].close();
        joined.log(Level::Info, "late");
        assert_eq!(all[0].latest(), all[1].latest());
        assert_eq!(all[0].worker_name(), all[1].worker_name());
        assert_eq!((messages(&all[0]).len(), messages(&all[1]).len()), (0, 1));
    }

    /// Whoever is told reads the latest, so it is enough to be told once after it.
    #[tokio::test]
    async fn it_is_told_at_most_once_an_interval_and_the_latest_is_never_lost() {
        let interval = Duration::from_millis(50);
        let told = Arc::new(AtomicUsize::new(0));
        let tell = {
            let told = told.clone();
            move || {
                told.fetch_add(1, Ordering::SeqCst);
            }
        };
        let clock = Arc::new(ManualClock::new());
        let begun = stopwatch();
        let report = Report::paced(clock, LogBounds::default(), interval, runtime::Handle::current(), tell);
        report.progress(0.0);
        assert_eq!(told.load(Ordering::SeqCst), 1);
        for percent in 1..=100u8 {
            report.progress(f32::from(percent) / 100.0);
        }
        let told_again = async {
            while told.load(Ordering::SeqCst) < 2 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), told_again).await.expect("it is told once more");
        assert!(begun.elapsed() >= interval);
        assert_eq!(report.latest().unwrap().fraction, Some(1.0));
    }
}
