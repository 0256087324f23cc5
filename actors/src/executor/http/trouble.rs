//! What is made of a request that got no usable answer.
//!
//! An upstream that cannot be reached is away: the task is put back. One that hangs up in the middle may have been
//! taken down by the task, so that counts as a crash of it; a kept connection that was being closed as we wrote to
//! it (RFC 9112, 9.3.1) looks the same, and costs the task one crash at most by rare chance.
//!
//! Messages name the upstream's host and the root of what went wrong, never its URL.

use std::error::Error;
use std::iter::successors;

use reqwest::StatusCode;

use super::Upstream;
use crate::task::{Failure, FailureCode, Outcome};

impl Upstream {
    /// No answer began.
    pub fn unanswered(&self, error: reqwest::Error) -> Outcome {
        let (host, error) = (&self.host, error.without_url());
        if error.is_connect() {
            let why = match error.is_timeout() {
                true => format!("no connection within {:?}", self.connect_timeout),
                false => root(&error),
            };
            let failure = Failure::new(FailureCode::Unreachable, format!("{host} could not be reached: {why}"));
            return Outcome::PutBack { failure, retry_after: None };
        }
        match find::<hyper::Error>(&error) {
            Some(error) if error.is_user() => {
                let message = format!("the input could not be read while it was sent to {host}: {}", root(error));
                Outcome::explained(FailureCode::Failed, StatusCode::INTERNAL_SERVER_ERROR.as_u16(), message)
            }
            Some(error) if error.is_parse() => {
                let message = format!("{host} answered what is not HTTP: {}", root(error));
                Outcome::explained(FailureCode::BadOutput, StatusCode::BAD_GATEWAY.as_u16(), message)
            }
            _ => {
                let message = format!("{host} hung up before it answered: {}", root(&error));
                Outcome::Crashed(Failure::new(FailureCode::Unreachable, message))
            }
        }
    }

    /// An answer began and did not come to its end, or could not be decoded.
    pub fn cut(&self, error: &reqwest::Error) -> Outcome {
        let message = format!("the answer of {} did not come through: {}", self.host, root(error));
        Outcome::explained(FailureCode::BadOutput, StatusCode::BAD_GATEWAY.as_u16(), message)
    }
}

/// The first error of a kind in a chain of causes.
fn find<'a, Wanted: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a Wanted> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// What the last cause in a chain says; the ones before it only say that something failed.
pub fn root(error: &(dyn Error + 'static)) -> String {
    causes(error).last().expect("the error itself is there").to_string()
}

/// The error itself and what is behind it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |cause| (*cause).source())
}
