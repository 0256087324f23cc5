//! The service on a folder that is there already, and what can be read of it from outside.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use ekiben_actors::clock::stopwatch;
use rustix::process::{Pid, Signal, kill_process};

use crate::fill::ENDPOINTS;
use crate::wire::Client;

const START_MAX: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(5);

/// Ended when it is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// How long it took from the start of the process to its first answer that it is ready.
    pub ready_after: Duration,
    /// Takes connections and never answers, so that what has started never ends.
    _upstream: TcpListener,
}

/// Resident memory in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    pub now: u64,
    pub most: u64,
}

impl Server {
    pub fn start(data: &Path) -> Result<Self, String> {
        let listen =
            || TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("looking for a free port: {error}"));
        let upstream = listen()?;
        let address = listen()?.local_addr().map_err(|error| error.to_string())?;
        let config = data.join("bench.toml");
        let settings = settings(upstream.local_addr().map_err(|error| error.to_string())?);
        fs::write(&config, settings).map_err(|error| format!("writing the settings: {error}"))?;
        let began = stopwatch();
        let child = Command::new(env!("CARGO_BIN_EXE_ekiben"))
            .env_clear()
            .args(["serve", "--listen", &address.to_string()])
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("starting the service: {error}"))?;
        let mut server = Self { child, address, ready_after: Duration::ZERO, _upstream: upstream };
        while !server.is_ready()? {
            if began.elapsed() > START_MAX {
                return Err(format!("the service was not ready within {START_MAX:?}"));
            }
            thread::sleep(PAUSE);
        }
        server.ready_after = began.elapsed();
        Ok(server)
    }

    fn is_ready(&mut self) -> Result<bool, String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("the service ended at its start: {status}"));
        }
        let answer = Client::connect(self.address).ok().and_then(|mut client| client.get("/readyz").ok());
        Ok(answer.is_some_and(|(status, _)| status == 200))
    }

    pub fn memory(&self) -> Result<Memory, String> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).map_err(|error| error.to_string())?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kibibytes.map(|kibibytes| kibibytes << 10).ok_or_else(|| format!("the kernel does not tell {name}"))
        };
        Ok(Memory { now: bytes("VmRSS")?, most: bytes("VmHWM")? })
    }

    /// How many tasks are in a state, by the service's own count.
    pub fn count(&self, state: &str) -> Result<u64, String> {
        let mut client = Client::connect(self.address).map_err(|error| error.to_string())?;
        let (_, body) = client.get("/v1/endpoints")?;
        let answer: serde_json::Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
        let endpoints = answer["endpoints"].as_array().ok_or("the endpoints are no list")?;
        Ok(endpoints.iter().filter_map(|endpoint| endpoint["counts"][state].as_u64()).sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What runs never ends, so there is nothing to wait for; both fail for a process that is gone already.
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn settings(upstream: SocketAddr) -> String {
    let mut settings = String::from("[limits]\nqueue = 20_000_000\nqueue_per_endpoint = 20_000_000\n");
    for name in ENDPOINTS {
        settings += &format!("[endpoints.{name}]\ntype = \"http\"\nurl = \"http://{upstream}/\"\n");
    }
    settings
}
