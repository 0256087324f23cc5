//! The native API: tasks from submission to their end.

use reqwest::Response;
use serde_json::{Value, json};

use crate::harness::{LONG, Service, unknown_id};

/// Submits by the native API, and answers with the task.
pub async fn submit(service: &Service, endpoint: &str, body: &'static str) -> Value {
    let answer = service.post(&format!("/v1/endpoints/{endpoint}/tasks"), body).await;
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let task: Value = answer.json().await.unwrap();
    assert_eq!(location, format!("/v1/tasks/{}", task["id"].as_str().unwrap()));
    task
}

/// Asks until a task is in that state, and answers with it.
pub async fn until(service: &Service, task: &Value, state: &str) -> Value {
    let path = path_of(task, "");
    for _ in 0..LONG.as_millis() {
        let task: Value = service.ask("GET", &path).await.json().await.unwrap();
        if task["state"] == state {
            return task;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("{path} did not come to be {state}");
}

pub fn path_of(task: &Value, below: &str) -> String {
    format!("/v1/tasks/{}{below}", task["id"].as_str().unwrap())
}

/// Checks an answer that is a problem, and answers with its detail.
pub async fn assert_problem(answer: Response, status: u16, code: &str) -> String {
    let problem: Value = {
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.status(), status);
        answer.json().await.unwrap()
    };
    assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{problem}");
    problem["detail"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_task_is_submitted_found_and_answered() {
    let service = Service::start().await;
    let task = submit(&service, "echo", "rice").await;
    assert_eq!((&task["endpoint"], &task["priority"], &task["input_bytes"]), (&json!("echo"), &json!(5), &json!(4)));
    let task = until(&service, &task, "completed").await;
    assert_eq!(task["output_bytes"], 4);
    assert_eq!(service.ask("GET", &path_of(&task, "/output")).await.text().await.unwrap(), "rice");
    assert_eq!(service.ask("GET", &path_of(&task, "/input")).await.text().await.unwrap(), "rice");
    let page: Value = service.ask("GET", "/v1/tasks?endpoint=echo").await.json().await.unwrap();
    assert_eq!(page, json!({ "tasks": [task], "next_cursor": null }));
}

#[actix_web::test]
async fn cancel_and_retry_say_what_they_did() {
    let service = Service::start().await;
    let running = submit(&service, "gate", "1").await;
    until(&service, &running, "in_progress").await;
    let waiting = submit(&service, "gate", "2").await;

    assert_problem(service.ask("POST", &path_of(&running, "/cancel")).await, 409, "already_started").await;
    let canceled: Value = service.ask("POST", &path_of(&waiting, "/cancel")).await.json().await.unwrap();
    assert_eq!((&canceled["result"], &canceled["task"]["state"]), (&json!("canceled"), &json!("canceled")));
    assert_problem(service.ask("POST", &path_of(&running, "/retry")).await, 409, "not_finished").await;
    let retried = service.ask("POST", &path_of(&waiting, "/retry")).await;
    assert_eq!(retried.status(), 202);
    let odd = service.ask("POST", &path_of(&running, "/cancel?force=maybe")).await;
    assert_problem(odd, 400, "bad_query").await;
    service.open_gate();
    let finished = until(&service, &running, "completed").await;
    let late: Value = service.ask("POST", &path_of(&finished, "/cancel")).await.json().await.unwrap();
    assert_eq!(late, json!({ "result": "already_finished", "task": finished }));
}

#[actix_web::test]
async fn a_running_task_is_stopped_by_force_and_its_attempt_says_so() {
    let service = Service::start().await;
    let task = submit(&service, "gate", "1").await;
    let fresh: Value = service.ask("GET", &path_of(&task, "/attempts")).await.json().await.unwrap();
    assert!(fresh["attempts"].is_array());
    until(&service, &task, "in_progress").await;
    let stopped: Value = service.ask("POST", &path_of(&task, "/cancel?force=true")).await.json().await.unwrap();
    assert_eq!(stopped["result"], "cancel_requested");
    until(&service, &task, "canceled").await;
    let attempts: Value = service.ask("GET", &path_of(&task, "/attempts")).await.json().await.unwrap();
    let attempts = attempts["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["number"], &attempts[0]["outcome"]), (1, &json!(1), &json!("canceled")));
    assert!(attempts[0]["started_at"].is_string() && attempts[0]["ended_at"].is_string(), "{attempts:?}");
}

#[actix_web::test]
async fn a_deleted_task_is_gone_and_its_key_is_free() {
    let service = Service::start().await;
    let with_key = || service.http.post(service.url("/v1/endpoints/gate/tasks")).header("idempotency-key", "k");
    let task: Value = with_key().body("1").send().await.unwrap().json().await.unwrap();
    let path = path_of(&task, "");
    assert_problem(service.ask("DELETE", &path).await, 409, "not_finished").await;
    service.open_gate();
    until(&service, &task, "completed").await;
    let deleted = service.ask("DELETE", &path).await;
    assert_eq!((deleted.status().as_u16(), deleted.text().await.unwrap().as_str()), (204, ""));
    assert_problem(service.ask("GET", &path).await, 404, "task_not_found").await;
    assert_problem(service.ask("GET", &path_of(&task, "/output")).await, 404, "task_not_found").await;
    assert_problem(service.ask("DELETE", &path).await, 404, "task_not_found").await;
    assert_eq!(with_key().body("another").send().await.unwrap().status(), 202);
}

#[actix_web::test]
async fn an_endpoint_shows_what_it_is_and_how_it_is_doing() {
    let service = Service::with(|config| {
        let gate = &mut config.endpoints[1];
        gate.description = "Waits.".into();
        gate.priority = "low".parse().unwrap();
    })
    .await;
    let fresh: Value = service.ask("GET", "/v1/endpoints/gate").await.json().await.unwrap();
    assert_eq!((&fresh["run_seconds"], &fresh["oldest_waiting_seconds"]), (&json!(null), &json!(null)));
    for number in ["1", "2", "3"] {
        submit(&service, "gate", number).await;
    }
    service.open_gate();
    let counts = json!({ "pending": 1, "in_progress": 1, "completed": 1, "failed": 0, "canceled": 0 });
    let mut gate = fresh;
    for _ in 0..LONG.as_millis() {
        gate = service.ask("GET", "/v1/endpoints/gate").await.json().await.unwrap();
        if gate["counts"] == counts && gate["run_seconds"] != json!(null) && gate["running"] == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(gate["counts"], counts);
    assert_eq!(
        (&gate["description"], &gate["running"], &gate["concurrency"]),
        (&json!("Waits."), &json!(1), &json!(1))
    );
    assert_eq!(gate["rates"], json!({ "submitted_per_minute": 3, "finished_per_minute": 1 }));
    assert!(gate["oldest_waiting_seconds"].as_f64() >= Some(0.0) && gate["run_seconds"]["p99"].is_f64());
    let expected = json!({ "timeout": "30s", "retention": "1day", "max_attempts": 1, "priority": 7 });
    assert_eq!(gate["defaults"], expected);

    let all: Value = service.ask("GET", "/v1/endpoints").await.json().await.unwrap();
    let names: Vec<&Value> = all["endpoints"].as_array().unwrap().iter().map(|endpoint| &endpoint["name"]).collect();
    assert_eq!(names, ["echo", "gate", "heads", "fail", "large"]);
    assert_problem(service.ask("GET", "/v1/endpoints/nowhere").await, 404, "endpoint_not_found").await;
}

#[actix_web::test]
async fn what_is_not_there_is_a_problem_with_a_code() {
    let service = Service::start().await;
    let unknown = format!("/v1/tasks/{}", unknown_id());
    for below in ["", "/input", "/output", "/attempts"] {
        assert_problem(service.ask("GET", &format!("{unknown}{below}")).await, 404, "task_not_found").await;
    }
    assert_problem(service.ask("GET", "/v1/tasks/rice").await, 404, "task_not_found").await;
    let nowhere = assert_problem(service.ask("GET", "/v1/nowhere").await, 404, "no_such_route").await;
    assert_eq!(nowhere, "there is no such path; /openapi.json tells of those there are");
    assert_problem(service.post("/v1/endpoints/nowhere/tasks", "x").await, 404, "endpoint_not_found").await;
    assert_problem(service.ask("GET", "/v1/tasks?limit=0").await, 400, "bad_query").await;
    let other = service.ask("PUT", "/v1/tasks").await;
    assert_eq!(other.headers()["allow"], "GET, HEAD");
    let taken = assert_problem(other, 405, "method_not_allowed").await;
    assert_eq!(taken, "this path takes GET, HEAD");
}
