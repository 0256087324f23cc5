//! Shows how far a run is: a bar on a terminal, a line now and then elsewhere; always on stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use ekiben_actors::clock::stopwatch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::gate::Trouble;
use super::pace::{Pace, show_left, show_rate, thousands};
use super::results::Tally;

/// How often the bar is drawn.
pub const TICK: Duration = Duration::from_millis(250);

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows one run.
pub struct Progress {
    way: Way,
    started: Instant,
    pace: Pace,
    /// When the last line was written.
    told: Instant,
    /// Whether it was told already that nothing gets through.
    told_trouble: bool,
}

enum Way {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

/// What is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    answered: u64,
    failed: u64,
    /// `None` until the input was counted.
    lines: Option<u64>,
    trouble: Option<&'a Trouble>,
}

impl<'a> Standing<'a> {
    pub fn of(tally: &Tally, lines: Option<u64>, trouble: Option<&'a Trouble>) -> Self {
        Self { answered: tally.answered, failed: tally.failed(), lines, trouble }
    }
}

impl Progress {
    /// Begins; a quiet one shows nothing.
    pub fn new(label: &str, is_quiet: bool) -> Self {
        let way = match is_quiet {
            true => Way::Nothing,
            false if std::io::stderr().is_terminal() => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                bar.set_prefix(label.to_owned());
                bar.set_style(style(false));
                Way::Bar(bar)
            }
            false => Way::Lines,
        };
        Self { way, started: stopwatch(), pace: Pace::default(), told: stopwatch(), told_trouble: false }
    }

    /// Shows how things stand.
    pub fn show(&mut self, standing: Standing<'_>) {
        self.pace.note(self.started.elapsed(), standing.answered);
        match &self.way {
            Way::Bar(bar) => {
                if let (Some(lines), None) = (standing.lines, bar.length()) {
                    bar.set_length(lines);
                    bar.set_style(style(true));
                }
                bar.set_position(standing.answered);
                bar.set_message(message(standing, &self.pace));
                bar.tick();
            }
            Way::Lines => {
                let is_news = standing.trouble.is_some() != self.told_trouble;
                if is_news || self.told.elapsed() >= LINE_EVERY {
                    self.told = stopwatch();
                    self.told_trouble = standing.trouble.is_some();
                    eprintln!("ekiben: {}", line(standing, &self.pace));
                }
            }
            Way::Nothing => {}
        }
    }

    /// Leaves the bar as it stands, so that what is written next goes below it.
    pub fn end(&mut self, standing: Standing<'_>) {
        self.show(standing);
        if let Way::Bar(bar) = &self.way {
            bar.abandon();
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

fn style(is_counted: bool) -> ProgressStyle {
    let template = if is_counted {
        "{prefix} {bar:24.cyan} {human_pos} of {human_len} ({percent} %)  {msg}"
    } else {
        "{prefix} {spinner} {human_pos}  {msg}"
    };
    ProgressStyle::with_template(template).expect("the template is right").progress_chars("━╸─")
}

/// What stands beside the bar.
fn message(standing: Standing<'_>, pace: &Pace) -> String {
    if let Some(trouble) = standing.trouble {
        return format!("{} ({})", trouble.why, show_left(trouble.lasts()));
    }
    let mut parts = Vec::new();
    if let Some(rate) = pace.rate() {
        parts.push(show_rate(rate));
    }
    parts.push(format!("{} failed", thousands(standing.failed)));
    let left = standing.lines.map(|lines| lines.saturating_sub(standing.answered)).filter(|left| *left > 0);
    let left = left.and_then(|left| pace.time_for(left));
    if let Some(left) = left {
        parts.push(format!("{} left", show_left(left)));
    }
    parts.join("  ")
}

fn line(standing: Standing<'_>, pace: &Pace) -> String {
    let answered = thousands(standing.answered);
    let so_far = match standing.lines {
        Some(lines) if lines > 0 => {
            format!("{answered} of {} answered ({} %)", thousands(lines), standing.answered * 100 / lines)
        }
        _ => format!("{answered} answered"),
    };
    format!("{so_far}, {}", message(standing, pace).replace("  ", ", "))
}
