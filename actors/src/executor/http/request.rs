//! The request an attempt becomes: the input's headers and bytes, and whose attempt it is.

use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
};
use reqwest::{Method, RequestBuilder, StatusCode};

use super::template::Template;
use super::{HttpError, Upstream};
use crate::body::Body;
use crate::executor::Attempt;
use crate::spool;
use crate::task::{FailureCode, Headers, Outcome};

const TASK_ID: HeaderName = HeaderName::from_static("ekiben-task-id");
const ATTEMPT: HeaderName = HeaderName::from_static("ekiben-attempt");

/// Headers of one connection, not of what is sent over it (RFC 9110, 7.6.1), and two from before that rule.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that this request says for itself. A content encoding was undone when the task was taken in.
const OURS: [HeaderName; 7] = [HOST, CONTENT_LENGTH, CONTENT_ENCODING, ACCEPT_ENCODING, EXPECT, TASK_ID, ATTEMPT];

pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

impl Upstream {
    /// The request of an attempt, or the failure of one that HTTP cannot carry.
    pub fn request(&self, attempt: Attempt) -> Result<RequestBuilder, Outcome> {
        let mut headers = passed_on(&attempt.input.headers)?;
        for (name, template) in &self.headers {
            headers.insert(name.clone(), filled(name, template, &attempt)?);
        }
        headers.insert(TASK_ID, HeaderValue::try_from(attempt.task.to_string()).expect("hex digits fit a header"));
        headers.insert(ATTEMPT, HeaderValue::from(attempt.number));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        // That it is a URL with some values for the places is checked before; ours need no escaping.
        let url = self.template.fill(&attempt).parse().unwrap_or_else(|_| self.url.clone());

        let body = attempt.input.body;
        let says_nothing = body.is_empty() && (self.method == Method::GET || self.method == Method::HEAD);
        if !says_nothing {
            // Said here, as the client would send a stream in chunks, which many small servers cannot read.
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Ok(self.client.request(self.method.clone(), url).headers(headers).body(sendable(body)))
    }
}

/// The headers that the settings give each request, or why one cannot be sent.
pub fn own_headers(asked_for: &[(String, String)]) -> Result<Vec<(HeaderName, Template)>, HttpError> {
    let read = |(name, value): &(String, String)| {
        let refuse = |reason: String| HttpError::BadHeader { name: name.clone(), reason };
        let known =
            HeaderName::try_from(name.as_str()).map_err(|_| refuse("that is not the name of a header".into()))?;
        if is_hop_by_hop(&known) || OURS.contains(&known) {
            return Err(refuse("ekiben sets it by itself".into()));
        }
        let template = Template::read(value).map_err(refuse)?;
        HeaderValue::try_from(template.sample())
            .map_err(|_| refuse("its value has characters no header may have".into()))?;
        Ok((known, template))
    };
    asked_for.iter().map(read).collect()
}

/// The value of a header for an attempt, which no log shows.
fn filled(name: &HeaderName, template: &Template, attempt: &Attempt) -> Result<HeaderValue, Outcome> {
    let mut value = HeaderValue::try_from(template.fill(attempt)).map_err(|_| {
        let message = format!("the header {name:?} of the requests cannot be sent over HTTP");
        Outcome::explained(FailureCode::Failed, StatusCode::INTERNAL_SERVER_ERROR.as_u16(), message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The input's headers that concern the upstream.
fn passed_on(input: &Headers) -> Result<HeaderMap, Outcome> {
    let named_by_connection: Vec<String> = input
        .iter()
        .filter(|(name, _)| *name == CONNECTION.as_str())
        .flat_map(|(_, names)| names.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut headers = HeaderMap::new();
    for (name, value) in input.iter() {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) else {
            let message = format!("the header {name:?} of the input cannot be sent over HTTP");
            return Err(Outcome::explained(FailureCode::BadInput, StatusCode::BAD_REQUEST.as_u16(), message));
        };
        let of_the_connection = is_hop_by_hop(&name) || named_by_connection.iter().any(|named| name == named.as_str());
        if !of_the_connection && !OURS.contains(&name) {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

fn sendable(body: Body) -> reqwest::Body {
    match body {
        Body::Inline(bytes) => bytes.into(),
        Body::File(_) => reqwest::Body::wrap_stream(spool::chunks(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_stay_behind() {
        let mut input = Headers::of_type("text/plain");
        let others = [
            ("connection", "close, X-Mine"),
            ("x-mine", "a"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("host", "elsewhere"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("accept-encoding", "br"),
            ("ekiben-task-id", "forged"),
            ("x-note", "one"),
            ("x-note", "two"),
        ];
        for (name, value) in others {
            input.add(name, value);
        }
        let passed = passed_on(&input).unwrap();
        let passed: Vec<_> = passed.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(passed, [("content-type", "text/plain"), ("x-note", "one"), ("x-note", "two")]);
    }

    #[test]
    fn a_header_that_http_cannot_carry_fails_the_task_and_is_not_quoted() {
        let mut input = Headers::new();
        input.add("x-note", "split\r\nhere");
        let Outcome::Failed(failure, Some(answer)) = passed_on(&input).unwrap_err() else { panic!("not failed") };
        assert_eq!((failure.code, answer.status), (FailureCode::BadInput, 400));
        assert_eq!(failure.message, "the header \"x-note\" of the input cannot be sent over HTTP");
    }
}
