//! Calls an upstream as the http executor does, and takes what came of it apart.

#![allow(dead_code, reason = "each test program needs a part of it")]

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, ServiceConfig, to};
use actix_web::{HttpRequest, HttpResponse};
use ekiben_actors::executor::http::{Http, HttpOptions};
use ekiben_actors::executor::{Attempt, Executor, Outputs, Report};
use ekiben_actors::spool::{BlobName, Blobs};
use ekiben_actors::task::{EndpointName, Failure, FailureCode, Input, Outcome, Output, TaskId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::upstream::Upstream;

pub const OUTPUT_MAX: u64 = 1000;

pub fn attempt(input: Input) -> Attempt {
    let task = TaskId::generate();
    Attempt {
        task,
        endpoint: EndpointName::new("test").unwrap(),
        number: 2,
        timeout: None,
        input,
        cancellation: CancellationToken::new(),
        report: Report::unwatched(),
        outputs: Outputs::new(Blobs::in_memory(), BlobName::Output(task, 1), OUTPUT_MAX),
    }
}

pub async fn call(url: impl Into<String>) -> Outcome {
    Http::new(HttpOptions::new(url)).unwrap().run(attempt(Input::new("text/plain", "bento"))).await
}

pub fn done(outcome: Outcome) -> Output {
    let Outcome::Done(output) = outcome else { panic!("not done: {outcome:?}") };
    output
}

/// The failure and the answer of an outcome.
pub fn failed(outcome: Outcome) -> (Failure, Output) {
    let Outcome::Failed(failure, Some(answer)) = outcome else { panic!("no failure with an answer: {outcome:?}") };
    (failure, answer)
}

/// The code of a failure that is in our own words, the status it is answered with, and the words.
pub fn explained(outcome: Outcome) -> (FailureCode, u16, String) {
    let (failure, answer) = failed(outcome);
    assert_eq!(answer.headers.content_type(), Some("application/json"));
    assert_eq!(json(&answer), serde_json::json!({ "error": failure.message }));
    (failure.code, answer.status, failure.message)
}

/// The code and the words of a put-back.
pub fn put_back(outcome: Outcome) -> (FailureCode, String) {
    let Outcome::PutBack { failure, retry_after: None } = outcome else { panic!("not put back: {outcome:?}") };
    (failure.code, failure.message)
}

pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.body.read().unwrap()).unwrap()
}

pub fn text(output: &Output) -> String {
    String::from_utf8(output.body.read().unwrap().to_vec()).unwrap()
}

pub fn host(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}

/// A server that reads every request to its end and shows its headers, and who sent it.
pub fn mirror() -> Upstream {
    async fn show(request: HttpRequest, _: Bytes) -> HttpResponse {
        let headers = request.headers().iter();
        let mut shown: Value = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        shown["path"] = request.path().into();
        shown["peer"] = request.peer_addr().unwrap().to_string().into();
        HttpResponse::Ok().json(shown)
    }
    Upstream::start(|service: &mut ServiceConfig| {
        service.default_service(to(show));
    })
}

/// A server that answers with the status its path names.
pub fn any_status() -> Upstream {
    async fn answer(request: HttpRequest) -> HttpResponse {
        let status = StatusCode::from_bytes(&request.path().as_bytes()[1..]).unwrap();
        HttpResponse::build(status).insert_header(("content-type", "text/x-why")).body("no rice left")
    }
    Upstream::start(|service: &mut ServiceConfig| {
        service.default_service(to(answer));
    })
}
