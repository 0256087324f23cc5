//! Every promise of a store, held against every store: `memory::a_stale_fence_cannot_settle`.

use std::path::Path;
use std::sync::Arc;

use ekiben_actors::store::conformance::{Bench, Case, cases, durable_cases};
use ekiben_actors::store::faulty::{FaultPlan, FaultyStore};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime;

#[path = "opened/stores.rs"]
mod opened;

/// A store under test, and whether its data outlives it.
struct Candidate {
    name: &'static str,
    open: fn(&Path) -> Bench,
    durable: bool,
}

const CANDIDATES: &[Candidate] = &[
    Candidate { name: "memory", open: opened::memory, durable: false },
    Candidate { name: "embedded", open: opened::embedded, durable: true },
    Candidate { name: "faulty", open: well_behaved, durable: false },
];

fn main() {
    let mut trials = Vec::new();
    for candidate in CANDIDATES {
        let durable = if candidate.durable { durable_cases() } else { Vec::new() };
        for case in [cases(), durable].concat() {
            trials.push(Trial::test(format!("{}::{}", candidate.name, case.name), move || {
                run(case, candidate.open);
                Ok(())
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn run(case: Case, open: fn(&Path) -> Bench) {
    let folder = tempfile::tempdir().expect("a test may create a folder");
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async { (case.run)(open(folder.path())).await });
}

/// A faulty store with its faults off is as good as the one it wraps.
fn well_behaved(folder: &Path) -> Bench {
    let bench = opened::memory(folder);
    let faulty = FaultyStore::new(bench.store, FaultPlan { seed: 0, one_in: 1 });
    faulty.behave();
    Bench { store: Arc::new(faulty), ..bench }
}
