//! What every executor promises, as cases that a test crosses with every executor at run time.
//!
//! An executor under test is set to simple work: see [`Subject`]. Each case gets fresh ones and a folder of its
//! own. Compiled for everybody, so that whoever embeds us can hold an executor of theirs to it.

use std::fs::read_dir;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::executor::{Attempt, Executor, Outputs, Report};
use crate::spool::{BlobName, Blobs};
use crate::task::{EndpointName, Failure, FailureCode, Headers, Input, Outcome, Output, TaskId};

/// How long a case waits for a state before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bodies over this many bytes lie in files.
const INLINE_MAX: usize = 16 * 1024;

/// One kind of executor, at each kind of work.
#[derive(Clone)]
pub struct Subject {
    /// Answers 200 with the input's bytes and content type, none where it had none, and with
    /// `content-disposition: attachment; filename="echo.bin"`.
    pub echo: Arc<dyn Executor>,
    /// Answers 200 with the headers of the input as a JSON object; there may be others among them.
    pub show_headers: Arc<dyn Executor>,
    /// Fails with an answer of 422 that has the input's bytes and content type.
    pub fail: Arc<dyn Executor>,
    /// Answers with more bytes than [`OUTPUT_MAX`].
    pub flood: Arc<dyn Executor>,
    /// Begins an output, with [`STALL_AFTER`] bytes, adds a permit to `stalled`, and never ends by itself.
    pub stall: Arc<dyn Executor>,
    pub stalled: Arc<Semaphore>,
}

/// The most bytes of an output in every case.
pub const OUTPUT_MAX: u64 = 4 * 1024 * 1024;

/// How much of an output there is before it stalls: enough that a file was begun for it.
pub const STALL_AFTER: usize = 1024 * 1024;

/// One promise.
pub struct Case {
    pub name: &'static str,
    run: fn(Bench) -> BoxFuture<'static, ()>,
}

impl Case {
    /// Panics where the promise is broken. Bodies go to files in `folder`, which must be empty.
    pub async fn run(&self, subject: Subject, folder: &Path) {
        (self.run)(Bench { subject, folder: folder.to_owned() }).await;
    }
}

/// Names each case after its function.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        &[$(Case { name: stringify!($case), run: |bench| Box::pin($case(bench)) }),+]
    };
}

/// The promises of every executor.
pub const CASES: &[Case] = cases![
    an_empty_input_comes_back_empty,
    every_byte_comes_back_as_it_was,
    a_large_input_and_output_travel_in_files,
    a_missing_content_type_stays_missing,
    the_headers_of_a_result_are_kept,
    the_headers_of_the_input_arrive,
    a_failure_keeps_its_answer,
    an_output_over_the_limit_is_too_large_and_leaves_no_file,
    many_attempts_at_once_keep_their_own_outcome,
    a_canceled_attempt_says_so_and_leaves_no_file,
    an_attempt_canceled_before_it_runs_says_so,
    an_attempt_that_is_given_up_leaves_no_file,
];

/// What a case works with.
struct Bench {
    subject: Subject,
    folder: PathBuf,
}

impl Bench {
    fn attempt(&self, input: Input) -> Attempt {
        let task = TaskId::generate();
        Attempt {
            task,
            endpoint: EndpointName::new("conformance").expect("it is a name"),
            number: 1,
            timeout: None,
            input,
            cancellation: CancellationToken::new(),
            report: Report::unwatched(),
            outputs: Outputs::new(self.blobs(), BlobName::Output(task, 1), OUTPUT_MAX),
        }
    }

    fn blobs(&self) -> Blobs {
        Blobs::in_folder(&self.folder, INLINE_MAX)
    }

    /// An input as the service would keep it: in a file where it is large.
    async fn input(&self, bytes: &[u8]) -> Input {
        let mut spool = self.blobs().spool(BlobName::Input(TaskId::generate()), u64::MAX);
        spool.write(bytes).await.expect("a temporary folder takes files");
        let body = spool.finish().await.expect("a temporary folder takes files");
        Input { headers: Headers::of_type("application/octet-stream"), body }
    }

    async fn echoed(&self, input: Input) -> Output {
        done(self.subject.echo.run(self.attempt(input)).await)
    }

    /// Starts an attempt that stalls, and waits until a file was begun for its output.
    async fn stalled(&self) -> (CancellationToken, tokio::task::JoinHandle<Outcome>) {
        let attempt = self.attempt(Input::default());
        let cancellation = attempt.cancellation.clone();
        let running = tokio::spawn(self.subject.stall.run(attempt));
        let stalled = timeout(PATIENCE, self.subject.stalled.acquire()).await.expect("the work begins in time");
        stalled.expect("nobody closes the semaphore").forget();
        self.until_files_are(1).await;
        (cancellation, running)
    }

    /// Waits for a number of files. Asked again and again, since files are written by threads of the pool.
    async fn until_files_are(&self, wanted: usize) {
        let files = || read_dir(&self.folder).expect("the folder is there").count();
        let reached = async {
            while files() != wanted {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = timeout(PATIENCE, reached).await.is_ok();
        assert!(in_time, "{} files are there in the end, not {wanted}", files());
    }
}

async fn an_empty_input_comes_back_empty(bench: Bench) {
    let output = bench.echoed(bench.input(b"").await).await;
    assert_eq!(read(&output.body).await, b"");
}

async fn every_byte_comes_back_as_it_was(bench: Bench) {
    let bytes: Vec<u8> = (0..=255).rev().collect();
    let output = bench.echoed(bench.input(&bytes).await).await;
    assert_eq!(output.status, 200);
    assert_eq!(read(&output.body).await, bytes);
}

async fn a_large_input_and_output_travel_in_files(bench: Bench) {
    let bytes = noise(300 * 1024);
    let input = bench.input(&bytes).await;
    let output = bench.echoed(input.clone()).await;
    let (Body::File(sent), Body::File(received)) = (&input.body, &output.body) else { panic!("a body is in memory") };
    assert_ne!(sent.path(), received.path(), "input and output share a file, but not their lives");
    assert!(read(&output.body).await == bytes, "the bytes differ");
}

async fn a_missing_content_type_stays_missing(bench: Bench) {
    let input = Input { headers: Headers::new(), body: Body::from("bento") };
    let output = bench.echoed(input).await;
    assert_eq!(output.headers.content_type(), None);
}

async fn the_headers_of_a_result_are_kept(bench: Bench) {
    let output = bench.echoed(Input::new("text/x-bento; charset=utf-8", "bento")).await;
    assert_eq!(output.headers.content_type(), Some("text/x-bento; charset=utf-8"));
    assert_eq!(output.headers.get("content-disposition"), Some("attachment; filename=\"echo.bin\""));
}

async fn the_headers_of_the_input_arrive(bench: Bench) {
    let mut input = Input::new("text/plain", "bento");
    input.headers.add("accept-language", "ja, en;q=0.5");
    input.headers.add("x-note", "no onions");
    let output = done(bench.subject.show_headers.run(bench.attempt(input)).await);
    let seen: serde_json::Value = serde_json::from_slice(&read(&output.body).await).expect("headers come as JSON");
    assert_eq!(seen["content-type"], "text/plain");
    assert_eq!(seen["accept-language"], "ja, en;q=0.5");
    assert_eq!(seen["x-note"], "no onions");
}

async fn a_failure_keeps_its_answer(bench: Bench) {
    let input = Input::new("application/problem+json", r#"{"title":"no rice left"}"#);
    let (failure, answer) = failed(bench.subject.fail.run(bench.attempt(input)).await);
    assert!(!failure.message.is_empty());
    let answer = answer.expect("a failure with an answer keeps it");
    assert_eq!((answer.status, answer.headers.content_type()), (422, Some("application/problem+json")));
    assert_eq!(read(&answer.body).await, br#"{"title":"no rice left"}"#);
}

async fn an_output_over_the_limit_is_too_large_and_leaves_no_file(bench: Bench) {
    let (failure, _) = failed(bench.subject.flood.run(bench.attempt(Input::default())).await);
    assert_eq!(failure.code, FailureCode::TooLarge, "{failure}");
    assert!(failure.message.contains(&OUTPUT_MAX.to_string()), "the limit is missing: {failure}");
    bench.until_files_are(0).await;
}

async fn many_attempts_at_once_keep_their_own_outcome(bench: Bench) {
    let attempts = (0..64).map(|number| {
        let fails = number % 3 == 0;
        let executor = if fails { &bench.subject.fail } else { &bench.subject.echo };
        let running = tokio::spawn(executor.run(bench.attempt(Input::new("text/plain", format!("bento {number}")))));
        async move { (number, fails, running.await.expect("no panic")) }
    });
    for (number, fails, outcome) in join_all(attempts).await {
        let output = if fails { failed(outcome).1.expect("the answer is kept") } else { done(outcome) };
        assert_eq!(read(&output.body).await, format!("bento {number}").as_bytes());
    }
}

async fn a_canceled_attempt_says_so_and_leaves_no_file(bench: Bench) {
    let (cancellation, running) = bench.stalled().await;
    cancellation.cancel();
    let outcome = timeout(PATIENCE, running).await.expect("it stops in time").expect("no panic");
    assert!(matches!(outcome, Outcome::Canceled), "{outcome:?}");
    bench.until_files_are(0).await;
}

async fn an_attempt_canceled_before_it_runs_says_so(bench: Bench) {
    let attempt = bench.attempt(Input::default());
    attempt.cancellation.cancel();
    let outcome = timeout(PATIENCE, bench.subject.stall.run(attempt)).await.expect("it stops in time");
    assert!(matches!(outcome, Outcome::Canceled), "{outcome:?}");
    bench.until_files_are(0).await;
}

async fn an_attempt_that_is_given_up_leaves_no_file(bench: Bench) {
    let (_cancellation, running) = bench.stalled().await;
    running.abort();
    bench.until_files_are(0).await;
}

/// Bytes without a pattern that a shifted or repeated chunk would still fit.
fn noise(len: usize) -> Vec<u8> {
    let states = std::iter::successors(Some(1_u32), |state| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013)));
    states.map(|state| state.to_be_bytes()[0]).take(len).collect()
}

async fn read(body: &Body) -> Vec<u8> {
    let body = body.clone();
    let read = tokio::task::spawn_blocking(move || body.read()).await.expect("reading does not panic");
    read.expect("the body can be read").to_vec()
}

fn done(outcome: Outcome) -> Output {
    match outcome {
        Outcome::Done(output) => output,
        other => panic!("not done: {other:?}"),
    }
}

fn failed(outcome: Outcome) -> (Failure, Option<Output>) {
    match outcome {
        Outcome::Failed(failure, answer) => (failure, answer),
        other => panic!("not failed: {other:?}"),
    }
}
