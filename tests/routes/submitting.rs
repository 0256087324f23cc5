//! The native API: what a submission may ask for, and what it is answered.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::harness::{Service, assert_error, forwarding};
use crate::native::{assert_problem, path_of, until};

const ENVELOPE: &str = "application/vnd.ekiben.task+json";

fn submission(service: &Service, endpoint: &str) -> RequestBuilder {
    service.http.post(service.url(&format!("/v1/endpoints/{endpoint}/tasks")))
}

async fn accepted(request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 202);
    answer.json().await.unwrap()
}

async fn envelope(service: &Service, endpoint: &str, envelope: &Value) -> Response {
    submission(service, endpoint).header("content-type", ENVELOPE).body(envelope.to_string()).send().await.unwrap()
}

#[actix_web::test]
async fn wishes_in_headers_are_the_tasks() {
    let service = Service::start().await;
    let task = accepted(
        submission(&service, "echo")
            .header("ekiben-priority", "background")
            .header("ekiben-fairness-key", "ana")
            .header("ekiben-delay", "1h")
            .header("ekiben-queue-ttl", "2h")
            .header("ekiben-deadline", "3h")
            .header("ekiben-timeout", "1500ms")
            .header("ekiben-max-attempts", "4")
            .header("ekiben-retention", "2days")
            .header("ekiben-tags", "project=rice%2C red, empty=")
            .body("x"),
    )
    .await;
    let shown = ["priority", "fairness_key", "timeout", "max_attempts", "retention"].map(|key| task[key].clone());
    assert_eq!(shown, [json!(9), json!("ana"), json!("1s 500ms"), json!(4), json!("2days")]);
    assert_eq!(task["tags"], json!({ "empty": "", "project": "rice, red" }));
    let time = |key: &str| chrono::DateTime::parse_from_rfc3339(task[key].as_str().unwrap()).unwrap();
    let hours = |key: &str| (time(key) - time("submitted_at")).num_hours();
    assert_eq!((hours("due_at"), hours("start_by"), hours("deadline")), (1, 2, 3));
}

#[actix_web::test]
async fn an_envelope_says_the_same_and_its_input_stays_as_it_was_written() {
    let service = Service::start().await;
    let text = r#"{"priority": 0, "tags": {"project": "rice"}, "input": {"b": 1.50, "a": [ ]}}"#;
    let task = accepted(submission(&service, "heads").header("content-type", ENVELOPE).body(text)).await;
    assert_eq!((&task["priority"], &task["tags"]), (&json!(0), &json!({ "project": "rice" })));
    until(&service, &task, "completed").await;
    let input = service.ask("GET", &path_of(&task, "/input")).await;
    assert_eq!(input.headers()["content-type"], "application/json");
    assert_eq!(input.text().await.unwrap(), r#"{"b": 1.50, "a": [ ]}"#);
    let heads: Value = service.ask("GET", &path_of(&task, "/output")).await.json().await.unwrap();
    assert_eq!(heads, json!([["content-type", "application/json"]]));
}

#[actix_web::test]
async fn a_wish_that_cannot_be_granted_is_refused_and_nothing_is_recorded() {
    let service = Service::with(|config| config.submit.envelope = 2000).await;
    let refused = submission(&service, "echo").header("ekiben-timeout", "8d").body("x").send().await.unwrap();
    let detail = assert_problem(refused, 422, "invalid_option").await;
    assert_eq!(detail, "ekiben-timeout: \"8d\" is out of bounds: the least is 1ms, the most 168h");
    let refused = envelope(&service, "echo", &json!({ "input": 1, "delai": "5s" })).await;
    assert!(assert_problem(refused, 400, "bad_envelope").await.contains("did you mean \"delay\"?"));
    let refused = envelope(&service, "echo", &json!({ "input": 1, "max_attempts": 0 })).await;
    assert_problem(refused, 422, "invalid_option").await;
    let refused = envelope(&service, "echo", &json!({ "input": "x".repeat(3000) })).await;
    assert_problem(refused, 413, "body_too_large").await;
    let page: Value = service.ask("GET", "/v1/tasks").await.json().await.unwrap();
    assert_eq!(page["tasks"], json!([]));
}

#[actix_web::test]
async fn an_endpoints_priority_is_that_of_its_tasks_unless_they_say() {
    let service = Service::with(|config| config.endpoints[0].priority = "low".parse().unwrap()).await;
    assert_eq!(accepted(submission(&service, "echo")).await["priority"], 7);
    assert_eq!(accepted(submission(&service, "echo").header("ekiben-priority", "high")).await["priority"], 2);
    let id = service.submit("echo", "x").await;
    let task: Value = service.ask("GET", &format!("/v1/tasks/{id}")).await.json().await.unwrap();
    assert_eq!(task["priority"], 7);
}

// ---- idempotency ----

#[actix_web::test]
async fn a_key_stands_for_one_task_as_long_as_its_input_is_the_same() {
    let service = Service::start().await;
    let keyed = |content_type: &'static str, body: &'static str| {
        submission(&service, "echo")
            .header("idempotency-key", "order 7")
            .header("content-type", content_type)
            .body(body)
    };
    let first = accepted(keyed("text/plain", "rice")).await;
    let again = keyed("text/plain", "rice").send().await.unwrap();
    assert_eq!(again.status(), 200);
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.headers()["location"].to_str().unwrap(), path_of(&first, ""));
    assert_eq!(again.json::<Value>().await.unwrap()["id"], first["id"]);
    for (content_type, body) in [("text/plain", "beans"), ("text/html", "rice")] {
        let other = keyed(content_type, body).send().await.unwrap();
        let detail = assert_problem(other, 422, "idempotency_mismatch").await;
        assert!(detail.contains(first["id"].as_str().unwrap()), "{detail}");
    }
    // A key belongs to its endpoint.
    accepted(submission(&service, "heads").header("idempotency-key", "order 7").body("beans")).await;
}

#[actix_web::test]
async fn a_body_is_the_same_however_it_is_packed_and_cut() {
    let service = Service::start().await;
    let large = "rice ".repeat(100_000);
    let keyed = || submission(&service, "echo").header("idempotency-key", "k").header("content-type", "text/plain");
    let first = accepted(keyed().body(large.clone())).await;
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(large.as_bytes()).unwrap();
    let packed = keyed().header("content-encoding", "gzip").body(packer.finish().unwrap()).send().await.unwrap();
    assert_eq!((packed.status().as_u16(), &packed.json::<Value>().await.unwrap()["id"]), (200, &first["id"]));
    let chunks: Vec<Result<String, std::io::Error>> =
        large.as_bytes().chunks(7777).map(|chunk| Ok(String::from_utf8(chunk.to_vec()).unwrap())).collect();
    let chunked = keyed().body(reqwest::Body::wrap_stream(futures::stream::iter(chunks))).send().await.unwrap();
    assert_eq!(chunked.status(), 200);
}

#[actix_web::test]
async fn an_envelope_may_hold_the_key() {
    let service = Service::start().await;
    let keyed = |input: Value| json!({ "input": input, "idempotency_key": "k" });
    assert_eq!(envelope(&service, "echo", &keyed(json!([1]))).await.status(), 202);
    assert_eq!(envelope(&service, "echo", &keyed(json!([1]))).await.status(), 200);
    assert_problem(envelope(&service, "echo", &keyed(json!([2]))).await, 422, "idempotency_mismatch").await;
    // The same input without an envelope is the same submission.
    let bare = submission(&service, "echo").header("idempotency-key", "k").header("content-type", "application/json");
    assert_eq!(bare.body("[1]").send().await.unwrap().status(), 200);
}

#[actix_web::test]
async fn a_submission_by_bentomls_route_may_have_a_key_too() {
    let service = Service::start().await;
    let keyed =
        |body: &'static str| service.http.post(service.url("/echo/submit")).header("idempotency-key", "k").body(body);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = keyed("rice").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        ids.push(answer.json::<Value>().await.unwrap()["task_id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(keyed("beans").send().await.unwrap().status(), 422);
}

#[actix_web::test]
async fn many_submissions_at_once_with_one_key_are_one_task() {
    let service = Service::start().await;
    let all = (0..20).map(|_| submission(&service, "echo").header("idempotency-key", "k").body("rice").send());
    let mut statuses = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for answer in futures::future::join_all(all).await {
        let answer = answer.unwrap();
        statuses.push(answer.status().as_u16());
        ids.insert(answer.json::<Value>().await.unwrap()["id"].to_string());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[18], statuses[19], ids.len()), (200, 200, 202, 1));
}

// ---- waiting ----

#[actix_web::test]
async fn a_preferred_wait_is_answered_with_the_result() {
    let service = Service::start().await;
    let answer =
        submission(&service, "echo").header("prefer", "wait=20").header("content-type", "text/rice").body("rice");
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let headers = answer.headers();
    assert_eq!(
        (&headers["preference-applied"], &headers["content-type"]),
        (&"wait=20".parse().unwrap(), &"text/rice".parse().unwrap())
    );
    let location = format!("/v1/tasks/{}", headers["ekiben-task-id"].to_str().unwrap());
    assert_eq!(headers["location"].to_str().unwrap(), location);
    assert_eq!(answer.text().await.unwrap(), "rice");

    let failed = submission(&service, "fail").header("prefer", "wait=20").body("timeout").send().await.unwrap();
    assert!(failed.headers().contains_key("ekiben-task-id"));
    assert_problem(failed, 504, "task_failed").await;
}

#[actix_web::test]
async fn a_wait_that_is_too_short_is_answered_with_the_task() {
    let service = Service::with(|config| config.submit.wait = Duration::from_millis(20)).await;
    let answer = submission(&service, "gate").header("prefer", "wait=3600").body("1").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("preference-applied")), (202, false));
    let task: Value = answer.json().await.unwrap();
    service.open_gate();
    until(&service, &task, "completed").await;
}

#[actix_web::test]
async fn where_too_many_wait_a_submission_does_not() {
    let service = Service::with(|config| config.http.waiting = 0).await;
    let answer = submission(&service, "gate").header("prefer", "wait=3600").body("1").send().await.unwrap();
    assert_eq!(answer.status(), 202);
}

#[actix_web::test]
async fn one_submission_too_many_at_a_time_is_told_to_come_again() {
    let service = Service::with(|config| config.http.submissions = 1).await;
    // One of ours may be under way just as the slow one comes, and it is the slow one that is refused.
    let mut slow = loop {
        let mut slow = service.connect();
        slow.send("POST /v1/endpoints/echo/tasks HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\n\r\nri");
        tokio::time::sleep(Duration::from_millis(10)).await;
        if service.post("/v1/endpoints/echo/tasks", "beans").await.status() == 503 {
            break slow;
        }
    };
    let refused = service.post("/echo/submit", "beans").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_error(refused, 503, "as many submissions as may be are under way: 1").await;
    assert_problem(service.post("/v1/endpoints/echo/tasks", "x").await, 503, "too_many_submissions").await;
    slow.send("ce");
    assert_eq!(slow.answer(true).status, 202);
    assert_eq!(service.post("/v1/endpoints/echo/tasks", "x").await.status(), 202);
}

// ---- what else comes with a submission ----

#[actix_web::test]
async fn the_trace_of_a_submission_reaches_the_executor() {
    let service = Service::with(|config| forwarding(&mut config.endpoints[2], &["x-mine"])).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = submission(&service, "heads").header("traceparent", trace).header("tracestate", "a=1");
    let task = accepted(request.header("x-mine", "1").header("authorization", "secret").body("x")).await;
    until(&service, &task, "completed").await;
    let heads: Value = service.ask("GET", &path_of(&task, "/output")).await.json().await.unwrap();
    assert_eq!(heads, json!([["traceparent", trace], ["tracestate", "a=1"], ["x-mine", "1"]]));
}

#[actix_web::test]
async fn a_body_that_is_refused_is_refused_as_a_problem() {
    let service = Service::with(|config| config.limits.body = 1000).await;
    assert_problem(service.post("/v1/endpoints/echo/tasks", "x".repeat(1001)).await, 413, "body_too_large").await;
    let coded = submission(&service, "echo").header("content-encoding", "br").body("x").send().await.unwrap();
    assert_problem(coded, 415, "unsupported_coding").await;
    let mut raw = service.connect();
    raw.post("/v1/tasks", "", b"unread");
    assert_eq!(raw.answer(true).status, 405);
}

#[actix_web::test]
async fn a_full_queue_refuses_with_a_time_to_try_again() {
    let service = Service::with(|config| config.endpoints[1].queue = 1).await;
    let running = accepted(submission(&service, "gate").body("1")).await;
    until(&service, &running, "in_progress").await;
    accepted(submission(&service, "gate").body("2")).await;
    let full = submission(&service, "gate").body("3").send().await.unwrap();
    assert_eq!(full.headers()["retry-after"], "5");
    assert_problem(full, 503, "queue_full").await;
}
