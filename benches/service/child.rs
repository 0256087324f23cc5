//! The processes of a run: the echo, the service in its own temporary folder, the load. Whoever starts one ends it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use ekiben_actors::clock::stopwatch;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::echo;
use crate::load::{Measured, Order};
use crate::machine;
use crate::wire::Client;

const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// A process that listens, ended when this is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Removed after the process has ended.
    folder: Option<TempDir>,
}

impl Server {
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// A file beside the service's data.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.as_ref().expect("the service has a folder").path().join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let asked = kill_process(Pid::from_child(&self.child), Signal::TERM).is_ok();
        let began = stopwatch();
        while asked && began.elapsed() < STOP_MAX {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(PAUSE),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        eprintln!("process {} did not stop when asked, so it is killed", self.child.id());
        let _ = self.child.kill(); // It fails for a process that has just ended, which is what we want.
        let _ = self.child.wait();
    }
}

/// Starts the echo, with as many workers as the service has by default.
pub fn start_echo() -> Result<Server, String> {
    let mut child = ourselves()
        .args(["--echo", &machine::cores().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("starting the echo: {error}"))?;
    let mut line = String::new();
    let output = child.stdout.take().expect("it is piped");
    let read = BufReader::new(output).read_line(&mut line);
    let address = read.ok().and_then(|_| line.trim().parse().ok());
    // Made before the question mark, so that the process is ended in either case.
    let mut server = Server { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), folder: None };
    server.address = address.ok_or_else(|| format!("the echo did not say where it listens: {line:?}"))?;
    Ok(server)
}

/// Starts the service on a folder of its own and waits until it is ready. What it logs goes nowhere.
pub fn start_service(log_level: &str, stuck: &Server) -> Result<Server, String> {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| format!("making a folder: {error}"))?;
    let address = free_address().map_err(|error| format!("looking for a free port: {error}"))?;
    let config = folder.path().join("ekiben.toml");
    fs::write(&config, settings(log_level, stuck)).map_err(|error| format!("writing the settings: {error}"))?;
    let program = env!("CARGO_BIN_EXE_ekiben");
    let check = Command::new(program).env_clear().arg("check").arg("--config").arg(&config).output();
    let check = check.map_err(|error| format!("checking the settings: {error}"))?;
    if !check.status.success() {
        return Err(format!("the settings are refused: {}", String::from_utf8_lossy(&check.stderr)));
    }
    // Nothing but the file says how it is set.
    let child = Command::new(program)
        .env_clear()
        .arg("serve")
        .arg("--config")
        .arg(&config)
        .args(["--listen", &address.to_string()])
        .arg("--data")
        .arg(folder.path().join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("starting the service: {error}"))?;
    let mut server = Server { child, address, folder: Some(folder) };
    wait_until_ready(&mut server)?;
    Ok(server)
}

/// One endpoint that answers at once and one whose tasks never end; all else by default, but for room to hold
/// what a run leaves behind.
fn settings(log_level: &str, stuck: &Server) -> String {
    format!(
        r#"
        [http]
        shutdown_grace = "1s"

        [limits]
        queue = 20_000_000
        queue_per_endpoint = 20_000_000

        [log]
        level = "{log_level}"

        [endpoints.noop]
        type = "noop"
        concurrency = 256

        [endpoints.stuck]
        type = "http"
        url = "http://{}{}"
        concurrency = 1
        "#,
        stuck.address,
        echo::NEVER,
    )
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

fn wait_until_ready(server: &mut Server) -> Result<(), String> {
    let began = stopwatch();
    while began.elapsed() < START_MAX {
        if let Ok(Some(status)) = server.child.try_wait() {
            return Err(format!("the service ended at its start: {status}"));
        }
        let ready = Client::connect(server.address).ok().and_then(|mut client| client.get("/readyz").ok());
        if ready.is_some_and(|(status, _)| status == 200) {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    Err(format!("the service was not ready within {START_MAX:?}"))
}

/// Carries out an order in a process of its own.
pub fn run_load(order: &Order) -> Result<Measured, String> {
    let order = serde_json::to_string(order).expect("an order is JSON");
    let load = ourselves()
        .args(["--load", &order])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("starting the load: {error}"))?;
    if !load.status.success() {
        return Err(format!("the load ended with {}; it had to carry out {order}", load.status));
    }
    serde_json::from_slice(&load.stdout).map_err(|error| format!("reading what the load measured: {error}"))
}

fn ourselves() -> Command {
    Command::new(std::env::current_exe().expect("a running program has a file"))
}
