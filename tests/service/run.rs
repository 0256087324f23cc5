//! `ekiben run`: every line answered once, whatever is interrupted, and what it says and leaves behind.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Server, ekiben};
use crate::program::{PATIENCE, Program, poll};

const LINES: usize = 3000;

/// A whole run may take so long on a machine that does much else.
const LONG: Duration = Duration::from_secs(240);

/// Long enough a text that telling its language takes a moment, so that there is something to interrupt.
const TEXTS: [(&str, &str); 3] = [
    ("deu", "Der schnelle braune Fuchs springt über den faulen Hund, und niemand weiß genau, warum er das tut. "),
    ("fra", "Le petit prince regardait les étoiles et se demandait pourquoi les grandes personnes sont si sérieuses. "),
    ("eng", "The traveller orders the meal ahead and picks it up at the station before the train goes on again. "),
];

fn input(lines: usize) -> String {
    (0..lines).fold(String::new(), |mut text, line| {
        let (_, words) = TEXTS[line % TEXTS.len()];
        let _ = writeln!(text, r#"{{"custom_id": "text-{line}", "input": {{"text": "{words}"}}}}"#);
        text
    })
}

fn run(server: &Server, arguments: &[&str]) -> Command {
    let mut command = ekiben(server.folder(), &["run"]);
    command.args(arguments).env("EKIBEN_SERVER", server.url());
    command
}

fn output(mut command: Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().expect("it was not killed"), String::from_utf8(stderr).unwrap())
}

fn results(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?} is no result"))).collect()
}

fn wait_for_results(run: &mut Program, path: &Path, at_least: usize) {
    let there = poll(PATIENCE * 4, || {
        let lines = fs::read(path).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        assert!(!run.has_ended(), "it ended with {lines} results");
        (lines >= at_least).then_some(())
    });
    there.unwrap_or_else(|| panic!("there are no {at_least} results"));
}

/// How many tasks were ever recorded: none is deleted within the time a test takes.
fn recorded(server: &Server) -> i64 {
    let database = rusqlite::Connection::open(server.folder().join("ekiben-data/ekiben.db")).unwrap();
    database.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0)).unwrap()
}

#[test]
fn every_line_is_answered_once_though_the_client_is_interrupted_and_the_service_killed() {
    // What ran when the service was killed runs again as soon as its lease is over.
    let mut server = Server::start("store.lease = \"2s\"");
    fs::write(server.folder().join("texts.jsonl"), input(LINES)).unwrap();
    let path = server.folder().join("results.jsonl");
    let arguments = [
        "detect_language",
        "--input",
        "texts.jsonl",
        "--output",
        "results.jsonl",
        "--window",
        "64",
        "--tag",
        "test=run",
    ];

    let mut first = Program::start("ekiben run", run(&server, &arguments));
    wait_for_results(&mut first, &path, 50);
    first.signal(Signal::INT);
    assert_eq!(first.wait_for_exit().code(), Some(130));
    assert!(first.lines().iter().any(|line| line.ends_with("--tag test=run")), "it says how to go on");
    let answered = results(&path).len();
    assert!((50..LINES).contains(&answered), "{answered} were answered by then");

    let mut second = Program::start("ekiben run", run(&server, &arguments));
    wait_for_results(&mut second, &path, answered + 200);
    server.kill();
    let is_away = |line: &str| line.contains("cannot be reached") || line.contains(" broke: ");
    second.wait_for_line("that the service is away", is_away);
    server.restart();
    assert!(second.wait_for_exit_within(LONG).success());

    let results = results(&path);
    assert_eq!(results.len(), LINES);
    let mut lines = HashSet::new();
    let mut tasks = HashSet::new();
    for result in &results {
        let line = usize::try_from(result["line"].as_u64().unwrap()).unwrap();
        assert!(lines.insert(line), "line {line} was answered twice");
        assert!(tasks.insert(result["task_id"].as_str().unwrap()), "a task is the answer of two lines");
        assert_eq!(result["custom_id"], format!("text-{}", line - 1));
        assert_eq!(result["state"], "completed");
        assert_eq!(result["output"]["language"], TEXTS[(line - 1) % TEXTS.len()].0, "line {line}");
    }
    assert_eq!(recorded(&server), LINES as i64, "no line was recorded as two tasks");

    let (code, told) = output(run(&server, &arguments));
    assert_eq!(code, 0);
    assert!(told.contains("all 3,000 lines have their answer already"), "{told}");
    assert_eq!(recorded(&server), LINES as i64);
}

#[test]
fn a_run_with_failures_says_where_they_are_and_runs_those_alone_again() {
    let server = Server::start_without_config();
    let mut text = input(20);
    text.push_str("\n{\"custom_id\": \"bad\", \"input\": {\"words\": 3}}\nno json\n");
    fs::write(server.folder().join("texts.jsonl"), text).unwrap();
    let arguments = ["detect_language", "-i", "texts.jsonl", "-o", "results.jsonl"];
    let (code, told) = output(run(&server, &arguments));
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("2 of 22 lines did not complete") && told.contains("lines 22, 23."), "{told}");
    assert!(told.contains("bad_input 1") && told.contains("bad_line 1"), "{told}");
    assert!(told.contains("--retry-failed"), "{told}");
    let bad = |results: &[Value]| results.iter().find(|result| result["custom_id"] == "bad").cloned().unwrap();
    let first = bad(&results(&server.folder().join("results.jsonl")));
    assert_eq!(
        (&first["line"], &first["state"], &first["failure"]["code"]),
        (&22.into(), &"failed".into(), &"bad_input".into())
    );

    let (code, _) = output(run(&server, &[&arguments[..], &["--retry-failed"]].concat()));
    assert_eq!(code, 1);
    let results = results(&server.folder().join("results.jsonl"));
    assert_eq!(results.len(), 22);
    assert_ne!(bad(&results)["task_id"], first["task_id"], "it was run again");
    assert_eq!(recorded(&server), 22, "20 that completed, and one that failed twice; what is no JSON was never sent");
}

#[test]
fn what_would_lose_or_mix_results_is_refused() {
    let server = Server::start_without_config();
    let folder = server.folder();
    fs::write(folder.join("texts.jsonl"), input(3)).unwrap();
    fs::write(folder.join("mine.jsonl"), "my own notes\n").unwrap();
    let (code, told) = output(run(&server, &["detect_language", "-i", "texts.jsonl", "-o", "mine.jsonl"]));
    assert!(code == 2 && told.contains("--fresh"), "{code}: {told}");
    assert_eq!(fs::read_to_string(folder.join("mine.jsonl")).unwrap(), "my own notes\n");

    let arguments = ["detect_language", "-i", "texts.jsonl", "-o", "results.jsonl"];
    assert_eq!(output(run(&server, &arguments)).0, 0);
    let (code, told) = output(run(&server, &["denoise", "-i", "texts.jsonl", "-o", "results.jsonl"]));
    assert!(code == 2 && told.contains("of a run on the endpoint detect_language"), "{code}: {told}");
    fs::write(folder.join("texts.jsonl"), input(4).replace("text-0", "text-9")).unwrap();
    let (code, told) = output(run(&server, &arguments));
    assert!(code == 1 && told.contains("is not what it was"), "{code}: {told}");
    // Lines that were added are those of the same run.
    fs::write(folder.join("texts.jsonl"), input(4)).unwrap();
    assert_eq!(output(run(&server, &arguments)).0, 0);
    assert_eq!(results(&folder.join("results.jsonl")).len(), 4);
    let (code, told) = output(run(&server, &["nobody", "-i", "texts.jsonl", "-o", "other.jsonl"]));
    assert!(code == 1 && told.contains("no endpoint \"nobody\""), "{code}: {told}");
}

#[test]
fn a_service_that_stays_away_ends_the_run_which_goes_on_later() {
    let mut server = Server::start("store.lease = \"2s\"");
    fs::write(server.folder().join("texts.jsonl"), input(LINES)).unwrap();
    let path = server.folder().join("results.jsonl");
    let arguments = ["detect_language", "-i", "texts.jsonl", "-o", "results.jsonl", "--patience", "1s"];
    let mut first = Program::start("ekiben run", run(&server, &arguments));
    wait_for_results(&mut first, &path, 1);
    let (code, told) = output(run(&server, &arguments));
    assert!(code == 1 && told.contains("another `ekiben run` works on"), "{code}: {told}");
    server.kill();
    assert_eq!(first.wait_for_exit().code(), Some(5));
    let (code, told) = output(run(&server, &arguments));
    assert!(code == 5 && told.contains("Is ekiben running there?"), "{code}: {told}");
    server.restart();
    let (code, told) = output(run(&server, &arguments[..5]));
    assert_eq!(code, 0, "{told}");
    assert_eq!(results(&path).len(), LINES);
    assert_eq!(recorded(&server), LINES as i64);
}

#[test]
fn a_folder_of_files_gives_a_folder_of_outputs() {
    let server = Server::start_without_config();
    let folder = server.folder();
    fs::create_dir_all(folder.join("recordings/more")).unwrap();
    for name in ["a.wav", "more/b.wav"] {
        assert!(ekiben(&folder.join("recordings"), &["sample-wav", name]).status().unwrap().success());
    }
    fs::write(folder.join("recordings/.hidden"), "x").unwrap();
    fs::write(folder.join("recordings/notes.txt"), "no recording").unwrap();
    let arguments = ["denoise", "--input", "recordings", "--output", "clean"];
    let (code, told) = output(run(&server, &arguments));
    assert!(code == 1 && told.contains("1 of 3 files did not complete"), "{code}: {told}");
    for name in ["clean/a.wav", "clean/more/b.wav"] {
        assert!(fs::read(folder.join(name)).unwrap().starts_with(b"RIFF"), "{name} is a recording");
    }
    let results = results(&folder.join("clean/.ekiben-run/results.jsonl"));
    let failed = results.iter().find(|result| result["state"] != "completed").unwrap();
    assert_eq!(failed["file"], "notes.txt");
}
