//! Reads the endpoints: their names, the rules common to all, and what each kind needs.

use actix_web::http::Uri;
use ekiben_actors::task::EndpointName;

use super::read::{MOMENT, RETENTION, TASKS_MAX, TIME_MAX};
use super::section::{Notes, Section, dotted};
use super::tree::{Node, Table, Value};
use super::{Demo, Endpoint, EndpointKind, RESERVED_NAMES, Upstream, schema};

/// The most attempts of one endpoint at a time.
const CONCURRENCY_MAX: usize = 10_000;

pub fn endpoints(node: Option<Node>, notes: &mut Notes) -> Vec<Endpoint> {
    let tables = match node {
        None => Table::default(),
        Some(Node { value: Value::Table(tables), .. }) => tables,
        Some(Node { value, origin }) => {
            let complaint =
                format!("{value} stands where endpoints are expected; write [endpoints.NAME] and its keys below");
            notes.complain("endpoints", Some(origin), complaint);
            Table::default()
        }
    };
    let mut endpoints = Vec::new();
    for (written, node) in tables {
        let path = dotted("endpoints", &written);
        let name = name(&written);
        if let Err(complaint) = &name {
            notes.complain(&path, Some(node.origin.clone()), complaint);
        }
        // Under a bad name, too, all that is wrong is told.
        endpoints.extend(endpoint(name.ok(), Section::begin(path, node, notes)));
    }
    endpoints
}

fn name(written: &str) -> Result<EndpointName, String> {
    let name = EndpointName::new(written).map_err(|error| error.to_string())?;
    match RESERVED_NAMES.iter().find(|reserved| written.eq_ignore_ascii_case(reserved)) {
        Some(reserved) => Err(format!("/{reserved} is a route of ekiben's own; give the endpoint another name")),
        None => Ok(name),
    }
}

#[derive(Clone, Copy)]
enum Type {
    Http,
    Demo,
    Noop,
}

const HTTP_KEYS: [&str; 5] = ["url", "method", "forward_headers", "keep_headers", "connect_timeout"];
const DEMO_KEYS: [&str; 1] = ["demo"];

/// Reads one endpoint; `None` where its name or its type is not to be had.
fn endpoint(name: Option<EndpointName>, mut section: Section) -> Option<Endpoint> {
    let kind = kind(&mut section);
    section.otherwise("concurrency", Value::Integer(1));
    section.otherwise("description", Value::Text(String::new()));
    section.inherit("timeout", "limits.run_time");
    section.inherit("retention", "results.retention");
    section.inherit("queue", "limits.queue_per_endpoint");

    let concurrency = section.count("concurrency", 1..=CONCURRENCY_MAX);
    let timeout = section.time("timeout", MOMENT..=TIME_MAX);
    let retention = section.time("retention", RETENTION);
    let queue = section.count("queue", 1..=TASKS_MAX);
    let description = section.text("description", "\"what it does\"");
    let input = section.optional_of("input", schema::input);
    let output = section.optional_of("output", schema::output);
    section.end();
    Some(Endpoint { name: name?, kind: kind?, concurrency, timeout, retention, queue, description, input, output })
}

fn kind(section: &mut Section) -> Option<EndpointKind> {
    let Some((kind, written)) = section.tag(&[("http", Type::Http), ("demo", Type::Demo), ("noop", Type::Noop)]) else {
        section.forget(&HTTP_KEYS);
        section.forget(&DEMO_KEYS);
        return None;
    };
    let kind = match kind {
        Type::Http => {
            section.without(&DEMO_KEYS, &written, "http");
            EndpointKind::Http(upstream(section))
        }
        Type::Demo => {
            section.without(&HTTP_KEYS, &written, "demo");
            let demos = [("denoise", Demo::Denoise), ("detect_language", Demo::DetectLanguage)];
            EndpointKind::Demo(section.choice("demo", &demos))
        }
        Type::Noop => {
            section.without(&HTTP_KEYS, &written, "noop");
            section.without(&DEMO_KEYS, &written, "noop");
            EndpointKind::Noop
        }
    };
    Some(kind)
}

fn upstream(section: &mut Section) -> Upstream {
    section.otherwise("method", Value::Text("POST".to_owned()));
    section.otherwise("forward_headers", Value::List(Vec::new()));
    section.otherwise("keep_headers", Value::List(Vec::new()));
    section.otherwise("connect_timeout", Value::Text("10s".to_owned()));
    Upstream {
        url: section.required("url", "\"http://127.0.0.1:8000/predict\"", String::new(), url),
        method: section.choice("method", &[("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")]).to_owned(),
        forward_headers: headers(section, "forward_headers", &NEVER_FORWARDED),
        keep_headers: headers(section, "keep_headers", &NEVER_KEPT),
        connect_timeout: section.time("connect_timeout", MOMENT..=TIME_MAX),
    }
}

fn url(value: &Value) -> Result<String, String> {
    let way_out = "write one such as \"http://127.0.0.1:8000/predict\"";
    let Value::Text(text) = value else { return Err(format!("{value} is not a URL; {way_out}")) };
    let url: Uri = text.parse().map_err(|error| format!("{value} is not a URL ({error}); {way_out}"))?;
    let known_scheme = matches!(url.scheme_str(), Some("http" | "https"));
    let has_host = url.host().is_some_and(|host| !host.is_empty());
    if !known_scheme || !has_host {
        return Err(format!("{value} is not the whole URL of an HTTP server; {way_out}"));
    }
    Ok(text.clone())
}

/// Headers that belong to one connection (RFC 9110, section 7.6.1) or to the framing of one message.
const NEVER_PASSED: [&str; 10] = [
    "connection",
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
