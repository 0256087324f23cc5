//! How a task fails: a closed list of kinds, and what is told of each case.

use std::fmt;

/// What kind of failure ended an attempt: a closed list that clients and alerts can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureCode {
    /// The executor's own code said so.
    Failed,
    /// The input is not what the endpoint takes.
    BadInput,
    /// The run took longer than its `timeout`, the task's own or its endpoint's.
    Timeout,
    /// The executor's code panicked.
    Panic,
    /// Each attempt ended with the process that ran it, until the crash budget was spent.
    Lost,
    /// The upstream could not be reached, or hung up before it answered.
    Unreachable,
    /// The upstream answered 400 to 499.
    Upstream4xx,
    /// The upstream answered 500 or more.
    Upstream5xx,
    /// The upstream's answer was cut, could not be decoded, or was a redirect.
    BadOutput,
    /// The output was over the limit.
    TooLarge,
    /// The upstream had no room for the task each time it was asked, until the put-backs were spent.
    Saturated,
    /// The worker process ended by itself, each time, until the crash budget was spent.
    Exited,
    /// A signal ended the worker process, each time, until the crash budget was spent.
    Killed,
    /// The worker went over its memory limit, each time, until the crash budget was spent, or its code said that
    /// memory had run out.
    OutOfMemory,
    /// The worker broke the rules of the worker protocol, each time, until the crash budget was spent.
    Protocol,
    /// It had not started when its `queue_ttl` was over: it was canceled.
    Expired,
    /// It had not ended when its `deadline` was over.
    Deadline,
}

impl FailureCode {
    pub const ALL: [FailureCode; 17] = [
        FailureCode::Failed,
        FailureCode::BadInput,
        FailureCode::Timeout,
        FailureCode::Panic,
        FailureCode::Lost,
        FailureCode::Unreachable,
        FailureCode::Upstream4xx,
        FailureCode::Upstream5xx,
        FailureCode::BadOutput,
        FailureCode::TooLarge,
        FailureCode::Saturated,
        FailureCode::Exited,
        FailureCode::Killed,
        FailureCode::OutOfMemory,
        FailureCode::Protocol,
        FailureCode::Expired,
        FailureCode::Deadline,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            FailureCode::Failed => "failed",
            FailureCode::BadInput => "bad_input",
            FailureCode::Timeout => "timeout",
            FailureCode::Panic => "panic",
            FailureCode::Lost => "lost",
            FailureCode::Unreachable => "unreachable",
            FailureCode::Upstream4xx => "upstream_4xx",
            FailureCode::Upstream5xx => "upstream_5xx",
            FailureCode::BadOutput => "bad_output",
            FailureCode::TooLarge => "too_large",
            FailureCode::Saturated => "saturated",
            FailureCode::Exited => "exited",
            FailureCode::Killed => "killed",
            FailureCode::OutOfMemory => "out_of_memory",
            FailureCode::Protocol => "protocol",
            FailureCode::Expired => "expired",
            FailureCode::Deadline => "deadline",
        }
    }

    /// Whether the same input may well succeed another time: what failed was around the task, not in it.
    pub fn is_retryable(self) -> bool {
        match self {
            FailureCode::Timeout
            | FailureCode::Lost
            | FailureCode::Unreachable
            | FailureCode::Upstream5xx
            | FailureCode::Saturated
            | FailureCode::Exited
            | FailureCode::Killed
            | FailureCode::OutOfMemory
            | FailureCode::Protocol => true,
            FailureCode::Failed
            | FailureCode::BadInput
            | FailureCode::Panic
            | FailureCode::Upstream4xx
            | FailureCode::BadOutput
            | FailureCode::TooLarge
            | FailureCode::Expired
            | FailureCode::Deadline => false,
        }
    }

    /// The code a word stands for; `None` for a word that is not one of ours.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a task failed: data on the task, not an error of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: FailureCode,
    /// One line for a person, at most [`Failure::MESSAGE_MAX`] bytes.
    pub message: String,
    /// The last lines of the log of what ran the task, where it has one; at most [`Failure::LOG_MAX`] bytes.
    pub log: Option<String>,
}

impl Failure {
    /// The most bytes of a message; what is over is cut.
    pub const MESSAGE_MAX: usize = 1024;
    /// The most bytes of a log; of a longer one the end is kept.
    pub const LOG_MAX: usize = 4096;

    /// Keeps the message on one line and within its bound.
    pub fn new(code: FailureCode, message: impl AsRef<str>) -> Self {
        let mut message: String = message.as_ref().trim().replace(['\r', '\n'], " ");
        if message.len() > Self::MESSAGE_MAX {
            let most = Self::MESSAGE_MAX - '…'.len_utf8();
            let cut = (0..=most).rev().find(|cut| message.is_char_boundary(*cut)).expect("0 is a boundary");
            message.truncate(cut);
            message.push('…');
        }
        Self { code, message, log: None }
    }

    /// Adds to the message.
    pub fn and_also(self, more: &str) -> Self {
        Self { log: self.log, ..Self::new(self.code, format!("{}; {more}", self.message)) }
    }

    /// Keeps the end of a log with the failure; an empty log is none.
    pub fn with_log(self, log: &str) -> Self {
        let log = log.trim_end();
        let from = log.len().saturating_sub(Self::LOG_MAX);
        let from = (from..=log.len()).find(|from| log.is_char_boundary(*from)).expect("the end is a boundary");
        let tail = &log[from..];
        Self { log: (!tail.is_empty()).then(|| tail.to_owned()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_message_stays_on_one_line_and_within_its_bound() {
        let failure = Failure::new(FailureCode::Failed, format!("a\r\nb{}", "é".repeat(2000)));
        assert!(failure.message.starts_with("a  bé") && failure.message.ends_with('…'));
        assert!(failure.message.len() <= Failure::MESSAGE_MAX);
    }

    #[test]
    fn of_a_long_log_the_end_is_kept() {
        let failure = Failure::new(FailureCode::Exited, "died");
        let log = failure.clone().with_log(&format!("{}end\n", "é".repeat(Failure::LOG_MAX))).log.unwrap();
        assert!(log.ends_with("éend") && log.len() <= Failure::LOG_MAX, "{}", log.len());
        assert_eq!(failure.with_log("\n").log, None);
    }

    #[test]
    fn every_failure_code_is_found_by_its_word() {
        for code in FailureCode::ALL {
            assert_eq!(FailureCode::from_word(code.as_str()), Some(code));
        }
    }
}
