#![doc = include_str!("../ARCHITECTURE.md")]

mod alarm;
pub mod body;
pub mod clock;
pub mod endpoint;
pub mod events;
pub mod executor;
pub mod follower;
pub mod journal;
pub mod lifecycle;
pub mod limits;
pub mod measure;
pub mod prelude;
mod rate;
pub mod registry;
pub mod spool;
pub mod store;
pub mod supervisor;
pub mod system;
pub mod task;
pub mod task_actor;
mod turns;

/// The README's code is compiled with the tests.
#[cfg(all(doctest, feature = "embedded"))]
#[doc = include_str!("../README.md")]
struct Readme;
