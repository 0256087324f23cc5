//! Endpoints of `type = "process"`: real Python workers with a real model behind the real binary.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::client::Client;
use crate::harness::{Server, field};
use crate::program::{PATIENCE, Program, poll};
use crate::venv::{Clients, Venv};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An endpoint whose workers run a file of `tests/python/workers`.
fn endpoint(name: &str, worker: &str, more: &str) -> String {
    let python = Venv::of(Clients::Models).programs().join("python");
    let worker = root().join("tests/python/workers").join(worker);
    let package = root().join("clients/python/src");
    format!(
        "[endpoints.{name}]\ntype = \"process\"\ncommand = [{python:?}, {worker:?}]\n\
         env = {{ PYTHONPATH = {package:?}, PYTHONDONTWRITEBYTECODE = \"1\" }}\n{more}\n"
    )
}

/// Files that are in every clone, of as many kinds as there are.
fn files() -> Vec<PathBuf> {
    let names = ["README.md", "Cargo.toml", "Cargo.lock", "src/main.rs", "tests/python/labels.py", ".ci/run"];
    names.iter().map(|name| root().join(name)).collect()
}

/// The label of each file as the package itself gives it.
fn labels_of(files: &[PathBuf]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let mut direct = Venv::of(Clients::Models).start("labels.py", &arguments, folder.path());
    assert!(direct.wait_for_exit().success());
    direct.lines().iter().filter_map(|line| line.strip_prefix("label ").map(str::to_owned)).collect()
}

/// The processes under a process, by what their command line has in it.
fn workers_of(server: &Server, worker: &str) -> Vec<u32> {
    let listed = Command::new("pgrep").args(["-P", &server.pid().to_string(), "-f", worker]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).lines().filter_map(|pid| pid.parse().ok()).collect()
}

#[tokio::test]
async fn five_hundred_tasks_of_a_real_model_all_end_though_a_worker_is_killed_every_second() {
    const TASKS: usize = 500;
    let server = Server::start(&format!(
        "[limits]\ncrash_budget = 20\n{}",
        endpoint("classify", "magika_labels.py", "workers = 2\n")
    ));
    let client = Client::new(&server.url(), "classify");
    let files = files();
    let mut tasks = Vec::new();
    for file in files.iter().cycle().take(TASKS) {
        tasks.push(client.submit(std::fs::read(file).unwrap()).await);
    }
    let mut killed = 0;
    let all_done = async {
        for task in &tasks {
            assert_eq!(client.until_finished(task).await, "completed");
        }
    };
    let killing = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(pid) = workers_of(&server, "magika_labels.py").first() {
                let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
                killed += u32::from(status.success());
            }
        }
    };
    tokio::select! {
        () = all_done => {}
        () = killing => {}
    }
    println!("{killed} workers were killed while {TASKS} tasks ran");
    assert!(killed > 0, "no worker was killed, so nothing was shown");
    let expected = labels_of(&files);
    for (task, expected) in tasks.iter().zip(expected.iter().cycle()) {
        assert!(client.status(task).await["attempt"].as_u64() >= Some(1));
        assert_eq!(client.get(task).await.text().await.unwrap(), *expected);
    }
    // No slot was lost: two more run at a time.
    let again = client.submit("fn main() {}").await;
    assert_eq!(client.until_finished(&again).await, "completed");
}

#[tokio::test]
async fn a_task_that_kills_its_worker_each_time_fails_with_the_reason_and_its_neighbours_do_not() {
    let server = Server::start(&endpoint("any", "hostile.py", "task = \"behave\"\nworkers = 2\n"));
    let client = Client::new(&server.url(), "any");
    let poison = client.submit(r#"{"way": "kills_itself"}"#).await;
    let mut neighbours = Vec::new();
    for _ in 0..20 {
        neighbours.push(client.submit(r#"{"way": "fine"}"#).await);
    }
    assert_eq!(client.until_finished(&poison).await, "failed");
    let status = client.status(&poison).await;
    assert_eq!((&status["failure"]["code"], &status["attempt"]), (&"killed".into(), &3.into()), "{status}");
    for neighbour in &neighbours {
        assert_eq!(client.until_finished(neighbour).await, "completed");
        assert_eq!(client.status(neighbour).await["attempt"], 1);
    }
}

#[tokio::test]
async fn what_workers_do_on_bad_days_ends_as_a_clear_failure_and_leaves_the_endpoint_well() {
    let server = Server::start(&format!(
        "[limits]\ncrash_budget = 1\n{}",
        endpoint(
            "any",
            "hostile.py",
            "task = \"behave\"\nworkers = 1\ntimeout = \"15s\"\ngrace = \"1s\"\nmemory = \"256MiB\"\n"
        )
    ));
    let client = Client::new(&server.url(), "any");
    let bad_days = [
        ("forks", "exited"),
        ("exits", "exited"),
        ("kills_itself", "killed"),
        ("closes_the_channel", "protocol"),
        ("writes_garbage", "protocol"),
        ("writes_half_a_frame", "exited"),
        ("writes_an_unknown_message", "protocol"),
        ("eats_memory", "out_of_memory"),
        ("raises_memory_error", "out_of_memory"),
        ("raises", "failed"),
        ("refuses", "bad_input"),
        ("ignores_signals", "timeout"),
    ];
    for (way, code) in bad_days {
        let task = client.submit(format!(r#"{{"way": "{way}"}}"#)).await;
        assert_eq!(client.until_finished(&task).await, "failed", "{way}");
        let status = client.status(&task).await;
        assert_eq!(status["failure"]["code"], code, "{way}: {status}");
        let well = client.submit(r#"{"way": "fine"}"#).await;
        assert_eq!(client.until_finished(&well).await, "completed", "after {way}");
    }
    for way in ["prints_without_newline", "prints_much", "fine"] {
        let task = client.submit(format!(r#"{{"way": "{way}"}}"#)).await;
        assert_eq!(client.until_finished(&task).await, "completed", "{way}");
    }
}

#[tokio::test]
async fn workers_come_with_the_queue_and_go_when_it_is_empty() {
    let server = Server::start(&endpoint(
        "noop",
        "hostile.py",
        "task = \"behave\"\nworkers = { min = 0, max = 3 }\nidle = \"500ms\"\n",
    ));
    let client = Client::new(&server.url(), "noop");
    let none_left = || workers_of(&server, "hostile.py").is_empty().then_some(());
    let scaled = |line: &str, to: &str| line.contains("scaled") && field(line, "to").as_deref() == Some(to);
    // The first worker tells what it does, and goes.
    server.wait_for_log("that the first worker came", |line| scaled(line, "1"));
    assert!(poll(PATIENCE, none_left).is_some(), "an idle worker stays");

    let mut tasks = Vec::new();
    for _ in 0..9 {
        tasks.push(client.submit(r#"{"way": "sleeps", "argument": 1}"#).await);
    }
    for task in &tasks {
        assert_eq!(client.until_finished(task).await, "completed");
    }
    server.wait_for_log("that all workers came", |line| scaled(line, "3"));
    assert!(poll(PATIENCE, none_left).is_some(), "idle workers stay");
    server.wait_for_log("that all workers went", |line| scaled(line, "0"));
}

#[test]
fn the_python_package_installs_in_a_fresh_environment() {
    let folder = tempfile::tempdir().unwrap();
    let venv = folder.path().join("venv");
    let succeed = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder.path()).env_remove("PYTHONPATH");
        let mut program = Program::start("a fresh environment", command);
        let status = program.wait_for_exit_within(Duration::from_secs(180));
        assert!(status.success(), "{arguments:?} ended with {status}; its output is below");
        program.lines().join("\n")
    };
    succeed(Path::new("python3"), &["-m", "venv", venv.to_str().unwrap()]);
    let python = venv.join("bin/python");
    let package = root().join("clients/python");
    succeed(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package.to_str().unwrap()]);
    let help = succeed(&python, &["-m", "ekiben", "worker", "--help"]);
    assert!(help.contains("module:function"), "{help}");
}

#[test]
fn the_python_package_passes_its_own_tests_and_a_type_checker() {
    let venv = Venv::of(Clients::Models);
    let folder = tempfile::tempdir().unwrap();
    for arguments in
        [["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"].as_slice(), &["-m", "mypy", "src/ekiben"]]
    {
        let mut command = Command::new(venv.programs().join("python"));
        command.args(arguments).current_dir(root().join("clients/python")).env("PYTHONPATH", "src");
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("MYPY_CACHE_DIR", folder.path());
        command.env("EKIBEN_BINARY", env!("CARGO_BIN_EXE_ekiben"));
        let mut program = Program::start("the package's tests", command);
        let status = program.wait_for_exit_within(Duration::from_secs(600));
        assert!(status.success(), "{arguments:?} ended with {status}; its output is below");
    }
}
