//! What is special to the store in a folder: its files, its lock, what a restart finds, how it shares a commit.
//!
//! What it has in common with every store is in the conformance suite.

#![cfg(feature = "embedded")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ekiben_actors::body::Body;
use ekiben_actors::clock::{Clock, ManualClock};
use ekiben_actors::lifecycle::{Retention, Verdict};
use ekiben_actors::spool::BlobName;
use ekiben_actors::store::embedded::{EmbeddedOptions, EmbeddedStore, OpenError};
use ekiben_actors::store::{
    Claimed, Enqueued, Lease, Ledger, ListQuery, Novelty, Place, Queue, ReclaimPolicy, Resubmit, Resubmitted, Run,
    Settled, Settlement, StartDurability, Started, Store, StoreError, Wanted,
};
use ekiben_actors::task::{EndpointName, Failure, FailureCode, Input, NewTask, Output, RunNotes, State, Task, TaskId};
use futures::future::join_all;
use rusqlite::Connection;
use tempfile::TempDir;

const KEEP: Duration = Duration::from_secs(60);

struct Bench {
    folder: TempDir,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::new()) }
    }

    fn options(&self) -> EmbeddedOptions {
        EmbeddedOptions::new(self.clock.clone())
    }

    fn open(&self) -> EmbeddedStore {
        EmbeddedStore::open(self.folder.path(), self.options()).unwrap()
    }

    /// Small bodies go to files too.
    fn open_with_files(&self) -> EmbeddedStore {
        EmbeddedStore::open(self.folder.path(), EmbeddedOptions { inline_max: 10, ..self.options() }).unwrap()
    }

    fn database(&self) -> Connection {
        Connection::open(self.folder.path().join("ekiben.db")).unwrap()
    }

    fn blobs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("blobs")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn endpoint() -> EndpointName {
    EndpointName::new("summarize").unwrap()
}

fn new_task() -> NewTask {
    NewTask::new(endpoint(), Input::new("text/plain", "in"))
}

async fn enqueue(store: &EmbeddedStore, task: NewTask, place: Place) -> Enqueued {
    store.enqueue(vec![(task, place)]).await.unwrap().remove(0)
}

async fn enqueue_here(store: &EmbeddedStore) -> Lease {
    enqueue(store, new_task(), Place::Here).await.lease.unwrap()
}

async fn claim(store: &EmbeddedStore, max: usize) -> Vec<Claimed> {
    store.claim(vec![Wanted { endpoint: endpoint(), max }]).await.unwrap().tasks
}

fn run_of(bench: &Bench) -> Run {
    Run { attempt: 1, started_at: bench.clock.now() }
}

fn done(lease: Lease) -> Settlement {
    let output = Output::new("text/plain", "out");
    Settlement { lease, run: None, verdict: Verdict::Completed(output), keep: KEEP, notes: RunNotes::default() }
}

fn policy() -> ReclaimPolicy {
    ReclaimPolicy { crash_budget: 3, retention: Arc::new(Retention::default()) }
}

async fn get(store: &EmbeddedStore, task: TaskId) -> Task {
    store.get(task).await.unwrap().unwrap()
}

async fn count(store: &EmbeddedStore, state: State) -> u64 {
    let counts = store.counts().await.unwrap();
    counts.iter().filter(|count| count.state == state).map(|count| count.tasks).sum()
}

/// A body that lies in a file of the store.
async fn spooled(store: &EmbeddedStore, name: BlobName, bytes: &[u8]) -> Body {
    let mut spool = store.blobs().spool(name, 1 << 20);
    spool.write(bytes).await.unwrap();
    spool.finish().await.unwrap()
}

async fn enqueue_file(store: &EmbeddedStore, bytes: &[u8]) -> Lease {
    let mut task = new_task();
    task.input.body = spooled(store, BlobName::Input(task.id), bytes).await;
    enqueue(store, task, Place::Here).await.lease.unwrap()
}

// Opening

#[test]
fn a_second_opener_is_told_who_has_the_folder() {
    let bench = Bench::new();
    let first = bench.open();
    let refused = EmbeddedStore::open(bench.folder.path(), bench.options()).err().unwrap();
    assert!(matches!(refused, OpenError::InUse { .. }));
    let message = refused.to_string();
    for part in [format!("process {}", std::process::id()), bench.folder.path().display().to_string()] {
        assert!(message.contains(&part), "{message}");
    }
    drop(first);
    bench.open();
}

#[tokio::test]
async fn a_closed_store_leaves_its_folder_to_the_next_and_refuses_everything() {
    let bench = Bench::new();
    let closed = bench.open();
    let lease = enqueue_here(&closed).await;
    closed.close().await.unwrap();
    let next = bench.open();

    assert_eq!(closed.close().await, Err(StoreError::Closed));
    assert_eq!(closed.get(lease.task).await, Err(StoreError::Closed));
    assert_eq!(closed.counts().await, Err(StoreError::Closed));
    assert_eq!(closed.settle(done(lease)).await, Err(StoreError::Closed));
    assert_eq!(closed.enqueue(vec![(new_task(), Place::Here)]).await.err(), Some(StoreError::Closed));
    assert_eq!(get(&next, lease.task).await.state, State::Pending);
    let wish = Resubmit { of: lease.task, endpoint: endpoint(), id: TaskId::generate(), place: Place::Here };
    assert_eq!(closed.resubmit(wish).await.err(), Some(StoreError::Closed));
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let bench = Bench::new();
    let path = bench.folder.path().join("ekiben.db");
    let notes = "these are my notes, and they are long enough to be taken for a header of a database. ".repeat(200);
    std::fs::write(&path, &notes).unwrap();

    let refused = EmbeddedStore::open(bench.folder.path(), bench.options()).err().unwrap();
    assert!(refused.to_string().contains("ekiben.db is not a database of Ekiben"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), notes);
}

#[test]
fn a_database_of_somebody_else_is_refused_and_left_as_it_is() {
    let bench = Bench::new();
    bench.database().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = std::fs::read(bench.folder.path().join("ekiben.db")).unwrap();

    let refused = EmbeddedStore::open(bench.folder.path(), bench.options()).err().unwrap();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
    assert_eq!(std::fs::read(bench.folder.path().join("ekiben.db")).unwrap(), before);
}

#[test]
fn a_database_from_a_newer_version_is_refused() {
    let bench = Bench::new();
    drop(bench.open());
    bench.database().execute_batch("PRAGMA user_version = 99").unwrap();
    let refused = EmbeddedStore::open(bench.folder.path(), bench.options()).err().unwrap();
    assert!(refused.to_string().contains("newer Ekiben (version 99 of its tables"), "{refused}");
}

#[test]
fn a_damaged_database_is_refused_with_its_path() {
    let bench = Bench::new();
    drop(bench.open());
    let path = bench.folder.path().join("ekiben.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100..4000].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let refused = EmbeddedStore::open(bench.folder.path(), bench.options()).err().unwrap();
    assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
}

// After a restart

#[tokio::test]
async fn what_was_answered_is_there_after_the_process_is_gone() {
    let bench = Bench::new();
    let store = bench.open();
    let mut task = new_task();
    task.idempotency_key = Some("k".to_owned());
    let first = enqueue(&store, task.clone(), Place::Here).await;
    let finished = enqueue_here(&store).await;
    store.settle(done(finished)).await.unwrap();
    drop(store);

    let store = bench.open();
    assert_eq!(get(&store, first.task.id).await, first.task);
    assert_eq!(store.input(first.task.id).await.unwrap().unwrap().body.read().unwrap(), "in");
    let output = store.output(finished.task).await.unwrap().unwrap();
    assert_eq!((output.status, output.headers.content_type()), (200, Some("text/plain")));
    assert_eq!((count(&store, State::Pending).await, count(&store, State::Completed).await), (1, 1));
    let again = enqueue(&store, NewTask { id: TaskId::generate(), ..task }, Place::Here).await;
    assert_eq!((again.novelty, again.task.id), (Novelty::Replay, first.task.id));
}

#[tokio::test]
async fn what_an_earlier_process_held_is_reclaimed_at_once_and_its_reports_are_refused() {
    let bench = Bench::new();
    let store = bench.open();
    let waited = enqueue_here(&store).await;
    let ran = enqueue_here(&store).await;
    store.start(ran, run_of(&bench), StartDurability::Durable).await.unwrap();
    drop(store);

    let store = bench.open();
    assert_eq!(store.settle(done(ran)).await.unwrap(), Settled::FenceLost);
    let own = enqueue_here(&store).await;
    let reclaims = store.reclaim(10, policy()).await.unwrap();
    assert_eq!((reclaims.waiting, reclaims.crashed.len()), (1, 1));
    assert_eq!((reclaims.crashed[0].id, reclaims.crashed[0].crashes), (ran.task, 1));
    assert!(store.reclaim(10, policy()).await.unwrap().is_empty());

    let claimed: Vec<Lease> = claim(&store, 10).await.iter().map(|claimed| claimed.lease).collect();
    assert_eq!(claimed, [Lease { fence: 2, ..waited }, Lease { fence: 2, ..ran }]);
    assert!(matches!(store.settle(done(own)).await.unwrap(), Settled::Recorded(_)));
}

#[tokio::test]
async fn reclaiming_is_bounded_by_what_was_asked() {
    let bench = Bench::new();
    let store = bench.open();
    for _ in 0..5 {
        enqueue_here(&store).await;
    }
    drop(store);
    let store = bench.open();
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push(store.reclaim(2, policy()).await.unwrap().waiting);
    }
    assert_eq!(steps, [2, 2, 1, 0]);
}

// Lazy starts

#[tokio::test]
async fn a_lazy_start_is_seen_by_every_question_once_it_is_answered() {
    let bench = Bench::new();
    let store = bench.open();
    let lease = enqueue_here(&store).await;
    let waiting = enqueue_here(&store).await;
    assert_eq!(store.start(lease, run_of(&bench), StartDurability::Lazy).await.unwrap(), Started::Recorded);

    let task = get(&store, lease.task).await;
    assert_eq!((task.state, task.attempt, task.started_at), (State::InProgress, 1, Some(bench.clock.now())));
    for (state, expected) in [(State::InProgress, lease.task), (State::Pending, waiting.task)] {
        let query = ListQuery { endpoint: Some(endpoint()), states: vec![state], ..ListQuery::newest(10) };
        let ids: Vec<TaskId> = store.list(query).await.unwrap().tasks.iter().map(|task| task.id).collect();
        assert_eq!(ids, [expected], "{state}");
        assert_eq!(count(&store, state).await, 1);
    }
    let stale = Lease { fence: 7, ..lease };
    assert_eq!(store.start(stale, run_of(&bench), StartDurability::Lazy).await.unwrap(), Started::FenceLost);
}

#[tokio::test]
async fn a_lazy_start_is_written_in_the_end_or_by_the_settlement() {
    let bench = Bench::new();
    let store = bench.open();
    let running = enqueue_here(&store).await;
    let settled = enqueue_here(&store).await;
    for lease in [running, settled] {
        store.start(lease, run_of(&bench), StartDurability::Lazy).await.unwrap();
    }
    let recorded = store.settle(done(settled)).await.unwrap();
    let Settled::Recorded(task) = recorded else { panic!("the lease was held") };
    assert_eq!((task.attempt, task.started_at), (1, Some(bench.clock.now())));
    drop(store);

    let store = bench.open();
    assert_eq!(get(&store, settled.task).await, task);
    assert_eq!(get(&store, running.task).await.state, State::InProgress);
    assert_eq!((count(&store, State::InProgress).await, count(&store, State::Completed).await), (1, 1));
    assert_eq!(store.reclaim(10, policy()).await.unwrap().crashed.len(), 1);
}

// Groups

#[tokio::test]
async fn a_refused_call_does_not_undo_its_neighbours() {
    let bench = Bench::new();
    let store = bench.open();
    let taken = new_task();
    enqueue(&store, taken.clone(), Place::Here).await;
    let lost = Lease { task: taken.id, fence: 9 };
    let good: Vec<NewTask> = (0..50).map(|_| new_task()).collect();

    let calls = good.iter().map(|task| {
        let twice = vec![(new_task(), Place::Here), (taken.clone(), Place::Here)];
        let (good, used, stale) =
            (store.enqueue(vec![(task.clone(), Place::Here)]), store.enqueue(twice), store.settle(done(lost)));
        async move { (good.await, used.await, stale.await) }
    });
    for (good, used, stale) in join_all(calls).await {
        assert!(good.is_ok());
        assert!(matches!(used, Err(StoreError::Failed(_))));
        assert_eq!(stale, Ok(Settled::FenceLost));
    }
    assert_eq!(count(&store, State::Pending).await, 51);
    drop(store);
    let stored: i64 = bench.database().query_row("SELECT count(*) FROM task", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, 51);
}

#[tokio::test]
async fn one_key_is_one_task_however_many_ask_at_once() {
    let bench = Bench::new();
    let store = bench.open();
    let calls = (0..50).map(|_| {
        let task = NewTask { idempotency_key: Some("k".to_owned()), ..new_task() };
        store.enqueue(vec![(task, Place::Queue)])
    });
    let answers: Vec<Enqueued> = join_all(calls).await.into_iter().map(|answer| answer.unwrap().remove(0)).collect();
    assert_eq!(answers.iter().filter(|answer| answer.novelty == Novelty::New).count(), 1);
    assert!(answers.iter().all(|answer| answer.task.id == answers[0].task.id));
    assert_eq!(count(&store, State::Pending).await, 1);
}

#[tokio::test]
async fn a_full_store_says_so_keeps_what_it_had_and_works_again_when_there_is_room() {
    let bench = Bench::new();
    let options = EmbeddedOptions { size_max: Some(1 << 20), ..bench.options() };
    let store = EmbeddedStore::open(bench.folder.path(), options).unwrap();
    let large = || NewTask::new(EndpointName::new("large").unwrap(), Input::new("text/plain", vec![7; 50_000]));
    let mut recorded = Vec::new();
    let refusal = loop {
        let task = large();
        match store.enqueue(vec![(task.clone(), Place::Here)]).await {
            Ok(enqueued) => recorded.push(enqueued[0].lease.unwrap()),
            Err(refusal) => {
                assert_eq!(store.get(task.id).await, Ok(None));
                break refusal;
            }
        }
    };
    assert!(matches!(refusal, StoreError::Full(_)), "{refusal}");
    assert_eq!(count(&store, State::Pending).await, recorded.len() as u64);

    for lease in &recorded {
        store.settle(Settlement { verdict: Verdict::Canceled(None), ..done(*lease) }).await.unwrap();
    }
    bench.clock.advance(KEEP);
    assert_eq!(store.prune(100).await.unwrap().len(), recorded.len());
    assert!(enqueue(&store, large(), Place::Here).await.lease.is_some());
    assert_eq!(count(&store, State::Pending).await, 1);
}

#[tokio::test]
async fn an_endpoint_that_was_first_seen_in_a_failed_group_works_in_the_next() {
    let bench = Bench::new();
    let options = EmbeddedOptions { size_max: Some(1 << 20), ..bench.options() };
    let store = EmbeddedStore::open(bench.folder.path(), options).unwrap();
    let name = EndpointName::new("late").unwrap();
    let too_large = NewTask::new(name.clone(), Input::new("text/plain", vec![7; 2 << 20]));
    assert!(matches!(store.enqueue(vec![(too_large, Place::Here)]).await, Err(StoreError::Full(_))));

    let other = enqueue(&store, new_task(), Place::Here).await.task;
    let late = enqueue(&store, NewTask::new(name, Input::default()), Place::Here).await.task;
    drop(store);
    let store = bench.open();
    assert_eq!((get(&store, other.id).await, get(&store, late.id).await), (other, late));
}

// Bodies in files

#[tokio::test]
async fn a_large_body_lies_in_its_file_until_its_task_is_pruned() {
    let bench = Bench::new();
    let store = bench.open_with_files();
    let lease = enqueue_file(&store, b"a body of more than ten bytes").await;
    let body = spooled(&store, BlobName::Output(lease.task, lease.fence), b"an output of more than ten").await;
    let output = Output::new("text/plain", body);
    store.settle(Settlement { verdict: Verdict::Completed(output), ..done(lease) }).await.unwrap();
    drop(store);

    let store = bench.open_with_files();
    let input = store.input(lease.task).await.unwrap().unwrap();
    assert_eq!(input.body.read().unwrap(), "a body of more than ten bytes");
    let output = store.output(lease.task).await.unwrap().unwrap();
    assert_eq!(output.body.read().unwrap(), "an output of more than ten");
    assert_eq!(bench.blobs().len(), 2);

    bench.clock.advance(KEEP);
    store.prune(10).await.unwrap();
    assert!(bench.blobs().is_empty());
    assert_eq!(output.body.read().unwrap(), "an output of more than ten");
}

#[tokio::test]
async fn a_file_whose_task_was_not_recorded_is_deleted() {
    let bench = Bench::new();
    let store = bench.open_with_files();
    let lease = enqueue_file(&store, b"a body of more than ten bytes").await;
    let stale = Lease { fence: 5, ..lease };
    let body = spooled(&store, BlobName::Output(stale.task, stale.fence), b"an output of more than ten").await;
    let report = Settlement { verdict: Verdict::Completed(Output::new("text/plain", body)), ..done(stale) };
    assert_eq!(store.settle(report).await.unwrap(), Settled::FenceLost);
    assert_eq!(bench.blobs(), [BlobName::Input(lease.task).file_name()]);
}

#[tokio::test]
async fn a_file_of_a_group_that_failed_is_deleted() {
    let bench = Bench::new();
    let options = EmbeddedOptions { inline_max: 10, size_max: Some(1 << 20), ..bench.options() };
    let store = EmbeddedStore::open(bench.folder.path(), options).unwrap();
    let mut task = new_task();
    task.input.body = spooled(&store, BlobName::Input(task.id), b"a body of more than ten bytes").await;
    let too_large = NewTask::new(endpoint(), Input::new("text/plain", vec![7; 2 << 20]));
    let refused = store.enqueue(vec![(task, Place::Here), (too_large, Place::Here)]).await;
    assert!(matches!(refused, Err(StoreError::Full(_))));
    assert!(bench.blobs().is_empty());
}

#[tokio::test]
async fn orphans_are_swept_after_opening_and_nothing_else_is() {
    let bench = Bench::new();
    let store = bench.open_with_files();
    let lease = enqueue_file(&store, b"a body of more than ten bytes").await;
    drop(store);
    let folder = bench.folder.path().join("blobs");
    let orphans = [BlobName::Input(TaskId::generate()), BlobName::Output(lease.task, 1)];
    for name in orphans {
        std::fs::write(folder.join(name.file_name()), "orphan").unwrap();
    }
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();

    let store = bench.open_with_files();
    let fresh = TaskId::generate();
    let mut spool = store.blobs().spool(BlobName::Input(fresh), 1 << 20);
    spool.write(b"a body that no row knows of yet").await.unwrap();
    let fresh_body = spool.finish().await.unwrap();
    // The sweep is in steps, between which this makes the housekeeper come by.
    while orphans.iter().any(|orphan| folder.join(orphan.file_name()).exists()) {
        let wish = Resubmit { of: fresh, endpoint: endpoint(), id: TaskId::generate(), place: Place::Queue };
        assert!(matches!(store.resubmit(wish).await.unwrap(), Resubmitted::Unknown));
    }
    let mut expected = vec![BlobName::Input(lease.task).file_name(), BlobName::Input(fresh).file_name()];
    expected.push("notes.txt".to_owned());
    expected.sort();
    assert_eq!(bench.blobs(), expected);
    drop(fresh_body);
}

#[tokio::test]
async fn a_resubmitted_input_in_a_file_outlives_the_first_task() {
    let bench = Bench::new();
    let store = bench.open_with_files();
    let lease = enqueue_file(&store, b"a body of more than ten bytes").await;
    let wish = Resubmit { of: lease.task, endpoint: endpoint(), id: TaskId::generate(), place: Place::Here };
    assert!(matches!(store.resubmit(wish.clone()).await.unwrap(), Resubmitted::Unfinished(State::Pending)));
    assert_eq!(bench.blobs().len(), 1);

    store.settle(done(lease)).await.unwrap();
    let Resubmitted::Enqueued(again) = store.resubmit(wish.clone()).await.unwrap() else { panic!("it had finished") };
    assert_eq!((again.task.id, again.lease.unwrap().fence), (wish.id, 1));
    assert!(store.resubmit(wish.clone()).await.is_err(), "an id is used once");

    bench.clock.advance(KEEP);
    store.prune(10).await.unwrap();
    assert_eq!(bench.blobs(), [BlobName::Input(wish.id).file_name()]);
    let input = store.input(wish.id).await.unwrap().unwrap();
    assert_eq!(input.body.read().unwrap(), "a body of more than ten bytes");
    assert_eq!(input.headers.content_type(), Some("text/plain"));
}

// The file

#[tokio::test]
async fn the_file_does_not_grow_over_cycles_of_filling_and_pruning() {
    let bench = Bench::new();
    let store = bench.open();
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let tasks = (0..500).map(|_| (new_task(), Place::Here)).collect();
        let enqueued = store.enqueue(tasks).await.unwrap();
        join_all(enqueued.iter().map(|task| store.settle(done(task.lease.unwrap())))).await;
        bench.clock.advance(KEEP);
        while !store.prune(100).await.unwrap().is_empty() {}
        let pages = bench.database().query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).unwrap();
        sizes.push(pages);
    }
    assert!(store.counts().await.unwrap().is_empty());
    assert!(sizes[5] <= sizes[1], "pages after each cycle: {sizes:?}");
}

#[tokio::test]
async fn the_tasks_can_be_read_by_people_with_a_tool_of_their_own() {
    let bench = Bench::new();
    let store = bench.open();
    let lease = enqueue_here(&store).await;
    bench.clock.advance(Duration::from_millis(1500));
    let failure = Failure::new(FailureCode::Timeout, "took too long");
    let run = Some(Run { attempt: 2, started_at: bench.clock.now() });
    let settlement = Settlement { run, verdict: Verdict::Failed(failure, None), ..done(lease) };
    store.settle(settlement).await.unwrap();

    let columns = "id, endpoint, state, submitted_at, finished_at, failure_code, failure_message, idempotency_key";
    let seen: Vec<Option<String>> = bench
        .database()
        .query_row(&format!("SELECT {columns} FROM tasks"), [], |row| (0..8).map(|column| row.get(column)).collect())
        .unwrap();
    let id = lease.task.to_string();
    let expected = [
        Some(id.as_str()),
        Some("summarize"),
        Some("failed"),
        Some("2025-06-15T15:06:40.000000Z"),
        Some("2025-06-15T15:06:41.500000Z"),
        Some("timeout"),
        Some("took too long"),
        None,
    ];
    assert_eq!(seen.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    let numbers = bench
        .database()
        .query_row("SELECT attempt, input_bytes FROM tasks", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(numbers, (2, 2));
}

#[test]
fn every_statement_is_served_by_an_index() {
    let bench = Bench::new();
    drop(bench.open());
    let database = bench.database();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/embedded");
    // Few rows by nature: one an endpoint, and one in all.
    let small = ["all_endpoints.sql", "all_tallies.sql", "close_node.sql", "open_node.sql"];
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        if !name.ends_with(".sql") || small.contains(&name.as_str()) {
            continue;
        }
        let sql = std::fs::read_to_string(entry.path()).unwrap();
        let mut explained = database.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = explained.parameter_count();
        let plan = explained.query_map(rusqlite::params_from_iter(vec![1; parameters]), |row| row.get(3)).unwrap();
        for step in plan.map(|step: rusqlite::Result<String>| step.unwrap()) {
            // A page of all tasks walks the ids; the few unfinished are read through and sorted.
            let whole_table = step.starts_with("SCAN") && !step.contains("INDEX");
            let sorted = step.contains("TEMP B-TREE") && name != "page_of_unfinished.sql";
            assert!(!whole_table && !sorted, "{name}: {step}");
        }
    }
}

#[tokio::test]
async fn what_is_not_due_does_not_stand_before_what_is() {
    let bench = Bench::new();
    let store = bench.open();
    let urgent_later = NewTask { priority: ekiben_actors::task::Priority(0), delay: KEEP, ..new_task() };
    let now = NewTask { priority: ekiben_actors::task::Priority(200), ..new_task() };
    enqueue(&store, urgent_later.clone(), Place::Here).await;
    enqueue(&store, now.clone(), Place::Queue).await;

    let claims = store.claim(vec![Wanted { endpoint: endpoint(), max: 5 }]).await.unwrap();
    assert_eq!(claims.tasks.iter().map(|claimed| claimed.task.id).collect::<Vec<_>>(), [now.id]);
    assert_eq!(claims.next_due, Some(bench.clock.now() + KEEP));
    bench.clock.advance(KEEP);
    assert_eq!(claim(&store, 5).await[0].task.id, urgent_later.id);
}
