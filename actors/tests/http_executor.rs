//! What the http executor promises beyond what every executor does: what it sends, keeps, and makes of bad answers.

#![cfg(feature = "http")]

use std::net::TcpListener;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{ServiceConfig, get, post, to};
use actix_web::{HttpRequest, HttpResponse};
use ekiben_actors::body::Body;
use ekiben_actors::executor::Executor;
use ekiben_actors::executor::http::{Http, HttpOptions};
use ekiben_actors::spool::{BlobName, Blobs};
use ekiben_actors::task::{Failure, FailureCode, Input, Outcome, TaskId};
use serde_json::Value;

use crate::support::calling::{any_status, attempt, call, done, explained, failed, host, json, mirror, put_back, text};
use crate::support::crude::Crude;
use crate::support::upstream::Upstream;

mod support {
    pub mod calling;
    pub mod crude;
    pub mod upstream;
}

async fn mirrored(http: &Http, input: Input) -> Value {
    json(&done(http.run(attempt(input)).await))
}

#[tokio::test]
async fn an_input_of_known_length_is_never_sent_in_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Blobs::in_folder(folder.path(), 10).spool(BlobName::Input(TaskId::generate()), u64::MAX);
    spool.write(&vec![7; 300_000]).await.unwrap();
    let in_a_file = spool.finish().await.unwrap();
    assert!(matches!(in_a_file, Body::File(_)));

    let upstream = mirror();
    let http = Http::new(HttpOptions::new(&upstream.url)).unwrap();
    for (body, length) in [(Body::from(""), "0"), (Body::from("bento"), "5"), (in_a_file, "300000")] {
        let sent = mirrored(&http, Input::new("text/plain", body)).await;
        assert_eq!((&sent["content-length"], &sent["transfer-encoding"]), (&Value::from(length), &Value::Null));
    }
}

#[tokio::test]
async fn the_upstream_is_told_whose_attempt_it_is_and_nothing_of_the_connection() {
    let upstream = mirror();
    let mut input = Input::new("text/plain", "bento");
    for (name, value) in [("connection", "close, x-mine"), ("x-mine", "a"), ("te", "trailers"), ("upgrade", "h2c")] {
        input.headers.add(name, value);
    }
    let attempt = attempt(input);
    let task = attempt.task;
    let sent = json(&done(Http::new(HttpOptions::new(&upstream.url)).unwrap().run(attempt).await));

    assert_eq!((&sent["ekiben-task-id"], &sent["ekiben-attempt"]), (&Value::from(task.to_string()), &"2".into()));
    assert_eq!(sent["accept-encoding"], "identity");
    for name in ["connection", "x-mine", "te", "upgrade"] {
        assert_eq!(sent[name], Value::Null, "{name}");
    }
}

#[tokio::test]
async fn the_method_is_the_one_asked_for() {
    let upstream = Upstream::start(|service: &mut ServiceConfig| {
        service.route("/", get().to(|| async { "got" })).route("/", post().to(|| async { "posted" }));
    });
    let options = HttpOptions::new(&upstream.url);
    let getting = Http::new(HttpOptions { method: "GET".to_owned(), ..options.clone() }).unwrap();
    assert_eq!(text(&done(getting.run(attempt(Input::default())).await)), "got");
    let posting = Http::new(options).unwrap();
    assert_eq!(text(&done(posting.run(attempt(Input::default())).await)), "posted");
}

#[tokio::test]
async fn what_is_kept_of_an_answer_is_a_list() {
    let upstream = Upstream::start(|service: &mut ServiceConfig| {
        let answer = || async {
            HttpResponse::Created()
                .insert_header(("content-type", "audio/mpeg"))
                .insert_header(("content-disposition", "attachment; filename=\"a.mp3\""))
                .insert_header(("content-language", "ja"))
                .insert_header(("etag", "\"7\""))
                .insert_header(("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT"))
                .insert_header(("set-cookie", "session=secret"))
                .insert_header(("keep-alive", "timeout=5"))
                .insert_header(("x-model", "tiny"))
                .insert_header(("x-node", "7"))
                .body("bento")
        };
        service.default_service(to(answer));
    });
    let keep_headers = vec!["X-Model".to_owned(), "content-type".to_owned()];
    let http = Http::new(HttpOptions { keep_headers, ..HttpOptions::new(&upstream.url) }).unwrap();
    let output = done(http.run(attempt(Input::default())).await);

    assert_eq!((output.status, text(&output).as_str()), (201, "bento"));
    let kept: Vec<_> = output.headers.iter().collect();
    let list = [
        ("content-type", "audio/mpeg"),
        ("content-disposition", "attachment; filename=\"a.mp3\""),
        ("content-language", "ja"),
        ("etag", "\"7\""),
        ("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("x-model", "tiny"),
    ];
    assert_eq!(kept, list);
}

#[tokio::test]
async fn an_empty_answer_is_a_result() {
    let upstream = Upstream::start(|service: &mut ServiceConfig| {
        service.default_service(to(|| async { HttpResponse::NoContent().finish() }));
    });
    let output = done(call(&upstream.url).await);
    assert_eq!((output.status, output.body.len(), output.headers.is_empty()), (204, 0, true));
}

#[tokio::test]
async fn a_failed_answer_is_replayed_with_its_status_or_502_where_python_knows_none_such() {
    use FailureCode::{Upstream4xx, Upstream5xx};
    let cases = [
        (400, "400 Bad Request", Upstream4xx, 400),
        (418, "418 I'm a teapot", Upstream4xx, 418),
        (419, "419", Upstream4xx, 502),
        (499, "499", Upstream4xx, 502),
        (599, "599", Upstream5xx, 502),
        (999, "999", Upstream5xx, 502),
    ];
    let upstream = any_status();
    for (status, shown, code, replayed) in cases {
        let (failure, answer) = failed(call(format!("{}/{status}", upstream.url)).await);
        assert_eq!((failure.code, answer.status), (code, replayed), "{status}");
        assert_eq!(failure.message, format!("{} answered {shown}", host(&upstream.url)));
        assert_eq!((answer.headers.content_type(), text(&answer).as_str()), (Some("text/x-why"), "no rice left"));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_target_is_named_without_its_secrets() {
    let upstream = Upstream::start(|service: &mut ServiceConfig| {
        let answer = |request: HttpRequest| async move {
            match request.path() {
                "/relative" => HttpResponse::Found().insert_header(("location", "/login?key=secret#secret")).finish(),
                "/away" => {
                    HttpResponse::TemporaryRedirect().insert_header(("location", "http://u:secret@b.test/x")).finish()
                }
                _ => HttpResponse::NotModified().finish(),
            }
        };
        service.default_service(to(answer));
    });
    let (url, host) = (&upstream.url, host(&upstream.url));
    let cases = [
        ("/relative", format!("{host} answered 302 Found: a redirect to {url}/login, which is not followed")),
        (
            "/away",
            format!("{host} answered 307 Temporary Redirect: a redirect to http://b.test/x, which is not followed"),
        ),
        ("/nowhere", format!("{host} answered 304 Not Modified: a redirect that does not say where to")),
    ];
    for (path, message) in cases {
        let outcome = call(format!("{url}{path}")).await;
        assert_eq!(explained(outcome), (FailureCode::BadOutput, 502, message));
    }
}

#[tokio::test]
async fn a_cut_answer_is_no_output() {
    let cut: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nben",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbento\r\n",
        b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\nrice\r\n",
    ];
    for answer in cut {
        let upstream = Crude::answering(answer);
        let (code, status, message) = explained(call(&upstream.url).await);
        assert_eq!((code, status), (FailureCode::BadOutput, 502));
        assert!(message.starts_with(&format!("the answer of {} did not come through: ", host(&upstream.url))));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_no_output() {
    let garbage: [&[u8]; 3] =
        [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\0: a\r\n\r\n"];
    for answer in garbage {
        let upstream = Crude::answering(answer);
        let (code, status, message) = explained(call(&upstream.url).await);
        assert_eq!((code, status), (FailureCode::BadOutput, 502));
        assert!(message.starts_with(&format!("{} answered what is not HTTP: ", host(&upstream.url))), "{message}");
    }
}

#[tokio::test]
async fn an_upstream_that_has_no_room_has_the_task_put_back_for_as_long_as_it_asks() {
    let upstream = Upstream::start(|service: &mut ServiceConfig| {
        let answer = |request: HttpRequest| async move {
            let path = request.path().trim_start_matches('/').replace("%20", " ");
            let mut parts = path.split('/');
            let status = StatusCode::from_u16(parts.next().unwrap().parse().unwrap()).unwrap();
            let mut answer = HttpResponse::build(status);
            for (name, value) in ["retry-after", "date"].into_iter().zip(parts) {
                answer.insert_header((name, value));
            }
            answer.body("no rice left")
        };
        service.default_service(to(answer));
    });
    // A date counts from the upstream's own clock, in each of the three forms that HTTP has had.
    let sent = "Fri, 31 Dec 1999 23:59:00 GMT";
    let dated = ["Fri, 31 Dec 1999 23:59:59 GMT", "Friday, 31-Dec-99 23:59:59 GMT", "Fri Dec 31 23:59:59 1999"];
    for until in dated {
        let outcome = call(format!("{}/503/{until}/{sent}", upstream.url)).await;
        let Outcome::PutBack { retry_after, .. } = outcome else { panic!("not put back: {outcome:?}") };
        assert_eq!(retry_after, Some(Duration::from_secs(59)), "{until}");
    }
    let cases = [
        ("429", "429 Too Many Requests", None),
        ("503", "503 Service Unavailable", None),
        ("429/7", "429 Too Many Requests", Some(7)),
        ("503/Fri, 31 Dec 1999 23:59:59 GMT", "503 Service Unavailable", Some(0)),
        ("503/tomorrow", "503 Service Unavailable", None),
    ];
    for (path, shown, asked) in cases {
        let outcome = call(format!("{}/{path}", upstream.url)).await;
        let Outcome::PutBack { failure, retry_after } = outcome else { panic!("not put back: {outcome:?}") };
        assert_eq!(failure.code, FailureCode::Saturated);
        assert_eq!(failure.message, format!("{} answered {shown}", host(&upstream.url)));
        assert_eq!(retry_after.map(|pause| pause.as_secs()), asked, "{path}");
    }
}

#[tokio::test]
async fn an_upstream_that_hangs_up_before_it_answers_is_a_crash() {
    for answer in [b"".as_slice(), b"HTTP/1.1 200 OK\r\nconte".as_slice()] {
        let upstream = Crude::answering(answer);
        let outcome = call(&upstream.url).await;
        let Outcome::Crashed(Failure { code, message, .. }) = outcome else { panic!("no crash: {outcome:?}") };
        assert_eq!(code, FailureCode::Unreachable);
        assert!(message.starts_with(&format!("{} hung up before it answered: ", host(&upstream.url))), "{message}");
    }
}

/// The URL of a port where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_unreachable() {
    let refused = nobody();
    let (code, message) = put_back(call(&refused).await);
    assert_eq!(code, FailureCode::Unreachable);
    assert!(message.starts_with(&format!("{} could not be reached: Connection refused", host(&refused))), "{message}");

    let (code, message) = put_back(call("http://nowhere.invalid/").await);
    assert_eq!(code, FailureCode::Unreachable);
    assert!(message.starts_with("nowhere.invalid could not be reached: "), "{message}");
}

#[cfg(feature = "https")]
#[tokio::test]
async fn an_upstream_that_is_too_slow_to_connect_is_unreachable() {
    // It accepts connections, as the kernel does that for it, but never says its part of the TLS handshake.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect_timeout = std::time::Duration::from_millis(50);
    let http = Http::new(HttpOptions { connect_timeout, ..HttpOptions::new(format!("https://{address}")) }).unwrap();
    let outcome = http.run(attempt(Input::default())).await;
    let message = format!("{address} could not be reached: no connection within 50ms");
    assert_eq!(put_back(outcome), (FailureCode::Unreachable, message));
}

#[cfg(feature = "https")]
#[tokio::test]
async fn https_is_not_spoken_with_one_who_does_not_speak_it() {
    let upstream = mirror();
    let (code, message) = put_back(call(format!("https://{}", host(&upstream.url))).await);
    assert_eq!(code, FailureCode::Unreachable);
    assert!(message.contains("could not be reached: "), "{message}");
}

#[tokio::test]
async fn an_answer_that_announces_too_much_is_refused_with_the_limit() {
    let upstream = Upstream::start(|service: &mut ServiceConfig| {
        service.default_service(to(|| async { "x".repeat(1001) }));
    });
    let message = format!("the answer of {} is larger than the limit of 1000 bytes", host(&upstream.url));
    assert_eq!(explained(call(&upstream.url).await), (FailureCode::TooLarge, 502, message));
}

/// "bento" in gzip.
const GZIPPED: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x4a\xcd\x2b\xc9\x07\x00\x10\xf2\x3f\xfd\x05\x00\x00\x00";

#[tokio::test]
async fn an_answer_that_is_compressed_unasked_is_decoded_or_no_output() {
    let upstream = Upstream::start(|service: &mut ServiceConfig| {
        let answer = |request: HttpRequest| async move {
            let (coding, cut) = match request.path() {
                "/cut" => ("gzip", 8),
                path => (path.trim_start_matches('/'), 0),
            };
            let bytes = &GZIPPED[..GZIPPED.len() - cut];
            HttpResponse::Ok().insert_header(("content-encoding", coding)).body(bytes)
        };
        service.default_service(to(answer));
    });
    let output = done(call(format!("{}/gzip", upstream.url)).await);
    assert_eq!((text(&output).as_str(), output.headers.is_empty()), ("bento", true));
    for (path, why) in [("/br", "answered in the content encoding \"br\""), ("/cut", "did not come through")] {
        let (code, status, message) = explained(call(format!("{}{path}", upstream.url)).await);
        assert_eq!((code, status), (FailureCode::BadOutput, 502));
        assert!(message.contains(why), "{message}");
    }
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let upstream = mirror();
    let http = Http::new(HttpOptions::new(&upstream.url)).unwrap();
    let first = mirrored(&http, Input::default()).await;
    let second = mirrored(&http, Input::default()).await;
    assert_eq!(first["peer"], second["peer"]);
}

#[tokio::test]
async fn a_kept_connection_that_the_upstream_closed_meanwhile_fails_no_task() {
    let mut upstream = Crude::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbento");
    let http = Http::new(HttpOptions::new(&upstream.url)).unwrap();
    for _ in 0..50 {
        match http.run(attempt(Input::new("text/plain", "bento"))).await {
            Outcome::Done(output) => assert_eq!(text(&output), "bento"),
            // Closed at the very moment of writing: it runs again.
            Outcome::Crashed(failure) => assert_eq!(failure.code, FailureCode::Unreachable),
            other => panic!("failed: {other:?}"),
        }
        upstream.closed.recv().await.unwrap();
    }
}

#[tokio::test]
async fn credentials_in_the_url_are_sent_and_no_message_shows_them() {
    let upstream = mirror();
    let with_secrets = |host: &str, path: &str| format!("http://user:secret@{host}{path}?key=secret");
    let sent = json(&done(call(with_secrets(host(&upstream.url), "/")).await));
    assert_eq!(sent["authorization"], "Basic dXNlcjpzZWNyZXQ=");

    let statuses = any_status();
    let cut = Crude::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n");
    let garbage = Crude::answering(b"bento\r\n");
    let silent = Crude::answering(b"");
    let nobody = nobody();
    let urls = [
        with_secrets(host(&statuses.url), "/500"),
        with_secrets(host(&cut.url), "/"),
        with_secrets(host(&garbage.url), "/"),
        with_secrets(host(&silent.url), "/"),
        with_secrets(host(&nobody), "/"),
    ];
    for url in urls {
        let (Outcome::Failed(failure, _) | Outcome::PutBack { failure, .. } | Outcome::Crashed(failure)) =
            call(url).await
        else {
            panic!("no failure")
        };
        assert!(!failure.message.contains("secret"), "{failure}");
    }
}

#[tokio::test]
async fn an_input_that_cannot_be_read_is_not_blamed_on_the_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Blobs::in_folder(folder.path(), 10).spool(BlobName::Input(TaskId::generate()), u64::MAX);
    spool.write(&vec![7; 300_000]).await.unwrap();
    let body = spool.finish().await.unwrap();
    let Body::File(file) = &body else { panic!("it lies in memory") };
    std::fs::File::options().write(true).open(file.path()).unwrap().set_len(1000).unwrap();

    let upstream = mirror();
    let http = Http::new(HttpOptions::new(&upstream.url)).unwrap();
    let (code, status, message) = explained(http.run(attempt(Input::new("text/plain", body))).await);
    assert_eq!((code, status), (FailureCode::Failed, 500));
    assert!(message.starts_with("the input could not be read"), "{message}");
}
