//! An endpoint under the hands of an operator, and what a SIGKILL makes of that: nothing.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Client, http};
use crate::harness::Server;
use crate::program::PATIENCE;
use crate::upstream::Upstream;

const NOOP: &str = "[endpoints.noop]\ntype = \"noop\"\nconcurrency = 2\n";

/// Asks the native API and answers with the JSON.
async fn ask(server: &Server, method: Method, path: &str, body: &'static str) -> Value {
    let answer = http().request(method, format!("{}/v1/endpoints/{path}", server.url())).body(body).send().await;
    let answer = answer.expect("the service answers");
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.json().await.expect("an answer is JSON")
}

async fn metric(server: &Server, line: &str) -> Option<f64> {
    let text = http().get(format!("{}/metrics", server.url())).send().await.unwrap().text().await.unwrap();
    text.lines().find_map(|found| found.strip_prefix(line)).map(|value| value.trim().parse().unwrap())
}

#[tokio::test]
async fn a_paused_endpoint_is_paused_after_a_kill_and_its_tasks_wait_until_it_is_resumed() {
    let mut server = Server::start(NOOP);
    ask(&server, Method::POST, "noop/pause", "").await;
    ask(&server, Method::PATCH, "noop", "{\"concurrency\": 5}").await;
    let client = Client::new(&server.url(), "noop");
    let mut tasks = Vec::new();
    for _ in 0..20 {
        tasks.push(client.submit("1").await);
    }
    server.kill();
    server.restart();

    assert_eq!(metric(&server, "ekiben_endpoint_paused{endpoint=\"noop\"}").await, Some(1.0));
    assert_eq!(metric(&server, "ekiben_slots_free{endpoint=\"noop\"}").await, Some(5.0));
    tasks.push(client.submit("2").await);
    for task in &tasks {
        assert_eq!(client.state(task).await, "pending");
    }
    let shown = ask(&server, Method::POST, "noop/resume", "").await;
    assert_eq!((&shown["paused"], &shown["concurrency"]), (&json!(false), &json!(5)));
    for task in &tasks {
        assert_eq!(client.until_finished(task).await, "completed");
    }
    assert_eq!(ask(&server, Method::PATCH, "noop", "{\"concurrency\": null}").await["concurrency"], 2);
    server.kill();
    server.restart();
    assert_eq!(metric(&server, "ekiben_endpoint_paused{endpoint=\"noop\"}").await, Some(0.0));
    assert_eq!(metric(&server, "ekiben_slots_free{endpoint=\"noop\"}").await, Some(2.0));
}

#[tokio::test]
async fn more_requests_reach_an_upstream_as_soon_as_its_concurrency_is_raised() {
    let upstream = Upstream::start();
    let server = Server::start(&upstream.holding_endpoint("held", 1));
    let client = Client::new(&server.url(), "held");
    let mut tasks = Vec::new();
    for _ in 0..8 {
        tasks.push(client.submit("1").await);
    }
    upstream.wait_for_calls(1);
    ask(&server, Method::PATCH, "held", "{\"concurrency\": 6}").await;
    upstream.wait_for_calls(6);
    upstream.let_go(8);
    for task in &tasks {
        assert_eq!(client.until_finished(task).await, "completed");
    }
}

#[tokio::test]
async fn a_synchronous_call_waits_while_its_endpoint_is_paused() {
    let server = Server::start(NOOP);
    ask(&server, Method::POST, "noop/pause", "").await;
    let call = tokio::spawn({
        let url = format!("{}/noop", server.url());
        async move { http().post(url).body("rice").send().await.unwrap().text().await.unwrap() }
    });
    let waits = async {
        while metric(&server, "ekiben_tasks{endpoint=\"noop\",state=\"pending\"}").await != Some(1.0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("the task is recorded");
    assert!(!call.is_finished());
    ask(&server, Method::POST, "noop/resume", "").await;
    assert_eq!(call.await.unwrap(), "rice");
}

/// Whatever moment a kill comes at during a purge, each task is canceled or waits, and none is lost or ran.
#[tokio::test]
async fn a_purge_cut_short_by_a_kill_can_be_told_again() {
    const TASKS: usize = 300;
    let mut server = Server::start(&format!("[limits]\nresident = 100\n{NOOP}"));
    let client = Client::new(&server.url(), "noop");
    let mut all = Vec::new();
    for round in 0..5 {
        ask(&server, Method::POST, "noop/pause", "").await;
        let mut tasks = Vec::new();
        for _ in 0..TASKS {
            tasks.push(client.submit("1").await);
        }
        let purge = http().post(format!("{}/v1/endpoints/noop/purge", server.url())).send();
        let purge = tokio::spawn(purge);
        tokio::time::sleep(Duration::from_millis(3 * round)).await;
        server.kill();
        // It may have been answered, or not.
        let answered = purge.await.unwrap().is_ok();
        server.restart();
        let mut waiting = 0_u64;
        for task in &tasks {
            match client.state(task).await.as_str() {
                "canceled" => {}
                "pending" => waiting += 1,
                state => panic!("task {task} is {state}"),
            }
        }
        assert!(!answered || waiting == 0, "the purge was answered, but {waiting} tasks wait");
        all.extend(tasks);
        if round % 2 == 0 {
            assert_eq!(ask(&server, Method::POST, "noop/purge", "").await["canceled"], waiting);
        }
        ask(&server, Method::POST, "noop/resume", "").await;
        let idle = async {
            while metric(&server, "ekiben_tasks{endpoint=\"noop\",state=\"pending\"}")
                .await
                .is_some_and(|tasks| tasks > 0.0)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, idle).await.expect("what was left runs");
    }
    for task in &all {
        let state = client.until_finished(task).await;
        assert!(["completed", "canceled"].contains(&state.as_str()), "task {task} is {state}");
    }
}

/// Submits by the native API with headers, and answers with the id.
async fn submit_with(server: &Server, endpoint: &str, headers: &[(&str, &str)]) -> String {
    let mut request = http().post(format!("{}/v1/endpoints/{endpoint}/tasks", server.url())).body("1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("the service answers");
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let task: Value = answer.json().await.expect("an answer is JSON");
    task["id"].as_str().expect("a task has an id").to_owned()
}

#[tokio::test]
async fn one_callers_many_tasks_do_not_bury_anothers_few_before_and_after_a_kill() {
    const FEW: usize = 5;
    let upstream = Upstream::start();
    let mut server = Server::start(&upstream.holding_endpoint("held", 1));
    let client = Client::new(&server.url(), "held");
    submit_with(&server, "held", &[]).await;
    upstream.wait_for_calls(1);
    let mut few = Vec::new();
    for _ in 0..100 {
        submit_with(&server, "held", &[("ekiben-fairness-key", "many"), ("ekiben-priority", "urgent")]).await;
    }
    for _ in 0..2 * FEW {
        few.push(submit_with(&server, "held", &[("ekiben-fairness-key", "few"), ("ekiben-priority", "low")]).await);
    }
    // The one that ran first, and every second of the others.
    upstream.let_go(1 + 2 * FEW);
    for task in &few[..FEW] {
        assert_eq!(client.until_finished(task).await, "completed");
    }
    server.kill();
    server.restart();
    // What was cut short runs again, and may be one of either. The upstream may still hold what was asked before.
    upstream.let_go(2 * FEW + 4);
    for task in &few {
        assert_eq!(client.until_finished(task).await, "completed");
    }
}

#[tokio::test]
async fn an_urgent_task_goes_first_and_a_name_is_as_good_as_a_number() {
    let upstream = Upstream::start();
    let server = Server::start(&upstream.holding_endpoint("held", 1));
    let client = Client::new(&server.url(), "held");
    submit_with(&server, "held", &[]).await;
    upstream.wait_for_calls(1);
    let background = submit_with(&server, "held", &[("ekiben-priority", "background")]).await;
    let normal = submit_with(&server, "held", &[]).await;
    let urgent = submit_with(&server, "held", &[("ekiben-priority", "0")]).await;
    for (task, behind) in [(urgent, &normal), (normal.clone(), &background)] {
        upstream.let_go(1);
        client.until(&task, &["in_progress"]).await;
        assert_eq!(client.state(behind).await, "pending");
    }
    upstream.let_go(3);
    client.until_finished(&background).await;
}
