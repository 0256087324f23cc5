//! Serves until it is told to stop. A placeholder: the wiring is written elsewhere.

use std::process::ExitCode;

use crate::config::Config;

/// Serves by the settings until a signal comes; the code is that of the process.
pub fn run(config: Config) -> ExitCode {
    tracing::error!(listen = %config.http.listen, "serving is not built in yet");
    ExitCode::FAILURE
}
