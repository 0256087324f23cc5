//! Those who watch tasks: thousands at a time, and ones that drop and come back, also to another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ekiben_actors::clock::stopwatch;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::client::{Client, http, page};
use crate::harness::Server;
use crate::sse::{Stream, Told};
use crate::upstream::Upstream;

/// For what thousands do one after the other, on a slow machine with a build that is not optimized.
const LONG_PATIENCE: Duration = Duration::from_secs(240);

/// A client whose requests may take as long as they will.
fn patient() -> reqwest::Client {
    // It brings the provider of cryptography.
    drop(http());
    reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client needs nothing more")
}

fn task_url(server: &Server, task: &str, below: &str) -> String {
    format!("{}/v1/tasks/{task}{below}", server.url())
}

// ---- clients that come back ----

/// Follows a task to its end through streams that it drops after a few events each. Answers with all that came.
async fn follow_by_pieces(http: reqwest::Client, url: String, mut pieces: impl Iterator<Item = usize>) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    loop {
        let last = all.last().map(|told| told.id.clone());
        // The service may be down just now.
        let Ok(answer) = Stream::request(&http, &url, last.as_deref()).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        match answer.status().as_u16() {
            200 => {}
            204 => return all,
            other => panic!("{url} after {last:?}: {other}"),
        }
        let mut stream = Stream::of(answer);
        for _ in 0..pieces.next().expect("there is no end of them") {
            // A connection that broke is as good as one that was dropped.
            let Ok(Some(told)) = stream.next().await else { break };
            all.push(told);
        }
    }
}

/// Ids and names of what is on record.
fn durable(all: &[Told]) -> Vec<String> {
    let kept = all.iter().filter(|told| told.event != "progress" && told.event != "log");
    kept.map(|told| format!("{} {}", told.id, told.event)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_drop_and_come_back_miss_nothing_though_the_service_is_killed_in_between() {
    const TASKS: usize = 40;
    const SLOTS: usize = 8;
    let upstream = Upstream::start();
    let mut server =
        Server::start(&format!("[limits]\ncrash_budget = 100\n{}", upstream.holding_endpoint("hold", SLOTS)));
    let client = Client::new(&server.url(), "hold");
    let http = patient();
    let mut followers = Vec::new();
    for number in 0..TASKS {
        let task = client.submit("rice").await;
        let url = task_url(&server, &task, "/events");
        let pieces = [1, 2, 1, 3, 1, 1].into_iter().cycle().skip(number);
        followers.push((url.clone(), tokio::spawn(follow_by_pieces(http.clone(), url, pieces))));
    }
    let mut calls = 0;
    for _ in 0..3 {
        upstream.wait_for_calls(calls + SLOTS);
        // Some end, those who still run die with the service.
        upstream.let_go(SLOTS / 2);
        server.kill();
        calls = upstream.calls();
        server.restart();
    }
    upstream.let_go(100 * TASKS);

    let mut put_backs = 0;
    for (url, follower) in followers {
        let seen = tokio::time::timeout(LONG_PATIENCE, follower).await.expect("every task ends").unwrap();
        let record = follow_by_pieces(http.clone(), url.clone(), std::iter::repeat(usize::MAX)).await;
        assert_eq!(durable(&seen), durable(&record), "{url}");
        assert_eq!(record.last().unwrap().event, "completed", "{url}");
        put_backs += record.iter().filter(|told| told.event == "put_back").count();
    }
    assert!(put_backs >= SLOTS, "only {put_backs} setbacks, so little was shown");
}

// ---- many of them ----

/// Raises the soft limit of open files as far as it goes: it may be 1024, and each watcher needs one here and one in
/// the service, which inherits it. Answers with the limit.
fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may be as high as the hard one");
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The value of a metric without labels.
async fn metric(server: &Server, name: &str) -> f64 {
    let text = page(&server.url(), "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the metric is told");
    line.parse().expect("its value is a number")
}

fn resident_megabytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    kilobytes.expect("the kernel tells").trim().parse::<u64>().expect("it is a number") / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_watch_at_once_and_all_learn_of_the_end() {
    const TASKS: usize = 10;
    const WATCHERS: usize = 5000;
    let spare = 500;
    let watchers = WATCHERS.min(usize::try_from(raise_open_files()).unwrap_or(usize::MAX).saturating_sub(spare));
    if watchers < WATCHERS {
        println!("the limit of open files (ulimit -Hn) leaves room for {watchers} watchers, not {WATCHERS}");
    }
    let upstream = Upstream::start();
    let config = "[http]\npoll_wait_max = \"1h\"\n[endpoints.noop]\ntype = \"noop\"\n";
    let server = Server::start(&format!("{config}{}", upstream.holding_endpoint("hold", TASKS)));
    let client = Client::new(&server.url(), "hold");
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        tasks.push(client.submit("rice").await);
    }
    upstream.wait_for_calls(TASKS);
    let before = resident_megabytes(&server);

    let began = stopwatch();
    let http = patient();
    let started = Arc::new(AtomicUsize::new(0));
    let mut watching = Vec::new();
    for number in 0..watchers {
        let task = &tasks[number % TASKS];
        let (http, started) = (http.clone(), started.clone());
        if number % 2 == 0 {
            let url = task_url(&server, task, "/events");
            watching.push(tokio::spawn(async move { last_event_of(&http, &url, &started).await }));
        } else {
            let url = task_url(&server, task, "?wait=1h");
            watching.push(tokio::spawn(async move { state_of(&http, &url).await }));
        }
    }
    let all_watch = async {
        while metric(&server, "ekiben_http_waiting").await < watchers as f64
            || started.load(Ordering::SeqCst) < watchers.div_ceil(2)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG_PATIENCE, all_watch).await.expect("all have their place");
    println!(
        "{watchers} watch after {:?}; memory {before} MB, then {} MB",
        began.elapsed(),
        resident_megabytes(&server)
    );

    // Others are served as ever.
    let others = Client::new(&server.url(), "noop");
    let task = others.submit("rice").await;
    assert_eq!(others.until_finished(&task).await, "completed");

    let ended = stopwatch();
    upstream.let_go(TASKS);
    for watcher in watching {
        let last = tokio::time::timeout(LONG_PATIENCE, watcher).await.expect("every watcher is told").unwrap();
        assert_eq!(last, "completed");
    }
    println!("all were told within {:?}", ended.elapsed());
    let all_left = async {
        while metric(&server, "ekiben_http_waiting").await > 0.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG_PATIENCE, all_left).await.expect("all places are given back");
}

/// Reads a task's events to their end.
async fn last_event_of(http: &reqwest::Client, url: &str, started: &AtomicUsize) -> String {
    let answer = Stream::request(http, url, None).await.expect("the service answers");
    assert_eq!(answer.status(), 200);
    let mut stream = Stream::of(answer);
    let mut last = String::new();
    while let Some(told) = stream.next().await.expect("the stream holds") {
        started.fetch_add(usize::from(told.event == "started"), Ordering::SeqCst);
        last = told.event;
    }
    last
}

/// Waits for a task's end by a long poll.
async fn state_of(http: &reqwest::Client, url: &str) -> String {
    let task: Value = http.get(url).send().await.expect("the service answers").json().await.expect("a task is JSON");
    task["state"].as_str().expect("a task has a state").to_owned()
}
