//! Endpoints under the hands of an operator: pause, resume, purge, concurrency.

use serde_json::{Value, json};

use crate::harness::Service;
use crate::native::{assert_problem, path_of, submit, until};

async fn told(service: &Service, verb: &str) -> Value {
    let answer = service.ask("POST", &format!("/v1/endpoints/gate/{verb}")).await;
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

async fn patched(service: &Service, body: &'static str) -> reqwest::Response {
    let url = service.url("/v1/endpoints/gate");
    reqwest::Client::new().patch(url).body(body).send().await.unwrap()
}

#[actix_web::test]
async fn a_paused_endpoint_waits_with_its_tasks_and_a_purge_says_how_many_it_canceled() {
    let service = Service::start().await;
    let paused = told(&service, "pause").await;
    assert_eq!((&paused["name"], &paused["paused"]), (&json!("gate"), &json!(true)));
    let tasks = [submit(&service, "gate", "1").await, submit(&service, "gate", "2").await];
    assert_eq!(told(&service, "pause").await["counts"]["pending"], 2);
    assert_eq!(told(&service, "purge").await, json!({ "canceled": 2 }));
    for task in &tasks {
        until(&service, task, "canceled").await;
        assert_problem(service.ask("GET", &path_of(task, "/output")).await, 410, "canceled").await;
    }
    let task = submit(&service, "gate", "3").await;
    service.open_gate();
    assert_eq!(told(&service, "resume").await["paused"], false);
    until(&service, &task, "completed").await;
}

#[actix_web::test]
async fn concurrency_is_changed_and_taken_back_and_nonsense_refused() {
    let service = Service::start().await;
    let changed = patched(&service, "{\"concurrency\": 8}").await;
    assert_eq!(changed.status(), 200);
    assert_eq!(changed.json::<Value>().await.unwrap()["concurrency"], 8);
    let back: Value = patched(&service, "{\"concurrency\": null}").await.json().await.unwrap();
    assert_eq!(back["concurrency"], 1);
    let most = assert_problem(patched(&service, "{\"concurrency\": 1000000}").await, 400, "bad_concurrency").await;
    assert!(most.contains("1000000") && most.contains("the least is 1"), "{most}");
    assert_problem(patched(&service, "{\"concurrency\": 0}").await, 400, "bad_concurrency").await;
    let unknown = assert_problem(patched(&service, "{\"colour\": 1}").await, 400, "bad_change").await;
    assert!(unknown.contains("\"colour\""), "{unknown}");
    assert_problem(service.ask("POST", "/v1/endpoints/nowhere/pause").await, 404, "endpoint_not_found").await;
    assert_problem(service.ask("POST", "/v1/endpoints/nowhere/purge").await, 404, "endpoint_not_found").await;
}
