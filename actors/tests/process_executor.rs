//! What the executor of worker processes makes of real workers, those that misbehave above all: each hostile case ends
//! in a clear outcome, and the endpoint works on.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ekiben_actors::body::Body;
use ekiben_actors::executor::process::{Process, ProcessOptions};
use ekiben_actors::executor::report::Said;
use ekiben_actors::executor::{Attempt, Demand, Executor, Outputs, Report};
use ekiben_actors::spool::{BlobName, Blobs};
use ekiben_actors::task::{EndpointName, Failure, FailureCode, Headers, Input, Outcome, Output, TaskId};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::node::node;

mod support {
    pub mod node;
}

/// How long a test waits for a state before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

const OUTPUT_MAX: u64 = 64 << 20;

/// An endpoint whose worker does what the input names.
struct Bench {
    process: Process,
    /// Stands in the environment of its workers, and of no others.
    mark: String,
}

impl Bench {
    fn new(change: impl FnOnce(&mut ProcessOptions)) -> Self {
        static MARKS: AtomicU32 = AtomicU32::new(0);
        let mark = format!("bench-{}-{}", std::process::id(), MARKS.fetch_add(1, Ordering::Relaxed));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/plain.py");
        let mut options = ProcessOptions {
            task: Some("show_run".to_owned()),
            env: vec![("NOTE".to_owned(), mark.clone())],
            grace: Duration::from_millis(300),
            backoff_min: Duration::from_millis(20),
            ..ProcessOptions::new(["python3", script])
        };
        change(&mut options);
        let process = Process::new(EndpointName::new("test").unwrap(), options).unwrap();
        Self { process, mark }
    }

    fn usual() -> Self {
        Self::new(|_| ())
    }

    fn in_mood(mood: &str) -> Self {
        Self::new(|options| options.command.push(mood.to_owned()))
    }

    async fn run(&self, asked: &'static str) -> Outcome {
        timeout(PATIENCE, self.process.run(attempt(asked))).await.expect("the attempt ends in time")
    }

    /// What the worker was told of a run, and its `pid`.
    async fn shown(&self) -> Value {
        let outcome = self.run("").await;
        let Outcome::Done(output) = outcome else { panic!("not done: {outcome:?}") };
        serde_json::from_slice(&output.body.read().unwrap()).unwrap()
    }

    async fn crash(&self, asked: &'static str) -> Failure {
        let outcome = self.run(asked).await;
        let Outcome::Crashed(failure) = outcome else { panic!("not crashed: {outcome:?}") };
        failure
    }

    async fn put_back(&self) -> Failure {
        let outcome = self.run("").await;
        let Outcome::PutBack { failure, retry_after: Some(_) } = outcome else { panic!("not put back: {outcome:?}") };
        failure
    }

    /// Starts an attempt and waits until the worker is at it.
    async fn begun(&self, asked: &'static str) -> (CancellationToken, tokio::task::JoinHandle<Outcome>) {
        let begun = Arc::new(Semaphore::new(0));
        let report = {
            let begun = begun.clone();
            Report::heard(move |said| begun.add_permits(usize::from(matches!(said, Said::Progress(_)))))
        };
        let attempt = Attempt { report, ..attempt(asked) };
        let cancellation = attempt.cancellation.clone();
        let running = tokio::spawn(self.process.run(attempt));
        timeout(PATIENCE, begun.acquire()).await.expect("the work begins in time").unwrap().forget();
        (cancellation, running)
    }

    async fn until_workers_are(&self, wanted: usize) {
        until(
            || processes_with(&self.mark) == wanted,
            || format!("{} workers, not {wanted}", processes_with(&self.mark)),
        )
        .await;
    }
}

fn pid(shown: &Output) -> Value {
    let shown: Value = serde_json::from_slice(&shown.body.read().unwrap()).unwrap();
    shown["pid"].clone()
}

async fn until(is_so: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "{}", otherwise());
}

/// How many processes have the mark in their environment. One that has ended but was not reaped has none.
fn processes_with(mark: &str) -> usize {
    let mark = format!("NOTE={mark}");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .count()
}

fn attempt(asked: &'static str) -> Attempt {
    attempt_on(Body::from(asked))
}

fn attempt_on(body: Body) -> Attempt {
    let task = TaskId::generate();
    Attempt {
        task,
        endpoint: EndpointName::new("test").unwrap(),
        number: 3,
        timeout: None,
        input: Input { headers: Headers::of_type("text/plain"), body },
        cancellation: CancellationToken::new(),
        report: Report::unwatched(),
        outputs: Outputs::new(Blobs::in_memory(), BlobName::Output(task, 1), OUTPUT_MAX),
    }
}

async fn assert_crash(asked: &'static str, code: FailureCode, words: &str, logged: &str) {
    let bench = Bench::usual();
    let failure = bench.crash(asked).await;
    assert_eq!(failure.code, code, "{failure}");
    assert!(failure.message.contains(words), "{failure}");
    assert!(failure.log.as_deref().unwrap_or_default().contains(logged), "{failure:?}");
    bench.shown().await;
    bench.until_workers_are(1).await;
}

// ---- workers that behave ----

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_told_whose_attempt_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(|options| {
        options.threads = 3;
        options.timeout = Some(Duration::from_secs(7));
        options.folder = Some(folder.path().to_owned());
    });
    let shown = bench.shown().await;
    assert_eq!(
        (&shown["endpoint"], &shown["attempt"], &shown["timeout_ms"]),
        (&"test".into(), &3.into(), &7000.into())
    );
    assert_eq!((&shown["threads"], &shown["note"]), (&"3".into(), &bench.mark.as_str().into()));
    assert_eq!(shown["headers"], serde_json::json!([["content-type", "text/plain"]]));
    let pid = &shown["pid"];
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), folder.path().canonicalize().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_without_an_answer_has_its_code_and_words() {
    let outcome = Bench::usual().run("refuse").await;
    let Outcome::Failed(failure, None) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure, Failure::new(FailureCode::BadInput, "no such style"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_tells_of_an_attempt_is_in_its_report_to_the_last_line() {
    let bench = Bench::usual();
    let pid = bench.shown().await["pid"].clone();
    for _ in 0..20 {
        let attempt = attempt("report");
        let report = attempt.report.clone();
        let outcome = timeout(PATIENCE, bench.process.run(attempt)).await.expect("the attempt ends in time");
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        // All was there when the attempt ended; the next one has nothing of it.
        let tail = report.log_tail();
        assert_eq!(tail.lines.len() as u64 + tail.dropped, 152, "a line is missing or of another attempt");
        for line in ["hot", "line 149", "and an error"] {
            assert!(tail.lines.iter().any(|kept| kept.message == line), "{tail}");
        }
        let progress = report.latest().unwrap();
        assert_eq!((progress.fraction, progress.message.as_deref()), (Some(0.5), Some("half way")));
        assert_eq!((progress.counters["tokens"], progress.counters["loss"]), (3.0, 0.5));
        assert_eq!(report.worker_name(), Some(format!("pid {pid}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_says_of_an_attempt_that_has_ended_is_ignored() {
    let bench = Bench::usual();
    let before = bench.shown().await;
    assert!(matches!(bench.run("speak_after_the_end").await, Outcome::Done(_)));
    assert_eq!(bench.shown().await["pid"], before["pid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_describes_itself_once_a_worker_has_said_hello() {
    let bench = Bench::new(|options| {
        options.task = Some("echo".to_owned());
        options.workers_min = 0;
        options.idle = Duration::from_millis(100);
    });
    until(|| bench.process.description().is_some(), || "it never says what it does".to_owned()).await;
    let description = bench.process.description().unwrap();
    assert_eq!(description.text.as_deref(), Some("Gives back what it got."));
    assert_eq!(description.input.unwrap()["root_input"], true);
    assert_eq!(description.output, None);
    bench.until_workers_are(0).await;
    bench.run("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_another_language_does_as_well() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/plain.js");
    let bench = Bench::new(|options| {
        options.command = vec![node().display().to_string(), script.to_owned()];
        options.task = None;
        options.threads = 8;
    });
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let runs = (0..8).map(|_| bench.process.run(attempt_on(bytes.clone().into())));
    for outcome in futures::future::join_all(runs).await {
        let Outcome::Done(output) = outcome else { panic!("not done: {outcome:?}") };
        assert!(output.body.read().unwrap() == bytes, "the bytes differ");
        assert_eq!(output.headers.content_type(), Some("text/plain"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_recycled_after_its_share_of_attempts() {
    let bench = Bench::new(|options| options.max_tasks = Some(2));
    let mut pids = Vec::new();
    for _ in 0..6 {
        pids.push(bench.shown().await["pid"].as_u64().unwrap());
    }
    assert!(pids[0] == pids[1] && pids[1] != pids[2] && pids[2] == pids[3] && pids[3] != pids[4], "{pids:?}");
    bench.until_workers_are(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_come_with_the_attempts_and_go_when_idle() {
    let bench = Bench::new(|options| {
        options.workers_max = 3;
        options.idle = Duration::from_millis(100);
    });
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(bench.begun("wait_for_cancel").await);
    }
    assert_eq!(processes_with(&bench.mark), 3);
    for (cancellation, running) in running {
        cancellation.cancel();
        assert!(matches!(running.await.unwrap(), Outcome::Canceled));
    }
    bench.until_workers_are(1).await;
    bench.shown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_come_with_the_demand_before_the_attempts_do() {
    let bench = Bench::new(|options| {
        options.workers_max = 3;
        options.idle = Duration::from_millis(100);
    });
    bench.process.demand(Demand { waiting: 100, running: 0 });
    bench.until_workers_are(3).await;
    bench.process.demand(Demand::default());
    bench.until_workers_are(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_executor_takes_its_workers_along() {
    let bench = Bench::new(|options| {
        options.workers_min = 2;
        options.workers_max = 2;
    });
    bench.until_workers_are(2).await;
    let Bench { process, mark } = bench;
    drop(process);
    until(|| processes_with(&mark) == 0, || "workers are left".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_executor_has_no_workers_and_runs_nothing() {
    let bench = Bench::usual();
    let (_, running) = bench.begun("ignore_everything").await;
    let waiting = tokio::spawn(bench.process.run(attempt("")));
    timeout(PATIENCE, bench.process.close()).await.expect("it closes in time");
    assert_eq!(processes_with(&bench.mark), 0);
    assert!(matches!(running.await.unwrap(), Outcome::Crashed(_)));
    assert!(matches!(waiting.await.unwrap(), Outcome::Canceled));
    assert!(matches!(bench.run("").await, Outcome::Canceled));
}

#[test]
fn a_runtime_that_goes_down_takes_the_workers_along() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = runtime.block_on(async {
        let bench = Bench::usual();
        bench.begun("ignore_everything").await;
        bench
    });
    runtime.shutdown_background();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(bench.until_workers_are(0));
}

// ---- canceling ----

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_waits_for_a_worker_is_canceled_at_once() {
    let bench = Bench::usual();
    let (first, running) = bench.begun("wait_for_cancel").await;
    let waits = attempt("");
    let cancellation = waits.cancellation.clone();
    let waiting = tokio::spawn(bench.process.run(waits));
    cancellation.cancel();
    assert!(matches!(timeout(PATIENCE, waiting).await.unwrap().unwrap(), Outcome::Canceled));
    assert!(!running.is_finished());
    first.cancel();
    assert!(matches!(running.await.unwrap(), Outcome::Canceled));
    bench.shown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_heed_a_cancellation_is_killed() {
    let bench = Bench::usual();
    let (cancellation, running) = bench.begun("ignore_everything").await;
    cancellation.cancel();
    let outcome = timeout(PATIENCE, running).await.expect("it is killed in time").unwrap();
    assert!(matches!(outcome, Outcome::Canceled), "{outcome:?}");
    bench.shown().await;
    bench.until_workers_are(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_given_up_frees_its_worker() {
    let bench = Bench::usual();
    for asked in ["ignore_everything", "wait_for_cancel", "stall"] {
        let (_, running) = bench.begun(asked).await;
        running.abort();
        bench.shown().await;
    }
    bench.until_workers_are(1).await;
}

// ---- workers that die ----

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_exits_tells_its_status_and_its_last_lines() {
    assert_crash("exit_with_7", FailureCode::Exited, "the worker exited with status 7", "about to exit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_line_without_a_newline_is_kept() {
    assert_crash("print_without_newline", FailureCode::Exited, "status 7", "no newline at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_a_signal_killed_tells_which() {
    assert_crash("kill_itself", FailureCode::Killed, "the worker was killed by SIGKILL", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_closes_its_channel_is_killed() {
    assert_crash("close_channel", FailureCode::Protocol, "it closed its channel and lived on", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_channel_ends_the_worker() {
    assert_crash("send_garbage", FailureCode::Protocol, "a frame whose header would have 4294967295 bytes", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_about_a_strange_attempt_ends_the_worker() {
    assert_crash("send_wrong_id", FailureCode::Protocol, "it spoke of the attempt 1001", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_ends_twice_ends_the_worker() {
    let bench = Bench::usual();
    let before = bench.shown().await;
    assert!(matches!(bench.run("end_twice").await, Outcome::Done(_)));
    let is_replaced =
        async { while !matches!(bench.run("").await, Outcome::Done(output) if pid(&output) != before["pid"]) {} };
    timeout(PATIENCE, is_replaced).await.expect("it is replaced in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_message_ends_the_worker() {
    assert_crash("send_strange_type", FailureCode::Protocol, "strange message: unknown variant `sing`", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_exits_within_a_frame_has_exited() {
    assert_crash("send_half", FailureCode::Exited, "exited with status 7", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_grandchild_outlives_its_worker() {
    let bench = Bench::usual();
    let failure = bench.crash("fork_and_exit").await;
    assert!(failure.message.contains("exited with status 0"), "{failure}");
    let log = failure.log.unwrap();
    let child = log.lines().find_map(|line| line.strip_prefix("child ")).unwrap();
    let command = Path::new("/proc").join(child).join("cmdline");
    let is_gone = || fs::read(&command).unwrap_or_default().is_empty();
    until(is_gone, || format!("the child {child} is still there")).await;
    bench.shown().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_over_its_memory_is_killed() {
    let bench = Bench::new(|options| options.memory = Some(150 << 20));
    let failure = bench.crash("eat_memory").await;
    assert_eq!(failure.code, FailureCode::OutOfMemory, "{failure}");
    assert!(failure.message.ends_with("and its limit is 150 MiB"), "{failure}");
    bench.shown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_lines_stops_nothing() {
    let bench = Bench::usual();
    let outcome = bench.run("print_much").await;
    assert!(matches!(outcome, Outcome::Done(Output { status: 200, .. })), "{outcome:?}");
    bench.shown().await;
}

// ---- workers that cannot be started ----

async fn assert_no_worker(bench: Bench, code: FailureCode, words: &str, logged: &str) {
    let failure = bench.put_back().await;
    assert_eq!(failure.code, code, "{failure}");
    assert!(failure.message.starts_with("no worker could be started with `"), "{failure}");
    assert!(failure.message.contains(words), "{failure}");
    assert!(failure.log.as_deref().unwrap_or_default().contains(logged), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_there_is_named() {
    let bench = Bench::new(|options| options.command = vec!["/no/such/command".to_owned()]);
    assert_no_worker(bench, FailureCode::Unreachable, "`/no/such/command`: there is no such command", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_is_named() {
    let bench = Bench::new(|options| options.folder = Some("/no/such/folder".into()));
    assert_no_worker(bench, FailureCode::Unreachable, "the folder /no/such/folder is not there", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_exits_before_its_hello_tells_why() {
    let words = "plain.py exit`: it exited with status 3 before it said hello";
    assert_no_worker(Bench::in_mood("exit"), FailureCode::Exited, words, "no model here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_never_ready_is_killed() {
    let bench = Bench::new(|options| {
        options.command.push("never_ready".to_owned());
        options.start_timeout = Duration::from_millis(500);
    });
    assert_no_worker(bench, FailureCode::Unreachable, "it had not said hello after 500ms", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_closes_its_channel_before_its_hello_is_killed() {
    let words = "it closed its channel and lived on";
    assert_no_worker(Bench::in_mood("close"), FailureCode::Protocol, words, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_protocol_is_refused() {
    let words = "it speaks version 2 of the protocol, and we version 1";
    assert_no_worker(Bench::in_mood("protocol_2"), FailureCode::Protocol, words, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_the_task_is_refused() {
    let bench = Bench::new(|options| options.task = Some("sing".to_owned()));
    assert_no_worker(bench, FailureCode::Protocol, "it has no task \"sing\", but: echo, ", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_well_again_when_its_command_is() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let bench = Bench::in_mood(&format!("needs:{}", model.display()));
    bench.put_back().await;
    fs::write(&model, "").unwrap();
    let well = async {
        while !matches!(bench.run("").await, Outcome::Done(_)) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, well).await.expect("it gets well in time");
}
