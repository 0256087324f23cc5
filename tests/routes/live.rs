//! Tasks as they are watched over the native API: long poll, log, progress and queue, and streams of events.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{LONG, Service, unknown_id};
use crate::native::{assert_problem, path_of, submit, until};
use crate::sse::Stream;

async fn open(service: &Service, path: &str, last: Option<&str>) -> Stream {
    let answer = Stream::request(&service.http, &service.url(path), last).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    Stream::of(answer)
}

/// Ids and names of all that comes until the end.
async fn rest(mut stream: Stream) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(told) = stream.next().await.unwrap() {
        all.push(format!("{} {}", told.id, told.event));
    }
    all
}

#[actix_web::test]
async fn the_events_of_a_task_come_as_they_happen_and_end_with_it() {
    let service = Service::start().await;
    let task = submit(&service, "gate", "1").await;
    let mut stream = open(&service, &path_of(&task, "/events"), None).await;
    assert_eq!(stream.block().await.unwrap().as_deref(), Some("retry: 2000"));
    let submitted = stream.next().await.unwrap().unwrap();
    assert_eq!((submitted.id.as_str(), submitted.event.as_str()), ("0.0", "submitted"));
    assert_eq!(submitted.data, json!({ "at": task["submitted_at"], "attempt": 0 }));
    let started = stream.next().await.unwrap().unwrap();
    assert_eq!((started.id.as_str(), started.event.as_str()), ("1.0", "started"));

    service.open_gate();
    let ended = stream.next().await.unwrap().unwrap();
    assert_eq!((ended.id.as_str(), ended.event.as_str()), ("1.999999999", "completed"));
    let task = until(&service, &task, "completed").await;
    let expected = json!({ "at": task["finished_at"], "failure": null, "output_bytes": 1, "attempt": 1 });
    assert_eq!(ended.data, expected);
    assert!(stream.next().await.unwrap().is_none());
}

#[actix_web::test]
async fn a_stream_goes_on_after_the_last_event_that_came_and_a_browser_is_told_to_stay_away_after_the_end() {
    let service = Service::start().await;
    let task = submit(&service, "fail", "bad_input").await;
    until(&service, &task, "failed").await;
    let path = path_of(&task, "/events");
    let all = ["0.0 submitted", "1.0 started", "1.999999999 failed"];
    assert_eq!(rest(open(&service, &path, None).await).await, all);
    assert_eq!(rest(open(&service, &path, Some("0.0")).await).await, all[1..]);
    assert_eq!(rest(open(&service, &format!("{path}?last_event_id=1.0"), None).await).await, all[2..]);
    let over = service.http.get(service.url(&path)).header("last-event-id", "1.999999999").send().await.unwrap();
    assert_eq!(over.status(), 204);
    let bad = service.http.get(service.url(&path)).header("last-event-id", "17").send().await.unwrap();
    let refusal = assert_problem(bad, 400, "bad_event_id").await;
    assert!(refusal.contains("\"17\"") && refusal.contains("2.17"), "{refusal}");
    assert_eq!(service.ask("HEAD", &path).await.headers()["content-type"], "text/event-stream");
}

#[actix_web::test]
async fn a_silent_stream_is_told_comments_and_ends_when_the_service_drains() {
    let service = Service::with(|config| config.http.events_heartbeat = Duration::from_millis(20)).await;
    let task = submit(&service, "gate", "1").await;
    let mut stream = open(&service, &path_of(&task, "/events"), None).await;
    let mut comments = 0;
    while comments < 3 {
        comments += usize::from(stream.block().await.unwrap().unwrap().starts_with(": "));
    }
    let poll = service.http.get(service.url(&path_of(&task, "?wait=30s"))).send();
    let poll = actix_web::rt::spawn(poll);
    service.app.system.drain(Duration::ZERO).await;
    assert!(stream.next().await.unwrap().is_none_or(|told| told.event == "put_back"));
    assert_eq!(poll.await.unwrap().unwrap().status(), 200);
}

#[actix_web::test]
async fn a_poll_waits_for_the_end_or_as_long_as_it_says() {
    let service = Service::start().await;
    let task = submit(&service, "gate", "1").await;
    let early: Value = service.ask("GET", &path_of(&task, "?wait=5ms")).await.json().await.unwrap();
    assert!(early["finished_at"].is_null(), "{early}");
    let waiting = actix_web::rt::spawn(service.http.get(service.url(&path_of(&task, "?wait=1h"))).send());
    service.open_gate();
    let ended: Value = waiting.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(ended["state"], "completed");
    let at_once: Value = service.ask("GET", &path_of(&task, "?wait=1h")).await.json().await.unwrap();
    assert_eq!(at_once, ended);
    assert_problem(service.ask("GET", &path_of(&task, "?wait=soon")).await, 400, "bad_query").await;
    for path in ["?wait=1s", "/events", "/logs"] {
        let unknown = format!("/v1/tasks/{}{path}", unknown_id());
        assert_problem(service.ask("GET", &unknown).await, 404, "task_not_found").await;
    }
}

#[actix_web::test]
async fn no_more_wait_for_tasks_than_there_may() {
    let service = Service::with(|config| config.http.waiting = 1).await;
    let task = submit(&service, "gate", "1").await;
    let mut stream = open(&service, &path_of(&task, "/events"), None).await;
    for path in ["/events", "?wait=1s"] {
        let refused = service.ask("GET", &path_of(&task, path)).await;
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_problem(refused, 503, "too_many_waiting").await;
    }
    service.open_gate();
    while stream.next().await.unwrap().is_some() {}
    drop(stream);
    let place_is_free = async {
        while service.ask("GET", &path_of(&task, "/events")).await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, place_is_free).await.expect("the place is given back");
}

#[actix_web::test]
async fn a_task_tells_how_far_it_has_come_and_where_it_stands() {
    let service = Service::start().await;
    let first = submit(&service, "report", "1").await;
    let first = until(&service, &first, "in_progress").await;
    let second = submit(&service, "report", "2").await;
    let told = async {
        loop {
            let task: Value = service.ask("GET", &path_of(&first, "")).await.json().await.unwrap();
            // What it tells last.
            if !task["progress"]["fraction"].is_null() {
                return task;
            }
        }
    };
    let first = tokio::time::timeout(LONG, told).await.expect("it tells in time");
    let progress = json!({ "fraction": 0.5, "message": "half way", "counters": { "tokens": 3 } });
    assert_eq!(first["progress"], progress);
    assert_eq!(first["queue"], json!({ "position": null, "start": null, "finish": null }));
    let log: Value = service.ask("GET", &path_of(&first, "/logs")).await.json().await.unwrap();
    assert_eq!((&log["attempt"], &log["dropped"]), (&json!(1), &json!(0)));
    assert_eq!((&log["lines"][0]["level"], &log["lines"][0]["message"]), (&json!("warning"), &json!("hot")));

    let second: Value = service.ask("GET", &path_of(&second, "")).await.json().await.unwrap();
    assert_eq!(second["queue"], json!({ "position": 1, "start": null, "finish": null }));
    assert!(second["progress"].is_null());
    let empty: Value = service.ask("GET", &path_of(&second, "/logs")).await.json().await.unwrap();
    assert_eq!(empty, json!({ "attempt": 0, "lines": [], "dropped": 0 }));

    service.open_gate();
    let first = until(&service, &first, "completed").await;
    assert_eq!((&first["progress"], &first["queue"]), (&progress, &Value::Null));
    let events = rest(open(&service, &path_of(&first, "/events"), None).await).await;
    assert_eq!(events[1..4], ["1.0 started", "1.1 log", "1.4 progress"]);
}

#[actix_web::test]
async fn a_waiting_task_is_told_when_it_will_start_once_there_were_runs() {
    let service = Service::start().await;
    for _ in 0..12 {
        let task = submit(&service, "gate", "1").await;
        service.open_gate();
        until(&service, &task, "completed").await;
    }
    let running = submit(&service, "gate", "2").await;
    until(&service, &running, "in_progress").await;
    let waiting = submit(&service, "gate", "3").await;
    let waiting: Value = service.ask("GET", &path_of(&waiting, "")).await.json().await.unwrap();
    let queue = &waiting["queue"];
    assert_eq!(queue["position"], 1);
    for range in [&queue["start"], &queue["finish"]] {
        let (earliest, latest) = (range["earliest"].as_str().unwrap(), range["latest"].as_str().unwrap());
        assert!(waiting["submitted_at"].as_str().unwrap() <= earliest && earliest <= latest, "{queue}");
    }
}
