//! The HTTP side as clients see it: every row of the contract with BentoML's clients, and clients that misbehave.
//!
//! A real server on a free port, a system on the memory store, endpoints that are functions of this process.

#[path = "routes/bodies.rs"]
mod bodies;
#[path = "routes/fetching.rs"]
mod fetching;
#[path = "routes/harness.rs"]
mod harness;
#[path = "routes/listing.rs"]
mod listing;
#[path = "routes/live.rs"]
mod live;
#[path = "routes/native.rs"]
mod native;
#[path = "routes/openapi.rs"]
mod openapi;
#[path = "routes/paths.rs"]
mod paths;
#[path = "routes/service.rs"]
mod service;
#[path = "support/sse.rs"]
mod sse;
#[path = "routes/submitting.rs"]
mod submitting;
#[path = "routes/tasks.rs"]
mod tasks;
