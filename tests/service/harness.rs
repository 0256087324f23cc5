//! The service under test: the real binary, on a free port, in a folder of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::program::{PATIENCE, Program, poll};

const CONFIG: &str = "ekiben.toml";
const ANY_PORT: &str = "127.0.0.1:0";

/// A running service that has said it is ready.
///
/// Its data and its config lie in a folder that is removed with it. See [`Program`] for how it ends and what its
/// verbs promise.
pub struct Server {
    program: Program,
    address: SocketAddr,
    /// Where it runs and keeps its data.
    folder: PathBuf,
    /// Flags of `serve`, beside those of the harness.
    flags: Vec<String>,
    /// Declared after `program`, so that the folder goes when the process is gone; `None` where it is the test's.
    _home: Option<TempDir>,
}

impl Server {
    /// Starts with the text of a config file. The listening address is the harness's; say nothing of it.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        let home = new_folder();
        std::fs::write(home.path().join(CONFIG), config).expect("the folder is ours");
        Self::start_with(home.path().to_owned(), Some(home), &[])
    }

    /// Starts as a newcomer does: with no config file at all.
    #[track_caller]
    pub fn start_without_config() -> Self {
        Self::start_with_flags(&[])
    }

    /// Starts with no config file but with these flags.
    #[track_caller]
    pub fn start_with_flags(flags: &[&str]) -> Self {
        let home = new_folder();
        Self::start_with(home.path().to_owned(), Some(home), flags)
    }

    /// Starts in a folder that is the test's own and outlives the server.
    #[track_caller]
    pub fn start_in(folder: &Path, config: &str) -> Self {
        std::fs::write(folder.join(CONFIG), config).expect("the folder can be written to");
        Self::start_with(folder.to_owned(), None, &[])
    }

    #[track_caller]
    fn start_with(folder: PathBuf, home: Option<TempDir>, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let (program, address) = start(&folder, ANY_PORT, &flags);
        Self { program, address, folder, flags, _home: home }
    }

    /// Starts anew on the same folder and address, with the config as it stands there. The old process has ended.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.program.has_ended(), "a server that still runs cannot be restarted");
        (self.program, self.address) = start(&self.folder, &self.address.to_string(), &self.flags);
    }

    /// `http://` and the address, with nothing after it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// The log since it was last started.
    pub fn log(&self) -> Vec<String> {
        self.program.lines()
    }

    #[track_caller]
    pub fn wait_for_log(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        self.program.wait_for_line(what, fits)
    }

    /// Ends it with SIGKILL; it is gone when this returns.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&mut self) {
        self.program.terminate();
    }

    pub fn signal(&mut self, signal: Signal) {
        self.program.signal(signal);
    }

    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        self.program.wait_for_exit()
    }
}

/// The binary, to be run in a folder with an environment that says nothing to it.
pub fn ekiben(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ekiben"));
    command.env_clear().env("RUST_BACKTRACE", "1").args(arguments).current_dir(folder);
    command
}

#[track_caller]
fn start(folder: &Path, listen: &str, flags: &[String]) -> (Program, SocketAddr) {
    let mut arguments = vec!["serve", "--listen", listen];
    arguments.extend(flags.iter().map(String::as_str));
    if folder.join(CONFIG).exists() {
        arguments.extend(["--config", CONFIG]);
    }
    let mut program = Program::start("ekiben", ekiben(folder, &arguments));
    let line = program.wait_for_line("the address it listens on", |line| field(line, "address").is_some());
    let address = field(&line, "address").expect("the line has it");
    let address = address.parse().unwrap_or_else(|_| panic!("{address} in the log is not an address"));
    wait_until_ready(&mut program, address);
    (program, address)
}

#[track_caller]
fn wait_until_ready(program: &mut Program, address: SocketAddr) {
    let mut last = String::new();
    let ready = poll(PATIENCE, || {
        assert!(!program.has_ended(), "the service ended before it was ready; its last answer was {last:?}");
        last = ask_whether_ready(address).unwrap_or_else(|error| error.to_string());
        last.starts_with("HTTP/1.1 200 ").then_some(())
    });
    assert!(ready.is_some(), "the service is not ready after {PATIENCE:?}; its last answer was {last:?}");
}

/// Asks by hand, so that the harness needs no runtime.
pub fn ask_whether_ready(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: ekiben\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The value of a field of a log line, whether it is text or JSON.
pub fn field(line: &str, name: &str) -> Option<String> {
    if let Ok(line) = serde_json::from_str::<serde_json::Value>(line) {
        let value = line.get(name)?;
        return Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map(|(value, _)| value.to_owned()),
        None => rest.split_whitespace().next().map(str::to_owned),
    }
}

fn new_folder() -> TempDir {
    tempfile::Builder::new().prefix("ekiben-service-").tempdir().expect("a temporary folder can be made")
}
