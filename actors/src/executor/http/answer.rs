//! What is made of an upstream's answer: a result, a failure to replay, or an answer nobody can use.
//!
//! A failed answer is replayed with its own status where clients can read that: BentoML's look the number up
//! in Python's `http.HTTPStatus` and break on any other.

use std::time::Duration;

use reqwest::header::{
    CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, HeaderMap,
    HeaderName, LAST_MODIFIED, LOCATION, RETRY_AFTER, SET_COOKIE,
};
use reqwest::{Response, StatusCode, Url};

use super::request::is_hop_by_hop;
use super::{HttpError, Upstream};
use crate::body::Body;
use crate::clock::{Clock, SystemClock};
use crate::executor::Outputs;
use crate::spool::SpoolError;
use crate::task::{Failure, FailureCode, Headers, Outcome, Output};

const ALWAYS_KEPT: [HeaderName; 5] = [CONTENT_TYPE, CONTENT_DISPOSITION, CONTENT_LANGUAGE, ETAG, LAST_MODIFIED];

/// The headers that are always kept and those asked for, or why one of these cannot be.
pub fn headers_to_keep(asked_for: &[String]) -> Result<Vec<HeaderName>, HttpError> {
    let mut keep = ALWAYS_KEPT.to_vec();
    for name in asked_for {
        let refuse = |reason| HttpError::BadKeepHeader { name: name.clone(), reason };
        let name = HeaderName::try_from(name).map_err(|_| refuse("it is not the name of a header"))?;
        if name == SET_COOKIE {
            return Err(refuse("a cookie is for the one who asked the upstream, which is us"));
        }
        if is_hop_by_hop(&name) || name == CONTENT_LENGTH || name == CONTENT_ENCODING {
            return Err(refuse("it is about how an answer travels, and is said anew when the output is fetched"));
        }
        if !keep.contains(&name) {
            keep.push(name);
        }
    }
    Ok(keep)
}

impl Upstream {
    /// Takes the answer in and judges it.
    pub async fn outcome(&self, response: Response, outputs: &Outputs) -> Outcome {
        let status = response.status();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return self.saturated(&response);
        }
        if status.is_redirection() {
            return self.redirected(&response);
        }
        if let Some(coding) = unknown_coding(response.headers()) {
            let message = format!("{} answered in the content encoding {coding:?}, which cannot be decoded", self.host);
            return Outcome::explained(FailureCode::BadOutput, StatusCode::BAD_GATEWAY.as_u16(), message);
        }
        let headers = self.kept(response.headers());
        let asked = retry_after(response.headers());
        let body = match self.taken_in(response, outputs).await {
            Ok(body) => body,
            Err(unusable) => return unusable,
        };
        self.judged(status, headers, body, asked)
    }

    fn judged(&self, status: StatusCode, headers: Headers, body: Body, asked: Option<Duration>) -> Outcome {
        let code = match status.as_u16() {
            200..=299 => return Outcome::Done(Output { status: status.as_u16(), headers, body }),
            400..=499 => FailureCode::Upstream4xx,
            500.. => FailureCode::Upstream5xx,
            _ => FailureCode::BadOutput,
        };
        let replayed = if is_known_failure(status) { status } else { StatusCode::BAD_GATEWAY };
        let failure = Failure::new(code, format!("{} answered {}", self.host, shown(status)));
        let answer = Some(Output { status: replayed.as_u16(), headers, body });
        let may_pass = self.retry_statuses.contains(&status.as_u16()) || (status.is_server_error() && asked.is_some());
        match may_pass {
            true => Outcome::FailedForNow { failure, answer: answer.map(Box::new), retry_after: asked },
            false => Outcome::Failed(failure, answer),
        }
    }

    /// It has no room for the task now.
    fn saturated(&self, response: &Response) -> Outcome {
        let message = format!("{} answered {}", self.host, shown(response.status()));
        let failure = Failure::new(FailureCode::Saturated, message);
        Outcome::PutBack { failure, retry_after: retry_after(response.headers()) }
    }

    fn redirected(&self, response: &Response) -> Outcome {
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let target = location.and_then(|location| self.url.join(location).ok());
        let whither = match target {
            Some(target) => format!("a redirect to {}, which is not followed", shown_target(target)),
            None => "a redirect that does not say where to".to_owned(),
        };
        let message = format!("{} answered {}: {whither}", self.host, shown(response.status()));
        Outcome::explained(FailureCode::BadOutput, StatusCode::BAD_GATEWAY.as_u16(), message)
    }

    fn kept(&self, answer: &HeaderMap) -> Headers {
        let mut headers = Headers::new();
        for name in &self.keep {
            for value in answer.get_all(name) {
                headers.add(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
            }
        }
        headers
    }

    /// The body of the answer, in memory or on disk, or the failure of one that cannot be had.
    async fn taken_in(&self, mut response: Response, outputs: &Outputs) -> Result<Body, Outcome> {
        let announced = response.content_length().unwrap_or(0);
        if announced > outputs.limit() {
            return Err(self.not_kept(&SpoolError::TooLarge { limit: outputs.limit() }));
        }
        let mut spool = outputs.spool();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => spool.write(&chunk).await.map_err(|error| self.not_kept(&error))?,
                Ok(None) => return spool.finish().await.map_err(|error| self.not_kept(&error)),
                Err(error) => return Err(self.cut(&error)),
            }
        }
    }

    fn not_kept(&self, error: &SpoolError) -> Outcome {
        match error {
            SpoolError::TooLarge { limit } => {
                let message = format!("the answer of {} is larger than the limit of {limit} bytes", self.host);
                Outcome::explained(FailureCode::TooLarge, StatusCode::BAD_GATEWAY.as_u16(), message)
            }
            SpoolError::Write { source, .. } => {
                let message = format!("the answer of {} could not be written to disk: {source}", self.host);
                Outcome::explained(FailureCode::Failed, StatusCode::INTERNAL_SERVER_ERROR.as_u16(), message)
            }
        }
    }
}

/// A content encoding that is still there: what the client can decode, it has decoded and taken off.
fn unknown_coding(headers: &HeaderMap) -> Option<String> {
    let codings = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = codings.map(|coding| String::from_utf8_lossy(coding.as_bytes()).trim().to_ascii_lowercase());
    codings.find(|coding| !coding.is_empty() && coding != "identity")
}

/// How long a `Retry-After` asks to wait (RFC 9110, 10.2.3). One with a date is reckoned from the answer's own `Date`,
/// so that the two clocks need not agree, and from ours where it has none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(asked).ok()?;
    let sent = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let sent = sent.unwrap_or_else(|| SystemClock.now().into());
    Some(until.duration_since(sent).unwrap_or_default())
}

/// Whether Python's `http.HTTPStatus` has a failure of that number.
fn is_known_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400..=418 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508 | 510 | 511)
}

fn shown(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Where a redirect points, less what may be secret in it.
fn shown_target(mut target: Url) -> Url {
    target.set_query(None);
    target.set_fragment(None);
    // Only a URL that cannot have a user refuses to be rid of it.
    let _ = target.set_password(None);
    let _ = target.set_username("");
    target
}
