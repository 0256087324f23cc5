//! A real model behind a server that people would write, behind us.

use std::path::{Path, PathBuf};

use crate::client::{Client, http};
use crate::harness::Server;
use crate::program::Program;
use crate::venv::{Clients, Venv};

/// Files of many kinds that are in every clone.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names =
        ["README.md", "Cargo.toml", "Cargo.lock", "src/main.rs", "src/config.default.toml", "tests/python/labels.py"];
    names.iter().map(|name| root.join(name)).collect()
}

/// Starts the server, on a port that it says is its own.
fn model_server(venv: &Venv, folder: &Path) -> (Program, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    (venv.start("model_server.py", &[&port.to_string()], folder), format!("http://127.0.0.1:{port}"))
}

#[tokio::test]
async fn a_real_model_that_is_full_most_of_the_time_fails_nobody_and_gives_its_own_labels() {
    const ROUNDS: usize = 20;
    let venv = Venv::of(Clients::Models);
    let folder = tempfile::tempdir().unwrap();
    let (_model, url) = model_server(&venv, folder.path());
    let server =
        Server::start(&format!("[endpoints.classify]\ntype = \"http\"\nurl = \"{url}/classify\"\nconcurrency = 16\n"));
    let client = Client::new(&server.url(), "classify");

    // The first of them come before the server listens.
    let mut tasks = Vec::new();
    for file in files().iter().cycle().take(ROUNDS * files().len()) {
        tasks.push(client.submit(std::fs::read(file).unwrap()).await);
    }
    let mut labels = Vec::new();
    for task in &tasks {
        assert_eq!(client.until_finished(task).await, "completed");
        let result: serde_json::Value = client.get(task).await.json().await.unwrap();
        labels.push(result["label"].as_str().unwrap().to_owned());
    }
    let files = files();
    let arguments: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let mut direct = venv.start("labels.py", &arguments, folder.path());
    assert!(direct.wait_for_exit().success());
    let lines = direct.lines();
    let direct: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("label ")).collect();
    assert_eq!(labels, direct.repeat(ROUNDS));

    let refusals: u64 = http().get(format!("{url}/refusals")).send().await.unwrap().json().await.unwrap();
    assert!(refusals > 0, "the server was never full, so nothing was shown");
}
