//! The OpenAPI document is one, and the service keeps to it: requests made out of the document, by the hundred, are
//! answered as it says.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::client::{http, page};
use crate::harness::Server;
use crate::program::Program;
use crate::venv::{Clients, Venv};

/// The requests take ten seconds on a machine with time to spare.
const PATIENCE: Duration = Duration::from_secs(300);

/// The folder of `schemathesis_hooks.py`.
const HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");

const CONFIG: &str = r#"
[store]
type = "memory"
[submit]
wait = "1s"
[endpoints.echo]
type = "noop"
concurrency = 4
"#;

/// Runs a program of the environment in a folder, to a good end.
#[track_caller]
fn run(name: &str, arguments: &[&str], folder: &std::path::Path) {
    let mut command = Command::new(Venv::of(Clients::OpenApi).programs().join(name));
    command.args(arguments).current_dir(folder).env("HOME", folder).env("TMPDIR", folder).env("no_proxy", "*");
    command.env("SCHEMATHESIS_HOOKS", "schemathesis_hooks").env("PYTHONPATH", HOOKS);
    let mut program = Program::start(name, command);
    let status = program.wait_for_exit_within(PATIENCE);
    assert!(status.success(), "{name} ended with {status}; its output is below");
}

#[tokio::test]
async fn the_document_is_valid() {
    let server = Server::start(CONFIG);
    let file = server.folder().join("openapi.json");
    std::fs::write(&file, page(&server.url(), "/openapi.json").await).unwrap();
    run("openapi-spec-validator", &["openapi.json"], server.folder());
}

#[tokio::test]
async fn every_answer_is_one_of_those_that_the_document_tells_of() {
    let server = Server::start(CONFIG);
    // A task whose id the requests can name. Those that delete find others.
    let submitted = http().post(format!("{}/v1/endpoints/echo/tasks", server.url())).body("0123456789").send().await;
    let task: Value = submitted.unwrap().json().await.unwrap();
    let settings = format!(
        "[parameters]\n\"path.endpoint\" = \"echo\"\n\n[[operations]]\nexclude-operation-id = \"deleteTask\"\n\
         parameters = {{ \"path.task\" = {} }}\n",
        task["id"]
    );
    std::fs::write(server.folder().join("schemathesis.toml"), settings).unwrap();
    let document = format!("{}/openapi.json", server.url());
    let arguments = [
        "run",
        &document,
        "--max-examples=30",
        "--seed=7",
        "--generation-deterministic",
        "--request-timeout=30",
        "--no-color",
        // Not every text that may be sent is a time or a tag: those are refused with 422.
        "--exclude-checks=positive_data_acceptance",
    ];
    run("schemathesis", &arguments, server.folder());
}
