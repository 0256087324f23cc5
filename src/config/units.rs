//! Times and sizes as people write them.

use std::fmt;
use std::time::Duration;

/// Reads a time such as "30s" or "1h 30m".
pub fn parse_time(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// Shows a time as `parse_time` reads it, in whole hours, minutes or seconds where it is that.
pub fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    if time.is_zero() || time.subsec_nanos() != 0 || seconds > 7 * 86_400 {
        return humantime::format_duration(time).to_string();
    }
    match (seconds % 3600, seconds % 60) {
        (0, _) => format!("{}h", seconds / 3600),
        (_, 0) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// The units of sizes: those of a thousand as disks are sold, those of 1024 as memory is.
const UNITS: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1000),
    ("mb", 1000_u64.pow(2)),
    ("gb", 1000_u64.pow(3)),
    ("tb", 1000_u64.pow(4)),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Reads a size such as "64KiB", "1 GB" or "1048576" (bytes), in any case.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits_end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let number: u64 = digits.replace('_', "").parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    if unit.is_empty() {
        return Some(number);
    }
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*bytes)
}

/// A number of bytes, shown in the largest unit that leaves it whole.
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let whole = SHOWN.iter().find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes));
        match whole {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_thousands_in_powers_of_two_and_in_plain_bytes() {
        let read = [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("1_000", Some(1000)),
            ("64KiB", Some(64 << 10)),
            ("64 kib", Some(64 << 10)),
            ("10MiB", Some(10 << 20)),
            ("1GB", Some(1_000_000_000)),
            ("7B", Some(7)),
            ("16777216TiB", None),
            ("12 parsecs", None),
            ("-1", None),
            ("1.5GiB", None),
            ("MiB", None),
            ("", None),
        ];
        for (text, expected) in read {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_whole() {
        assert_eq!(Size(64 << 10).to_string(), "64KiB");
        assert_eq!(Size(1 << 30).to_string(), "1GiB");
        assert_eq!(Size(1000).to_string(), "1000 bytes");
        assert_eq!(Size(0).to_string(), "0 bytes");
    }

    #[test]
    fn a_time_is_shown_as_it_would_be_written() {
        for text in ["24h", "90m", "30s", "1h", "500ms", "0s", "100years"] {
            let time = parse_time(text).unwrap();
            assert_eq!(show_time(time), text);
        }
        assert_eq!(parse_time("12 parsecs"), None);
    }
}
