//! Ekiben, the web service: HTTP in, messages to the actor system out.
//!
//! No rule about tasks lives here; those are in `ekiben_actors`. This package reads the settings, sets up the log,
//! opens the store, starts the actors and answers HTTP.
//!
//! - [`cli`]: the commands of the binary; [`config`]: settings, from four layers to one typed tree.
//! - [`serve`]: from settings to a service that runs, and back to nothing; [`telemetry`]: where log lines go.
//! - [`routes`]: the URL map; [`app`]: what its handlers share; [`intake`]: request bodies on their way in;
//!   `submission`: what a submission asks for; `digest`, `gates`: its input's digest, and how many at a time;
//!   [`wire`] and [`error`]: answers and refusals as clients read them, on the native API `task_json` and `problem`;
//!   [`traffic`]: what watches every request.
//! - `executors`: settings made into what runs the work; `bentoml`: keeps up with the BentoML services behind us.
//! - [`metrics`]: what `/metrics` tells; [`demo`]: two endpoints to try it all with.

pub mod app;
mod bentoml;
pub mod cli;
pub mod config;
pub mod demo;
mod digest;
pub mod error;
mod executors;
mod gates;
pub mod intake;
pub mod metrics;
mod problem;
pub mod routes;
pub mod serve;
mod submission;
mod task_json;
pub mod telemetry;
pub mod traffic;
pub mod wire;
