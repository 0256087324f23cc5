//! The quick starts of the README, run as they stand there: their files written, their commands given to a shell.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::program::Program;
use crate::venv::{Clients, Venv};

const README: &str = include_str!("../../README.md");

/// Most of it goes into starting Python.
const PATIENCE: Duration = Duration::from_secs(180);

/// What stands under a heading of the README, in code blocks.
struct QuickStart {
    /// Each named by the comment it begins with.
    files: Vec<(String, String)>,
    commands: String,
    /// The last comment of the commands, up to where it is cut short: what should come out.
    expected: String,
}

impl QuickStart {
    fn under(heading: &str) -> Self {
        let section = README.split(&format!("\n### {heading}\n")).nth(1).expect("the README has that heading");
        let section = section.split("\n## ").next().and_then(|text| text.split("\n### ").next()).expect("text is left");
        let (mut files, mut commands) = (Vec::new(), String::new());
        for block in section.split("\n```").skip(1).step_by(2) {
            let (language, text) = block.split_once('\n').expect("a block has lines");
            if language == "sh" {
                commands = text.to_owned();
            } else {
                let name = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a file says its name");
                let name = name.split(':').next().expect("text is left");
                files.push((name.to_owned(), text.to_owned()));
            }
        }
        let last = commands.lines().last().and_then(|line| line.strip_prefix("# ")).expect("the outcome is told");
        let expected = last.split('…').next().expect("text is left").to_owned();
        Self { files, commands, expected }
    }

    /// Plays it, with free ports in place of those it names.
    fn play(&self, clients: Clients) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (ours, theirs) = (free_port(), free_port());
        let with_ports =
            |text: &str| text.replace("127.0.0.1:3000", &format!("127.0.0.1:{ours}")).replace("8000", &theirs);
        for (name, text) in &self.files {
            std::fs::write(folder.path().join(name), with_ports(text)).expect("the folder is ours");
        }
        let binary = Path::new(env!("CARGO_BIN_EXE_ekiben")).parent().expect("it lies in a folder");
        let programs = Venv::of(clients).programs();
        let path =
            format!("{}:{}:{}", binary.display(), programs.display(), std::env::var("PATH").expect("it is text"));
        // What it starts in the background ends with it.
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
        let commands = with_ports(&self.commands).replace("./clients/python", package.to_str().expect("it is text"));
        let script = format!("set -e\ntrap 'kill $(jobs -p)' EXIT\n{commands}");
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]).current_dir(folder.path()).env("PATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
        shell.env("EKIBEN__HTTP__LISTEN", format!("127.0.0.1:{ours}")).env("BENTOML_DO_NOT_TRACK", "true");
        shell.env("BENTOML_HOME", folder.path()).env("TMPDIR", folder.path());
        let mut shell = Program::start("the quick start", shell);
        let status = shell.wait_for_exit_within(PATIENCE);
        assert!(status.success(), "the quick start ended with {status}; its output is below");
        let came = shell.lines().iter().any(|line| line.starts_with(&self.expected));
        assert!(came, "no line begins with {:?}; the output is below", self.expected);
    }
}

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it listens").port().to_string()
}

#[test]
fn an_http_model_server() {
    QuickStart::under("Any HTTP model server").play(Clients::Models);
}

#[test]
fn the_native_api_by_curl() {
    QuickStart::under("The native API, by curl").play(Clients::OpenApi);
}

#[test]
fn a_bentoml_service() {
    QuickStart::under("A BentoML service").play(Clients::Current);
}

#[test]
fn python_functions() {
    QuickStart::under("Python functions").play(Clients::Models);
}

#[test]
fn an_onnx_file() {
    QuickStart::under("An ONNX file").play(Clients::Models);
}
