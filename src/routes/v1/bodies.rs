//! Inputs and outputs as the HTTP responses they are: type, length, a strong `ETag`, `304`, single ranges.
//!
//! A finished task never changes, so its id is as good a validator as any digest of the bytes.

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, SizedStream};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use ekiben_actors::registry::{Fetch, FetchInput};
use ekiben_actors::spool;
use ekiben_actors::store::StoreError;
use ekiben_actors::task::{Input, Output, Task};

use super::{Answer, Call, Operation};
use crate::error::ApiError;
use crate::problem;
use crate::wire;

pub const OPERATIONS: &[Operation] = &[
    Operation::new("GET", "/v1/tasks/{task}/input", "what was sent in", |call| Box::pin(input(call))),
    Operation::new("GET", "/v1/tasks/{task}/output", "what came of it", |call| Box::pin(output(call))),
];

/// The type of what has none of its own.
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

async fn input(call: Call) -> Answer {
    let task = call.task().await?;
    let input = call.app.system.registry.send(FetchInput(task.id)).await.unwrap_or(Err(StoreError::Closed))?;
    // It was swept while we looked.
    let Input { headers, body } = input.ok_or(ApiError::TaskNotFound { kept: None })?;
    let output = Output { status: 200, headers, body };
    Ok(Stored { output, tag: Some(format!("\"{}.input\"", task.id)) }.asked_for(&call))
}

async fn output(call: Call) -> Answer {
    let task = call.task().await?;
    let question = Fetch { task: task.id, endpoint: task.endpoint };
    let found = call.app.system.registry.send(question).await.unwrap_or(Err(StoreError::Closed))?;
    let (task, output) = found.ok_or(ApiError::TaskNotFound { kept: None })?;
    Ok(result(&task, output)?.asked_for(&call))
}

/// A finished task's answer.
///
/// # Errors
/// There is none: the task has not finished, was canceled, or failed without an answer to replay.
pub fn result(task: &Task, output: Option<Output>) -> Result<Stored, ApiError> {
    let output = wire::answer_of(task, output)?;
    // What tells of a failure is no representation that a client might hold.
    let tag = (output.status == 200).then(|| format!("\"{}.output\"", task.id));
    Ok(Stored { output, tag })
}

/// A body with its headers, as it is stored.
pub struct Stored {
    output: Output,
    tag: Option<String>,
}

impl Stored {
    /// All of it, whatever the client holds already.
    pub fn whole(self, method: &Method) -> HttpResponse {
        let tag = self.tag.as_deref().map(value);
        let mut response = wire::replay(self.output, method);
        let headers = response.headers_mut();
        if !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, OCTETS);
        }
        if let Some(tag) = tag {
            headers.insert(header::ETAG, tag);
        }
        response
    }

    /// All of it, or the part that the client asks for, or that it has it already.
    fn asked_for(self, call: &Call) -> HttpResponse {
        let (headers, method) = (call.headers(), call.request.method());
        let Some(tag) = &self.tag else { return self.whole(method) };
        if matches_any(headers, tag) {
            return HttpResponse::NotModified().insert_header((header::ETAG, value(tag))).finish();
        }
        let len = self.output.body.len();
        let part = if *method == Method::GET { wanted_part(headers, tag, len) } else { Part::All };
        let mut response = match part {
            Part::All => self.whole(method),
            Part::Some { from, to } => self.part(from, to),
            Part::None => {
                let range = format!("bytes */{len}");
                let mut response = problem::answer(&ApiError::RangeOutside { len });
                response.headers_mut().insert(header::CONTENT_RANGE, value(&range));
                response
            }
        };
        response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        response
    }

    /// The bytes from one place to another, both included.
    fn part(self, from: u64, to: u64) -> HttpResponse {
        let (len, body) = (self.output.body.len(), self.output.body.clone());
        let mut response = self.whole(&Method::HEAD);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(header::CONTENT_RANGE, value(&format!("bytes {from}-{to}/{len}")));
        response.map_body(|_, _| {
            let part = SizedStream::new(to - from + 1, spool::chunks_between(body, from, to + 1));
            BoxBody::new(part)
        })
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("ids and numbers are visible")
}

/// Whether the client says that it has this representation. Weak tags are as good as strong ones here (RFC 9110,
/// section 13.1.2).
fn matches_any(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Which part of a body is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    All,
    /// From one byte to another, both included.
    Some {
        from: u64,
        to: u64,
    },
    /// One that is not there.
    None,
}

/// A single range of bytes is honoured; whatever else a range asks for is answered with all, as RFC 9110 allows.
fn wanted_part(headers: &HeaderMap, tag: &str, len: u64) -> Part {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    // The condition must be this very representation: a date, or another tag, asks for all.
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(tag) {
        return Part::All;
    }
    match text(header::RANGE).and_then(|range| range.trim().strip_prefix("bytes=")) {
        Some(range) => part_of(range.trim(), len).unwrap_or(Part::All),
        None => Part::All,
    }
}

/// `None` for what is no single range.
fn part_of(range: &str, len: u64) -> Option<Part> {
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        // What is too large for us is larger than every body.
        is_number.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let (from, to) = range.split_once('-')?;
    let last = len.checked_sub(1);
    if from.is_empty() {
        let suffix = number(to)?;
        return Some(match last {
            Some(last) if suffix > 0 => Part::Some { from: len.saturating_sub(suffix), to: last },
            Some(_) | None => Part::None,
        });
    }
    let from = number(from)?;
    let to = if to.is_empty() { u64::MAX } else { number(to)? };
    if to < from {
        return None;
    }
    Some(match last {
        Some(last) if from <= last => Part::Some { from, to: to.min(last) },
        Some(_) | None => Part::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_range_is_a_part_and_anything_else_is_all_or_nothing() {
        let some = |from, to| Some(Part::Some { from, to });
        for (range, len, expected) in [
            ("0-0", 10, some(0, 0)),
            ("2-5", 10, some(2, 5)),
            ("7-", 10, some(7, 9)),
            ("-3", 10, some(7, 9)),
            ("-30", 10, some(0, 9)),
            ("5-99999999999999999999999", 10, some(5, 9)),
            ("10-", 10, Some(Part::None)),
            ("99999999999999999999999-", 10, Some(Part::None)),
            ("-0", 10, Some(Part::None)),
            ("0-", 0, Some(Part::None)),
            ("-1", 0, Some(Part::None)),
            ("5-2", 10, None),
            ("0-1,3-4", 10, None),
            ("-", 10, None),
            ("a-b", 10, None),
            ("+1-2", 10, None),
            ("", 10, None),
        ] {
            assert_eq!(part_of(range, len), expected, "{range} of {len}");
        }
    }

    #[test]
    fn a_client_that_has_it_already_says_so_in_several_ways() {
        let matches = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            matches_any(&headers, "\"a.output\"")
        };
        for held in ["\"a.output\"", "W/\"a.output\"", "*", "\"b\", \"a.output\""] {
            assert!(matches(held), "{held}");
        }
        for other in ["\"a\"", "a.output", ""] {
            assert!(!matches(other), "{other}");
        }
    }
}
