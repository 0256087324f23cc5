//! Prints what a command has to say.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Prints a text to stdout. A reader that has seen enough, as `head` does, is no failure.
pub fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ekiben: cannot write to stdout: {error}");
            ExitCode::FAILURE
        }
    }
}
