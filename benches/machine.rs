//! What a table must say of the machine it was made on: what it is, when, and whether it had something else to do.
//! Known on Linux only.

use std::fs;
use std::thread;
use std::time::Instant;

use ekiben_actors::clock::{Clock, SystemClock, stopwatch};

/// Linux tells programs of processor time in hundredths of a second, whatever it counts in itself.
const TICKS_PER_SECOND: f64 = 100.0;

/// Threads that can run at one time.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// One line on where and when a table was made.
pub fn description() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = SystemClock.now().format("%Y-%m-%d %H:%M UTC");
    format!("{model}, {} cores, {} {}, {date}", cores(), std::env::consts::OS, kernel.trim())
}

/// Seconds of processor time a process has used, its ended threads included; `process` is an id or `self`.
pub fn cpu_seconds(process: &str) -> f64 {
    process_seconds(process, 0).unwrap_or(f64::NAN)
}

/// `first` 0 is the process's own time, 2 that of its children that have been waited for.
fn process_seconds(process: &str, first: usize) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name comes second, in parentheses, and may hold anything; what follows it does not.
    let (_, after_name) = stat.rsplit_once(") ")?;
    seconds(after_name.split(' ').skip(11 + first).take(2))
}

/// What all processors together have been busy with, what a host took from them included.
fn machine_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let columns: Vec<&str> = stat.lines().next()?.split_whitespace().skip(1).collect();
    let (&[user, nice, system, _idle, _waiting, hard_interrupts, soft_interrupts, stolen], _) =
        columns.split_first_chunk()?;
    seconds([user, nice, system, hard_interrupts, soft_interrupts, stolen].into_iter())
}

fn seconds<'a>(ticks: impl Iterator<Item = &'a str>) -> Option<f64> {
    let ticks: Option<f64> = ticks.map(|field| field.parse::<f64>().ok()).sum();
    Some(ticks? / TICKS_PER_SECOND)
}

/// Sees how much of the machine went to others while something was measured.
pub struct Bystander {
    began: Instant,
    others: f64,
}

impl Bystander {
    pub fn begin() -> Self {
        Self { began: stopwatch(), others: others_seconds() }
    }

    /// To be asked when every child has ended and was waited for.
    pub fn report(&self) -> String {
        let others = (others_seconds() - self.others) / self.began.elapsed().as_secs_f64();
        // The two sums are sampled apart, so that nothing may come out as a little less than nothing.
        let others = others.max(0.0);
        format!("Everything else on the machine took {others:.1} of {} cores meanwhile.", cores())
    }
}

/// Processor time that neither this process nor its children had.
fn others_seconds() -> f64 {
    let children = process_seconds("self", 2).unwrap_or(f64::NAN);
    machine_seconds().unwrap_or(f64::NAN) - cpu_seconds("self") - children
}
