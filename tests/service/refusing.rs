//! What is refused, and what a refusal costs: a clear answer, nothing lost, memory flat.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::client::{Client, id_in};
use crate::harness::Server;
use crate::program::{PATIENCE, poll};
use crate::upstream::Upstream;

/// The resident memory of a process, in bytes.
fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_gigabyte_against_a_limit_of_ten_megabytes_is_refused_and_costs_no_memory() {
    let server = Server::start("[limits]\nbody = \"10MiB\"\n[endpoints.noop]\ntype = \"noop\"\n");
    let before = memory_of(server.pid());
    // With its length told, and without.
    for head in ["Content-Length: 1073741824\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "POST /noop/submit HTTP/1.1\r\nHost: x\r\n{head}").unwrap();
        let chunked = head.starts_with("Transfer");
        let mut sent = 0;
        let piece = vec![b'x'; 1 << 20];
        while sent < 1 << 30 {
            let frame = if chunked { format!("{:x}\r\n", piece.len()) } else { String::new() };
            let end: &[u8] = if chunked { b"\r\n" } else { b"" };
            let wrote = [frame.as_bytes(), &piece, end].iter().try_for_each(|part| stream.write_all(part));
            // A server that has heard enough may hang up; its answer can still be read.
            if wrote.is_err() {
                break;
            }
            sent += piece.len();
        }
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        // A reset may swallow the answer of a server that was still being written to; what it must not do is take it.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    let grown = memory_of(server.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "the memory grew by {grown} bytes");
    let client = Client::new(&server.url(), "noop");
    let task = client.submit("1").await;
    assert_eq!(client.until_finished(&task).await, "completed");
}

#[tokio::test]
async fn a_large_body_goes_in_and_comes_out_in_flat_memory() {
    const SIZE: usize = 100 << 20;
    let upstream = Upstream::start();
    let server = Server::start(&format!(
        "[limits]\nbody = \"200MiB\"\n[endpoints.noop]\ntype = \"noop\"\n{}",
        upstream.large_endpoint("large")
    ));
    let noop = Client::new(&server.url(), "noop");
    let large = Client::new(&server.url(), "large");
    // What the allocator and the pages of the first tasks cost is not the body's.
    let warm = noop.submit("1").await;
    noop.until_finished(&warm).await;
    let before = memory_of(server.pid());

    let task = noop.submit(vec![b'x'; SIZE]).await;
    assert_eq!(noop.until_finished(&task).await, "completed");
    assert_eq!(noop.get(&task).await.bytes().await.unwrap().len(), SIZE);
    let task = large.submit(SIZE.to_string()).await;
    assert_eq!(large.until_finished(&task).await, "completed");
    assert_eq!(large.get(&task).await.bytes().await.unwrap().len(), SIZE);

    let grown = memory_of(server.pid()).saturating_sub(before);
    // Three bodies of 100 MiB went through; what is left is the threads' buffers and the allocator's reserve.
    assert!(grown < 64 << 20, "the memory grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_no_task_and_no_file() {
    let server = Server::start("[endpoints.noop]\ntype = \"noop\"\n");
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "POST /noop/submit HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n").unwrap();
        stream.write_all(&vec![b'x'; 600_000]).unwrap();
    }
    let blobs = server.folder().join("ekiben-data/blobs");
    let gone = poll(PATIENCE, || (files_in(&blobs) == 0).then_some(()));
    assert!(gone.is_some(), "{} files are left", files_in(&blobs));
    let metrics = crate::client::page(&server.url(), "/metrics").await;
    assert!(metrics.contains("ekiben_tasks_submitted_total{endpoint=\"noop\"} 0"), "{metrics}");
}

fn files_in(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { files_in(&entry.path()) } else { 1 }).sum()
}

/// A small file system in memory, taken away with the value. Needs the right to mount.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path, size: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        mount("ekiben-test", at, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
            .expect("this test must be allowed to mount a tmpfs");
        Self(at)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_submissions_loses_nothing_and_is_got_over() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ekiben-data");
    let _disk = SmallDisk::mount(&data, "8m");
    let upstream = Upstream::start();
    let config = format!("{}\n[endpoints.noop]\ntype = \"noop\"\n", upstream.holding_endpoint("hold", 4));
    let mut server = Server::start_in(folder.path(), &config);
    let client = Client::new(&server.url(), "hold");

    let mut acknowledged = vec![client.submit("1").await, client.submit("2").await];
    upstream.wait_for_calls(2);
    let ballast = data.join("ballast");
    fill(&ballast);
    let refused = until_refused(&client, &mut acknowledged).await;
    assert!(refused.contains("No space") || refused.contains("full") || refused.contains("no room"), "{refused}");

    // What runs comes to its end although it cannot be recorded yet; asking goes on.
    upstream.let_go(10_000);
    assert!(["pending", "in_progress", "completed"].contains(&client.state(&acknowledged[0]).await.as_str()));

    std::fs::remove_file(&ballast).unwrap();
    let again = poll_submit(&client).await;
    acknowledged.push(again);
    for task in &acknowledged {
        assert_eq!(client.until_finished(task).await, "completed", "task {task}");
    }
    server.terminate();
    assert!(server.wait_for_exit().success());
}

fn fill(ballast: &Path) {
    let mut file = std::fs::File::create(ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}

/// Submits until a submission is refused for want of room, and answers with what it said.
async fn until_refused(client: &Client, acknowledged: &mut Vec<String>) -> String {
    for number in 0..10_000 {
        // Now and then one that needs a file.
        let body = if number % 4 == 3 { vec![b'x'; 100_000] } else { vec![b'x'; 2000] };
        let answer = client.try_submit(body).await.unwrap();
        match answer.status() {
            StatusCode::OK => acknowledged.push(id_in(answer).await.unwrap()),
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(answer.headers().contains_key("retry-after"));
                return answer.text().await.unwrap();
            }
            status => panic!("submit answered {status}"),
        }
    }
    panic!("a full disk took ten thousand tasks");
}

async fn poll_submit(client: &Client) -> String {
    let trying = async {
        loop {
            let answer = client.try_submit("3").await.unwrap();
            if answer.status() == StatusCode::OK {
                return id_in(answer).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("the service resumes by itself")
}

#[tokio::test]
async fn a_full_queue_refuses_submissions_while_asking_and_canceling_go_on() {
    let upstream = Upstream::start();
    let config = format!("{}queue = 2\n", upstream.holding_endpoint("hold", 1));
    let server = Server::start(&config);
    let client = Client::new(&server.url(), "hold");
    client.submit("1").await;
    upstream.wait_for_calls(1);
    let waiting = client.submit("2").await;
    client.submit("3").await;

    let refused = client.try_submit("4").await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.unwrap().contains("full"));
    assert_eq!(client.state(&waiting).await, "pending");
    assert_eq!(client.cancel(&waiting).await.status(), StatusCode::OK);
    client.submit("5").await;
}
