//! A real upstream for endpoints of `type = "http"`: an actix-web server on a free port, which holds requests until
//! the test lets them go, and remembers how often it was called.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer, web};
use tokio::sync::Semaphore;

use crate::program::{PATIENCE, poll};

pub struct Upstream {
    url: String,
    state: Data<State>,
    handle: ServerHandle,
}

struct State {
    gate: Semaphore,
    calls: AtomicUsize,
    /// Room at `/crowded`.
    room: Semaphore,
    refusals: AtomicUsize,
    /// How many more calls of `/failing` will fail.
    failures: AtomicUsize,
}

impl Upstream {
    pub fn start() -> Self {
        let state = Data::new(State {
            gate: Semaphore::new(0),
            calls: AtomicUsize::new(0),
            room: Semaphore::new(2),
            refusals: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
        });
        let (tell, told) = mpsc::channel();
        let served = state.clone();
        std::thread::spawn(move || {
            System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(served.clone())
                        .app_data(web::PayloadConfig::new(1 << 30))
                        .route("/hold", web::post().to(hold))
                        .route("/large", web::post().to(large))
                        .route("/crowded", web::post().to(crowded))
                        .route("/failing", web::post().to(failing))
                });
                let server = server.workers(1).disable_signals().bind("127.0.0.1:0").expect("a port is free");
                let address = server.addrs()[0];
                let server = server.run();
                tell.send((address, server.handle())).expect("the test waits");
                server.await.expect("the upstream serves to its end");
            });
        });
        let (address, handle) = told.recv_timeout(PATIENCE).expect("the upstream starts");
        Self { url: format!("http://{address}"), state, handle }
    }

    /// An endpoint of that name whose tasks are held here until [`Upstream::let_go`].
    pub fn holding_endpoint(&self, name: &str, concurrency: usize) -> String {
        format!("[endpoints.{name}]\ntype = \"http\"\nurl = \"{}/hold\"\nconcurrency = {concurrency}\n", self.url)
    }

    /// An endpoint of that name whose answers have as many bytes as the body says in digits.
    pub fn large_endpoint(&self, name: &str) -> String {
        format!("[endpoints.{name}]\ntype = \"http\"\nurl = \"{}/large\"\n", self.url)
    }

    /// An endpoint of that name whose upstream has room for two at a time, and answers a third with 429.
    pub fn crowded_endpoint(&self, name: &str, concurrency: usize) -> String {
        format!("[endpoints.{name}]\ntype = \"http\"\nurl = \"{}/crowded\"\nconcurrency = {concurrency}\n", self.url)
    }

    /// An endpoint of that name whose upstream answers 500 as often as it is told to.
    pub fn failing_endpoint(&self, name: &str, concurrency: usize) -> String {
        format!("[endpoints.{name}]\ntype = \"http\"\nurl = \"{}/failing\"\nconcurrency = {concurrency}\n", self.url)
    }

    /// So many of the next calls fail.
    pub fn fail(&self, calls: usize) {
        self.state.failures.store(calls, Ordering::SeqCst);
    }

    /// How often there was no room at `/crowded`.
    pub fn refusals(&self) -> usize {
        self.state.refusals.load(Ordering::SeqCst)
    }

    /// Lets so many held requests go, now or when they come.
    pub fn let_go(&self, requests: usize) {
        self.state.gate.add_permits(requests);
    }

    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    pub fn wait_for_calls(&self, calls: usize) {
        let came = poll(PATIENCE, || (self.calls() >= calls).then_some(()));
        assert!(came.is_some(), "{} calls after {PATIENCE:?}, not {calls}", self.calls());
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.state.gate.close();
        // Not awaited: the thread ends with the process at the latest.
        drop(self.handle.stop(false));
    }
}

async fn hold(state: Data<State>, body: Bytes) -> HttpResponse {
    state.calls.fetch_add(1, Ordering::SeqCst);
    match state.gate.acquire().await {
        Ok(pass) => pass.forget(),
        Err(_closed) => return HttpResponse::ServiceUnavailable().finish(),
    }
    HttpResponse::Ok().content_type("application/json").body(body)
}

async fn large(body: String) -> HttpResponse {
    const CHUNK: usize = 64 * 1024;
    let mut left: usize = body.trim().parse().expect("the test sends digits");
    let chunks = std::iter::from_fn(move || {
        let now = left.min(CHUNK);
        left -= now;
        (now > 0).then(|| Ok::<_, actix_web::Error>(Bytes::from(vec![b'x'; now])))
    });
    HttpResponse::Ok().content_type("text/plain").streaming(futures::stream::iter(chunks))
}

async fn crowded(state: Data<State>, body: Bytes) -> HttpResponse {
    state.calls.fetch_add(1, Ordering::SeqCst);
    let Ok(_place) = state.room.try_acquire() else {
        state.refusals.fetch_add(1, Ordering::SeqCst);
        return HttpResponse::TooManyRequests().finish();
    };
    actix_web::rt::time::sleep(Duration::from_millis(10)).await;
    HttpResponse::Ok().content_type("application/octet-stream").body(body)
}

async fn failing(state: Data<State>, body: Bytes) -> HttpResponse {
    state.calls.fetch_add(1, Ordering::SeqCst);
    let one_less = |left: usize| left.checked_sub(1);
    match state.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
        Ok(_) => HttpResponse::InternalServerError().body("no rice left"),
        Err(_none_left) => HttpResponse::Ok().content_type("application/octet-stream").body(body),
    }
}
