//! The task routes: submit, status, get, cancel, retry, and the synchronous call.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Service, assert_error, task_id, unknown_id};

const UNKNOWN: &str = "task_id not found";

#[actix_web::test]
async fn a_submission_is_answered_with_a_pending_task_and_later_with_its_result() {
    let service = Service::start().await;
    let request = service.http.post(service.url("/echo/submit")).header("content-type", "application/json");
    let submitted = request.body(r#"{"a": 1}"#).send().await.unwrap();
    assert_eq!(submitted.headers()["content-type"], "application/json");
    let answer: Value = submitted.json().await.unwrap();
    let id = answer["task_id"].as_str().unwrap();
    assert_eq!(answer, json!({ "task_id": id, "status": "pending" }));
    assert!(id.len() == 32 && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')), "{id}");

    service.until("echo", id, "completed").await;
    let result = service.ask("GET", &format!("/echo/get?task_id={id}")).await;
    assert_eq!(
        (result.status().as_u16(), &result.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    assert_eq!(result.text().await.unwrap(), r#"{"a": 1}"#);
}

#[actix_web::test]
async fn a_status_tells_the_true_state_and_when_it_came_about() {
    let service = Service::start().await;
    let (running, waiting) = (service.submit("gate", "1").await, service.submit("gate", "2").await);

    let status = service.until("gate", &running, "in_progress").await;
    assert_eq!((&status["attempt"], &status["completed_at"]), (&json!(1), &json!(null)));
    for name in ["created_at", "executed_at"] {
        let time = status[name].as_str().unwrap();
        assert!(chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S").is_ok(), "{time}");
    }
    let status = service.until("gate", &waiting, "pending").await;
    let created = &status["created_at"];
    assert_eq!(
        status,
        json!({
            "task_id": waiting, "status": "pending", "created_at": created, "executed_at": null,
            "completed_at": null, "attempt": 0,
        })
    );

    service.open_gate();
    let status = service.until("gate", &running, "completed").await;
    let completed = status["completed_at"].as_str().unwrap();
    assert!(completed.ends_with("+00:00") && chrono::DateTime::parse_from_rfc3339(completed).is_ok(), "{completed}");
    assert_eq!(status.get("error"), None);
}

#[actix_web::test]
async fn a_failed_task_says_why() {
    let service = Service::start().await;
    let id = service.submit("fail", "timeout").await;
    let status = service.until("fail", &id, "failed").await;
    assert_eq!(status["error"], "timeout: told to");
}

#[actix_web::test]
async fn an_old_client_hears_the_words_it_knows() {
    let service = Service::start().await;
    let ask = async |agent: &str, method: &str, path: &str| {
        let request = service.http.request(method.parse().unwrap(), service.url(path)).header("user-agent", agent);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["status"].as_str().unwrap().to_owned()
    };
    let (old, new) = ("BentoML HTTP Client/1.4.13", "BentoML HTTP Client/1.4.14");
    let (running, waiting) = (service.submit("gate", "1").await, service.submit("gate", "2").await);
    let failed = service.submit("fail", "failed").await;
    service.until("gate", &running, "in_progress").await;
    service.until("fail", &failed, "failed").await;

    assert_eq!(ask(old, "POST", "/gate/submit").await, "in_progress");
    for (endpoint, id, old_word, new_word) in [
        ("gate", &running, "in_progress", "in_progress"),
        ("gate", &waiting, "in_progress", "pending"),
        ("fail", &failed, "failure", "failed"),
    ] {
        let path = format!("/{endpoint}/status?task_id={id}");
        assert_eq!(ask(old, "GET", &path).await, old_word);
        assert_eq!(ask(new, "GET", &path).await, new_word);
        assert_eq!(ask("curl/8", "GET", &path).await, new_word);
    }
    assert_eq!(ask(old, "PUT", &format!("/gate/cancel?task_id={waiting}")).await, "cancelled");
    assert_eq!(ask(new, "PUT", &format!("/gate/cancel?task_id={waiting}")).await, "canceled");
    service.open_gate();
    service.until("gate", &running, "completed").await;
    assert_eq!(ask(old, "GET", &format!("/gate/status?task_id={running}")).await, "success");
}

#[actix_web::test]
async fn a_task_without_a_result_is_refused_with_the_reason() {
    let service = Service::start().await;
    let (running, canceled) = (service.submit("gate", "1").await, service.submit("gate", "2").await);
    service.until("gate", &running, "in_progress").await;

    for id in [&running, &canceled] {
        let answer = service.ask("GET", &format!("/gate/get?task_id={id}")).await;
        assert_eq!(answer.headers()["retry-after"], "1");
        assert_error(answer, 400, &format!("task {id} is not completed yet")).await;
    }
    service.ask("PUT", &format!("/gate/cancel?task_id={canceled}")).await;
    let answer = service.ask("GET", &format!("/gate/get?task_id={canceled}")).await;
    assert_error(answer, 409, &format!("task {canceled} was canceled")).await;
}

#[actix_web::test]
async fn a_failed_task_is_answered_by_the_kind_of_its_failure() {
    let service = Service::start().await;
    for (code, status) in [
        ("failed", 500),
        ("bad_input", 400),
        ("timeout", 504),
        ("lost", 500),
        ("unreachable", 503),
        ("upstream_4xx", 502),
        ("upstream_5xx", 502),
        ("bad_output", 502),
        ("too_large", 502),
    ] {
        assert_error(service.result_of("fail", code, "failed").await, status, "told to").await;
    }
    let panicked = service.result_of("fail", "panic!", "failed").await;
    assert_eq!(panicked.status(), 500);
    let answer: Value = panicked.json().await.unwrap();
    assert!(answer["error"].as_str().unwrap().starts_with("the executor panicked: "), "{answer}");
}

#[actix_web::test]
async fn an_answer_of_a_failure_is_replayed_but_never_passes_for_a_result() {
    let service = Service::start().await;
    for status in [400, 401, 404, 418, 422, 503] {
        let answer = service.result_of("fail", status.to_string(), "failed").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (status, &"text/x-why".parse().unwrap())
        );
        assert_eq!(answer.text().await.unwrap(), "because");
    }
    assert_error(service.result_of("fail", "202", "failed").await, 502, "told to").await;
}

#[actix_web::test]
async fn a_task_is_canceled_until_it_starts() {
    let service = Service::start().await;
    let running = service.submit("gate", "1").await;
    service.until("gate", &running, "in_progress").await;
    for method in ["PUT", "POST"] {
        let waiting = service.submit("gate", "2").await;
        let cancel = async |id: &str| service.ask(method, &format!("/gate/cancel?task_id={id}")).await;
        for _ in 0..2 {
            let answer = cancel(&waiting).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "task_id": waiting, "status": "canceled" }));
        }
        assert_error(cancel(&running).await, 409, &format!("task {running} has already started")).await;
        assert_error(cancel(&unknown_id()).await, 404, UNKNOWN).await;
    }
    for (endpoint, input, state) in [("echo", "x", "completed"), ("fail", "failed", "failed")] {
        let id = service.submit(endpoint, input).await;
        service.until(endpoint, &id, state).await;
        let answer = service.ask("PUT", &format!("/{endpoint}/cancel?task_id={id}")).await;
        assert_error(answer, 409, &format!("task {id} has already finished: it is {state}")).await;
    }
}

#[actix_web::test]
async fn a_finished_task_is_retried_as_a_new_one_with_the_same_input() {
    let service = Service::start().await;
    let (running, canceled) = (service.submit("gate", "1").await, service.submit("gate", "2").await);
    service.until("gate", &running, "in_progress").await;
    service.ask("PUT", &format!("/gate/cancel?task_id={canceled}")).await;
    for method in ["POST", "PUT"] {
        let retry = async |id: &str| service.ask(method, &format!("/gate/retry?task_id={id}")).await;
        assert_error(retry(&running).await, 400, &format!("task {running} is not completed yet")).await;
        assert_error(retry(&unknown_id()).await, 404, UNKNOWN).await;
        let again = task_id(retry(&canceled).await).await;
        assert_ne!(again, canceled);
        assert_error(retry(&again).await, 400, &format!("task {again} is not completed yet")).await;
    }
    for (endpoint, input, state) in [("echo", "x", "completed"), ("fail", "418", "failed")] {
        let first = service.submit(endpoint, input).await;
        service.until(endpoint, &first, state).await;
        let again = task_id(service.ask("POST", &format!("/{endpoint}/retry?task_id={first}")).await).await;
        service.until(endpoint, &again, state).await;
        let get =
            async |id: &str| service.ask("GET", &format!("/{endpoint}/get?task_id={id}")).await.text().await.unwrap();
        assert_eq!(get(&again).await, get(&first).await);
    }
}

/// Every route that asks for a task, with the method its clients use.
const ASKING: [(&str, &str); 4] = [("GET", "status"), ("GET", "get"), ("PUT", "cancel"), ("POST", "retry")];

#[actix_web::test]
async fn a_task_must_be_named() {
    let service = Service::start().await;
    for (method, verb) in ASKING {
        for query in ["", "?", "?id=1", "?task_idx=1"] {
            assert_error(service.ask(method, &format!("/echo/{verb}{query}")).await, 400, "task_id is required").await;
        }
    }
}

#[actix_web::test]
async fn an_id_that_names_nothing_is_unknown_whatever_it_looks_like() {
    let service = Service::start().await;
    let elsewhere = service.submit("gate", "1").await;
    let long = "a".repeat(2000);
    let odd = [
        "",
        "1",
        "%00",
        "nil%00",
        "%ED%A0%80",
        "%FF%FE",
        "NaN",
        "null",
        "../etc",
        "%2e%2e%2f",
        "{}",
        "'%20OR%201=1",
        "urn:uuid:019f0000-0000-7000-8000-000000000000",
        "%7B019f0000-0000-7000-8000-000000000000%7D",
        "019f0000-0000-7000-8000-00000000000",
        "019f00000000-7000-8000-000000000000",
        "+",
        "%",
        "%zz",
        &long,
    ];
    for (method, verb) in ASKING {
        let ask = async |id: &str| service.ask(method, &format!("/echo/{verb}?task_id={id}")).await;
        for id in odd.into_iter().chain([unknown_id().as_str(), &elsewhere]) {
            assert_error(ask(id).await, 404, UNKNOWN).await;
        }
    }
    let status = service.until("gate", &elsewhere, "in_progress").await;
    assert_eq!(status["task_id"], elsewhere);
}

#[actix_web::test]
async fn an_id_over_its_retention_is_told_how_long_results_are_kept() {
    let service = Service::start().await;
    // The time stamp of 1970.
    for id in ["00000000000170008000000000000000", "00000000-0001-7000-8000-000000000000"] {
        for (method, verb) in ASKING {
            let answer = service.ask(method, &format!("/echo/{verb}?task_id={id}")).await;
            assert_error(answer, 404, "task_id not found: results are kept for 24h").await;
        }
    }
}

#[actix_web::test]
async fn an_id_names_its_task_in_every_spelling_and_is_answered_in_one() {
    let service = Service::start().await;
    let id = service.submit("echo", "x").await;
    service.until("echo", &id, "completed").await;
    let hyphenated = format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
    for spelling in [id.to_uppercase(), hyphenated.to_uppercase(), hyphenated] {
        let status: Value = service.ask("GET", &format!("/echo/status?task_id={spelling}")).await.json().await.unwrap();
        assert_eq!(status["task_id"], id);
        let again = service.ask("POST", &format!("/echo/retry?task_id={spelling}")).await;
        assert_ne!(task_id(again).await, id);
        let cancel = service.ask("PUT", &format!("/echo/cancel?task_id={spelling}")).await;
        assert_error(cancel, 409, &format!("task {id} has already finished: it is completed")).await;
    }
    let twice = format!("/echo/status?task_id=1&task_id={id}");
    assert_eq!(service.ask("GET", &twice).await.status(), 200);
}

#[actix_web::test]
async fn requests_about_tasks_are_numbered_by_us() {
    let service = Service::start().await;
    let mut seen = Vec::new();
    for path in ["/echo/status", "/echo/status?task_id=1", "/echo/get?task_id=1"] {
        let request = service.http.get(service.url(path)).header("x-bentoml-request-id", "0123456789abcdef");
        let answer = request.send().await.unwrap();
        seen.push(answer.headers()["x-bentoml-request-id"].to_str().unwrap().to_owned());
    }
    let submitted = service.post("/echo/submit", "x").await;
    seen.push(submitted.headers()["x-bentoml-request-id"].to_str().unwrap().to_owned());
    assert!(seen.iter().all(|id| id.len() == 16 && u64::from_str_radix(id, 16).is_ok()), "{seen:?}");
    seen.push("0123456789abcdef".into());
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    for path in ["/readyz", "/nowhere", "/echo"] {
        assert_eq!(service.ask("GET", path).await.headers().get("x-bentoml-request-id"), None, "{path}");
    }
}

// ---- the synchronous call ----

#[actix_web::test]
async fn a_call_is_a_task_whose_result_is_the_answer() {
    let service = Service::start().await;
    let request = service.http.post(service.url("/echo")).header("content-type", "text/x-rice");
    let answer = request.body("rice").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &"text/x-rice".parse().unwrap()));
    let id = answer.headers()["ekiben-task-id"].to_str().unwrap().to_owned();
    assert_eq!(answer.text().await.unwrap(), "rice");
    assert_eq!(service.until("echo", &id, "completed").await["attempt"], 1);

    let answer = service.post("/fail", "418").await;
    assert_eq!(answer.status(), 418);
    let id = answer.headers()["ekiben-task-id"].to_str().unwrap().to_owned();
    service.until("fail", &id, "failed").await;
}

#[actix_web::test]
async fn a_call_that_takes_too_long_leaves_its_task_to_be_asked_for() {
    let service = Service::with(|config| config.limits.sync_wait = Duration::from_millis(20)).await;
    let answer = service.post("/gate", "rice").await;
    assert_eq!(answer.status(), 504);
    let id = answer.headers()["ekiben-task-id"].to_str().unwrap().to_owned();
    let answer: Value = answer.json().await.unwrap();
    let error = format!("task {id} has not ended within 20ms; it goes on, and /gate/get will have its result");
    assert_eq!(answer, json!({ "error": error, "task_id": id }));

    service.open_gate();
    service.until("gate", &id, "completed").await;
}

#[actix_web::test]
async fn a_call_whose_task_is_canceled_is_told() {
    let service = Service::start().await;
    let running = service.submit("gate", "1").await;
    service.until("gate", &running, "in_progress").await;
    let called = service.post("/gate", "rice");
    let canceled = async {
        let waiting = waiting_task(&service).await;
        service.ask("PUT", &format!("/gate/cancel?task_id={waiting}")).await;
        waiting
    };
    let (answer, id) = tokio::join!(called, canceled);
    assert_eq!(answer.headers()["ekiben-task-id"].to_str().unwrap(), id);
    assert_error(answer, 409, &format!("task {id} was canceled")).await;
}

/// Waits until a task waits, and answers with its id.
async fn waiting_task(service: &Service) -> String {
    use ekiben_actors::registry::List;
    use ekiben_actors::store::ListQuery;
    use ekiben_actors::task::State;
    loop {
        let query = ListQuery { states: vec![State::Pending], ..ListQuery::newest(1) };
        if let Some(task) = service.app.system.registry.send(List(query)).await.unwrap().unwrap().tasks.first() {
            return task.id.to_string();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

// ---- refusals ----

#[actix_web::test]
async fn a_full_queue_refuses_with_a_time_to_try_again_and_still_answers_questions() {
    let service = Service::with(|config| config.endpoints[1].queue = 1).await;
    let running = service.submit("gate", "1").await;
    service.until("gate", &running, "in_progress").await;
    let waiting = service.submit("gate", "2").await;

    for path in ["/gate/submit", "/gate", "/gate/retry"] {
        let path = if path.ends_with("retry") { format!("{path}?task_id={running}") } else { path.to_owned() };
        let answer = service.post(&path, "3").await;
        assert_eq!(answer.headers()["retry-after"], "5");
        assert_error(answer, 503, "the queue of endpoint \"gate\" is full: 1 tasks wait").await;
    }
    assert_eq!(service.until("gate", &waiting, "pending").await["attempt"], 0);
    assert_eq!(service.ask("PUT", &format!("/gate/cancel?task_id={waiting}")).await.status(), 200);
    service.submit("gate", "3").await;
}

#[actix_web::test]
async fn a_draining_service_takes_no_tasks_and_answers_the_rest() {
    let service = Service::start().await;
    let done = service.submit("echo", "x").await;
    service.until("echo", &done, "completed").await;
    let running = service.submit("gate", "1").await;
    service.until("gate", &running, "in_progress").await;
    let waiting = service.submit("gate", "2").await;
    let called = async { service.post("/gate", "3").await };
    let begin_drain = async {
        while waiting_tasks(&service).await < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        service.app.draining.store(true, Ordering::Release);
        Some(actix_web::rt::spawn(service.app.system.drain(Duration::from_secs(60))))
    };
    let ((), drained) = tokio::join!(
        async {
            let called = called.await;
            let id = called.headers()["ekiben-task-id"].to_str().unwrap().to_owned();
            assert_eq!((called.status().as_u16(), &called.headers()["retry-after"]), (503, &"5".parse().unwrap()));
            let error = format!("the service is shutting down; task {id} is kept and runs after the next start");
            assert_eq!(called.json::<Value>().await.unwrap(), json!({ "error": error, "task_id": id }));
        },
        async {
            let drained = begin_drain.await;
            assert_eq!(service.ask("GET", "/readyz").await.status(), 503);
            assert_eq!(service.ask("GET", "/livez").await.status(), 200);
            while service.post("/echo/submit", "x").await.status() == 200 {}
            let answer = service.post("/echo/submit", "x").await;
            assert_eq!(answer.headers()["retry-after"], "5");
            assert_error(answer, 503, "no new tasks are taken: the service is shutting down").await;
            assert_eq!(service.until("gate", &waiting, "pending").await["attempt"], 0);
            assert_eq!(service.ask("GET", &format!("/echo/get?task_id={done}")).await.text().await.unwrap(), "x");
            assert_eq!(service.ask("PUT", &format!("/gate/cancel?task_id={waiting}")).await.status(), 200);
            service.open_gate();
            service.until("gate", &running, "completed").await;
            drained
        }
    );
    assert_eq!(drained.expect("the drain has begun").await.unwrap().finished, 1);
}

async fn waiting_tasks(service: &Service) -> u64 {
    use ekiben_actors::registry::Counts;
    use ekiben_actors::task::State;
    let counts = service.app.system.registry.send(Counts).await.unwrap().unwrap();
    counts.iter().filter(|count| count.state == State::Pending).map(|count| count.tasks).sum()
}
