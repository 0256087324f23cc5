//! The commands for tasks: what they print, for people and for programs, and their exit codes.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Server, ekiben};

const CONFIG: &str = r#"
[endpoints.echo]
type = "noop"

[endpoints.language]
type = "demo"
demo = "detect_language"
"#;

/// What a command came to: its exit code, stdout and stderr.
struct Said(i32, String, String);

/// Runs a command with words that are parted by spaces, each `{}` being the id.
fn say(server: &Server, line: &str, id: &str) -> Said {
    let words: Vec<String> = line.split(' ').map(|word| word.replace("{}", id)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = ekiben(server.folder(), &words);
    let output = command.env("EKIBEN_SERVER", server.url()).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said(output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_task_is_submitted_found_waited_for_and_fetched() {
    let server = Server::start(CONFIG);
    fs::write(server.folder().join("hello.txt"), "hello").unwrap();
    let Said(code, printed, told) = say(&server, "submit echo hello.txt --tag project=rice --priority high --wait", "");
    assert_eq!((code, told.as_str()), (0, ""));
    let id = printed.strip_suffix('\n').unwrap();
    assert_eq!(id.len(), 32, "the id and nothing else");

    let Said(code, output, _) = say(&server, "get {}", id);
    assert_eq!((code, output.as_str()), (0, "hello"), "the output and nothing else");
    assert_eq!(say(&server, "get {} -o out.txt", id).0, 0);
    assert_eq!(fs::read_to_string(server.folder().join("out.txt")).unwrap(), "hello");

    let Said(_, status, _) = say(&server, "status {}", id);
    for part in [id, "echo", "completed", "project=rice", "5 bytes"] {
        assert!(status.contains(part), "{part} in {status}");
    }
    let Said(_, status, _) = say(&server, "status {} --json", id);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["id"], &status["priority"]), (&id.into(), &2.into()));

    assert_eq!(say(&server, "list --endpoint echo --tag project=rice --ids", "").1, printed);
    assert_eq!(say(&server, "list --tag project=wheat --ids", "").1, "");
    let Said(_, table, _) = say(&server, "list --state completed --since 1h", "");
    assert!(table.starts_with("TASK ") && table.contains(id) && !table.contains('\x1b'), "{table}");
    assert_eq!(say(&server, "wait {}", id).1, format!("{id} completed\n"));
    assert_eq!(say(&server, "cancel {}", id).1, format!("{id} already_finished\n"));

    let Said(_, again, _) = say(&server, "retry {}", id);
    assert_ne!(again, printed);
    assert_eq!(say(&server, "wait {}", again.trim()).0, 0);
    let Said(code, endpoints, _) = say(&server, "endpoints", "");
    assert!(code == 0 && endpoints.contains("language"), "{endpoints}");
}

#[test]
fn exit_codes_tell_failed_canceled_unfinished_and_away_apart() {
    let server = Server::start(CONFIG);
    let Said(code, id, told) = say(&server, "submit language --data 3 --wait", "");
    assert_eq!(code, 1, "a failed task");
    assert!(told.contains("failed (bad_input)"), "{told}");
    assert_eq!(say(&server, "wait {}", id.trim()).0, 1);
    assert_eq!(say(&server, "get {}", id.trim()).0, 1);

    let later = say(&server, "submit language --data {\"text\":\"a\"} --delay 1h", "").1;
    let later = later.trim();
    assert_eq!(say(&server, "get {}", later).0, 4, "one that has not finished");
    assert_eq!(say(&server, "wait {} --timeout 100ms", later).0, 4);
    assert_eq!(say(&server, "cancel {}", later).1, format!("{later} canceled\n"));
    assert_eq!(say(&server, "wait {}", later).0, 3, "a canceled one");

    assert_eq!(say(&server, "submit language --data {", "").0, 2);
    assert_eq!(say(&server, "status 17", "").0, 2);
    let Said(code, _, told) = say(&server, "submit nobody --data 1", "");
    assert!(code == 1 && told.contains("ekiben endpoints"), "{told}");
    let Said(code, _, told) = say(&server, "status {} --server http://127.0.0.1:1", later);
    assert!(code == 5 && told.contains("Is ekiben running"), "{told}");
    let Said(code, _, told) = say(&server, "status {} --json", &"0".repeat(32));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["code"]), (1, &"task_not_found".into()));
}

#[test]
fn completions_and_manual_pages_are_made_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let output = ekiben(folder.path(), words).output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        for part in ["retry-failed", "fairness-key", "sample-wav", "watch"] {
            assert!(script.contains(part), "{part} for {shell}");
        }
    }
    assert!(run(&["man"]).contains(".TH ekiben 1"));
    run(&["man", "--folder", "man1"]);
    for page in ["ekiben", "ekiben-run", "ekiben-submit", "ekiben-serve"] {
        let text = fs::read_to_string(folder.path().join(format!("man1/{page}.1"))).unwrap();
        assert!(text.contains("Examples"), "{page}");
    }
}
