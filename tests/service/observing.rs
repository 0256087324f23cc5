//! The log and the metrics, as people and machines read them: both are stable interfaces, told in README.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::client::{Client, id_in, page};
use crate::harness::Server;
use crate::upstream::Upstream;

const README: &str = include_str!("../../README.md");
const TARGET: &str = "ekiben::lifecycle";

/// The lifecycle lines of a task, in order.
fn life_of(server: &Server, task: &str) -> Vec<Value> {
    let lines = server.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    lines.filter(|line| line["target"] == TARGET && line["task_id"] == task).collect()
}

fn events(life: &[Value]) -> Vec<&str> {
    life.iter().map(|line| line["message"].as_str().expect("an event has a name")).collect()
}

#[tokio::test]
async fn every_step_of_a_task_is_one_line_with_the_fields_told_in_readme() {
    let upstream = Upstream::start();
    let config = format!(
        "[log]\nformat = \"json\"\n[limits]\nput_backs = 1\n[results]\nsweep_interval = \"100ms\"\n{}retention = \"1s\"\n\
         [endpoints.broken]\ntype = \"http\"\nurl = \"http://127.0.0.1:1/\"\n",
        upstream.holding_endpoint("hold", 1)
    );
    let server = Server::start(&config);
    let hold = Client::new(&server.url(), "hold");
    let broken = Client::new(&server.url(), "broken");

    let secret = "\"a very private input\"";
    let running = hold.submit(secret).await;
    let canceled = hold.submit(secret).await;
    upstream.wait_for_calls(1);
    hold.cancel(&canceled).await;
    upstream.let_go(1);
    server.wait_for_log("that the result expired", |line| line.contains("expired") && line.contains(&running));
    let failed = broken.submit(secret).await;
    broken.until_finished(&failed).await;
    let again = id_in(broken.retry(&failed).await).await.unwrap();
    broken.until_finished(&again).await;
    server.wait_for_log("that the retry failed", |line| line.contains("\"failed\"") && line.contains(&again));

    let life = life_of(&server, &running);
    assert_eq!(events(&life), ["submitted", "started", "completed", "expired"]);
    let completed = &life[2];
    assert_eq!(completed["level"], "INFO");
    assert_eq!(
        (&completed["endpoint"], &completed["attempt"], &completed["state"]),
        (&"hold".into(), &1.into(), &"completed".into())
    );
    for number in ["queued_ms", "run_ms", "input_bytes", "output_bytes"] {
        assert!(completed[number].is_u64(), "{number} in {completed}");
    }
    assert_eq!(completed["input_bytes"], secret.len());
    assert_eq!(events(&life_of(&server, &canceled))[..2], ["submitted", "canceled"]);
    let life = life_of(&server, &failed);
    assert_eq!(events(&life), ["submitted", "started", "put_back", "started", "failed", "retried"]);
    for setback in [&life[2], &life[4]] {
        assert!(setback["error"].as_str().unwrap().starts_with("unreachable: "), "{setback}");
    }
    assert_eq!(life[5]["retry_task_id"], again.as_str());

    assert!(!server.log().iter().any(|line| line.contains("very private")), "input was logged");
}

#[tokio::test]
async fn a_crash_is_told_as_recovered_and_progress_as_progressed() {
    let upstream = Upstream::start();
    let config = format!("[log]\nformat = \"json\"\n{}", upstream.holding_endpoint("hold", 1));
    let mut server = Server::start(&config);
    let client = Client::new(&server.url(), "hold");
    // The second attempt of a task is recorded before it runs, so that its crash is sure to be seen.
    let task = client.submit("1").await;
    upstream.wait_for_calls(1);
    server.kill();
    server.restart();
    upstream.wait_for_calls(2);
    server.kill();
    server.restart();
    server.wait_for_log("that the task was recovered", |line| line.contains("recovered") && line.contains(&task));
    upstream.let_go(3);
    assert_eq!(client.until_finished(&task).await, "completed");

    let demo = Server::start(
        "[log]\nformat = \"json\"\nprogress_interval = \"1ms\"\n[endpoints.denoise]\ntype = \"demo\"\ndemo = \"denoise\"\n",
    );
    let denoise = Client::new(&demo.url(), "denoise");
    let wav = ekiben::demo::sample::noisy_wav(&ekiben::demo::sample::SampleOptions::default());
    let task = denoise.submit(wav).await;
    assert_eq!(denoise.until_finished(&task).await, "completed");
    demo.wait_for_log("that the task completed", |line| line.contains("completed") && line.contains(&task));
    let life = life_of(&demo, &task);
    let progress = life.iter().find(|line| line["message"] == "progressed").expect("the demo reports progress");
    assert!(progress["progress"].is_number(), "{progress}");
}

#[test]
fn readme_tells_every_event() {
    let told = table_keys("## The log");
    let events = [
        "submitted",
        "started",
        "progressed",
        "completed",
        "failed",
        "canceled",
        "put_back",
        "retrying",
        "cancel_requested",
        "retried",
        "recovered",
        "expired",
    ];
    for event in events {
        assert!(told.contains(event), "README does not tell of the event {event}");
    }
}

/// The words in back quotes in the first cells of the tables of a section of README.
fn table_keys(section: &str) -> BTreeSet<&'static str> {
    let (_, rest) = README.split_once(section).expect("README has the section");
    let section = rest.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[tokio::test]
async fn the_metrics_are_those_told_in_readme_and_no_others() {
    let server = Server::start("[endpoints.noop]\ntype = \"noop\"\n");
    let client = Client::new(&server.url(), "noop");
    let task = client.submit("1").await;
    client.until_finished(&task).await;
    client.get(&task).await;

    let text = page(&server.url(), "/metrics").await;
    let mut kinds = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            kinds.insert(name, kind);
        }
    }
    let shown: BTreeSet<&str> = kinds.keys().copied().collect();
    assert_eq!(shown, table_keys("## Metrics"));
    for (name, kind) in &kinds {
        assert!(
            text.lines().any(|line| line.starts_with(name) && !line.starts_with('#')),
            "{name}, a {kind}, has no sample"
        );
    }
    for sample in [
        r#"ekiben_tasks{endpoint="noop",state="completed"} 1"#,
        r#"ekiben_tasks_submitted_total{endpoint="noop"} 1"#,
        r#"ekiben_tasks_finished_total{endpoint="noop",outcome="completed",code=""} 1"#,
        r#"ekiben_slots_free{endpoint="noop"} 1"#,
        r#"ekiben_task_run_seconds_count{endpoint="noop"} 1"#,
    ] {
        assert!(text.lines().any(|line| line == sample || line == format!("{sample}.0")), "{sample} is not in\n{text}");
    }
    assert!(!text.contains(&task), "a task id is a label");
}
