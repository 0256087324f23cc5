//! What a table must say of the machine it was made on: what it is, and when. Kind and kernel are known on Linux only.

use std::fs;
use std::thread;

use ekiben_actors::clock::{Clock, SystemClock};

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
