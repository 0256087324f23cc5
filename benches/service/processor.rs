//! How much processor time a process has used. Known on Linux only.

use std::fs;

/// Linux tells programs of processor time in hundredths of a second, whatever it counts in itself.
const TICKS_PER_SECOND: f64 = 100.0;

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
