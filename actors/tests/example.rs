//! The example of embedding runs as it is told: inside an actix-web application of its own, durable over a restart.

#![cfg(feature = "embedded")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ekiben_actors::clock::stopwatch;

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The example's process; killed with the value.
struct Example {
    process: Child,
    address: String,
}

impl Example {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(binary())
            .args(["127.0.0.1:0", folder.to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo builds the examples with the tests");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("it says where it listens").to_owned();
        Self { process, address }
    }

    /// The status and the body of an answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn result_of(&self, task: &str) -> String {
        let began = stopwatch();
        while began.elapsed() < PATIENCE {
            match self.ask("GET", &format!("/shout/{task}"), "") {
                (200, result) => return result,
                (202, _unfinished) => std::thread::yield_now(),
                (status, body) => panic!("{status}: {body}"),
            }
        }
        panic!("task {task} has not ended within {PATIENCE:?}");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Beside the test's own binary: `target/<profile>/examples`.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("examples/inside_actix_web")
}

#[test]
fn the_embedding_example_takes_tasks_and_keeps_them_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let first = Example::start(folder.path());
    let (status, task) = first.ask("POST", "/shout", "\"ekiben\"");
    assert_eq!(status, 202);
    assert_eq!(first.result_of(&task), "\"EKIBEN\"");
    drop(first);

    let second = Example::start(folder.path());
    assert_eq!(second.result_of(&task), "\"EKIBEN\"");
    assert_eq!(second.ask("GET", "/shout/nonsense", "").0, 404);
}
