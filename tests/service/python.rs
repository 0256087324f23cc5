//! BentoML's own clients, unmodified, the current ones and those before the status words changed.
//!
//! What is promised is in the scripts of `tests/python`, each of which plays its scenario with SyncHTTPClient and
//! with AsyncHTTPClient.

use tempfile::TempDir;

use crate::harness::{Server, field};
use crate::program::Program;
use crate::venv::{Clients, Venv};

/// One endpoint for each kind of payload.
const ENDPOINTS: &str = include_str!("../python/endpoints.toml");

#[test]
fn the_current_clients_follow_a_task_to_its_result() {
    play("follow.py", Clients::Current);
}

#[test]
fn clients_of_1_4_13_follow_a_task_to_its_result() {
    play("follow.py", Clients::V1_4_13);
}

#[test]
fn the_current_clients_cancel_a_task_that_waits_and_no_other() {
    play("cancel.py", Clients::Current);
}

#[test]
fn clients_of_1_4_13_cancel_a_task_that_waits_and_no_other() {
    play("cancel.py", Clients::V1_4_13);
}

#[test]
fn the_current_clients_retry_a_task_that_is_over() {
    play("retry.py", Clients::Current);
}

#[test]
fn clients_of_1_4_13_retry_a_task_that_is_over() {
    play("retry.py", Clients::V1_4_13);
}

#[test]
fn the_current_clients_exchange_every_kind_of_payload() {
    play("payloads.py", Clients::Current);
}

#[test]
fn clients_of_1_4_13_exchange_every_kind_of_payload() {
    play("payloads.py", Clients::V1_4_13);
}

#[test]
fn the_current_clients_raise_what_the_upstream_answered() {
    play("failures.py", Clients::Current);
}

#[test]
fn clients_of_1_4_13_raise_what_the_upstream_answered() {
    play("failures.py", Clients::V1_4_13);
}

#[test]
fn the_sample_of_bentomls_documentation_runs_with_the_client_of_its_time() {
    let bench = Bench::new(Clients::V1_4_13);
    // As in the documentation, by the name of the machine rather than by its address.
    let url = format!("http://localhost:{}", bench.server.address().port());
    bench.venv.run("documentation_sample.py", &[&url]);
}

#[test]
fn the_current_clients_use_the_demo_of_a_service_without_a_config() {
    use_the_demo(Clients::Current);
}

#[test]
fn clients_of_1_4_13_use_the_demo_of_a_service_without_a_config() {
    use_the_demo(Clients::V1_4_13);
}

#[track_caller]
fn use_the_demo(clients: Clients) {
    let venv = Venv::of(clients);
    let server = Server::start_without_config();
    venv.run("demo.py", &[&server.url()]);
}

#[track_caller]
fn play(script: &str, clients: Clients) {
    let bench = Bench::new(clients);
    bench.venv.run(script, &[&bench.server.url(), &bench.models.url]);
}

/// The service with its endpoints, and the models behind them.
struct Bench {
    venv: Venv,
    server: Server,
    models: ModelServer,
}

impl Bench {
    #[track_caller]
    fn new(clients: Clients) -> Self {
        let venv = Venv::of(clients);
        let models = ModelServer::start(&venv);
        let server = Server::start(&ENDPOINTS.replace("UPSTREAM", &models.url));
        Self { venv, server, models }
    }
}

/// The upstream of the endpoints, `upstream.py`, running.
struct ModelServer {
    url: String,
    _program: Program,
    _folder: TempDir,
}

impl ModelServer {
    #[track_caller]
    fn start(venv: &Venv) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let program = venv.start("upstream.py", &[], folder.path());
        let line = program.wait_for_line("the address it listens on", |line| field(line, "address").is_some());
        let address = field(&line, "address").expect("the line has it");
        Self { url: format!("http://{address}"), _program: program, _folder: folder }
    }
}
