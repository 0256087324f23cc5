//! Ekiben, the web service: HTTP in, messages to the actor system out.
//!
//! No rule about tasks lives here; those are in `ekiben_actors`. This package reads the settings, sets up the log,
//! opens the store, starts the actors and answers HTTP.

pub mod cli;
pub mod config;
pub mod demo;
pub mod metrics;
pub mod serve;
pub mod telemetry;
