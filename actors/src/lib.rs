//! The actor system of Ekiben: a durable task queue to embed in an actix application.

pub mod body;
pub mod clock;
pub mod executor;
pub mod lifecycle;
pub mod measure;
pub mod spool;
pub mod store;
pub mod task;
