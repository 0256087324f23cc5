//! How a worker ended: the code its attempts get, and the words for it.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::task::FailureCode;

/// Why a worker is no more.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    Exited(i32),
    Signaled(i32),
    OverMemory {
        used: u64,
        limit: u64,
    },
    /// It broke a rule of the protocol; says which.
    Breach(String),
    /// It was told to stop an attempt, or to exit, and had not done so when the grace time was over.
    Stubborn(Duration),
    /// We could not go on with it; says why.
    GivenUp(String),
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Exited(code),
            (None, signal) => Ending::Signaled(signal.unwrap_or_default()),
        }
    }
}

impl Ending {
    pub fn code(&self) -> FailureCode {
        match self {
            Ending::Exited(_) => FailureCode::Exited,
            Ending::Signaled(_) | Ending::Stubborn(_) | Ending::GivenUp(_) => FailureCode::Killed,
            Ending::OverMemory { .. } => FailureCode::OutOfMemory,
            Ending::Breach(_) => FailureCode::Protocol,
        }
    }

    /// Whether the end was our decision, which says nothing of how well its command works.
    pub fn is_ours(&self) -> bool {
        match self {
            Ending::Stubborn(_) | Ending::GivenUp(_) => true,
            Ending::Exited(_) | Ending::Signaled(_) | Ending::OverMemory { .. } | Ending::Breach(_) => false,
        }
    }
}

/// As what a worker did: to be read after "the worker".
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited(code) => write!(f, "exited with status {code}"),
            Ending::Signaled(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "was killed by {signal}"),
                Err(_) => write!(f, "was killed by signal {number}"),
            },
            Ending::OverMemory { used, limit } => {
                write!(
                    f,
                    "was killed: it had {} MiB in memory, and its limit is {} MiB",
                    mebibytes(*used),
                    mebibytes(*limit)
                )
            }
            Ending::Breach(rule) => write!(f, "broke the worker protocol and was killed: {rule}"),
            Ending::Stubborn(grace) => write!(f, "was killed: it had not stopped {grace:?} after it was told to"),
            Ending::GivenUp(why) => write!(f, "was killed: {why}"),
        }
    }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        let limit = 200 << 20;
        let cases = [
            (Ending::from(ExitStatus::from_raw(7 << 8)), "exited with status 7"),
            (Ending::from(ExitStatus::from_raw(9)), "was killed by SIGKILL"),
            (Ending::Signaled(99), "was killed by signal 99"),
            (
                Ending::OverMemory { used: limit + (1 << 20), limit },
                "was killed: it had 201 MiB in memory, and its limit is 200 MiB",
            ),
            (Ending::Stubborn(Duration::from_secs(5)), "was killed: it had not stopped 5s after it was told to"),
        ];
        for (ending, words) in cases {
            assert_eq!(ending.to_string(), words);
        }
    }
}
