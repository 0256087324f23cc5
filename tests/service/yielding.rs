//! An upstream that has no room, or is away: its endpoint slows down, and no task fails for it.

use std::net::{SocketAddr, TcpListener};

use actix_web::rt::System;
use actix_web::{App, HttpResponse, HttpServer, web};

use crate::client::{Client, id_in};
use crate::harness::Server;
use crate::upstream::Upstream;

#[tokio::test]
async fn an_upstream_without_room_for_all_at_once_slows_its_endpoint_down_and_fails_nobody() {
    const TASKS: usize = 200;
    let upstream = Upstream::start();
    let server = Server::start(&upstream.crowded_endpoint("crowded", 32));
    let client = Client::new(&server.url(), "crowded");
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        tasks.push(client.submit("rice").await);
    }
    for task in &tasks {
        assert_eq!(client.until_finished(task).await, "completed");
    }
    let refusals = upstream.refusals();
    assert!(refusals > 0, "the upstream was never full, so nothing was shown");
    // Without slowing down, 30 of 32 would be refused again and again.
    assert!(refusals < TASKS * 3, "{refusals} refusals for {TASKS} tasks");
    server.wait_for_log("that it slows down", |line| line.contains("the endpoint slows down"));
}

#[tokio::test]
async fn tasks_of_an_upstream_that_is_away_wait_and_run_when_it_comes() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "[endpoints.away]\ntype = \"http\"\nurl = \"http://{address}/\"\nhealth = \"http://{address}/\"\nconcurrency = 8\n"
    );
    let server = Server::start(&config);
    let client = Client::new(&server.url(), "away");
    let mut tasks = Vec::new();
    for _ in 0..20 {
        tasks.push(client.submit("rice").await);
    }
    server.wait_for_log("that one was put back", |line| line.contains("put_back") && line.contains("unreachable"));
    come_at(address);
    for task in &tasks {
        assert_eq!(client.until_finished(task).await, "completed");
    }
    let again = id_in(client.retry(&tasks[0]).await).await.unwrap();
    assert_eq!(client.until_finished(&again).await, "completed");
}

/// Starts an upstream there, which serves until the tests end.
fn come_at(address: SocketAddr) {
    std::thread::spawn(move || {
        System::new().block_on(async move {
            let app = || App::new().default_service(web::to(async || HttpResponse::Ok().body("here now")));
            let server = HttpServer::new(app).workers(1).disable_signals();
            server.bind(address).expect("nobody took the port").run().await
        })
    });
}
