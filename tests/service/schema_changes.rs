//! What a BentoML service may tell of its routes, at start and later: a stand-in that tells whatever the test says.

use std::sync::{Mutex, mpsc};

use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use actix_web::web::Data;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::client::{Client, page};
use crate::harness::{Server, ekiben, field};
use crate::program::{PATIENCE, Program};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_changes_its_routes_is_followed() {
    let stub = Stub::telling(json!([route("moves", "/here"), route("goes", "/goes")]));
    let section = stub.section("s", "prefix = \"s_\"\nrefresh = \"50ms\"");
    let server = Server::start(&format!("{section}\n[endpoints.s_clashes]\ntype = \"noop\""));
    assert_eq!(answer(&server, "s_moves").await, "/here");

    let mut moved = route("moves", "/{there}");
    moved["input"] = json!({ "properties": { "zebra": {}, "apple": {} } });
    moved["description"] = json!("It moved.");
    stub.tell(json!([moved, route("comes", "/comes"), route("clashes", "/clashes"), route("not a name", "/x")]));

    server.wait_for_log("the new route", |line| field(line, "endpoint").as_deref() == Some("s_comes"));
    warning(&server, "s_clashes", "another endpoint is called \"s_clashes\" already");
    warning(&server, "s_not a name", "cannot name an endpoint");
    warning(&server, "s_goes", "the service has this route no more");
    assert_eq!(answer(&server, "s_comes").await, "/comes");
    assert_eq!(answer(&server, "s_moves").await, "/%7Bthere%7D");
    let schema: Value = serde_json::from_str(&page(&server.url(), "/schema.json").await).unwrap();
    let moved = schema["routes"].as_array().unwrap().iter().find(|route| route["name"] == "s_moves").unwrap();
    assert_eq!(moved["input"].to_string(), r#"{"properties":{"zebra":{},"apple":{}}}"#);
    assert_eq!(moved["description"], "It moved.");

    // What it has no more is still taken; the service itself refuses it.
    let gone = Client::new(&server.url(), "s_goes");
    let task = gone.submit("{}").await;
    assert_eq!(gone.until_finished(&task).await, "failed");
    assert_eq!(gone.get(&task).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_routes_named_are_served_and_one_that_is_not_there_is_told() {
    let stub = Stub::telling(json!([route("a", "/a"), route("b", "/b")]));
    let server = Server::start(&stub.section("s", "routes = [\"b\", \"c\"]"));
    warning(&server, "c", "the service has no such route; it has a, b");
    assert_eq!(answer(&server, "b").await, "/b");
    assert_eq!(Client::new(&server.url(), "a").try_submit("{}").await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[test]
fn two_endpoints_of_one_name_are_refused_at_start_with_the_way_out() {
    let stub = Stub::telling(json!([route("a", "/a")]));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("e.toml"), stub.section("s", "") + &stub.section("t", "")).unwrap();
    let arguments = ["serve", "--config", "e.toml", "--listen", "127.0.0.1:0"];
    let mut program = Program::start("ekiben", ekiben(folder.path(), &arguments));
    assert_eq!(program.wait_for_exit().code(), Some(1));
    let log = program.lines().join("\n");
    assert!(log.contains("a route of the BentoML service \\\"t\\\"") || log.contains("service \"t\""), "{log}");
    assert!(log.contains("prefix = \"t_\"") || log.contains("prefix = \\\"t_\\\""), "{log}");
}

/// Submits and answers with the result's text.
async fn answer(server: &Server, endpoint: &str) -> String {
    let client = Client::new(&server.url(), endpoint);
    let task = client.submit("{}").await;
    assert_eq!(client.until_finished(&task).await, "completed");
    client.get(&task).await.text().await.unwrap()
}

#[track_caller]
fn warning(server: &Server, route: &str, why: &str) {
    server.wait_for_log(why, |line| {
        field(line, "route").as_deref() == Some(route) && line.replace("\\\"", "\"").contains(why)
    });
}

fn route(name: &str, path: &str) -> Value {
    json!({ "name": name, "route": path, "input": { "properties": {} }, "output": {}, "is_task": true })
}

/// A service whose routes answer their own paths, and whose other paths are not found.
struct Stub {
    url: String,
    routes: Data<Mutex<Value>>,
    handle: ServerHandle,
}

impl Stub {
    fn telling(routes: Value) -> Self {
        let routes = Data::new(Mutex::new(routes));
        let (tell, told) = mpsc::channel();
        let served = routes.clone();
        std::thread::spawn(move || {
            System::new().block_on(async move {
                let app = move || App::new().app_data(served.clone()).default_service(web::to(serve));
                let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").expect("a port");
                let address = server.addrs()[0];
                let server = server.run();
                tell.send((address, server.handle())).expect("the test waits");
                server.await.expect("it serves to its end");
            });
        });
        let (address, handle) = told.recv_timeout(PATIENCE).expect("it starts");
        Self { url: format!("http://{address}"), routes, handle }
    }

    fn tell(&self, routes: Value) {
        *self.routes.lock().unwrap() = routes;
    }

    fn section(&self, name: &str, keys: &str) -> String {
        format!("[endpoints.{name}]\ntype = \"bentoml\"\nurl = \"{}\"\n{keys}\n", self.url)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        // Not awaited: the thread ends with the process at the latest.
        drop(self.handle.stop(false));
    }
}

async fn serve(routes: Data<Mutex<Value>>, request: HttpRequest) -> HttpResponse {
    let routes = routes.lock().unwrap().clone();
    match request.path() {
        "/schema.json" => return HttpResponse::Ok().json(json!({ "name": "Stub", "routes": routes })),
        "/readyz" => return HttpResponse::Ok().finish(),
        _ => {}
    }
    let plain = |path: &str| path.replace("%7B", "{").replace("%7D", "}");
    let known = routes.as_array().expect("it is a list").iter().any(|route| route["route"] == plain(request.path()));
    match known {
        true => HttpResponse::Ok().body(request.path().to_owned()),
        false => HttpResponse::NotFound().body("Not Found"),
    }
}
