//! Batches as users meet them: a file of lines streamed in, cut off by a kill and gone on with, read while it runs.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::client::http;
use crate::harness::Server;
use crate::program::PATIENCE;

const CONFIG: &str = r#"
[endpoints.noop]
type = "noop"
concurrency = 8
"#;

/// The verbs of the API about batches.
struct Batches {
    http: reqwest::Client,
    url: String,
}

impl Batches {
    fn of(server: &Server) -> Self {
        Self { http: http(), url: format!("{}/v1/batches", server.url()) }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    async fn send(&self, path: &str, lines: impl Into<reqwest::Body>) -> Response {
        let request = self.request(Method::POST, path).header("content-type", "application/jsonl");
        request.timeout(4 * PATIENCE).body(lines).send().await.expect("the service answers")
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("the service answers")
    }

    async fn batch(&self, id: &str) -> Value {
        json_of(self.get(&format!("/{id}")).await, StatusCode::OK).await
    }

    /// Asks until the batch is as it should be.
    async fn until(&self, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let asking = async {
            loop {
                let batch = self.batch(id).await;
                if fits(&batch) {
                    return batch;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(4 * PATIENCE, asking).await.unwrap_or_else(|_| panic!("batch {id} is never {what}"))
    }

    async fn until_completed(&self, id: &str) -> Value {
        self.until(id, "completed", |batch| batch["state"] == "completed").await
    }

    async fn results(&self, id: &str, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/{id}/results{query}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let text = answer.text().await.expect("the results come whole");
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    async fn cancel(&self, id: &str) -> Value {
        let answer = self.request(Method::POST, &format!("/{id}/cancel")).send().await.expect("the service answers");
        json_of(answer, StatusCode::OK).await
    }
}

async fn json_of(answer: Response, status: StatusCode) -> Value {
    let found = answer.status();
    let text = answer.text().await.expect("the answer comes whole");
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).expect("the answer is JSON")
}

fn lines(numbers: std::ops::Range<usize>) -> String {
    let mut lines = String::new();
    for number in numbers {
        writeln!(lines, r#"{{"custom_id": "{number}", "input": {{"number": {number}}}}}"#)
            .expect("text can be written");
    }
    lines
}

fn id_of(batch: &Value) -> String {
    batch["id"].as_str().expect("a batch has an id").to_owned()
}

fn custom_ids(results: &[Value]) -> Vec<&str> {
    results.iter().map(|line| line["custom_id"].as_str().expect("a line has its name")).collect()
}

#[tokio::test]
async fn a_batch_runs_and_its_results_come_in_the_order_of_its_lines() {
    let server = Server::start(CONFIG);
    let batches = Batches::of(&server);
    let batch = json_of(batches.send("?endpoint=noop", lines(0..1200)).await, StatusCode::ACCEPTED).await;
    assert_eq!((&batch["total"], &batch["priority"], &batch["refused"]), (&json!(1200), &json!(9), &json!(0)));
    assert_eq!(batch["upload"], json!({ "read": 1200, "recorded": 1200, "known": 0, "refused": 0 }));
    let id = id_of(&batch);
    let done = batches.until_completed(&id).await;
    assert_eq!((&done["counts"]["completed"], &done["failures"]), (&json!(1200), &json!({})));
    assert!(done["finished_at"].is_string());

    let results = batches.results(&id, "").await;
    assert_eq!(custom_ids(&results), (0..1200).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(results[7]["output"], json!({ "number": 7 }));
    assert_eq!((&results[7]["state"], &results[7]["failure"]), (&json!("completed"), &Value::Null));
    let rest = batches.results(&id, "?after=1196&state=completed,failed").await;
    assert_eq!(custom_ids(&rest), ["1197", "1198", "1199"]);
    assert!(batches.results(&id, "?state=failed").await.is_empty());
    let gone = json_of(batches.get(&format!("/{id}/results?after=x")).await, StatusCode::NOT_FOUND).await;
    assert_eq!(gone["code"], "line_not_found");

    let task = results[7]["task_id"].as_str().unwrap();
    let task = http().get(format!("{}/v1/tasks/{task}", server.url())).send().await.unwrap();
    let task = json_of(task, StatusCode::OK).await;
    assert_eq!((&task["batch"], &task["custom_id"]), (&json!(id), &json!("7")));
    let listed = json_of(batches.get("?endpoint=noop&limit=5").await, StatusCode::OK).await;
    assert_eq!((&listed["batches"][0]["id"], &listed["next_cursor"]), (&json!(id), &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_a_kill_cut_off_is_made_again_and_every_line_is_a_task_once() {
    const LINES: usize = 20_000;
    let mut server = Server::start(CONFIG);
    let batches = Batches::of(&server);
    let upload = |body: reqwest::Body| {
        let request = batches.request(Method::POST, "?endpoint=noop").header("idempotency-key", "the night's");
        request.header("content-type", "application/x-ndjson").timeout(4 * PATIENCE).body(body).send()
    };
    // The first upload comes to a stop in the middle of the file, so that the kill meets it there.
    let (feed, fed) = futures::channel::mpsc::unbounded::<Result<Bytes, std::io::Error>>();
    for from in (0..LINES / 2).step_by(100) {
        feed.unbounded_send(Ok(lines(from..from + 100).into())).expect("somebody reads");
    }
    let cut_off = tokio::spawn(upload(reqwest::Body::wrap_stream(fed)));
    let begun = async {
        loop {
            let listed = json_of(batches.get("").await, StatusCode::OK).await;
            if let Some(batch) = listed["batches"].get(0).filter(|batch| batch["total"].as_u64() > Some(3000)) {
                return batch.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let receiving = tokio::time::timeout(PATIENCE, begun).await.expect("lines are recorded while others still come");
    assert_eq!(receiving["state"], "receiving");
    server.kill();
    assert!(cut_off.await.unwrap().is_err(), "nobody was there to answer");
    drop(feed);

    server.restart();
    let id = id_of(&receiving);
    let kept = batches.batch(&id).await;
    assert_eq!(kept["state"], "receiving");
    let before = kept["total"].as_u64().unwrap();
    assert!(before >= receiving["total"].as_u64().unwrap(), "what was told is there");

    let again = json_of(upload(lines(0..LINES).into()).await.unwrap(), StatusCode::ACCEPTED).await;
    assert_eq!((&again["id"], &again["total"]), (&json!(id), &json!(LINES)));
    assert_eq!((&again["upload"]["known"], &again["upload"]["read"]), (&json!(before), &json!(LINES)));
    let done = batches.until_completed(&id).await;
    assert_eq!(done["counts"]["completed"], json!(LINES));
    let results = batches.results(&id, "").await;
    assert_eq!(custom_ids(&results), (0..LINES).map(|number| number.to_string()).collect::<Vec<_>>());
    let own_input = |(number, line): (usize, &Value)| line["output"]["number"] == number;
    assert!(results.iter().enumerate().all(own_input));

    // All of it once more changes nothing.
    let replayed = upload(lines(0..LINES).into()).await.unwrap();
    assert_eq!(replayed.headers()["idempotent-replayed"], "true");
    let replayed = json_of(replayed, StatusCode::OK).await;
    assert_eq!((&replayed["state"], &replayed["upload"]["recorded"]), (&json!("completed"), &json!(0)));
}

#[tokio::test]
async fn bad_lines_are_told_of_and_keep_no_other_from_running() {
    let server = Server::start(CONFIG);
    let batches = Batches::of(&server);
    let sent = [
        r#"{"custom_id": "a", "input": 1}"#,
        r#"{"custom_id": "b", "input": }"#,
        "",
        r#"{"custom_id": "c"}"#,
        r#"{"input": 1}"#,
        r#"{"custom_id": "d", "input": 1, "priorty": 1}"#,
        r#"{"custom_id": "e", "input": 1, "timeout": "soon"}"#,
        r#"{"custom_id": "a", "input": 2}"#,
        r#"{"custom_id": "f", "input": 1, "idempotency_key": "k"}"#,
        r#"{"custom_id": "g", "input": 1, "priority": "urgent", "tags": {"project": "rice"}}"#,
    ];
    let refused = batches.send("?endpoint=noop", sent.join("\n")).await;
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let refused = json_of(refused, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!((&refused["code"], &refused["upload"]["recorded"]), (&json!("bad_lines"), &json!(2)));
    let told: Vec<(u64, String)> = refused["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bad| (bad["line"].as_u64().unwrap(), bad["detail"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [
        (2, "expected value"),
        (4, "\"input\" is missing"),
        (5, "\"custom_id\" is missing"),
        (6, "did you mean \"priority\"?"),
        (7, "soon"),
        (9, "has its custom_id for that"),
        (8, "with another input"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((number, detail), (expected_number, expected)) in told.iter().zip(expected) {
        assert!(*number == expected_number && detail.contains(expected), "{number}: {detail}");
    }

    let id = refused["batch_id"].as_str().unwrap().to_owned();
    let open = batches.until(&id, "run so far", |batch| batch["counts"]["completed"] == 2).await;
    assert_eq!((&open["state"], &open["refused"]), (&json!("receiving"), &json!(6)));
    let urgent = batches.results(&id, "").await[1]["task_id"].as_str().unwrap().to_owned();
    let task = http().get(format!("{}/v1/tasks/{urgent}", server.url())).send().await.unwrap();
    let task = json_of(task, StatusCode::OK).await;
    assert_eq!((&task["priority"], &task["tags"]), (&json!(0), &json!({ "project": "rice" })));

    let mended = r#"{"custom_id": "b", "input": 1}"#;
    let whole = json_of(batches.send(&format!("/{id}/lines"), mended).await, StatusCode::ACCEPTED).await;
    assert_eq!((&whole["total"], &whole["refused"]), (&json!(3), &json!(0)));
    batches.until_completed(&id).await;
    let late =
        json_of(batches.send(&format!("/{id}/lines"), r#"{"custom_id": "z", "input": 1}"#).await, StatusCode::CONFLICT);
    assert_eq!(late.await["code"], "batch_closed");
}

#[tokio::test]
async fn what_is_no_upload_at_all_is_refused_with_the_way_out() {
    let server = Server::start(CONFIG);
    let batches = Batches::of(&server);
    for (path, body, status, code) in [
        ("", "", StatusCode::UNPROCESSABLE_ENTITY, "bad_query"),
        ("?endpoint=nope", "", StatusCode::NOT_FOUND, "endpoint_not_found"),
        ("?endpoint=noop&priority=12", "", StatusCode::UNPROCESSABLE_ENTITY, "bad_query"),
        ("?endpoint=noop&opn=true", "", StatusCode::UNPROCESSABLE_ENTITY, "bad_query"),
        ("/0192f0c4a7b87c3e9d1f2a3b4c5d6e7f/lines", "", StatusCode::NOT_FOUND, "batch_not_found"),
        ("/x/lines", "", StatusCode::NOT_FOUND, "batch_not_found"),
        // One bad line after the other: the file is none of ours.
        ("?endpoint=noop", &"a,b,c\n".repeat(5000), StatusCode::UNPROCESSABLE_ENTITY, "bad_lines"),
    ] {
        let answer = batches.send(path, body.to_owned()).await;
        let found = answer.status();
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code, "{path}: {problem}");
        if code != "bad_query" {
            assert_eq!(found, status, "{path}: {problem}");
        }
        if code == "bad_lines" {
            let read = problem["upload"]["read"].as_u64().unwrap();
            assert!(read <= 101, "{read} lines were looked at");
        }
    }
    let form = batches.request(Method::POST, "?endpoint=noop").header("content-type", "text/csv").body("a").send();
    let form = json_of(form.await.unwrap(), StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    assert!(form["detail"].as_str().unwrap().contains("application/jsonl"), "{form}");
}

#[tokio::test]
async fn a_batch_that_is_larger_than_the_queue_comes_in_as_there_is_room() {
    let server = Server::start(&format!("[limits]\nqueue = 50\nqueue_per_endpoint = 50\n{CONFIG}"));
    let batches = Batches::of(&server);
    let batch = json_of(batches.send("?endpoint=noop", lines(0..2000)).await, StatusCode::ACCEPTED).await;
    assert_eq!(batch["total"], 2000);
    batches.until_completed(&id_of(&batch)).await;
}

const SLOW: &str = r#"
[batches]
wait = "300ms"
output = "1KiB"

[limits]
queue = 100
queue_per_endpoint = 100

[endpoints.slow]
type = "process"
command = ["sh", "-c", "sleep 600"]
concurrency = 1

[endpoints.noop]
type = "noop"
"#;

#[tokio::test]
async fn a_batch_is_canceled_whole_and_its_results_are_read_all_the_same() {
    let server = Server::start(SLOW);
    let batches = Batches::of(&server);
    let sent = batches.send("?endpoint=slow&open=true", lines(0..300)).await;
    assert_eq!(sent.headers()["retry-after"], "5");
    let full = json_of(sent, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(full["code"], "queue_full");
    let id = full["batch_id"].as_str().unwrap().to_owned();
    let open = batches.batch(&id).await;
    let total = open["total"].as_u64().unwrap();
    assert_eq!((&open["state"], &full["upload"]["recorded"]), (&json!("receiving"), &json!(total)));
    assert!(total >= 100, "{open}");

    // One by itself, then all.
    let one = batches.results(&id, "").await[50]["task_id"].as_str().unwrap().to_owned();
    let canceled = http().post(format!("{}/v1/tasks/{one}/cancel", server.url())).send().await.unwrap();
    assert_eq!(json_of(canceled, StatusCode::OK).await["result"], "canceled");
    assert_eq!(batches.batch(&id).await["counts"]["canceled"], 1);
    let canceled = batches.cancel(&id).await;
    assert_eq!((&canceled["state"], &canceled["counts"]["pending"]), (&json!("canceled"), &json!(0)));
    let results = batches.results(&id, "?state=canceled").await;
    assert_eq!(results.len() as u64, canceled["counts"]["canceled"].as_u64().unwrap());
    assert!(results.iter().all(|line| line["output"].is_null()));
    assert_eq!(batches.results(&id, "").await.len() as u64, total);
}

#[tokio::test]
async fn an_output_too_large_for_a_line_is_linked_to() {
    let server = Server::start(SLOW);
    let batches = Batches::of(&server);
    let large = format!(r#"{{"custom_id": "large", "input": "{}"}}"#, "x".repeat(100_000));
    let sent = format!("{large}\n{{\"custom_id\": \"small\", \"input\": [1,   2]}}\n");
    let id = id_of(&json_of(batches.send("?endpoint=noop", sent).await, StatusCode::ACCEPTED).await);
    batches.until_completed(&id).await;
    let results = batches.results(&id, "").await;
    let link = results[0]["output_url"].as_str().expect("it is linked to");
    let output = http().get(format!("{}{link}", server.url())).send().await.unwrap();
    assert_eq!(output.bytes().await.unwrap().len(), 100_002);
    assert_eq!((&results[0]["output"], &results[1]["output"]), (&Value::Null, &json!([1, 2])));
}

/// The most memory that the server has had in use, in KiB.
fn peak_memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel counts it");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("it is a number")
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_however_much_comes_in_and_goes_out() {
    let server = Server::start(CONFIG);
    let batches = Batches::of(&server);
    let warm = id_of(&json_of(batches.send("?endpoint=noop", lines(0..2000)).await, StatusCode::ACCEPTED).await);
    batches.until_completed(&warm).await;
    batches.results(&warm, "").await;
    let before = peak_memory(&server);

    // 150 MB in and 150 MB out, of which a cache of the store may keep a part.
    let filling = "x".repeat(100_000);
    let chunks = (0..1500).map(move |number| {
        Ok::<_, std::io::Error>(Bytes::from(format!("{{\"custom_id\": \"{number}\", \"input\": \"{filling}\"}}\n")))
    });
    let body = reqwest::Body::wrap_stream(stream::iter(chunks));
    let id = id_of(&json_of(batches.send("?endpoint=noop", body).await, StatusCode::ACCEPTED).await);
    batches.until_completed(&id).await;
    let mut answer = batches.get(&format!("/{id}/results")).await;
    let mut bytes = 0;
    while let Some(chunk) = answer.chunk().await.expect("the results come whole") {
        bytes += chunk.len();
    }
    assert!(bytes > 150_000_000, "{bytes}");
    let grown = (peak_memory(&server) - before) / 1024;
    println!("{grown} MiB more at the peak");
    assert!(grown < 120, "{grown} MiB more at the peak");
}
