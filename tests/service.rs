//! The service as its users meet it: the real binary on a free port, driven over HTTP and by signals.

#[allow(dead_code, reason = "the harness is whole; not every verb has a user at all times")]
#[path = "service/harness.rs"]
mod harness;
#[allow(dead_code, reason = "the harness is whole; not every verb has a user at all times")]
#[path = "service/program.rs"]
mod program;
#[path = "service/python.rs"]
mod python;
#[path = "service/venv.rs"]
mod venv;
