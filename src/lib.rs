//! Ekiben, the web service: HTTP in, messages to the actor system out.
//!
//! No rule about tasks lives here; those are in `ekiben_actors`. This package reads the settings, sets up the log,
//! opens the store, starts the actors and answers HTTP.
//!
//! - [`cli`]: the commands of the binary.
//! - [`config`]: settings, from four layers to one typed tree.
//! - [`telemetry`]: where log lines go.
//! - [`serve`]: from settings to a service that runs, and back to nothing.

pub mod cli;
pub mod config;
pub mod serve;
pub mod telemetry;
