//! The actor system of Ekiben: a durable task queue to embed in an actix application.

mod alarm;
pub mod body;
pub mod clock;
pub mod endpoint;
pub mod executor;
pub mod journal;
pub mod lifecycle;
pub mod limits;
pub mod measure;
pub mod registry;
pub mod spool;
pub mod store;
pub mod supervisor;
pub mod system;
pub mod task;
pub mod task_actor;
mod turns;
