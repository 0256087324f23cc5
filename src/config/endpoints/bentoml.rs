//! `type = "bentoml"`: a BentoML service, each route of which becomes an endpoint.

use std::time::Duration;

use ekiben_actors::task::EndpointName;

use super::{Rules, http};
use crate::config::Service;
use crate::config::read::{MOMENT, TIME_MAX};
use crate::config::section::Section;
use crate::config::tree::Value;

pub const KEYS: &[&str] = &["url", "routes", "prefix", "refresh", "forward_headers", "keep_headers", "connect_timeout"];

const EXAMPLE: &str = "http://127.0.0.1:3001";

/// What a section of this type says by keys that not every type has.
pub struct Bentoml {
    url: String,
    routes: Vec<String>,
    prefix: String,
    refresh: Duration,
    forward_headers: Vec<String>,
    keep_headers: Vec<String>,
    connect_timeout: Duration,
}

impl Bentoml {
    /// The service of that name, whose endpoints go by these rules.
    pub fn under(self, name: EndpointName, rules: Rules) -> Service {
        let Rules { concurrency, timeout, retention, queue } = rules;
        let Bentoml { url, routes, prefix, refresh, forward_headers, keep_headers, connect_timeout } = self;
        Service {
            name,
            url,
            routes,
            prefix,
            refresh,
            forward_headers,
            keep_headers,
            connect_timeout,
            concurrency,
            timeout,
            retention,
            queue,
        }
    }
}

pub fn service(section: &mut Section) -> Bentoml {
    section.otherwise("routes", Value::List(Vec::new()));
    section.otherwise("prefix", Value::Text(String::new()));
    section.otherwise("refresh", Value::Text("30s".to_owned()));
    section.otherwise("forward_headers", Value::List(Vec::new()));
    section.otherwise("keep_headers", Value::List(Vec::new()));
    section.otherwise("connect_timeout", Value::Text("10s".to_owned()));
    Bentoml {
        url: section.required("url", &format!("\"{EXAMPLE}\""), String::new(), url),
        routes: section.texts("routes", route),
        prefix: section.required("prefix", "\"\"", String::new(), prefix),
        refresh: section.time("refresh", MOMENT..=TIME_MAX),
        forward_headers: http::forward_headers(section),
        keep_headers: http::keep_headers(section),
        connect_timeout: section.time("connect_timeout", MOMENT..=TIME_MAX),
    }
}

/// The URL to which paths are added.
fn url(value: &Value) -> Result<String, String> {
    let url = http::url(value, EXAMPLE)?;
    if url.contains(['?', '#']) {
        return Err(format!("{value} has a query; write the service's own URL, such as \"{EXAMPLE}\""));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// A route's name. Which there are is the service's to say.
fn route(name: &str) -> Result<String, String> {
    match name.strip_prefix('/') {
        Some(name) => Err(format!("\"/{name}\" is a path; write the name of the route, such as \"{name}\"")),
        None => Ok(name.to_owned()),
    }
}

fn prefix(value: &Value) -> Result<String, String> {
    let way_out = "write one such as \"sentiment_\"";
    match value {
        Value::Text(text) if text.is_empty() => Ok(String::new()),
        Value::Text(text) => match EndpointName::new(text) {
            Ok(_) => Ok(text.clone()),
            Err(_) => Err(format!("no name of an endpoint can begin with {value}; {way_out}")),
        },
        other => Err(format!("{other} is not a text; {way_out}")),
    }
}
