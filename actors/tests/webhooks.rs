//! Webhooks as an embedder uses them: real actors, a real receiver, stores that fail and processes that end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::web::{Bytes, Data, ServiceConfig, post};
use actix_web::{HttpRequest, HttpResponse};
use ekiben_actors::clock::{Clock, ManualClock, SystemClock};
use ekiben_actors::courier::Webhooks;
use ekiben_actors::endpoint::Endpoint;
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::store::embedded::{EmbeddedOptions, EmbeddedStore};
use ekiben_actors::store::faulty::{FaultPlan, FaultyStore};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};
use ekiben_actors::store::{Outbox, Store};
use ekiben_actors::supervisor::{Submit, SubmitError};
use ekiben_actors::system::System;
use ekiben_actors::task::{EndpointName, Input, NewTask, TaskId, TaskOptions};
use ekiben_actors::webhook::{Allowed, BadWebhook, DeliveryState, Schedule, Secret};
use tokio::sync::Semaphore;

use upstream::Upstream;

#[path = "support/upstream.rs"]
mod upstream;

/// Longer than anything here takes on the slowest machine; only a broken promise waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes messages, at once or when it is let to.
struct Receiver {
    server: Upstream,
    heard: Data<Heard>,
}

struct Heard {
    /// How often each message came.
    ids: Mutex<HashMap<String, usize>>,
    gate: Semaphore,
}

impl Receiver {
    fn start(open: bool) -> Self {
        let permits = if open { Semaphore::MAX_PERMITS } else { 0 };
        let heard = Data::new(Heard { ids: Mutex::default(), gate: Semaphore::new(permits) });
        let shared = heard.clone();
        let routes = move |config: &mut ServiceConfig| {
            config.app_data(shared.clone()).route("/hook", post().to(hear));
        };
        Self { server: Upstream::start(routes), heard }
    }

    fn url(&self) -> String {
        format!("{}/hook", self.server.url)
    }

    /// How many messages came, each as often as it did.
    fn requests(&self) -> usize {
        self.heard.ids.lock().unwrap().values().sum()
    }

    fn times(&self, task: TaskId) -> usize {
        self.heard.ids.lock().unwrap().get(&task.to_string()).copied().unwrap_or(0)
    }

    fn open(&self) {
        self.heard.gate.add_permits(1000);
    }
}

async fn hear(request: HttpRequest, _: Bytes, heard: Data<Heard>) -> HttpResponse {
    let id = request.headers().get("webhook-id").unwrap().to_str().unwrap().to_owned();
    *heard.ids.lock().unwrap().entry(id).or_default() += 1;
    let _pass = heard.gate.acquire().await.unwrap();
    HttpResponse::NoContent().finish()
}

fn webhooks() -> Webhooks {
    Webhooks {
        secrets: vec![Secret::read("whsec_bmV3IHJpY2UgbmV3IHJpY2UgbmV3IHJpY2U=").unwrap()],
        allowed: Allowed::read(["127.0.0.1"]).unwrap(),
        schedule: Schedule { first_pause: Duration::from_millis(1), ..Schedule::default() },
        ..Webhooks::default()
    }
}

async fn start(store: Arc<dyn Store>, clock: Arc<dyn Clock>, webhooks: Webhooks) -> System {
    let upper = Handler::json(|text: String| async move { Ok::<_, Infallible>(text.to_uppercase()) });
    let builder = System::builder(store).clock(clock).webhooks(webhooks);
    builder.endpoint("upper", Endpoint::new(upper).concurrency(4)).unwrap().start().await.unwrap()
}

fn hooked(url: &str) -> NewTask {
    let options = TaskOptions { webhook: Some(url.to_owned()), ..TaskOptions::default() };
    NewTask { options, ..NewTask::new(EndpointName::new("upper").unwrap(), Input::json(&"rice").unwrap()) }
}

async fn submit(system: &System, url: &str) -> Result<TaskId, SubmitError> {
    let recorded = system.supervisor.send(Submit(hooked(url))).await.unwrap();
    recorded.map(|recorded| recorded.into_task().id)
}

/// Asks again and again, with short pauses.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// The store in a folder, once whoever had it before has let go of it.
async fn embedded(folder: &Path) -> Arc<dyn Store> {
    let mut store = None;
    let open = async || {
        store = EmbeddedStore::open(folder, EmbeddedOptions::default()).ok();
        store.is_some()
    };
    until("the folder is free", open).await;
    Arc::new(store.expect("it was opened"))
}

#[actix::test]
async fn a_system_that_was_told_nothing_of_webhooks_takes_none() {
    let store = Arc::new(MemoryStore::new(MemoryOptions::new(Arc::new(SystemClock))));
    let upper = Handler::json(|text: String| async move { Ok::<_, Infallible>(text.to_uppercase()) });
    let system = System::builder(store).endpoint("upper", Endpoint::new(upper)).unwrap().start().await.unwrap();
    let refused = submit(&system, "https://example.com/hook").await;
    assert_eq!(refused, Err(SubmitError::Webhook(BadWebhook::NoSecret)));
}

#[actix::test]
async fn over_a_store_that_fails_now_and_then_every_end_is_told() {
    const TASKS: usize = 40;
    let receiver = Receiver::start(false);
    let clock = Arc::new(ManualClock::new());
    let memory = Arc::new(MemoryStore::new(MemoryOptions::new(clock.clone())));
    let faulty = Arc::new(FaultyStore::new(memory.clone(), FaultPlan { seed: 7, one_in: 4 }));
    faulty.behave();
    let system = start(faulty.clone(), clock.clone(), webhooks()).await;
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        tasks.push(submit(&system, &receiver.url()).await.unwrap());
    }
    for task in &tasks {
        until("it has ended", async || memory.delivery((*task).into()).await.unwrap().is_some()).await;
    }
    faulty.fail();
    receiver.open();
    let told = async || {
        // Some answers are lost after their effect: what was taken then is free when its lease is over.
        clock.advance(Duration::from_secs(1));
        let mut all = true;
        for task in &tasks {
            let delivery = memory.delivery((*task).into()).await.unwrap();
            all &= delivery.is_some_and(|delivery| delivery.state == DeliveryState::Delivered);
            all &= receiver.times(*task) > 0;
        }
        all
    };
    until("all ends are told", told).await;
}

#[actix::test]
async fn a_host_that_does_not_answer_holds_up_no_other() {
    let (stuck, well) = (Receiver::start(false), Receiver::start(true));
    let store = Arc::new(MemoryStore::new(MemoryOptions::new(Arc::new(SystemClock))));
    let bounds = Webhooks { concurrency: 3, concurrency_per_host: 2, timeout: PATIENCE, ..webhooks() };
    let system = start(store, Arc::new(SystemClock), bounds).await;
    for _ in 0..8 {
        submit(&system, &stuck.url()).await.unwrap();
    }
    until("two are under way", async || stuck.requests() == 2).await;
    for _ in 0..8 {
        submit(&system, &well.url()).await.unwrap();
    }
    until("the other host has heard all", async || well.requests() == 8).await;
    assert_eq!(stuck.requests(), 2);
    stuck.open();
    until("all are told", async || stuck.requests() == 8).await;
}

#[actix::test]
async fn what_a_drain_cuts_short_is_sent_again_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(false);
    let system = start(embedded(folder.path()).await, Arc::new(SystemClock), webhooks()).await;
    let task = submit(&system, &receiver.url()).await.unwrap();
    until("it is under way", async || receiver.times(task) == 1).await;
    system.drain(Duration::ZERO).await;
    system.stop().await.unwrap();
    drop(system);

    receiver.open();
    let system = start(embedded(folder.path()).await, Arc::new(SystemClock), webhooks()).await;
    until("it is delivered", async || {
        system.delivery(task.into()).await.unwrap().unwrap().state == DeliveryState::Delivered
    })
    .await;
    assert_eq!(receiver.times(task), 2);
    system.drain(Duration::ZERO).await;
    system.stop().await.unwrap();
}
