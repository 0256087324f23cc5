//! The native API: inputs and outputs as the HTTP responses they are.

use reqwest::{Method, Response};
use serde_json::Value;

use crate::harness::{Service, unknown_id};
use crate::native::{assert_problem, path_of, submit, until};

async fn get(service: &Service, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = service.http.get(service.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn finished(service: &Service, endpoint: &str, body: &'static str) -> Value {
    let task = submit(service, endpoint, body).await;
    until(service, &task, "completed").await
}

#[actix_web::test]
async fn an_output_has_its_type_its_length_and_a_tag_that_stays() {
    let service = Service::start().await;
    // From memory, and from a file.
    for (endpoint, content_type) in [("heads", "application/json"), ("large", "application/x-large")] {
        let task = finished(&service, endpoint, "0123456789").await;
        let path = path_of(&task, "/output");
        let answer = get(&service, &path, &[]).await;
        let headers = answer.headers().clone();
        assert_eq!((answer.status().as_u16(), &headers["content-type"]), (200, &content_type.parse().unwrap()));
        assert_eq!(
            (&headers["accept-ranges"], &headers["etag"]),
            (&"bytes".parse().unwrap(), &format!("\"{}.output\"", task["id"].as_str().unwrap()).parse().unwrap(),)
        );
        let body = answer.bytes().await.unwrap();
        assert_eq!(headers["content-length"], body.len().to_string());
        assert_eq!(task["output_bytes"], body.len());
        let head = service.ask("HEAD", &path).await;
        for name in ["content-type", "content-length", "etag", "accept-ranges"] {
            assert_eq!(head.headers()[name], headers[name], "{name}");
        }
        assert_eq!(head.text().await.unwrap(), "");
    }
}

#[actix_web::test]
async fn what_a_client_has_already_is_not_sent_again() {
    let service = Service::start().await;
    let task = finished(&service, "echo", "rice").await;
    for below in ["/input", "/output"] {
        let path = path_of(&task, below);
        let tag = get(&service, &path, &[]).await.headers()["etag"].to_str().unwrap().to_owned();
        let again = get(&service, &path, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &tag.parse().unwrap()));
        assert_eq!(again.text().await.unwrap(), "");
        assert_eq!(get(&service, &path, &[("if-none-match", "\"another\"")]).await.status(), 200);
    }
}

#[actix_web::test]
async fn a_single_range_is_answered_with_that_part() {
    let service = Service::start().await;
    let tasks = [finished(&service, "echo", "0123456789").await, finished(&service, "large", "0123456789").await];
    let paths = [path_of(&tasks[0], "/input"), path_of(&tasks[0], "/output"), path_of(&tasks[1], "/output")];
    for path in paths {
        for (range, part, place) in [
            ("bytes=2-5", "2345", "bytes 2-5/10"),
            ("bytes=7-", "789", "bytes 7-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"),
            ("bytes=0-99", "0123456789", "bytes 0-9/10"),
        ] {
            let answer = get(&service, &path, &[("range", range)]).await;
            assert_eq!(answer.status(), 206, "{range}");
            assert_eq!(answer.headers()["content-range"], place);
            assert_eq!(answer.headers()["content-length"], part.len().to_string());
            assert_eq!(answer.text().await.unwrap(), part);
        }
        let outside = get(&service, &path, &[("range", "bytes=10-")]).await;
        assert_eq!(outside.headers()["content-range"], "bytes */10");
        assert_problem(outside, 416, "range_not_satisfiable").await;
        for ignored in ["bytes=0-1,3-4", "lines=1-2", "bytes=5-2"] {
            let answer = get(&service, &path, &[("range", ignored)]).await;
            assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().len()), (200, 10));
        }
        let tag = get(&service, &path, &[]).await.headers()["etag"].to_str().unwrap().to_owned();
        let same = get(&service, &path, &[("range", "bytes=0-1"), ("if-range", &tag)]).await;
        let changed = get(&service, &path, &[("range", "bytes=0-1"), ("if-range", "\"another\"")]).await;
        assert_eq!((same.status().as_u16(), changed.status().as_u16()), (206, 200));
        let head = service.http.request(Method::HEAD, service.url(&path)).header("range", "bytes=0-1");
        assert_eq!(head.send().await.unwrap().status(), 200);
    }
}

#[actix_web::test]
async fn a_task_without_an_answer_says_why() {
    let service = Service::start().await;
    let running = submit(&service, "gate", "1").await;
    until(&service, &running, "in_progress").await;
    let waiting = submit(&service, "gate", "2").await;
    let unfinished = service.ask("GET", &path_of(&running, "/output")).await;
    assert_eq!(unfinished.headers()["retry-after"], "1");
    assert_problem(unfinished, 409, "not_finished").await;
    service.ask("POST", &path_of(&waiting, "/cancel")).await;
    assert_problem(service.ask("GET", &path_of(&waiting, "/output")).await, 410, "canceled").await;

    let failed = submit(&service, "fail", "timeout").await;
    until(&service, &failed, "failed").await;
    let why = assert_problem(service.ask("GET", &path_of(&failed, "/output")).await, 504, "task_failed").await;
    assert_eq!(why, "told to");
    // An answer that came with the failure is replayed, and is nothing a client could hold.
    let answered = submit(&service, "fail", "422").await;
    until(&service, &answered, "failed").await;
    let replayed = get(&service, &path_of(&answered, "/output"), &[("range", "bytes=0-1")]).await;
    assert_eq!((replayed.status().as_u16(), replayed.headers().contains_key("etag")), (422, false));
    assert_eq!(replayed.text().await.unwrap(), "because");
    let unknown = format!("/v1/tasks/{}/output", unknown_id());
    assert_problem(service.ask("GET", &unknown).await, 404, "task_not_found").await;
}
