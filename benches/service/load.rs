//! The process that makes the load: it is given an order, carries it out, and answers what it measured.
//!
//! Order and answer are JSON, the one an argument, the other a line on standard output. It measures one workload
//! once; rounds, medians and ratios are its starter's.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use ekiben_actors::clock::stopwatch;
use serde::{Deserialize, Serialize};

use crate::generator::{Generator, Script, Tally};
use crate::machine::cpu_seconds;
use crate::wire::{BODY, Client, ID_DIGITS, SILENCE_MAX, get, position, post};

/// What to measure.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// Posting to the path must give the posted bytes back: the echo, or a call that waits for its task.
    Mirror,
    /// Submitting tasks, and then waiting until all of them are completed.
    Tasks,
    /// Submitting tasks that nothing runs.
    Backlog,
    /// Asking how the tasks named in the order's file stand, over and over.
    Status,
}

#[derive(Serialize, Deserialize)]
pub struct Order {
    pub workload: Workload,
    pub address: SocketAddr,
    /// The process behind the address, whose processor time is measured.
    pub server: u32,
    /// Where requests go, and for tasks the endpoint's own path; not used for status.
    pub path: String,
    pub connections: usize,
    pub seconds: f64,
    /// Where the paths to ask for status are read from (status) or left (tasks and backlog), one a line.
    pub questions: Option<PathBuf>,
}

/// One measurement. Processor times are those of the timed part.
#[derive(Serialize, Deserialize)]
pub struct Measured {
    pub answers: usize,
    pub seconds: f64,
    pub p50_seconds: f64,
    pub p99_seconds: f64,
    pub server_cpu_seconds: f64,
    pub load_cpu_seconds: f64,
    /// From the first request until every task was completed.
    pub completed: Option<Completed>,
    pub refused: u64,
    pub first_refusal: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
pub struct Completed {
    pub seconds: f64,
    pub server_cpu_seconds: f64,
}

/// Carries out an order and prints what was measured.
pub fn main(order: &str) -> Result<(), String> {
    let order: Order = serde_json::from_str(order).map_err(|error| format!("reading the order: {error}"))?;
    let mut generator = Generator::connect(order.address, order.connections)
        .map_err(|error| format!("connecting to {}: {error}", order.address))?;
    let measured = match order.workload {
        Workload::Mirror => mirror(&order, &mut generator)?,
        Workload::Tasks => tasks(&order, &mut generator)?,
        Workload::Backlog => backlog(&order, &mut generator)?,
        Workload::Status => status(&order, &mut generator)?,
    };
    println!("{}", serde_json::to_string(&measured).expect("numbers and text are JSON"));
    Ok(())
}

fn mirror(order: &Order, generator: &mut Generator) -> Result<Measured, String> {
    let mut script = Mirror { until: order.until(), request: post(order.address, &order.path) };
    let watch = Watch::begin(order);
    let tally = generator.run(&mut script)?;
    Ok(watch.end(tally))
}

fn status(order: &Order, generator: &mut Generator) -> Result<Measured, String> {
    let file = order.questions.as_ref().ok_or("an order to ask for status that names no tasks")?;
    let questions = fs::read_to_string(file).map_err(|error| format!("reading which tasks to ask for: {error}"))?;
    let requests: Vec<Vec<u8>> = questions.lines().map(|path| get(order.address, path)).collect();
    let mut script = Status { until: Until::Time(order.until()), requests: requests.iter().cycle() };
    let watch = Watch::begin(order);
    let tally = generator.run(&mut script)?;
    Ok(watch.end(tally))
}

fn backlog(order: &Order, generator: &mut Generator) -> Result<Measured, String> {
    let mut script = Submit::new(order);
    let watch = Watch::begin(order);
    let tally = generator.run(&mut script)?;
    script.leave_questions(order)?;
    Ok(watch.end(tally))
}

/// Submits, waits by the service's own count until all is completed, and then asks for every task by its id.
fn tasks(order: &Order, generator: &mut Generator) -> Result<Measured, String> {
    let mut counter = CompletedCounter::connect(order)?;
    let before = counter.read()?;
    let mut script = Submit::new(order);
    let watch = Watch::begin(order);
    let tally = generator.run(&mut script)?;
    let mut measured = watch.end(tally);
    counter.wait_for(before + script.ids.len() as u64)?;
    measured.completed = Some(watch.completed());
    script.leave_questions(order)?;

    // The counter is the service's word for it; that each single task is completed is seen by its client.
    let requests: Vec<Vec<u8>> = script.questions(order).map(|path| get(order.address, &path)).collect();
    let mut check = Status { until: Until::Completed { left: requests.len() }, requests: requests.iter().cycle() };
    let checked = generator.run(&mut check)?;
    measured.refused += checked.refused;
    measured.first_refusal = measured.first_refusal.or(checked.first_refusal);
    Ok(measured)
}

impl Order {
    fn until(&self) -> Instant {
        stopwatch() + Duration::from_secs_f64(self.seconds)
    }
}

/// Measures time and processor time from its beginning.
struct Watch {
    server: String,
    began: Instant,
    server_cpu: f64,
    load_cpu: f64,
}

impl Watch {
    fn begin(order: &Order) -> Self {
        let server = order.server.to_string();
        let (server_cpu, load_cpu) = (cpu_seconds(&server), cpu_seconds("self"));
        Self { server, began: stopwatch(), server_cpu, load_cpu }
    }

    fn end(&self, mut tally: Tally) -> Measured {
        Measured {
            server_cpu_seconds: cpu_seconds(&self.server) - self.server_cpu,
            load_cpu_seconds: cpu_seconds("self") - self.load_cpu,
            answers: tally.latencies.len(),
            seconds: tally.elapsed.as_secs_f64(),
            p50_seconds: quantile(&mut tally.latencies, 0.50),
            p99_seconds: quantile(&mut tally.latencies, 0.99),
            completed: None,
            refused: tally.refused,
            first_refusal: tally.first_refusal,
        }
    }

    fn completed(&self) -> Completed {
        Completed {
            seconds: self.began.elapsed().as_secs_f64(),
            server_cpu_seconds: cpu_seconds(&self.server) - self.server_cpu,
        }
    }
}

/// The least latency, in seconds, that this part of all does not exceed.
fn quantile(latencies: &mut [u64], part: f64) -> f64 {
    if latencies.is_empty() {
        return f64::NAN;
    }
    let rank = (latencies.len() as f64 * part).ceil() as usize;
    let (_, nanos, _) = latencies.select_nth_unstable(rank.saturating_sub(1));
    *nanos as f64 / 1e9
}

/// Posts and expects the posted bytes.
struct Mirror {
    until: Instant,
    request: Vec<u8>,
}

impl Script for Mirror {
    fn next(&mut self, now: Instant) -> Option<&[u8]> {
        (now < self.until).then_some(&self.request)
    }

    fn take(&mut self, body: &[u8]) -> bool {
        body == BODY.as_bytes()
    }
}

/// Submits and keeps the ids.
struct Submit {
    until: Instant,
    request: Vec<u8>,
    ids: Vec<[u8; ID_DIGITS]>,
}

impl Submit {
    fn new(order: &Order) -> Self {
        let request = post(order.address, &format!("{}/submit", order.path));
        Self { until: order.until(), request, ids: Vec::new() }
    }

    /// The paths that answer how the tasks stand.
    fn questions(&self, order: &Order) -> impl Iterator<Item = String> {
        self.ids.iter().map(|id| format!("{}/status?task_id={}", order.path, String::from_utf8_lossy(id)))
    }

    fn leave_questions(&self, order: &Order) -> Result<(), String> {
        let Some(file) = &order.questions else { return Ok(()) };
        let lines: String = self.questions(order).map(|path| path + "\n").collect();
        fs::write(file, lines).map_err(|error| format!("leaving the tasks to ask for: {error}"))
    }
}

impl Script for Submit {
    fn next(&mut self, now: Instant) -> Option<&[u8]> {
        (now < self.until).then_some(&self.request)
    }

    fn take(&mut self, body: &[u8]) -> bool {
        const BEFORE_ID: &[u8] = b"\"task_id\":\"";
        let id = position(body, BEFORE_ID).and_then(|at| body[at + BEFORE_ID.len()..].first_chunk());
        self.ids.extend(id);
        id.is_some()
    }
}

/// When to stop asking for status.
enum Until {
    /// When it is this late; any state will do.
    Time(Instant),
    /// When so many more have been asked for; every task must be completed.
    Completed { left: usize },
}

/// Asks how one task after the other stands.
struct Status<'a> {
    until: Until,
    requests: std::iter::Cycle<std::slice::Iter<'a, Vec<u8>>>,
}

impl Script for Status<'_> {
    fn next(&mut self, now: Instant) -> Option<&[u8]> {
        match &mut self.until {
            Until::Time(until) if now >= *until => return None,
            Until::Time(_) => {}
            Until::Completed { left: 0 } => return None,
            Until::Completed { left } => *left -= 1,
        }
        self.requests.next().map(Vec::as_slice)
    }

    fn take(&mut self, body: &[u8]) -> bool {
        let expected: &[u8] = match self.until {
            Until::Time(_) => b"\"status\":\"",
            Until::Completed { .. } => b"\"status\":\"completed\"",
        };
        position(body, expected).is_some()
    }
}

/// How many tasks of the endpoint the service says it has completed.
struct CompletedCounter {
    client: Client,
    endpoint: String,
}

impl CompletedCounter {
    fn connect(order: &Order) -> Result<Self, String> {
        let client = Client::connect(order.address).map_err(|error| format!("connecting for metrics: {error}"))?;
        Ok(Self { client, endpoint: order.path.trim_start_matches('/').to_owned() })
    }

    fn read(&mut self) -> Result<u64, String> {
        let (status, text) = self.client.get("/metrics")?;
        if status != 200 {
            return Err(format!("/metrics answered {status}: {text}"));
        }
        let endpoint = format!("endpoint=\"{}\"", self.endpoint);
        let counted = text.lines().filter(|line| {
            line.starts_with("ekiben_tasks_finished_total{")
                && line.contains(&endpoint)
                && line.contains("outcome=\"completed\"")
        });
        // A family with no sample yet is one that counts zero.
        Ok(counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64)
    }

    /// Reads the counter until it has come that far: often enough to be a small part of what it times, seldom
    /// enough to be a small load.
    fn wait_for(&mut self, count: u64) -> Result<(), String> {
        const PAUSE: Duration = Duration::from_millis(2);
        let mut seen = self.read()?;
        let mut moved_at = stopwatch();
        while seen < count {
            if moved_at.elapsed() > SILENCE_MAX {
                return Err(format!("no task completed for {SILENCE_MAX:?}: {seen} of {count}"));
            }
            thread::sleep(PAUSE);
            let now = self.read()?;
            if now != seen {
                (seen, moved_at) = (now, stopwatch());
            }
        }
        Ok(())
    }
}
