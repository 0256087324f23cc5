//! The OpenAPI document, put together from a fragment an area.
//!
//! A fragment has `paths` and `components`, as the whole document does. Two fragments may say something about one
//! path, each of its own methods.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Map, Value};

use crate::wire;

/// Every fragment, the frame first.
const FRAGMENTS: &[(&str, &str)] = &[
    ("frame", include_str!("openapi/frame.json")),
    ("submit", include_str!("openapi/submit.json")),
    ("tasks", include_str!("openapi/tasks.json")),
    ("bodies", include_str!("openapi/bodies.json")),
    ("live", include_str!("openapi/live.json")),
    ("endpoints", include_str!("openapi/endpoints.json")),
];

static DOCUMENT: LazyLock<(Value, String)> = LazyLock::new(|| {
    let document = merged();
    let text = document.to_string();
    (document, text)
});

/// Answers with the document.
pub fn answer() -> HttpResponse {
    wire::json(StatusCode::OK, DOCUMENT.1.as_str())
}

/// The whole document.
pub fn document() -> &'static Value {
    &DOCUMENT.0
}

fn merged() -> Value {
    let mut document = Map::new();
    for (name, text) in FRAGMENTS {
        let fragment: Map<String, Value> =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("the fragment {name} is JSON: {error}"));
        merge(&mut document, fragment, name);
    }
    if let Some(info) = document.get_mut("info") {
        info["version"] = env!("CARGO_PKG_VERSION").into();
    }
    document.into()
}

/// Adds what a fragment says. Nothing is said twice: that is a mistake in the fragments, found by any test.
fn merge(into: &mut Map<String, Value>, fragment: Map<String, Value>, name: &str) {
    for (key, value) in fragment {
        match (into.get_mut(&key), value) {
            (None, value) => {
                into.insert(key, value);
            }
            (Some(Value::Object(known)), Value::Object(more)) => merge(known, more, name),
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
            (Some(_), _) => panic!("the fragment {name} says {key:?} once more"),
        }
    }
}
