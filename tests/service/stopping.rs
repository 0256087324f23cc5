//! Signals and restarts: a drain loses nothing and marks nothing failed; a second signal ends at once.

use reqwest::StatusCode;
use rustix::process::Signal;

use crate::client::{Client, http, page};
use crate::harness::{Server, field};
use crate::upstream::Upstream;

#[tokio::test]
async fn a_drain_waits_for_what_runs_and_refuses_what_comes() {
    let upstream = Upstream::start();
    let mut server = Server::start(&upstream.holding_endpoint("hold", 1));
    let client = Client::new(&server.url(), "hold");
    let (running, waiting) = (client.submit("1").await, client.submit("2").await);
    upstream.wait_for_calls(1);

    server.terminate();
    server.wait_for_log("that it drains", |line| line.contains("draining"));
    let refused = client.try_submit("3").await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let ready = http().get(format!("{}/readyz", server.url())).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.state(&running).await, "in_progress");
    assert_eq!(client.state(&waiting).await, "pending");

    upstream.let_go(1);
    assert_eq!(server.wait_for_exit().code(), Some(0));

    server.restart();
    assert_eq!(client.until_finished(&running).await, "completed");
    upstream.let_go(1);
    assert_eq!(client.until_finished(&waiting).await, "completed");
    assert_eq!(upstream.calls(), 2, "nothing ran twice");
}

#[tokio::test]
async fn what_does_not_finish_within_the_grace_time_is_put_back_and_runs_again() {
    let upstream = Upstream::start();
    let config = format!("[http]\nshutdown_grace = \"100ms\"\n{}", upstream.holding_endpoint("hold", 1));
    let mut server = Server::start(&config);
    let client = Client::new(&server.url(), "hold");
    let task = client.submit("1").await;
    upstream.wait_for_calls(1);

    server.terminate();
    assert_eq!(server.wait_for_exit().code(), Some(0));
    let line = server.wait_for_log("that it drained", |line| field(line, "put_back").is_some());
    assert_eq!(field(&line, "put_back").as_deref(), Some("1"));

    server.restart();
    upstream.wait_for_calls(2);
    upstream.let_go(2);
    assert_eq!(client.until_finished(&task).await, "completed");
    let status = client.status(&task).await;
    assert_eq!(status["attempt"], 2);
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_loses_nothing() {
    for (second, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let upstream = Upstream::start();
        let mut server = Server::start(&upstream.holding_endpoint("hold", 1));
        let client = Client::new(&server.url(), "hold");
        let task = client.submit("1").await;
        upstream.wait_for_calls(1);

        server.signal(Signal::INT);
        server.wait_for_log("that it drains", |line| line.contains("draining"));
        server.signal(second);
        assert_eq!(server.wait_for_exit().code(), Some(code));

        server.restart();
        upstream.let_go(2);
        assert_eq!(client.until_finished(&task).await, "completed");
    }
}

#[tokio::test]
async fn a_running_task_that_is_killed_with_us_runs_again_and_is_lost_at_the_third_time() {
    let upstream = Upstream::start();
    let mut server = Server::start(&upstream.holding_endpoint("hold", 1));
    let client = Client::new(&server.url(), "hold");
    let task = client.submit("1").await;
    let created = client.status(&task).await["created_at"].clone();
    for crash in 1..=3 {
        upstream.wait_for_calls(crash);
        let seen = client.until(&task, &["in_progress"]).await;
        assert_eq!(seen, "in_progress");
        assert_eq!(client.status(&task).await["attempt"], crash);
        wait_until_the_start_is_stored(&server, &task).await;
        server.kill();
        server.restart();
    }
    assert_eq!(client.until_finished(&task).await, "failed");
    let status = client.status(&task).await;
    assert_eq!(status["created_at"], created);
    assert!(status["error"].as_str().unwrap().contains("lost"), "{status}");
    let result = client.get(&task).await;
    assert_eq!(result.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(page(&server.url(), "/metrics").await.contains(r#"code="lost""#));
    assert_eq!(upstream.calls(), 3);
}

/// A first start rides with a later commit; here it must have ridden before the kill.
async fn wait_until_the_start_is_stored(server: &Server, task: &str) {
    let database = rusqlite::Connection::open(server.folder().join("ekiben-data/ekiben.db")).unwrap();
    let stored = crate::program::poll(crate::program::PATIENCE, || {
        let query = "SELECT state = 'in_progress' FROM tasks WHERE id = ?1";
        database.query_row(query, [task], |row| row.get::<_, bool>(0)).ok().filter(|stored| *stored)
    });
    assert!(stored.is_some(), "the start of task {task} is not stored");
}

#[tokio::test]
async fn a_second_process_on_a_folder_refuses_and_names_the_first() {
    let server = Server::start("[endpoints.noop]\ntype = \"noop\"\n");
    let data = server.folder().join("ekiben-data");
    let second = crate::harness::ekiben(
        server.folder(),
        &["serve", "--config", "ekiben.toml", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()],
    );
    let second = { second }.output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&server.pid().to_string()), "{said}");
    assert!(said.contains("ekiben-data"), "{said}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_the_way_out() {
    let server = Server::start("[endpoints.noop]\ntype = \"noop\"\n");
    let taken = server.address().to_string();
    let mut second = crate::harness::ekiben(server.folder(), &["--listen", &taken, "--data", "elsewhere"]);
    let second = second.output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&taken) && said.contains("--listen"), "{said}");
}
