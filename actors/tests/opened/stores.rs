//! Every store, opened for a test: a function each, on an empty folder of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ekiben_actors::clock::ManualClock;
use ekiben_actors::store::Store;
use ekiben_actors::store::conformance::{Bench, LEASE};
use ekiben_actors::store::embedded::{EmbeddedOptions, EmbeddedStore};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};

pub fn memory(_: &Path) -> Bench {
    let clock = Arc::new(ManualClock::new());
    let store = MemoryStore::new(MemoryOptions { lease: LEASE, ..MemoryOptions::new(clock.clone()) });
    Bench { store: Arc::new(store), clock, reopen: None }
}

/// Bodies over a hundred bytes already go to files here, so that both ways are walked.
pub fn embedded(folder: &Path) -> Bench {
    let clock = Arc::new(ManualClock::new());
    let open = {
        let (folder, clock): (PathBuf, _) = (folder.to_owned(), clock.clone());
        move || -> Arc<dyn Store> {
            let options = EmbeddedOptions { lease: LEASE, inline_max: 100, ..EmbeddedOptions::new(clock.clone()) };
            Arc::new(EmbeddedStore::open(&folder, options).expect("the folder is ours alone"))
        }
    };
    let store = open();
    let last = Arc::new(Mutex::new(Arc::downgrade(&store)));
    let reopen = move || -> futures::future::BoxFuture<'static, Arc<dyn Store>> {
        let (open, last) = (open.clone(), last.clone());
        Box::pin(async move {
            // The case has let go of the store before; its threads end with it, and then the folder is free.
            assert_eq!(last.lock().unwrap().strong_count(), 0, "the store before is still held");
            let store = open();
            *last.lock().unwrap() = Arc::downgrade(&store);
            store
        })
    };
    Bench { store, clock, reopen: Some(Arc::new(reopen)) }
}
