//! What the settings of the http executor bring about: its own headers, secrets, the health check, whom it trusts.

#![cfg(feature = "http")]

#[cfg(feature = "https")]
use std::io::{Read, Write};
#[cfg(feature = "https")]
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{ServiceConfig, to};
use actix_web::{HttpRequest, HttpResponse};
use ekiben_actors::executor::Executor;
use ekiben_actors::executor::http::{Http, HttpOptions};
use ekiben_actors::task::{FailureCode, Input, Outcome};

use crate::support::calling::{any_status, attempt, call, done, failed, json, mirror, put_back, text};
use crate::support::upstream::Upstream;

mod support {
    pub mod calling;
    pub mod upstream;
}

#[tokio::test]
async fn headers_and_url_are_filled_in_for_each_attempt_and_secrets_come_from_a_file() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "very-secret\n").unwrap();
    let upstream = mirror();
    let header = |name: &str, value: String| (name.to_owned(), value);
    let options = HttpOptions {
        url: format!("{}/{{endpoint}}/{{task_id}}", upstream.url),
        headers: vec![
            header("authorization", format!("Bearer {{file:{}}}", key.path().display())),
            header("x-attempt", "{attempt} of {endpoint}".to_owned()),
            header("content-type", "application/x-ours".to_owned()),
        ],
        ..HttpOptions::new("")
    };
    let attempt = attempt(Input::new("text/plain", "bento"));
    let task = attempt.task;
    let sent = json(&done(Http::new(options).unwrap().run(attempt).await));
    assert_eq!(sent["authorization"], "Bearer very-secret");
    assert_eq!((&sent["x-attempt"], &sent["content-type"]), (&"2 of test".into(), &"application/x-ours".into()));
    assert_eq!(sent["path"], format!("/test/{task}"));
}

#[tokio::test]
async fn headers_that_cannot_be_sent_are_refused_when_the_settings_are_read() {
    for (name, value, why) in [
        ("host", "elsewhere", "ekiben sets it by itself"),
        ("no name", "x", "that is not the name of a header"),
        ("x-note", "a\nb", "its value has characters no header may have"),
        ("x-note", "{env:EKIBEN_NO_SUCH}", "the environment has no variable EKIBEN_NO_SUCH"),
    ] {
        let headers = vec![(name.to_owned(), value.to_owned())];
        let error = Http::new(HttpOptions { headers, ..HttpOptions::new("http://host/") }).expect_err("it is refused");
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("the header \"{name}\" of the requests cannot be used: {why}")),
            "{message}"
        );
    }
}

#[tokio::test]
async fn while_an_upstream_is_not_well_its_health_is_asked_before_a_task_is_sent() {
    let well = Arc::new(AtomicBool::new(false));
    let tasks = Arc::new(AtomicUsize::new(0));
    let upstream = {
        let (well, tasks) = (well.clone(), tasks.clone());
        Upstream::start(move |service: &mut ServiceConfig| {
            let (well, tasks) = (well.clone(), tasks.clone());
            let answer = move |request: HttpRequest| {
                let is_well = well.load(Ordering::SeqCst);
                if request.path() == "/" {
                    tasks.fetch_add(1, Ordering::SeqCst);
                }
                async move { if is_well { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() }.finish() }
            };
            service.default_service(to(answer));
        })
    };
    let health = Some(format!("{}/health", upstream.url));
    let http = Http::new(HttpOptions { health, ..HttpOptions::new(&upstream.url) }).unwrap();
    let (code, _) = put_back(http.run(attempt(Input::default())).await);
    assert_eq!((code, tasks.load(Ordering::SeqCst)), (FailureCode::Saturated, 1));
    let (code, message) = put_back(http.run(attempt(Input::default())).await);
    assert_eq!((code, tasks.load(Ordering::SeqCst)), (FailureCode::Unreachable, 1));
    assert!(message.ends_with("is not well: its health check answered 503 Service Unavailable"), "{message}");
    well.store(true, Ordering::SeqCst);
    done(http.run(attempt(Input::default())).await);
}

#[cfg(feature = "https")]
#[tokio::test]
async fn https_trusts_an_authority_that_was_named_and_no_stranger() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let url = tls_server(&certified, 2);
    let (code, message) = put_back(call(&url).await);
    assert_eq!(code, FailureCode::Unreachable);
    assert!(message.contains("certificate"), "{message}");

    let ca_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca_file.path(), certified.cert.pem()).unwrap();
    let options = HttpOptions { ca_file: Some(ca_file.path().to_owned()), ..HttpOptions::new(&url) };
    let output = done(Http::new(options).unwrap().run(attempt(Input::new("text/plain", "bento"))).await);
    assert_eq!(text(&output), "behind a lock");
}

/// A server that speaks TLS with so many connections, and answers each the same.
#[cfg(feature = "https")]
fn tls_server(certified: &rcgen::CertifiedKey<rcgen::KeyPair>, connections: usize) -> String {
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for _ in 0..connections {
            let (tcp, _) = listener.accept().unwrap();
            let mut tls = rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), tcp);
            // A client that does not trust us is gone by now.
            let _ = tls.read(&mut [0; 4096]);
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nbehind a lock");
            let _ = tls.flush();
        }
    });
    url
}

#[tokio::test]
async fn a_status_that_is_to_be_retried_says_that_it_may_pass_and_keeps_the_answer() {
    let upstream = any_status();
    let calling = |path: &str| {
        let options = HttpOptions::new(format!("{}/{path}", upstream.url));
        Http::new(HttpOptions { retry_statuses: vec![502], ..options }).unwrap().run(attempt(Input::default()))
    };
    let outcome = calling("502").await;
    let Outcome::FailedForNow { failure, answer: Some(answer), retry_after: None } = outcome else {
        panic!("it may not pass: {outcome:?}")
    };
    assert_eq!((failure.code, answer.status), (FailureCode::Upstream5xx, 502));
    assert!(failure.message.ends_with(" answered 502 Bad Gateway"), "{failure}");
    assert_eq!(failed(calling("500").await).0.code, FailureCode::Upstream5xx);
}

#[tokio::test]
async fn an_upstream_that_fails_and_says_when_to_come_again_is_heeded() {
    let upstream = Upstream::start(|service: &mut ServiceConfig| {
        let answer = |request: HttpRequest| async move {
            let status = StatusCode::from_u16(request.path().trim_start_matches('/').parse().unwrap()).unwrap();
            HttpResponse::build(status).insert_header(("retry-after", "7")).body("not now")
        };
        service.default_service(to(answer));
    });
    let outcome = call(format!("{}/500", upstream.url)).await;
    let Outcome::FailedForNow { answer: Some(answer), retry_after, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((text(&answer), retry_after), ("not now".to_owned(), Some(Duration::from_secs(7))));
    // What is wrong with the request itself does not pass.
    assert_eq!(failed(call(format!("{}/422", upstream.url)).await).0.code, FailureCode::Upstream4xx);
}
