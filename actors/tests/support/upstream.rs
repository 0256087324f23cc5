//! A proper HTTP server as an upstream for the http executor.

use std::sync::mpsc;
use std::thread;

use actix_web::dev::ServerHandle;
use actix_web::web::{PayloadConfig, ServiceConfig};
use actix_web::{App, HttpServer};

/// A proper server on a port of its own, until it is dropped.
pub struct Upstream {
    pub url: String,
    handle: ServerHandle,
    thread: Option<thread::JoinHandle<()>>,
}

impl Upstream {
    pub fn start(routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static) -> Self {
        let (started, has_started) = mpsc::channel();
        let thread = thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || App::new().app_data(PayloadConfig::new(64 << 20)).configure(routes.clone());
                let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                started.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, handle) = has_started.recv().unwrap();
        Self { url: format!("http://{address}"), handle, thread: Some(thread) }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // The command is sent by the call; what it returns only waits for the end, and so does the thread.
        drop(self.handle.stop(false));
        self.thread.take().map(thread::JoinHandle::join);
    }
}
