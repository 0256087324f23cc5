//! Every store, opened for a test: a function each, on an empty folder of its own.

use std::path::Path;
use std::sync::Arc;

use ekiben_actors::clock::ManualClock;
use ekiben_actors::store::conformance::{Bench, LEASE};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};

pub fn memory(_: &Path) -> Bench {
    let clock = Arc::new(ManualClock::new());
    let store = MemoryStore::new(MemoryOptions { clock: clock.clone(), lease: LEASE });
    Bench { store: Arc::new(store), clock, reopen: None }
}
