//! Tasks as those see them who follow them: the events of their lives, live and read back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ekiben_actors::clock::SystemClock;
use ekiben_actors::endpoint::Endpoint;
use ekiben_actors::events::{Event, EventId, Happening};
use ekiben_actors::executor::Attempt;
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::follower::Follower;
use ekiben_actors::limits::Limits;
use ekiben_actors::registry::{Attempts, Live, Logs};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};
use ekiben_actors::supervisor::{Cancel, CancelAnswer, Foresee};
use ekiben_actors::system::System;
use ekiben_actors::task::{Failure, FailureCode, Input, Level, Outcome, Output, Task};
use tokio::sync::Semaphore;

/// Longer than anything here takes on the slowest machine; only a broken promise waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reports, and waits to be let go; its first attempts find nobody, as many as it is told.
#[derive(Clone)]
struct Reporter {
    open: Arc<Semaphore>,
    put_backs: Arc<AtomicU32>,
}

impl Reporter {
    fn new(put_backs: u32) -> Self {
        Self { open: Arc::new(Semaphore::new(0)), put_backs: Arc::new(AtomicU32::new(put_backs)) }
    }

    fn endpoint(&self) -> Endpoint {
        let reporter = self.clone();
        Endpoint::new(Handler::new(move |attempt: Attempt| {
            let reporter = reporter.clone();
            async move {
                attempt.report.worker("bench 7");
                attempt.report.log(Level::Info, &format!("attempt {}", attempt.number));
                let left =
                    reporter.put_backs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if left.is_ok() {
                    let failure = Failure::new(FailureCode::Unreachable, "nobody there");
                    return Outcome::PutBack { failure, retry_after: None };
                }
                attempt.report.progress(0.5);
                attempt.report.counter("tokens", 3.0);
                reporter.open.acquire().await.unwrap().forget();
                attempt.report.progress(1.0);
                Outcome::Done(Output::new("text/plain", "done"))
            }
        }))
    }

    async fn system(&self) -> System {
        let store = Arc::new(MemoryStore::new(MemoryOptions::new(Arc::new(SystemClock))));
        let limits = Limits { progress_interval: Duration::from_millis(1), ..Limits::default() };
        let builder = System::builder(store).limits(limits).endpoint("work", self.endpoint()).unwrap();
        builder.start().await.unwrap()
    }
}

async fn submit(system: &System) -> Task {
    system.submit("work", Input::json(&"x").unwrap()).await.unwrap()
}

async fn follow(system: &System, task: &Task, after: Option<EventId>) -> Follower {
    system.follow(task.id, after).await.unwrap().expect("the task is known")
}

/// The events until one that fits, itself among them; or until there are no more.
async fn until(follower: &mut Follower, fits: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut all = Vec::new();
    let following = async {
        while let Some(events) = follower.next().await.unwrap() {
            all.extend(events);
            if all.iter().any(&fits) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, following).await.expect("the event comes in time");
    all
}

async fn to_the_end(follower: &mut Follower) -> Vec<Event> {
    let all = until(follower, |event| event.what.is_last()).await;
    assert_eq!(follower.next().await.unwrap(), None, "nothing comes after the end");
    all
}

/// Names of events, less those of what was told in between.
fn durable(events: &[Event]) -> Vec<String> {
    let kept = events.iter().filter(|event| !matches!(event.what, Happening::Progress(_) | Happening::Log(_)));
    kept.map(|event| format!("{} {}", event.id, event.what.name())).collect()
}

fn is_half_way(event: &Event) -> bool {
    matches!(&event.what, Happening::Progress(progress) if progress.fraction == Some(0.5) && !progress.counters.is_empty())
}

#[actix::test]
async fn a_follower_hears_of_every_step_as_it_happens() {
    let reporter = Reporter::new(0);
    let system = reporter.system().await;
    let task = submit(&system).await;
    let mut follower = follow(&system, &task, None).await;
    let begun = until(&mut follower, is_half_way).await;
    assert_eq!(durable(&begun), ["0.0 submitted", "1.0 started"]);
    let lines = begun.iter().filter_map(|event| match &event.what {
        Happening::Log(line) => Some(line.message.as_str()),
        _ => None,
    });
    assert_eq!(lines.collect::<Vec<_>>(), ["attempt 1"]);

    reporter.open.add_permits(1);
    let rest = to_the_end(&mut follower).await;
    assert_eq!(durable(&rest), ["1.999999999 completed"]);
    assert!(rest.iter().all(|event| event.id > begun.last().unwrap().id), "{rest:?}");
    // The last that was told comes before the end, however short the time between.
    let last_told = rest.iter().rev().find_map(|event| match &event.what {
        Happening::Progress(progress) => progress.fraction,
        _ => None,
    });
    assert_eq!(last_told, Some(1.0));
}

#[actix::test]
async fn whoever_comes_back_or_late_misses_nothing_that_is_on_record() {
    let reporter = Reporter::new(2);
    let system = reporter.system().await;
    let task = submit(&system).await;
    let mut first = follow(&system, &task, None).await;
    let begun = until(&mut first, is_half_way).await;
    drop(first);
    reporter.open.add_permits(1);
    system.wait(&task).await.unwrap().unwrap();

    let all = to_the_end(&mut follow(&system, &task, None).await).await;
    let expected = [
        "0.0 submitted",
        "1.0 started",
        "1.999999999 put_back",
        "2.0 started",
        "2.999999999 put_back",
        "3.0 started",
        "3.999999999 completed",
    ];
    assert_eq!(durable(&all), expected);
    for (index, event) in expected.iter().enumerate() {
        let id = event.split_once(' ').unwrap().0.parse().unwrap();
        let rest = to_the_end(&mut follow(&system, &task, Some(id)).await).await;
        assert_eq!(durable(&rest), expected[index + 1..], "after {event}");
    }
    let resumed = to_the_end(&mut follow(&system, &task, begun.last().map(|event| event.id)).await).await;
    let both = [durable(&begun), durable(&resumed)].concat();
    assert_eq!(both, expected);
    assert!(system.follow(ekiben_actors::task::TaskId::generate(), None).await.unwrap().is_none());
}

#[actix::test]
async fn a_canceled_task_ends_for_its_followers_and_a_drain_sends_them_away() {
    let reporter = Reporter::new(0);
    let system = reporter.system().await;
    let running = submit(&system).await;
    let mut with_the_running = follow(&system, &running, None).await;
    until(&mut with_the_running, is_half_way).await;
    let waiting = submit(&system).await;
    let mut with_the_waiting = follow(&system, &waiting, None).await;
    let prospect = system.supervisor.send(Foresee { task: waiting.id }).await.unwrap().unwrap();
    assert_eq!((prospect.position, prospect.estimate().start), (1, None));
    let runs = system.supervisor.send(Foresee { task: running.id }).await.unwrap().unwrap();
    assert_eq!(runs.position, 0);

    let cancel = Cancel { task: waiting.id, endpoint: waiting.endpoint.clone(), force: false };
    assert_eq!(system.supervisor.send(cancel).await.unwrap().unwrap(), CancelAnswer::Canceled);
    let told = to_the_end(&mut with_the_waiting).await;
    assert_eq!(durable(&told), ["0.0 submitted", "0.1000000000 canceled"]);

    let drained = system.drain(PATIENCE);
    reporter.open.add_permits(1);
    drained.await;
    let rest = to_the_end(&mut with_the_running).await;
    assert_eq!(durable(&rest), ["1.999999999 completed"]);
    // What ended is told after the drain, too; there is no more to wait for.
    assert_eq!(durable(&to_the_end(&mut follow(&system, &running, None).await).await).len(), 3);
}

#[actix::test]
async fn what_an_attempt_told_is_at_hand_while_it_runs_and_on_record_afterwards() {
    let reporter = Reporter::new(1);
    let system = reporter.system().await;
    let task = submit(&system).await;
    until(&mut follow(&system, &task, None).await, is_half_way).await;
    let live = system.registry.send(Live { task: task.id }).await.unwrap().unwrap();
    assert_eq!((live.attempt, live.report.latest().unwrap().fraction), (2, Some(0.5)));
    let log = system.registry.send(Logs { task: task.id }).await.unwrap().unwrap();
    let messages: Vec<&str> = log.tail.lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!((log.attempt, messages), (2, vec!["attempt 2"]));

    reporter.open.add_permits(1);
    system.wait(&task).await.unwrap().unwrap();
    assert_eq!(system.registry.send(Logs { task: task.id }).await.unwrap().unwrap(), log);
    let attempts = system.registry.send(Attempts { task: task.id }).await.unwrap().unwrap();
    let told = attempts.iter().map(|attempt| (attempt.worker.as_deref(), attempt.log.as_deref().unwrap_or_default()));
    for (index, (worker, log)) in told.enumerate() {
        assert_eq!(worker, Some("bench 7"), "{attempts:?}");
        assert!(log.trim_end().ends_with(&format!(" info attempt {}", index + 1)), "{attempts:?}");
    }
    assert_eq!(attempts.len(), 2);
}
