//! How much memory a worker has, its descendants counted in.
//!
//! It is the sum of the resident sets of its process group, so that pages which a worker shares with its children are
//! counted once for each. Read from `/proc`; where there is none, as on macOS, no worker is ever over its limit.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The bytes that each of these process groups has in memory. Blocks while it reads.
pub fn resident(groups: &[i32]) -> HashMap<i32, u64> {
    let mut resident = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let is_a_process = process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        // A process may end while it is looked at.
        if is_a_process
            && let Some(group) = group(&process.path()).filter(|group| groups.contains(group))
            && let Some(bytes) = resident_set(&process.path())
        {
            *resident.entry(group).or_default() += bytes;
        }
    }
    resident
}

/// The process group of a process. Its name comes before it in brackets, and may have brackets of its own.
fn group(process: &Path) -> Option<i32> {
    let stat = fs::read(process.join("stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let after_name = String::from_utf8_lossy(&stat[after_name..]);
    let mut state_parent_group = after_name.split_ascii_whitespace();
    state_parent_group.nth(2)?.parse().ok()
}

fn resident_set(process: &Path) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn our_own_group_has_memory_and_a_strange_one_none() {
        let own = group(Path::new("/proc/self")).unwrap();
        let resident = resident(&[own, -7]);
        assert!(resident[&own] > 1024 * 1024, "{resident:?}");
        assert_eq!(resident.get(&-7), None);
    }
}
