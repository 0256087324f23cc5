//! `/schema.json`: how a BentoML client learns which endpoints there are and what to send them.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::config::Endpoint;
use crate::wire;

/// Every endpoint with its schemas.
pub fn schema(app: &App) -> HttpResponse {
    wire::json(StatusCode::OK, document(&app.described()))
}

fn document(endpoints: &[Endpoint]) -> Bytes {
    let routes: Vec<Value> = endpoints.iter().map(route).collect();
    let document = json!({ "name": "ekiben", "type": "service", "routes": routes });
    document.to_string().into()
}

fn route(endpoint: &Endpoint) -> Value {
    let mut route = Map::new();
    route.insert("name".into(), endpoint.name.as_str().into());
    route.insert("route".into(), format!("/{}", endpoint.name).into());
    route.insert("batchable".into(), false.into());
    route.insert("is_task".into(), true.into());
    if !endpoint.description.is_empty() {
        // BentoML's servers send the one, its clients read the other.
        route.insert("description".into(), endpoint.description.clone().into());
        route.insert("doc".into(), endpoint.description.clone().into());
    }
    route.insert("input".into(), endpoint.input.clone().unwrap_or_else(open_input));
    route.insert("output".into(), endpoint.output.clone().unwrap_or_else(open_output));
    route.into()
}

/// Takes anything. A BentoML client then wants one positional argument: text and bytes travel as they are, with
/// `text/plain`, and everything else as JSON. An open object would be of no use: a client refuses every argument
/// that `properties` does not name. A type is left out, since it would select one way of writing the value.
fn open_input() -> Value {
    json!({ "root_input": true })
}

/// Promises nothing. A BentoML client then reads the result as JSON, which is what most endpoints give; one that
/// gives text, bytes or files has to say so by an `output` schema.
fn open_output() -> Value {
    json!({})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EndpointKind;
    use ekiben_actors::lifecycle::RetryPolicy;
    use ekiben_actors::task::{EndpointName, Priority};
    use std::time::Duration;

    fn endpoint(input: Option<Value>) -> Endpoint {
        Endpoint {
            name: EndpointName::new("rotate").unwrap(),
            kind: EndpointKind::Noop,
            concurrency: 1,
            timeout: Duration::from_secs(1),
            retention: Duration::from_secs(1),
            retry: RetryPolicy::default(),
            queue: 1,
            priority: Priority::default(),
            batch: None,
            description: "Turns an image.".into(),
            input,
            output: None,
        }
    }

    #[test]
    fn the_properties_of_an_input_keep_their_order() {
        let input = r#"{"properties":{"image":{"type":"file"},"angle":{"type":"integer"}},"type":"object"}"#;
        let document = document(&[endpoint(Some(serde_json::from_str(input).unwrap()))]);
        assert!(String::from_utf8_lossy(&document).contains(input));
    }

    #[test]
    fn every_route_has_what_a_client_reads() {
        let document: Value = serde_json::from_slice(&document(&[endpoint(None)])).unwrap();
        let expected = json!({
            "name": "rotate", "route": "/rotate", "batchable": false, "is_task": true,
            "description": "Turns an image.", "doc": "Turns an image.",
            "input": { "root_input": true }, "output": {},
        });
        assert_eq!(document["routes"], json!([expected]));
    }
}
