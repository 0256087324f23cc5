//! Cancel against start over HTTP: each task is either canceled and never ran, or it started and cancel said so.

use futures::future::join_all;
use reqwest::StatusCode;

use crate::client::{Client, id_in};
use crate::harness::Server;

const TASKS: usize = 10_000;
/// More at once than there are slots: some start at once, some wait for a moment, and the cancels come right behind.
const AT_ONCE: usize = 8;

#[derive(Default)]
struct Tally {
    canceled: usize,
    started: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_never_both_canceled_and_run_over_http() {
    let server = Server::start(
        "[log]\nlevel = \"warn,ekiben::serve=info\"\n[endpoints.noop]\ntype = \"noop\"\nconcurrency = 2\n",
    );
    let client = Client::keeping_connections(&server.url(), "noop");
    let mut tally = Tally::default();
    for _ in 0..TASKS / AT_ONCE {
        for outcome in join_all((0..AT_ONCE).map(|_| race(&client))).await {
            match outcome {
                StatusCode::OK => tally.canceled += 1,
                _ => tally.started += 1,
            }
        }
    }
    assert_eq!(tally.canceled + tally.started, TASKS);
    println!("{} canceled, {} started", tally.canceled, tally.started);
    assert!(tally.canceled > 0 && tally.started > 0, "{} canceled: the race was none", tally.canceled);
}

/// Submits a task and cancels it at once; answers what the cancel did, once the task's end bears it out.
async fn race(client: &Client) -> StatusCode {
    let answer = client.try_submit("1").await.expect("the service answers");
    let task = id_in(answer).await.expect("the answer is whole");
    let canceled = client.cancel(&task).await.status();
    let state = client.until_finished(&task).await;
    let status = client.status(&task).await;
    match canceled {
        StatusCode::OK => {
            assert_eq!(state, "canceled", "{status}");
            assert!(status["executed_at"].is_null() && status["attempt"] == 0, "{status}");
        }
        StatusCode::CONFLICT => assert!(state == "completed" && status["attempt"] == 1, "{status}"),
        other => panic!("cancel answered {other}"),
    }
    canceled
}
