//! `type = "http"`: a model server that is asked with one request a task.

use std::path::PathBuf;

use actix_web::http::Uri;

use crate::config::Upstream;
use crate::config::read::{MOMENT, TIME_MAX};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};

pub const KEYS: &[&str] = &[
    "url",
    "method",
    "headers",
    "forward_headers",
    "keep_headers",
    "connect_timeout",
    "health",
    "ca_file",
    "retry_statuses",
];

pub fn upstream(section: &mut Section) -> Upstream {
    section.otherwise("method", Value::Text("POST".to_owned()));
    let url = section.required("url", &format!("\"{EXAMPLE}\""), String::new(), |value| url(value, EXAMPLE));
    let method = section.choice("method", &[("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")]);
    let health = section.optional_of("health", |value| self::url(value, EXAMPLE));
    called(section, url, method, health)
}

/// Reads how an upstream is called, whatever for: the headers, the time for a connection, whom to trust.
pub fn called(section: &mut Section, url: String, method: &str, health: Option<String>) -> Upstream {
    section.otherwise("forward_headers", Value::List(Vec::new()));
    section.otherwise("keep_headers", Value::List(Vec::new()));
    section.otherwise("connect_timeout", Value::Text("10s".to_owned()));
    Upstream {
        url,
        method: method.to_owned(),
        headers: section.optional_of("headers", own_headers).unwrap_or_default(),
        forward_headers: headers(section, "forward_headers", &NEVER_FORWARDED),
        keep_headers: headers(section, "keep_headers", &NEVER_KEPT),
        connect_timeout: section.time("connect_timeout", MOMENT..=TIME_MAX),
        retry_statuses: section.optional_of("retry_statuses", retry_statuses).unwrap_or_default(),
        health,
        ca_file: section.optional_of("ca_file", path),
    }
}

const EXAMPLE: &str = "http://127.0.0.1:8000/predict";

/// The URL of an HTTP server. The example is what a complaint shows.
pub fn url(value: &Value, example: &str) -> Result<String, String> {
    let way_out = format!("write one such as \"{example}\"");
    let Value::Text(text) = value else { return Err(format!("{value} is not a URL; {way_out}")) };
    let url: Uri =
        without_places(text).parse().map_err(|error| format!("{value} is not a URL ({error}); {way_out}"))?;
    let known_scheme = matches!(url.scheme_str(), Some("http" | "https"));
    let has_host = url.host().is_some_and(|host| !host.is_empty());
    if !known_scheme || !has_host {
        return Err(format!("{value} is not the whole URL of an HTTP server; {way_out}"));
    }
    Ok(text.clone())
}

/// A URL with something in the places that are filled in later, such as `{task_id}`.
fn without_places(url: &str) -> String {
    let mut pieces = url.split('{');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push('1');
        plain.push_str(piece.split_once('}').map_or(piece, |(_, after)| after));
    }
    plain
}

/// The statuses that a server gives for a failure that may pass. 429 and 503 are waited for in any case.
const PASSING: [i64; 4] = [408, 500, 502, 504];

fn retry_statuses(value: &Value) -> Result<Vec<u16>, String> {
    let way_out = "write a list of some of 408, 500, 502 and 504";
    let Value::List(items) = value else { return Err(format!("{value} is not a list of statuses; {way_out}")) };
    let status = |node: &Node| match &node.value {
        Value::Integer(status) if PASSING.contains(status) => Ok(*status as u16),
        other => Err(format!("{other} is no status to run a task again after; {way_out}")),
    };
    items.iter().map(status).collect()
}

fn path(value: &Value) -> Result<PathBuf, String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text.into()),
        other => Err(format!("{other} is not the path of a file; write one such as \"ca.pem\"")),
    }
}

/// Headers of our own: a table of names and values.
fn own_headers(value: &Value) -> Result<Vec<(String, String)>, String> {
    let way_out = "write { authorization = \"Bearer {env:API_KEY}\" }";
    let Value::Table(table) = value else { return Err(format!("{value} is not a table of headers; {way_out}")) };
    let header = |(name, node): (&str, &Node)| match &node.value {
        Value::Text(text) => Ok((name.to_ascii_lowercase(), text.clone())),
        other => Err(format!("the header {name} has the value {other}, which is not a text; {way_out}")),
    };
    table.iter().map(header).collect()
}

/// Headers that belong to one connection (RFC 9110, section 7.6.1) or to the framing of one message.
const NEVER_PASSED: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];
/// A forwarded header lies in the store for as long as its task: no credential may.
const NEVER_FORWARDED: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
const NEVER_KEPT: [&str; 2] = ["set-cookie", "set-cookie2"];

fn headers(section: &mut Section, key: &'static str, credentials: &[&str]) -> Vec<String> {
    section.texts(key, |header| {
        let header = header.to_ascii_lowercase();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if header.is_empty() || !header.bytes().all(is_token) {
            return Err(format!("\"{header}\" is not the name of a header; write names such as \"x-request-id\""));
        }
        if NEVER_PASSED.contains(&header.as_str()) {
            return Err(format!("\"{header}\" belongs to a connection and is never passed on; take it out"));
        }
        if credentials.contains(&header.as_str()) {
            return Err(format!(
                "\"{header}\" is a credential, and credentials are never kept with a task; take it out"
            ));
        }
        Ok(header)
    })
}
