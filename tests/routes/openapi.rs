//! The OpenAPI document tells of every operation that is served, and of no other.

use std::collections::BTreeSet;

use ekiben::routes::v1::{Route, openapi};
use serde_json::Value;

use crate::harness::Service;

/// Methods that a path of the document may have.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[test]
fn the_document_and_the_map_are_the_same() {
    let map: BTreeSet<(String, String)> = Route::all()
        .flat_map(|route| route.purposes().map(move |(method, _)| (route.template().into(), method.to_lowercase())))
        .collect();
    let paths = openapi::document()["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|key| METHODS.contains(&key.as_str()));
            methods.map(|method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(map, described);
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let mut references = BTreeSet::new();
    collect(openapi::document(), &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let place = reference.strip_prefix('#').unwrap();
        assert!(openapi::document().pointer(place).is_some(), "{reference}");
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(reference) if key == "$ref" => drop(references.insert(reference.clone())),
                    other => collect(other, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[actix_web::test]
async fn the_document_is_served() {
    let service = Service::start().await;
    let answer = service.ask("GET", "/openapi.json").await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(&answer.json::<Value>().await.unwrap(), openapi::document());
}
