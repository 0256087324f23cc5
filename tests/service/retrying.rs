//! Tasks that fail and run again, behind the real binary and over its death.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::client::{Client, http};
use crate::harness::{Server, field};
use crate::upstream::Upstream;

/// The names of the steps of a task's life, as the log has them.
fn events(server: &Server, task: &str) -> Vec<String> {
    let lines = server.log().into_iter().filter(|line| line.contains("ekiben::lifecycle") && line.contains(task));
    lines.filter_map(|line| field(&line, "message")).collect()
}

#[tokio::test]
async fn a_task_runs_again_when_its_upstream_fails_and_in_the_end_has_the_last_answer() {
    let upstream = Upstream::start();
    let config =
        upstream.failing_endpoint("work", 1) + "max_attempts = 3\nbackoff = \"1ms\"\n[log]\nformat = \"json\"\n";
    let server = Server::start(&config);
    let client = Client::new(&server.url(), "work");

    upstream.fail(2);
    let lucky = client.submit("1").await;
    assert_eq!(client.until_finished(&lucky).await, "completed");
    assert_eq!(client.get(&lucky).await.text().await.unwrap(), "1");

    upstream.fail(usize::MAX);
    let unlucky = client.submit("2").await;
    assert_eq!(client.until_finished(&unlucky).await, "failed");
    let answer = client.get(&unlucky).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.text().await.unwrap(), "no rice left");
    let failure = &client.status(&unlucky).await["failure"];
    assert_eq!(failure["code"], "upstream_5xx");
    let message = failure["message"].as_str().unwrap();
    assert!(message.ends_with("that was failure 3 of the 3 it may have"), "{message}");
    assert_eq!(upstream.calls(), 6);

    server.wait_for_log("that it failed", |line| line.contains("\"failed\"") && line.contains(&unlucky));
    let life = ["submitted", "started", "retrying", "started", "retrying", "started"];
    assert_eq!(events(&server, &lucky), [&life[..], &["completed"]].concat());
    assert_eq!(events(&server, &unlucky), [&life[..], &["failed"]].concat());
}

#[tokio::test]
async fn failures_and_crashes_are_told_apart_and_counted_right_over_kills_at_random_moments() {
    const ROUNDS: usize = 10;
    const TASKS_A_ROUND: usize = 40;
    let upstream = Upstream::start();
    upstream.fail(usize::MAX);
    let config = "[limits]\ncrash_budget = 50\n".to_owned()
        + &upstream.failing_endpoint("work", 8)
        + "max_attempts = 4\nbackoff = \"20ms\"\nbackoff_max = \"40ms\"\n";
    let mut server = Server::start(&config);
    let client = Client::new(&server.url(), "work");
    let mut tasks = Vec::new();
    for round in 0..ROUNDS {
        for _ in 0..TASKS_A_ROUND {
            tasks.push(client.submit("1").await);
        }
        // Another moment each round, counted from the submissions.
        tokio::time::sleep(Duration::from_millis(7 * round as u64)).await;
        server.kill();
        server.restart();
    }
    for task in &tasks {
        assert_eq!(client.until_finished(task).await, "failed");
    }
    server.terminate();
    assert!(server.wait_for_exit().success());

    let database = rusqlite::Connection::open(server.folder().join("ekiben-data/ekiben.db")).unwrap();
    let mut rows = database.prepare("SELECT task, outcome, count(*) FROM attempt GROUP BY task, outcome").unwrap();
    let rows = rows.query_map([], |row| Ok(((row.get::<_, i64>(0)?, row.get::<_, String>(1)?), row.get::<_, i64>(2)?)));
    let recorded: HashMap<(i64, String), i64> = rows.unwrap().collect::<Result<_, _>>().unwrap();
    let mut all = database.prepare("SELECT seq, attempt, failures, crashes, failure_code FROM task").unwrap();
    let all = all.query_map([], |row| {
        let numbers: [i64; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        Ok((numbers, row.get::<_, String>(4)?))
    });
    let (mut found, mut crashed) = (0, 0);
    for row in all.unwrap() {
        let ([seq, attempts, failures, crashes], code) = row.unwrap();
        let recorded = |outcome: &str| recorded.get(&(seq, outcome.to_owned())).copied().unwrap_or(0);
        assert_eq!(code, "upstream_5xx");
        // Three failures were followed by another attempt, the fourth was the last; crashes cost none of them.
        assert_eq!((failures, recorded("failed")), (3, 3), "task {seq}");
        // Of a connection that was just being closed it is not known who ended it.
        assert_eq!(crashes, recorded("lost") + recorded("crashed"), "task {seq}");
        assert_eq!(attempts, 1 + failures + crashes, "task {seq}");
        found += 1;
        crashed += crashes;
    }
    assert_eq!(found, tasks.len());
    println!("{crashed} attempts died with the process");
}

/// Submits to the native API with an option, and answers with the id.
async fn submit_with(server: &Server, option: (&str, &str)) -> String {
    let request = http().post(format!("{}/v1/endpoints/hold/tasks", server.url())).header(option.0, option.1);
    let answer = request.header("content-type", "application/json").body("1").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let task: Value = answer.json().await.unwrap();
    task["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_became_overdue_while_the_process_was_gone_ends_and_never_starts() {
    let upstream = Upstream::start();
    let mut server = Server::start(&upstream.holding_endpoint("hold", 1));
    let running = submit_with(&server, ("ekiben-tags", "is=first")).await;
    upstream.wait_for_calls(1);
    let mut overdue = Vec::new();
    for _ in 0..5 {
        overdue.push((submit_with(&server, ("ekiben-queue-ttl", "1s")).await, "canceled", "expired"));
        overdue.push((submit_with(&server, ("ekiben-deadline", "1s")).await, "failed", "deadline"));
    }
    let patient = submit_with(&server, ("ekiben-queue-ttl", "1h")).await;
    server.kill();
    // As long as it takes for all of them to be overdue.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    server.restart();

    let client = Client::new(&server.url(), "hold");
    for (task, state, code) in &overdue {
        assert_eq!(client.until_finished(task).await, *state);
        assert_eq!(client.status(task).await["failure"]["code"], *code);
        let shown: Value =
            http().get(format!("{}/v1/tasks/{task}", server.url())).send().await.unwrap().json().await.unwrap();
        assert_eq!((&shown["state"], &shown["attempt"]), (&(*state).into(), &0.into()));
    }
    upstream.let_go(3);
    for task in [&running, &patient] {
        assert_eq!(client.until_finished(task).await, "completed");
    }
    // The first one twice, as its first attempt died with the process.
    assert_eq!(upstream.calls(), 3);
}
