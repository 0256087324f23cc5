//! The table: medians over the rounds, in the form the README shows.

use crate::machine;
use crate::rounds::{CONNECTIONS, Plan, Row, Sample};

/// Prints what was measured and how.
pub fn print(plan: &Plan, samples: &[Sample]) {
    let Plan { rounds, seconds } = plan;
    println!("{}", machine::description());
    println!(
        "{rounds} rounds of {seconds} s a workload, medians; load from another process on the same cores; SQLite,"
    );
    println!("synced before each answer; the log (at info where not said otherwise) is written to the null device\n");
    println!(
        "| {:<36} | connections | a second | (least to most) | of the echo | p50 ms | p99 ms | server CPU µs | load cores |",
        "workload"
    );
    println!(
        "|{:-<38}|------------:|---------:|----------------:|------------:|-------:|-------:|--------------:|-----------:|",
        ""
    );
    for row in Row::ALL {
        for connections in CONNECTIONS {
            print_line(samples, row, connections);
        }
    }
    if cfg!(debug_assertions) {
        println!("\nThis was not a release build: the numbers say little.");
    }
}

fn print_line(samples: &[Sample], row: Row, connections: usize) {
    let of_row = |row: Row| samples.iter().filter(move |sample| sample.row == row && sample.connections == connections);
    let rates = sorted(of_row(row).map(|sample| sample.per_second));
    let (Some(least), Some(most)) = (rates.first(), rates.last()) else { return };
    // Each round against its own echo: a slow minute of the machine slows both.
    let ratios = of_row(row).filter_map(|sample| {
        let echo = of_row(Row::Echo).find(|echo| echo.round == sample.round)?;
        Some(sample.per_second / echo.per_second)
    });
    let millis = |part: fn(&Sample) -> Option<f64>| match median(of_row(row).filter_map(part)) {
        Some(seconds) => format!("{:.2}", seconds * 1e3),
        None => "–".to_owned(),
    };
    println!(
        "| {:<36} | {connections:>11} | {:>8.0} | {:>15} | {:>11.2} | {:>6} | {:>6} | {:>13.1} | {:>10.2} |",
        row.title(),
        median(of_row(row).map(|sample| sample.per_second)).unwrap_or(f64::NAN),
        format!("{least:.0} to {most:.0}"),
        median(ratios).unwrap_or(f64::NAN),
        millis(|sample| Some(sample.latency?.p50_seconds)),
        millis(|sample| Some(sample.latency?.p99_seconds)),
        median(of_row(row).map(|sample| sample.cpu_seconds)).unwrap_or(f64::NAN) * 1e6,
        median(of_row(row).map(|sample| sample.load_cores)).unwrap_or(f64::NAN),
    );
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values = sorted(values);
    let (low, high) = (values.get(values.len().saturating_sub(1) / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}
