//! The same random steps against the memory store and against another: every answer must be the same.
//!
//! A failure shows the seed and the fewest steps found that still tell the stores apart. To play a seed
//! again: `EKIBEN_MODEL_SEED=… cargo test --test model`.

use std::path::Path;

use ekiben_actors::store::conformance::Bench;
use ekiben_actors::task::TaskId;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestCaseResult, TestRunner};
use tokio::runtime;

use world::World;

#[path = "opened/stores.rs"]
mod opened;
#[path = "model/steps.rs"]
mod steps;
#[path = "model/world.rs"]
mod world;

#[test]
fn one_memory_store_answers_as_another() {
    compare_with_memory(opened::memory, 300);
}

#[test]
fn the_embedded_store_answers_as_the_memory_store() {
    compare_with_memory(opened::embedded, 60);
}

/// Plays that many random sequences of steps against the memory store and another, opened by `open`.
fn compare_with_memory(open: fn(&Path) -> Bench, sequences: u32) {
    let seed = seed();
    let config =
        Config { cases: sequences, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    let played = TestRunner::new(config).run(&steps::sequence(), |steps| play(open, &steps));
    if let Err(difference) = played {
        panic!("the stores differ, with EKIBEN_MODEL_SEED={seed}: {difference}");
    }
}

fn seed() -> u64 {
    match std::env::var("EKIBEN_MODEL_SEED") {
        Ok(given) => given.parse().expect("EKIBEN_MODEL_SEED is a number"),
        Err(_) => {
            let random = TaskId::generate();
            u64::from_le_bytes(random.as_bytes()[8..].try_into().expect("an id has sixteen bytes"))
        }
    }
}

fn play(open: fn(&Path) -> Bench, steps: &[steps::Step]) -> TestCaseResult {
    let folder = tempfile::tempdir().expect("a test may create a folder");
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let mut reference = opened::memory(folder.path());
        let mut other = open(folder.path());
        let mut world = World::default();
        for (number, step) in steps.iter().enumerate() {
            let expected;
            let seen;
            (reference, expected) = world.take(step, reference).await;
            (other, seen) = world.take(step, other).await;
            if expected != seen {
                let difference = format!("step {number}, {step:?}: memory says {expected:#?}, the other {seen:#?}");
                return Err(TestCaseError::fail(difference));
            }
            world.learn(&expected);
        }
        Ok(())
    })
}
