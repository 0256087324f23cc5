//! What a SIGKILL may cost: nothing that was acknowledged.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;

use crate::client::{Client, id_in};
use crate::harness::{Server, field};
use crate::program::PATIENCE;

const CONFIG: &str = r#"
[limits]
crash_budget = 100

[endpoints.noop]
type = "noop"
concurrency = 8
"#;

const ROUNDS: usize = 50;
const CALLERS: usize = 8;

/// How soon a store must be open again, log line to log line, with what 50 crashes left in it.
const OPEN_WITHIN: Duration = Duration::from_secs(1);

/// Numbers from a seed (Marsaglia's xorshift), so that a failed run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What a caller submitted and what it was told.
#[derive(Default)]
struct Ledger {
    acknowledged: HashSet<String>,
    /// Sent, with no answer because the process died.
    unanswered: usize,
}

async fn submit_until(stop: Arc<AtomicBool>, client: Client, ledger: Arc<Mutex<Ledger>>) {
    // One in eight is large enough to lie in a file.
    let bodies = [vec![b'1'; 40], vec![b'2'; 100_000]];
    for number in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let body = bodies[usize::from(number % 8 == 7)].clone();
        // One in two belongs to a caller, and is more or less urgent than the others.
        let submitted = async {
            let answer = match number % 4 {
                1 => client.try_submit_as(body, "ana", 9).await,
                3 => client.try_submit_as(body, &format!("caller {}", number % 5), 0).await,
                _ => client.try_submit(body).await,
            };
            id_in(answer?.error_for_status()?).await
        };
        let submitted = submitted.await;
        let mut ledger = ledger.lock().unwrap();
        match submitted {
            Ok(task) => assert!(ledger.acknowledged.insert(task), "an id was given twice"),
            Err(_) => {
                ledger.unanswered += 1;
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_in_fifty_kills_at_random_moments() {
    let seed = u64::from(std::process::id()) << 20 | 0x5bd1;
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut server = Server::start(CONFIG);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut slowest = Duration::ZERO;
    let client = Client::new(&server.url(), "noop");
    let acknowledged = || ledger.lock().unwrap().acknowledged.len();

    for _ in 0..ROUNDS {
        let before = acknowledged();
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> =
            (0..CALLERS).map(|_| tokio::spawn(submit_until(stop.clone(), client.clone(), ledger.clone()))).collect();
        // The moment is a random one, but not before the load has begun, however loaded the machine.
        let loaded = async {
            while acknowledged() < before + CALLERS {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, loaded).await.expect("the service takes tasks");
        tokio::time::sleep(Duration::from_micros(random.below(150_000))).await;
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        server.restart();
        slowest = slowest.max(opened_within(&server));
    }

    assert!(slowest < OPEN_WITHIN, "the store took {slowest:?} to open");
    let ledger = Arc::into_inner(ledger).unwrap().into_inner().unwrap();
    println!(
        "{} acknowledged, {} unanswered, opened in {slowest:?} at most",
        ledger.acknowledged.len(),
        ledger.unanswered
    );
    assert!(ledger.acknowledged.len() >= ROUNDS * CALLERS, "there was no load to speak of");
    for task in &ledger.acknowledged {
        assert_eq!(client.until_finished(task).await, "completed", "task {task}");
        let result = client.get(task).await;
        assert_eq!(result.status(), StatusCode::OK, "task {task}");
        let body = result.bytes().await.unwrap();
        assert!(body.len() == 40 || body.len() == 100_000, "task {task} came back with {} bytes", body.len());
    }
    every_task_ended_once(&mut server, &ledger).await;
}

/// By the time stamps of its own log, from the process's first line to the one that says it listens.
fn opened_within(server: &Server) -> Duration {
    let log = server.log();
    let line = log.iter().find_map(|line| field(line, "opened_in_ms")).expect("the log says how long opening took");
    Duration::from_millis(line.parse().unwrap())
}

/// Looks into the database itself: no task is unfinished, none is there twice, and none that nobody asked for.
async fn every_task_ended_once(server: &mut Server, ledger: &Ledger) {
    server.terminate();
    assert!(server.wait_for_exit().success());
    let database = server.folder().join("ekiben-data/ekiben.db");
    let database = rusqlite::Connection::open(database).unwrap();
    let mut rows = database.prepare("SELECT id, state FROM tasks").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    let mut found = HashSet::new();
    for row in rows {
        let (id, state) = row.unwrap();
        // Those that were sent but not answered are there or not, and whole if they are.
        assert_eq!(state, "completed", "task {id}");
        found.insert(id);
    }
    assert!(found.is_superset(&ledger.acknowledged));
    assert!(found.len() <= ledger.acknowledged.len() + ledger.unanswered);
}
