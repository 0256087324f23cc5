//! The yardstick: a bare actix-web application that parses a JSON body and writes it back.

use std::future::pending;
use std::io::Read;
use std::thread;

use actix_web::{App, HttpResponse, HttpServer, rt, web};
use serde::{Deserialize, Serialize};

/// A path that takes a request and never answers it, for an endpoint whose tasks never end.
pub const NEVER: &str = "/never";

#[derive(Serialize, Deserialize)]
struct Body {
    text: String,
    tokens: u32,
}

async fn echo(body: web::Json<Body>) -> web::Json<Body> {
    body
}

async fn never() -> HttpResponse {
    pending().await
}

/// Serves on a free port, which it prints, until its standard input closes: it must not outlive its starter.
pub fn main(workers: usize) -> std::io::Result<()> {
    let application = || App::new().route("/", web::post().to(echo)).route(NEVER, web::post().to(never));
    rt::System::new().block_on(async move {
        let server = HttpServer::new(application).workers(workers).shutdown_timeout(0).bind(("127.0.0.1", 0))?;
        println!("{}", server.addrs()[0]);
        thread::spawn(|| {
            let _ = std::io::stdin().read(&mut [0]); // An error means the same as the end: nobody is there.
            std::process::exit(0);
        });
        server.run().await
    })
}
