//! In front of a real BentoML service: what comes through, what a crash of the service costs, and a service that is
//! away when we start.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, http, page};
use crate::harness::{Server, ask_whether_ready, field};
use crate::program::{PATIENCE, Program, poll};
use crate::venv::{Clients, Venv};

#[test]
fn clients_get_through_us_what_they_get_straight_from_the_service() {
    let models = Models::start();
    let server = Server::start_with_flags(&["--bentoml", &models.url()]);
    models.venv.run("bentoml_same.py", &[&server.url(), &models.url()]);
}

const TASKS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_waiting_task_is_lost_when_the_service_is_killed_though_its_own_queue_loses_them() {
    let mut models = Models::start();
    let server = Server::start(&models.section("concurrency = 2"));
    let ours = Client::keeping_connections(&server.url(), "nap");
    let theirs = Client::keeping_connections(&models.url(), "nap");
    let mut our_tasks = Vec::new();
    let mut their_tasks = Vec::new();
    for number in 0..TASKS {
        our_tasks.push(ours.submit(nap(number)).await);
    }
    for number in 0..TASKS {
        their_tasks.push(theirs.submit(nap(number)).await);
    }
    let mut done = 0;
    for task in &our_tasks {
        done += usize::from(ours.state(task).await == "completed");
    }
    assert!(done < TASKS, "the kill comes too late to cost anything");
    models.kill();
    models.restart();

    // Straight from the service, as from a client that kept its ids.
    let theirs = Client::new(&models.url(), "nap");
    let mut lost = 0;
    for task in &their_tasks {
        lost += usize::from(theirs.ask("status", task).await.status() == StatusCode::NOT_FOUND);
    }
    assert!(lost > 0, "the service keeps its tasks by now; say so in the README");
    println!("of {TASKS} tasks each: {done} of ours had ended at the kill; the service's own queue lost {lost}");
    for (number, task) in our_tasks.iter().enumerate() {
        assert_eq!(ours.until_finished(task).await, "completed", "task {number}");
        let result: Value = ours.get(task).await.json().await.unwrap();
        assert_eq!(result, json!({ "number": number }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_for_a_service_that_is_away_at_start_are_taken_and_run_when_it_comes() {
    let mut models = Models::start();
    let mut server = Server::start(&models.section("refresh = \"200ms\""));
    server.wait_for_log("that the service is there", |line| line.contains("the BentoML service is there"));
    server.terminate();
    assert!(server.wait_for_exit().success());
    models.kill();

    server.restart();
    let line = server.wait_for_log("that it is away", |line| line.contains("its routes are known from the last time"));
    assert_eq!((field(&line, "routes"), field(&line, "url")), (Some(ROUTES.to_string()), Some(models.url())));
    let nap = Client::new(&server.url(), "nap");
    let task = nap.submit(self::nap(7)).await;
    // Tried and put back, again and again.
    nap.until(&task, &["pending"]).await;

    // It comes with a route more.
    models.grown = true;
    models.restart();
    assert_eq!(nap.until_finished(&task).await, "completed");
    let is_new = |line: &str| field(line, "endpoint").as_deref() == Some("newcomer");
    server.wait_for_log("the new endpoint", is_new);
    let newcomer = Client::new(&server.url(), "newcomer");
    let task = newcomer.submit(r#"{"text": "abc"}"#).await;
    assert_eq!(newcomer.until_finished(&task).await, "completed");
    assert_eq!(newcomer.get(&task).await.text().await.unwrap(), "cba");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_was_never_there_is_served_when_it_comes() {
    let mut models = Models::stopped();
    let server = Server::start_with_flags(&["--bentoml", &models.url()]);
    server.wait_for_log("that it is away", |line| line.contains("its routes are not known yet"));
    let add = Client::new(&server.url(), "add");
    assert_eq!(add.try_submit("{}").await.unwrap().status(), StatusCode::NOT_FOUND);
    assert!(!page(&server.url(), "/schema.json").await.contains("denoise"), "the demo is offered beside the service");

    models.restart();
    server.wait_for_log("the new endpoint", |line| field(line, "endpoint").as_deref() == Some("add"));
    let task = add.submit(r#"{"a": 1}"#).await;
    assert_eq!(add.until_finished(&task).await, "completed");
    let schema: Value = http().get(format!("{}/schema.json", server.url())).send().await.unwrap().json().await.unwrap();
    assert_eq!(schema["routes"].as_array().unwrap().len(), ROUTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_a_service_are_sent_as_one_where_that_is_asked_for_and_each_gets_its_own_result() {
    let models = Models::start();
    let batched = "routes = [\"together\"]\nmax_batch_size = 4\nmax_wait = \"30s\"";
    let server = Server::start(&models.section(batched));
    let together = Client::new(&server.url(), "together");
    let mut tasks = Vec::new();
    for text in ["a", "b", "c", "d"] {
        tasks.push(together.submit(json!({ "texts": [text] }).to_string()).await);
    }
    for (task, text) in tasks.iter().zip(["A", "B", "C", "D"]) {
        assert_eq!(together.until_finished(task).await, "completed");
        let result: Value = together.get(task).await.json().await.unwrap();
        assert_eq!(result, json!([{ "text": text, "of": 4 }]));
    }
}

fn nap(number: usize) -> String {
    json!({ "number": number }).to_string()
}

// ---- the service ----

/// How many routes `bentoml_service.py` has.
const ROUTES: usize = 11;

/// The service of `bentoml_service.py`, served by BentoML itself.
struct Models {
    venv: Venv,
    address: SocketAddr,
    /// `None` while it is stopped.
    program: Option<Program>,
    /// It has a route more.
    grown: bool,
    folder: TempDir,
}

impl Models {
    #[track_caller]
    fn start() -> Self {
        let mut models = Self::stopped();
        models.restart();
        models
    }

    #[track_caller]
    fn stopped() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { venv: Venv::of(Clients::Current), address: free_address(), program: None, grown: false, folder }
    }

    /// Starts it on its address, and waits until it is ready.
    #[track_caller]
    fn restart(&mut self) {
        let mut command = self.venv.python(self.folder.path());
        command.args(["-m", "bentoml", "serve", "bentoml_service:Models", "--host", "127.0.0.1", "--api-workers", "1"]);
        command.args(["--port", &self.address.port().to_string()]);
        if self.grown {
            command.env("MODELS_GREW", "1");
        }
        self.program = Some(Program::start("bentoml serve", command));
        let ready = poll(PATIENCE, || {
            let answer = ask_whether_ready(self.address).ok()?;
            answer.starts_with("HTTP/1.1 200 ").then_some(())
        });
        assert!(ready.is_some(), "the BentoML service is not ready after {PATIENCE:?}");
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A section for it, with further keys.
    fn section(&self, keys: &str) -> String {
        format!("[endpoints.models]\ntype = \"bentoml\"\nurl = \"{}\"\n{keys}\n", self.url())
    }

    /// Ends it with SIGKILL: its supervisor first, so that it starts no worker anew, then the workers.
    fn kill(&mut self) {
        let Some(mut program) = self.program.take() else { return };
        let workers = children(program.pid());
        program.signal(Signal::KILL);
        for worker in workers {
            // One that has ended by itself is as good.
            let _ = kill_process(worker, Signal::KILL);
        }
        program.kill();
        let closed = poll(PATIENCE, || ask_whether_ready(self.address).is_err().then_some(()));
        assert!(closed.is_some(), "the BentoML service still answers after its end");
    }
}

impl Drop for Models {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return self.kill();
        }
        // The program shows its output by itself; only its workers are left to end.
        if let Some(program) = &self.program {
            for worker in children(program.pid()) {
                // As above.
                let _ = kill_process(worker, Signal::KILL);
            }
        }
    }
}

/// The processes that a process of ours has started.
fn children(parent: u32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("this is Linux").flatten();
    let children = processes.filter_map(|process| {
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        // The name in brackets may hold anything; behind it stand the state and the parent.
        let of: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let pid: i32 = process.file_name().to_str()?.parse().ok()?;
        (of == parent).then(|| Pid::from_raw(pid)).flatten()
    });
    children.collect()
}

/// An address that is free, and that nobody is given by chance: below the range of ports that are.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).expect("it is below");
    (0..10_000)
        .map(|_| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("one of so many ports is free")
}
