//! The routes about the service itself.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::harness::Service;

#[actix_web::test]
async fn a_service_lives_and_is_ready() {
    let service = Service::start().await;
    for path in ["/livez", "/healthz", "/readyz"] {
        let answer = service.ask("GET", path).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"text/plain; charset=utf-8".parse().unwrap())
        );
        assert_eq!(answer.text().await.unwrap(), "\n");
    }
    service.app.draining.store(true, Ordering::Release);
    let answer = service.ask("GET", "/readyz").await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (503, "draining\n"));
    assert_eq!(service.ask("GET", "/healthz").await.status(), 200);
}

#[actix_web::test]
async fn the_schema_lists_every_endpoint_with_its_own_schemas_or_open_ones() {
    let input = json!({ "properties": { "b": { "type": "string" }, "a": {} }, "type": "object" });
    let service = Service::with(|config| {
        config.endpoints.truncate(2);
        config.endpoints[1].input = Some(input.clone());
        config.endpoints[1].output = Some(json!({ "type": "string" }));
    })
    .await;
    let document: Value = service.ask("GET", "/schema.json").await.json().await.unwrap();
    let routes = json!([
        { "name": "echo", "route": "/echo", "batchable": false, "is_task": true, "input": { "root_input": true }, "output": {} },
        { "name": "gate", "route": "/gate", "batchable": false, "is_task": true, "input": input, "output": { "type": "string" } },
    ]);
    assert_eq!(document["routes"], routes);
}

#[actix_web::test]
async fn the_front_page_names_the_version_the_endpoints_and_the_routes() {
    let service = Service::start().await;
    let answer = service.ask("GET", "/").await;
    assert_eq!(answer.headers()["server"], concat!("ekiben/", env!("CARGO_PKG_VERSION")));
    let page = answer.text().await.unwrap();
    for word in [env!("CARGO_PKG_VERSION"), "echo", "/{endpoint}/submit", "/schema.json"] {
        assert!(page.contains(word), "{page}");
    }
}

#[actix_web::test]
async fn requests_are_counted() {
    let service = Service::start().await;
    service.submit("echo", "x").await;
    service.ask("GET", "/echo/get").await;
    let mut answered = service.app.traffic.answered();
    // The harness's own question, whether the server is there.
    answered.retain(|one| one.route != "/livez");
    let counted: Vec<_> = answered.iter().map(|one| (one.route, one.method, one.status, one.requests)).collect();
    assert_eq!(counted, [("/{endpoint}/submit", "POST", "2xx", 1), ("/{endpoint}/get", "GET", "4xx", 1)]);
}
