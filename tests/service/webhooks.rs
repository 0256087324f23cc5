//! Webhooks against a real receiver, which verifies them with the library that the authors of the standard publish.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::http;
use crate::harness::Server;
use crate::program::{PATIENCE, Program, poll};
use crate::venv::{Clients, Venv};

const NEW_SECRET: &str = "whsec_bmV3IHJpY2UgbmV3IHJpY2UgbmV3IHJpY2U=";
const OLD_SECRET: &str = "whsec_b2xkIHJpY2Ugb2xkIHJpY2Ugb2xkIHJpY2U=";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The receiver of `tests/python`, which knows the old secret and the new one.
struct Receiver {
    program: Program,
    port: u16,
    _folder: TempDir,
}

impl Receiver {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let venv = Venv::of(Clients::Models);
        let program = venv.start("hooks_receiver.py", &[NEW_SECRET, OLD_SECRET], folder.path());
        let line = program.wait_for_line("its port", |line| line.starts_with("listening on port "));
        let port = line.rsplit(' ').next().unwrap().parse().unwrap();
        Self { program, port, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The requests to a path so far.
    fn requests(&self, path: &str) -> Vec<Value> {
        let lines = self.program.lines();
        let told = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        told.filter(|told| told["path"] == path).collect()
    }

    /// Waits until there were so many requests to a path.
    async fn until_requests(&self, path: &str, number: usize) -> Vec<Value> {
        let asking = async {
            loop {
                let requests = self.requests(path);
                if requests.len() >= number {
                    return requests;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, asking).await;
        came.unwrap_or_else(|_| panic!("{} requests to {path}, not {number}", self.requests(path).len()))
    }

    /// Settings that let messages come here, with more in their section.
    fn config(&self, more: &str) -> String {
        config(&format!("allow = [\"127.0.0.1:{}\"]\n{more}", self.port))
    }
}

fn config(more: &str) -> String {
    format!(
        "[webhooks]\nsecrets = [\"{NEW_SECRET}\", \"{OLD_SECRET}\"]\nfirst_pause = \"1ms\"\n{more}\n\
         [endpoints.noop]\ntype = \"noop\"\n"
    )
}

/// Submits a task whose end is told to that URL, and answers with whatever the service does.
async fn try_submit(server: &Server, webhook: &str, headers: &[(&str, &str)]) -> reqwest::Result<Response> {
    let url = format!("{}/v1/endpoints/noop/tasks", server.url());
    let mut request = http().post(url).header("ekiben-webhook", webhook).body("rice");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await
}

async fn submit(server: &Server, webhook: &str, headers: &[(&str, &str)]) -> String {
    let answer = try_submit(server, webhook, headers).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let task: Value = answer.json().await.unwrap();
    task["id"].as_str().unwrap().to_owned()
}

async fn get(server: &Server, path: &str) -> Value {
    let answer = http().get(format!("{}{path}", server.url())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.json().await.unwrap()
}

/// Waits until the message about a task's end is in that state, and answers with its log.
async fn until_delivery(server: &Server, task: &str, state: &str) -> Value {
    let asking = async {
        loop {
            let log = get(server, &format!("/v1/tasks/{task}/webhooks")).await;
            match &log["deliveries"].as_array().unwrap()[..] {
                [delivery] if delivery["state"] == state => return delivery.clone(),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("the message of {task} is not {state}"))
}

fn error_of(delivery: &Value) -> &str {
    delivery["attempts"].as_array().unwrap().last().unwrap()["error"].as_str().unwrap()
}

#[tokio::test]
async fn a_receiver_verifies_a_message_with_the_new_secret_and_with_the_old_one() {
    let receiver = Receiver::start();
    let server = Server::start(&receiver.config(""));
    let task = submit(&server, &receiver.url("/ok"), &[("traceparent", TRACEPARENT)]).await;
    let delivery = until_delivery(&server, &task, "delivered").await;
    let attempts = delivery["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["status"], &attempts[0]["error"]), (1, &204.into(), &Value::Null));
    assert_eq!((&delivery["id"], &delivery["next_at"]), (&task.as_str().into(), &Value::Null));

    let requests = receiver.requests("/ok");
    let [request] = &requests[..] else { panic!("one request: {requests:?}") };
    assert_eq!(request["good"], serde_json::json!([true, true]));
    assert_eq!((&request["id"], &request["content_type"]), (&task.as_str().into(), &"application/json".into()));
    assert_eq!((&request["traceparent"], &request["encoding"]), (&TRACEPARENT.into(), &Value::Null));
    let message: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    let mut expected = get(&server, &format!("/v1/tasks/{task}")).await;
    assert_eq!((&message["type"], &message["timestamp"]), (&"task.completed".into(), &expected["finished_at"]));
    expected["output"] = format!("/v1/tasks/{task}/output").into();
    assert_eq!(message["data"], expected);
    let output = http().get(format!("{}{}", server.url(), message["data"]["output"].as_str().unwrap()));
    assert_eq!(output.send().await.unwrap().text().await.unwrap(), "rice");
}

#[tokio::test]
async fn a_task_canceled_before_its_time_tells_so() {
    let receiver = Receiver::start();
    let server = Server::start(&receiver.config(""));
    let task = submit(&server, &receiver.url("/ok"), &[("ekiben-delay", "1h")]).await;
    assert_eq!(get(&server, &format!("/v1/tasks/{task}/webhooks")).await, serde_json::json!({ "deliveries": [] }));
    let canceled = http().post(format!("{}/v1/tasks/{task}/cancel", server.url())).send().await.unwrap();
    assert_eq!(canceled.status(), StatusCode::OK);
    until_delivery(&server, &task, "delivered").await;
    let message: Value = serde_json::from_str(receiver.requests("/ok")[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!((&message["type"], &message["data"]["output"]), (&"task.canceled".into(), &Value::Null));
}

#[tokio::test]
async fn a_batch_that_is_over_tells_so() {
    let receiver = Receiver::start();
    let server = Server::start(&receiver.config(""));
    let begin = |webhook: &str| {
        let lines = "{\"custom_id\":\"a\",\"input\":1}\n{\"custom_id\":\"b\",\"input\":2}\n";
        http().post(format!("{}/v1/batches?endpoint=noop&webhook={webhook}", server.url())).body(lines).send()
    };
    assert_eq!(begin("http://127.0.0.1:1/").await.unwrap().status(), StatusCode::BAD_REQUEST);
    let begun = begin(&receiver.url("/ok")).await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let batch: Value = begun.json().await.unwrap();
    let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());

    let requests = receiver.until_requests("/ok", 1).await;
    assert_eq!((&requests[0]["id"], &requests[0]["good"]), (&batch["id"], &serde_json::json!([true, true])));
    let message: Value = serde_json::from_str(requests[0]["body"].as_str().unwrap()).unwrap();
    let mut expected = get(&server, &path).await;
    assert_eq!((&message["type"], &message["timestamp"]), (&"batch.completed".into(), &expected["finished_at"]));
    expected["results"] = format!("{path}/results").into();
    assert_eq!(message["data"], expected);
    let log = get(&server, &format!("{path}/webhooks")).await;
    assert_eq!(
        (&log["deliveries"][0]["id"], &log["deliveries"][0]["url"]),
        (&batch["id"], &receiver.url("/ok").into())
    );
}

#[tokio::test]
async fn a_message_is_tried_until_it_is_taken_under_one_id_and_with_one_body() {
    let receiver = Receiver::start();
    let server = Server::start(&receiver.config(""));
    let task = submit(&server, &receiver.url("/fails/3"), &[]).await;
    let delivery = until_delivery(&server, &task, "delivered").await;
    let statuses: Vec<&Value> = delivery["attempts"].as_array().unwrap().iter().map(|made| &made["status"]).collect();
    assert_eq!(statuses, [500, 500, 500, 204]);
    let first = &delivery["attempts"][0]["error"];
    assert_eq!(first, "it answered 500 Internal Server Error: not yet");
    let requests = receiver.requests("/fails/3");
    assert_eq!(requests.len(), 4);
    for request in &requests {
        assert_eq!((&request["id"], &request["body"]), (&requests[0]["id"], &requests[0]["body"]));
        assert_eq!(request["good"], serde_json::json!([true, true]));
    }
}

#[tokio::test]
async fn gone_ends_it_a_redirect_is_not_followed_and_a_long_answer_is_cut() {
    let receiver = Receiver::start();
    let server = Server::start(&receiver.config("give_up = \"0s\""));
    let gone = submit(&server, &receiver.url("/gone"), &[]).await;
    let redirected = submit(&server, &receiver.url("/redirect"), &[]).await;
    let loud = submit(&server, &receiver.url("/loud"), &[]).await;

    assert_eq!(until_delivery(&server, &gone, "gone").await["attempts"][0]["status"], 410);
    let delivery = until_delivery(&server, &redirected, "failed").await;
    assert_eq!(error_of(&delivery), "it answered 307 Temporary Redirect; redirects are not followed");
    let delivery = until_delivery(&server, &loud, "failed").await;
    assert!(error_of(&delivery).ends_with("no no no") && error_of(&delivery).len() < 400, "{delivery}");
    assert_eq!(receiver.requests("/ok").len(), 0);
    for path in ["/gone", "/redirect", "/loud"] {
        assert_eq!(receiver.requests(path).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_slow_receiver_is_not_waited_for_and_holds_no_slot() {
    let receiver = Receiver::start();
    let server = Server::start(&receiver.config("give_up = \"0s\"\ntimeout = \"1s\""));
    let slow = submit(&server, &receiver.url("/slow"), &[]).await;
    receiver.until_requests("/slow", 1).await;
    // The endpoint's only slot.
    let other = submit(&server, &receiver.url("/slow"), &[]).await;
    receiver.until_requests("/slow", 2).await;
    for task in [slow, other] {
        assert_eq!(error_of(&until_delivery(&server, &task, "failed").await), "no answer within 1s");
    }
}

#[tokio::test]
async fn what_has_failed_can_be_replayed_under_its_id() {
    let receiver = Receiver::start();
    let server = Server::start(&receiver.config("give_up = \"0s\""));
    let task = submit(&server, &receiver.url("/fails/1"), &[]).await;
    until_delivery(&server, &task, "failed").await;
    let replay = |id: &str| http().post(format!("{}/v1/webhooks/{id}/replay", server.url())).send();
    let answer = replay(&task).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.json::<Value>().await.unwrap()["id"], task);
    until_delivery(&server, &task, "delivered").await;
    let requests = receiver.requests("/fails/1");
    assert_eq!((requests.len(), &requests[0]["id"]), (2, &requests[1]["id"]));

    for unknown in ["rice", "0192f0c4a7b87c3e9d1f2a3b4c5d6e7f"] {
        let answer = replay(unknown).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "delivery_not_found");
    }
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_however_it_is_spelled() {
    let receiver = Receiver::start();
    let server = Server::start(&config("give_up = \"0s\""));
    let hosts = ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0", "169.254.169.254"];
    for host in hosts {
        let answer = try_submit(&server, &format!("http://{host}:{}/ok", receiver.port), &[]).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{host}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "invalid_option");
        assert!(problem["detail"].as_str().unwrap().contains("webhooks.allow can open it"), "{problem}");
    }
    // Where a name leads is known only when it is looked up.
    let task = submit(&server, &format!("http://localhost:{}/ok", receiver.port), &[]).await;
    let delivery = until_delivery(&server, &task, "failed").await;
    let error = error_of(&delivery);
    assert!(error.starts_with("localhost is at ") && error.contains("is a loopback address"), "{error}");
    assert_eq!(receiver.requests("/ok").len(), 0);
}

#[tokio::test]
async fn a_name_that_leads_to_an_allowed_address_is_called() {
    let receiver = Receiver::start();
    let server = Server::start(&receiver.config(""));
    let task = submit(&server, &format!("http://localhost:{}/ok", receiver.port), &[]).await;
    until_delivery(&server, &task, "delivered").await;
    // Another port is not allowed.
    let answer = try_submit(&server, "http://127.0.0.1:1/ok", &[]).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn without_a_secret_no_webhook_is_taken() {
    let server = Server::start("[endpoints.noop]\ntype = \"noop\"\n");
    let answer = try_submit(&server, "https://example.com/hook", &[]).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem: Value = answer.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("add one to webhooks.secrets"), "{problem}");
}

#[tokio::test]
async fn a_message_that_was_not_sent_or_not_answered_before_a_kill_is_sent_after_it() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path(), &receiver.config("concurrency = 1\ntimeout = \"60s\""));
    // The one message that may be under way is not answered; so the other is stored and waits.
    let slow = submit(&server, &receiver.url("/slow"), &[]).await;
    receiver.until_requests("/slow", 1).await;
    let waiting = submit(&server, &receiver.url("/ok"), &[]).await;
    until_delivery(&server, &waiting, "pending").await;
    server.kill();
    assert_eq!(receiver.requests("/ok").len(), 0);

    write_config(folder.path(), &receiver.config("timeout = \"60s\""));
    server.restart();
    until_delivery(&server, &waiting, "delivered").await;
    let requests = receiver.until_requests("/slow", 2).await;
    assert_eq!((&requests[0]["id"], &requests[1]["id"]), (&slow.as_str().into(), &slow.as_str().into()));
    assert_eq!(requests[0]["body"], requests[1]["body"]);
    assert_eq!(receiver.requests("/ok").len(), 1);
}

fn write_config(folder: &Path, config: &str) {
    std::fs::write(folder.join("ekiben.toml"), config).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_is_told_whenever_the_process_is_killed() {
    const ROUNDS: usize = 8;
    const CALLERS: usize = 4;
    let receiver = Receiver::start();
    let mut server = Server::start(&receiver.config("concurrency_per_host = 2"));
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> =
            (0..CALLERS).map(|_| tokio::spawn(submit_until(stop.clone(), server.url(), receiver.url("/ok")))).collect();
        // Messages are on their way, and more wait.
        let before = receiver.requests("/ok").len();
        receiver.until_requests("/ok", before + 5 + round).await;
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            acknowledged.extend(caller.await.unwrap());
        }
        server.restart();
    }
    let told = || -> HashSet<String> {
        let requests = receiver.requests("/ok");
        requests.iter().map(|request| request["id"].as_str().unwrap().to_owned()).collect()
    };
    let missing = || acknowledged.difference(&told()).count();
    let all = tokio::task::block_in_place(|| poll(PATIENCE, || (missing() == 0).then_some(())));
    assert!(all.is_some(), "of {} ends {} were not told", acknowledged.len(), missing());
    assert!(acknowledged.len() > ROUNDS * CALLERS, "there was no load to speak of");
    assert!(receiver.requests("/ok").iter().all(|request| request["good"] == serde_json::json!([true, true])));
}

/// Submits as fast as it goes until told to stop, or until the service is gone; answers what was acknowledged.
async fn submit_until(stop: Arc<AtomicBool>, server: String, webhook: String) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let client = http();
    while !stop.load(Ordering::Relaxed) {
        let request = client.post(format!("{server}/v1/endpoints/noop/tasks")).header("ekiben-webhook", &webhook);
        let Ok(answer) = request.body("rice").send().await else { break };
        let Ok(task) = answer.json::<Value>().await else { break };
        acknowledged.push(task["id"].as_str().unwrap_or_else(|| panic!("refused: {task}")).to_owned());
    }
    acknowledged
}
