//! The service as its users meet it: the real binary on a free port, driven over HTTP and by signals.

#[path = "service/bentoml.rs"]
mod bentoml;
#[path = "service/client.rs"]
mod client;
#[path = "service/crash.rs"]
mod crash;
#[path = "service/demo.rs"]
mod demo;
#[allow(dead_code, reason = "the harness is whole; not every verb has a user at all times")]
#[path = "service/harness.rs"]
mod harness;
#[path = "service/hostile.rs"]
mod hostile;
#[path = "service/model_servers.rs"]
mod model_servers;
#[path = "service/observing.rs"]
mod observing;
#[cfg(feature = "onnx")]
#[path = "service/onnx.rs"]
mod onnx;
#[path = "service/openapi.rs"]
mod openapi;
#[allow(dead_code, reason = "the harness is whole; not every verb has a user at all times")]
#[path = "service/program.rs"]
mod program;
#[path = "service/python.rs"]
mod python;
#[path = "service/quick_starts.rs"]
mod quick_starts;
#[path = "service/racing.rs"]
mod racing;
#[path = "service/refusing.rs"]
mod refusing;
#[path = "service/retrying.rs"]
mod retrying;
#[path = "service/schema_changes.rs"]
mod schema_changes;
#[allow(dead_code, reason = "what an event says is looked at elsewhere")]
#[path = "support/sse.rs"]
mod sse;
#[path = "service/stopping.rs"]
mod stopping;
#[path = "service/upstream.rs"]
mod upstream;
#[path = "service/venv.rs"]
mod venv;
#[path = "service/watching.rs"]
mod watching;
#[path = "service/workers.rs"]
mod workers;
#[path = "service/yielding.rs"]
mod yielding;
