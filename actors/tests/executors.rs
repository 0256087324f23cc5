//! Every executor keeps every executor's promises: the cases of `executor::conformance`, crossed with them.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, Data, ServiceConfig, post};
use actix_web::{HttpRequest, HttpResponse};
use ekiben_actors::executor::conformance::{CASES, Case, OUTPUT_MAX, STALL_AFTER, Subject};
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::executor::http::{Http, HttpOptions};
use ekiben_actors::executor::process::{Process, ProcessOptions};
use ekiben_actors::executor::report::Said;
use ekiben_actors::executor::{Attempt, Executor, Report};
use ekiben_actors::task::{EndpointName, Failure, FailureCode, Headers, Outcome, Output};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;

use crate::support::upstream::Upstream;

mod support {
    pub mod upstream;
}

/// What is under test, and the upstream it needs, if any.
type Setup = fn() -> (Subject, Option<Upstream>);

const EXECUTORS: [(&str, Setup); 4] = [
    ("handler", || (handlers(), None)),
    ("blocking_handler", || (blocking_handlers(), None)),
    ("http", http),
    ("process", || (processes(), None)),
];

fn main() {
    let arguments = Arguments::from_args();
    let trials = EXECUTORS.iter().flat_map(|(name, set_up)| CASES.iter().map(move |case| trial(name, *set_up, case)));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn trial(executor: &str, set_up: Setup, case: &'static Case) -> Trial {
    Trial::test(format!("{executor}::{}", case.name), move || {
        let folder = tempfile::tempdir()?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (subject, _upstream) = {
            let _entered = runtime.enter();
            set_up()
        };
        runtime.block_on(case.run(subject, folder.path()));
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok::<(), Failed>(())
    })
}

fn handlers() -> Subject {
    let stalled = Arc::new(Semaphore::new(0));
    Subject {
        echo: Arc::new(Handler::new(|attempt| async { echo(attempt) })),
        show_headers: Arc::new(Handler::new(|attempt| async { show_headers(attempt) })),
        fail: Arc::new(Handler::new(|attempt| async { fail(attempt) })),
        flood: Arc::new(Handler::new(|attempt| async { flood(attempt) })),
        stall: Arc::new(Handler::new({
            let stalled = stalled.clone();
            move |attempt| stall(attempt, stalled.clone())
        })),
        stalled,
    }
}

fn blocking_handlers() -> Subject {
    let stalled = Arc::new(Semaphore::new(0));
    Subject {
        echo: Arc::new(Handler::blocking(echo)),
        show_headers: Arc::new(Handler::blocking(show_headers)),
        fail: Arc::new(Handler::blocking(fail)),
        flood: Arc::new(Handler::blocking(flood)),
        stall: Arc::new(Handler::blocking({
            let stalled = stalled.clone();
            move |attempt| Handle::current().block_on(stall(attempt, stalled.clone()))
        })),
        stalled,
    }
}

fn echo(attempt: Attempt) -> Outcome {
    let mut headers = attempt.input.headers;
    headers.add("content-disposition", "attachment; filename=\"echo.bin\"");
    Outcome::Done(Output { status: 200, headers, body: attempt.input.body })
}

fn show_headers(attempt: Attempt) -> Outcome {
    Outcome::Done(Output::json(&attempt.input.headers.iter().collect::<serde_json::Value>()).unwrap())
}

fn fail(attempt: Attempt) -> Outcome {
    let answer = Output { status: 422, headers: attempt.input.headers, body: attempt.input.body };
    Outcome::Failed(Failure::new(FailureCode::Failed, "told to fail"), Some(answer))
}

fn flood(_: Attempt) -> Outcome {
    let len = usize::try_from(OUTPUT_MAX + 1).unwrap();
    Outcome::Done(Output { status: 200, headers: Headers::new(), body: vec![0; len].into() })
}

async fn stall(attempt: Attempt, stalled: Arc<Semaphore>) -> Outcome {
    let mut spool = attempt.outputs.spool();
    spool.write(&vec![0; STALL_AFTER]).await.unwrap();
    stalled.add_permits(1);
    attempt.cancellation.cancelled().await;
    Outcome::Canceled
}

fn http() -> (Subject, Option<Upstream>) {
    let stalled = Arc::new(Semaphore::new(0));
    let routes = {
        let stalled = Data::from(stalled.clone());
        move |service: &mut ServiceConfig| {
            service
                .app_data(stalled.clone())
                .route("/echo", post().to(upstream_echo))
                .route("/show_headers", post().to(upstream_show_headers))
                .route("/fail", post().to(upstream_fail))
                .route("/flood", post().to(upstream_flood))
                .route("/stall", post().to(upstream_stall));
        }
    };
    let upstream = Upstream::start(routes);
    let calling = |path| -> Arc<dyn Executor> {
        Arc::new(Http::new(HttpOptions::new(format!("{}{path}", upstream.url))).unwrap())
    };
    let subject = Subject {
        echo: calling("/echo"),
        show_headers: calling("/show_headers"),
        fail: calling("/fail"),
        flood: calling("/flood"),
        stall: calling("/stall"),
        stalled,
    };
    (subject, Some(upstream))
}

async fn upstream_echo(request: HttpRequest, body: Bytes) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if let Some(content_type) = request.headers().get("content-type") {
        response.insert_header(("content-type", content_type));
    }
    response.insert_header(("content-disposition", "attachment; filename=\"echo.bin\"")).body(body)
}

async fn upstream_show_headers(request: HttpRequest) -> HttpResponse {
    let headers = request.headers().iter();
    let shown: serde_json::Value = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    HttpResponse::Ok().json(shown)
}

async fn upstream_fail(request: HttpRequest, body: Bytes) -> HttpResponse {
    let content_type = request.headers().get("content-type").unwrap();
    HttpResponse::UnprocessableEntity().insert_header(("content-type", content_type)).body(body)
}

async fn upstream_flood() -> HttpResponse {
    HttpResponse::Ok().streaming(stream::repeat_with(|| Ok::<_, actix_web::Error>(Bytes::from_static(&[0; 65536]))))
}

async fn upstream_stall(stalled: Data<Semaphore>) -> HttpResponse {
    stalled.add_permits(1);
    let begun = stream::iter([Ok::<_, actix_web::Error>(Bytes::from(vec![0; STALL_AFTER]))]);
    HttpResponse::Ok().streaming(begun.chain(stream::pending()))
}

fn processes() -> Subject {
    let stalled = Arc::new(Semaphore::new(0));
    Subject {
        echo: Arc::new(process("echo")),
        show_headers: Arc::new(process("show_headers")),
        fail: Arc::new(process("fail")),
        flood: Arc::new(process("flood")),
        stall: Arc::new(TellingStall { process: process("stall"), stalled: stalled.clone() }),
        stalled,
    }
}

/// Workers of which none is started before it is needed, but the first.
fn process(task: &str) -> Process {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/plain.py");
    let options = ProcessOptions {
        task: Some(task.to_owned()),
        workers_min: 0,
        workers_max: 2,
        grace: Duration::from_millis(200),
        ..ProcessOptions::new(["python3", script])
    };
    Process::new(EndpointName::new("conformance").unwrap(), options).unwrap()
}

/// Its worker reports progress as it begins to stall.
struct TellingStall {
    process: Process,
    stalled: Arc<Semaphore>,
}

impl Executor for TellingStall {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        let stalled = self.stalled.clone();
        let report = Report::heard(move |said| stalled.add_permits(usize::from(matches!(said, Said::Progress(_)))));
        self.process.run(Attempt { report, ..attempt })
    }
}
