//! `type = "bentoml"`: a BentoML service, each route of which becomes an endpoint.

use std::time::Duration;

use ekiben_actors::task::EndpointName;

use super::http;
use crate::config::Upstream;
use crate::config::read::{MOMENT, TIME_MAX};
use crate::config::section::Section;
use crate::config::tree::Value;

pub const KEYS: &[&str] = &[
    "url",
    "routes",
    "prefix",
    "refresh",
    "headers",
    "forward_headers",
    "keep_headers",
    "connect_timeout",
    "ca_file",
    "retry_statuses",
];

const EXAMPLE: &str = "http://127.0.0.1:3001";

/// What a section of this type says by keys that not every type has.
pub struct Bentoml {
    pub upstream: Upstream,
    pub routes: Vec<String>,
    pub prefix: String,
    pub refresh: Duration,
}

pub fn service(section: &mut Section) -> Bentoml {
    section.otherwise("routes", Value::List(Vec::new()));
    section.otherwise("prefix", Value::Text(String::new()));
    section.otherwise("refresh", Value::Text("30s".to_owned()));
    let url = section.required("url", &format!("\"{EXAMPLE}\""), String::new(), url);
    let health = Some(format!("{url}/readyz"));
    Bentoml {
        routes: section.texts("routes", route),
        prefix: section.required("prefix", "\"\"", String::new(), prefix),
        refresh: section.time("refresh", MOMENT..=TIME_MAX),
        upstream: http::called(section, url, "POST", health),
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
