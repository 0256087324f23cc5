//! A data folder of an earlier version is taken over as it stands: what waits runs, what has ended can be fetched.

use std::fs;
use std::path::Path;

use reqwest::StatusCode;

use crate::client::{Client, id_in};
use crate::harness::Server;
use crate::upstream::Upstream;

/// Written by the release that knew no options of a task (version 2 of the tables): two outputs, one of them in a file
/// of its own, a failure with an answer to replay, a task that found nobody three times, and a canceled one.
const BEFORE_OPTIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/before_options");
const COMPLETED: &str = "01a212d9012470c4b10ade4f7be9f31b";
const COMPLETED_IN_A_FILE: &str = "01a212d9012e73c08c17d2b8ba23aeea";
const FAILED: &str = "01a212d90137741f8562b684afd5daa5";
const WAITING: &str = "01a212d9013e7512ad07045091b4f687";
const CANCELED: &str = "01a212d90147753c90d5242047c22fe8";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_data_folder_of_before_options_is_taken_over_with_all_that_is_in_it() {
    let home = tempfile::tempdir().unwrap();
    copy(Path::new(BEFORE_OPTIONS), &home.path().join("ekiben-data"));
    let upstream = Upstream::start();
    let endpoints =
        "[endpoints.echo]\ntype = \"noop\"\n[endpoints.language]\ntype = \"demo\"\ndemo = \"detect_language\"\n";
    let config = upstream.holding_endpoint("away", 1) + endpoints;
    let mut server = Server::start_in(home.path(), &config);
    let url = server.url();
    let client = |endpoint| Client::new(&url, endpoint);

    upstream.wait_for_calls(1);
    upstream.let_go(1);
    assert_eq!(client("away").until_finished(WAITING).await, "completed");
    assert_eq!(client("away").status(WAITING).await["attempt"], 4, "three attempts were counted before");
    assert_eq!(client("away").state(CANCELED).await, "canceled");

    let output = client("echo").get(COMPLETED).await;
    assert_eq!((output.status(), output.text().await.unwrap()), (StatusCode::OK, r#"{"text":"rice"}"#.to_owned()));
    let output = client("echo").get(COMPLETED_IN_A_FILE).await;
    assert_eq!(output.text().await.unwrap(), "x".repeat(2000));
    let failed = client("language").get(FAILED).await;
    assert_eq!(failed.status(), StatusCode::BAD_REQUEST, "the recorded answer is replayed");
    assert_eq!(client("language").status(FAILED).await["failure"]["code"], "bad_input");

    let again = client("echo").retry(COMPLETED_IN_A_FILE).await;
    let again = id_in(again).await.unwrap();
    assert_eq!(client("echo").until_finished(&again).await, "completed");

    server.terminate();
    server.wait_for_exit();
    server.restart();
    assert_eq!(client("away").state(WAITING).await, "completed", "the new shape is kept");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
