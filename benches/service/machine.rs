//! What the machine says: its kind, its time, and the processor time of processes. Linux only; elsewhere unknown.

use std::fs;
use std::thread;

use ekiben_actors::clock::{Clock, SystemClock};

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
    read_cpu_seconds(process).unwrap_or(f64::NAN)
}

fn read_cpu_seconds(process: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name comes second, in parentheses, and may hold anything; what follows it does not.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let ticks = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().ok());
    Some(ticks.sum::<Option<f64>>()? / TICKS_PER_SECOND)
}
