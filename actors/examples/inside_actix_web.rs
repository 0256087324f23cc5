//! The queue inside an actix-web application of one's own: `POST /shout` takes a JSON string and answers a task's
//! id at once, `GET /shout/{id}` answers how it stands and, at the end, what came of it.
//!
//! `inside_actix_web [ADDRESS] [FOLDER]`; by default `127.0.0.1:3030` and a temporary folder.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, Data, Path};
use actix_web::{App, HttpResponse, HttpServer, get, post};
use ekiben_actors::prelude::*;

#[post("/shout")]
async fn submit(system: Data<System>, body: Bytes) -> HttpResponse {
    match system.submit("shout", Input::new("application/json", body)).await {
        Ok(task) => HttpResponse::Accepted().body(task.id.to_string()),
        Err(refusal) => HttpResponse::ServiceUnavailable().body(refusal.to_string()),
    }
}

#[get("/shout/{id}")]
async fn fetch(system: Data<System>, id: Path<String>) -> HttpResponse {
    let Ok(task) = id.parse() else { return HttpResponse::NotFound().finish() };
    let endpoint = EndpointName::new("shout").expect("the name is a good one");
    match system.registry.send(Fetch { task, endpoint }).await {
        Ok(Ok(Some((_, Some(output))))) => HttpResponse::Ok().body(output.body.read().unwrap_or_default()),
        Ok(Ok(Some((task, None)))) => HttpResponse::Accepted().body(task.state.as_str()),
        Ok(Ok(None)) => HttpResponse::NotFound().finish(),
        Ok(Err(_)) | Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3030".to_owned());
    let folder = arguments.next().map_or_else(|| std::env::temp_dir().join("ekiben-example"), PathBuf::from);

    let store = EmbeddedStore::open(&folder, EmbeddedOptions::default())?;
    let shout = Handler::json(|text: String| async move { Ok::<_, Infallible>(text.to_uppercase()) });
    let system = System::builder(Arc::new(store)).endpoint("shout", Endpoint::new(shout))?.start().await?;

    let state = Data::new(system.clone());
    let server = HttpServer::new(move || App::new().app_data(state.clone()).service(submit).service(fetch));
    let server = server.workers(2).bind(address)?;
    println!("listening on {}", server.addrs()[0]);
    server.run().await?;

    system.drain(Duration::from_secs(10)).await;
    Ok(system.stop().await?)
}
