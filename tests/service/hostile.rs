//! Requests that no honest client sends, against the real binary: a clear answer each, and the service goes on.
//!
//! Every row of the contract is walked in `tests/routes`; here is what must hold of the whole process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::client::{Client, http};
use crate::harness::Server;
use crate::program::PATIENCE;

const CONFIG: &str = "[http]\nread_timeout = \"1s\"\n[endpoints.noop]\ntype = \"noop\"\n\
                      [endpoints.detect]\ntype = \"demo\"\ndemo = \"detect_language\"\n";

#[tokio::test]
async fn nonsense_is_recorded_and_fails_as_a_task_with_a_reason() {
    let server = Server::start(CONFIG);
    let client = Client::new(&server.url(), "detect");
    let bodies: [&[u8]; 6] =
        [b"{\"text\": ", b"", b"\0\0\0", b"{\"text\": \"\\ud800\"}", b"{\"text\": NaN}", b"\xff\xfe{\"text\": 1}"];
    for body in bodies {
        let task = client.submit(body).await;
        assert_eq!(client.until_finished(&task).await, "failed", "{body:?}");
        let result = client.get(&task).await;
        assert_eq!(result.status(), StatusCode::BAD_REQUEST, "{body:?}");
        let answer: Value = result.json().await.unwrap();
        assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()), "{answer}");
    }
    let multipart = http().post(format!("{}/noop/submit", server.url())).header("content-type", "multipart/form-data");
    assert_eq!(multipart.body("no boundary at all").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_id_of_ours_is_not_found() {
    let server = Server::start(CONFIG);
    let client = Client::new(&server.url(), "noop");
    let long = "f".repeat(5000);
    let ids = ["0192f0c4a7b87c3e9d1f2a3b4c5d6e7f", "x", "%00", "%ed%a0%80", "-1", "..%2f..%2fetc", &long];
    for id in ids {
        for what in ["status", "get"] {
            let answer = client.ask(what, id).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{what} of {id}");
            let body: Value = answer.json().await.unwrap();
            assert!(body["error"].as_str().unwrap().starts_with("task_id not found"), "{body}");
        }
        assert_eq!(client.cancel(id).await.status(), StatusCode::NOT_FOUND, "cancel of {id}");
        assert_eq!(client.retry(id).await.status(), StatusCode::NOT_FOUND, "retry of {id}");
    }
}

#[test]
fn a_client_that_sends_a_byte_a_second_is_told_so_and_let_go() {
    let server = Server::start(CONFIG);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "POST /noop/submit HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    let patience = PATIENCE.as_secs();
    for _ in 0..patience {
        // The client's slowness is what is under test: a byte, then a second in which only an answer can come.
        let _ = stream.write_all(b"x");
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(_nothing_yet) => {}
        }
        if answer.starts_with(b"HTTP/1.1 408 ") {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("error"), "{answer}");
}
