//! The page a person sees who opens the service's address: what is there.

use std::fmt::Write;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use bytes::Bytes;

use super::{Route, v1};
use crate::app::App;
use crate::config::Endpoint;
use crate::wire;

/// Names the version, the endpoints and the routes.
pub fn home(app: &App) -> HttpResponse {
    wire::plain(StatusCode::OK, page(&app.described()))
}

fn page(endpoints: &[Endpoint]) -> Bytes {
    let mut page = format!("ekiben {}\n\nendpoints\n", env!("CARGO_PKG_VERSION"));
    for endpoint in endpoints {
        let line = format!("  {:<24} {}", endpoint.name.as_str(), endpoint.description);
        page.push_str(line.trim_end());
        page.push('\n');
    }
    page.push_str("\nroutes\n");
    for route in Route::PLAIN {
        writeln!(page, "  {:<9}  {:<20} {}", route.methods(), route.template(), purpose(route))
            .expect("text can be written to");
    }
    page.push_str("\nthe native API\n");
    for route in v1::Route::all() {
        for (method, purpose) in route.purposes() {
            writeln!(page, "  {:<6}  {:<34} {}", method, route.template(), purpose).expect("text can be written to");
        }
    }
    page.into()
}

fn purpose(route: Route) -> &'static str {
    match route {
        Route::Submit => "record a task; answers its id",
        Route::Status => "how a task stands; ?task_id=",
        Route::Get => "a finished task's result; ?task_id=",
        Route::Cancel => "cancel a task that has not started; ?task_id=",
        Route::Retry => "run a finished task's input again, as a new task; ?task_id=",
        Route::Call => "record a task and wait for its result",
        Route::Home => "this page",
        Route::Schema => "the endpoints for BentoML's clients",
        Route::Livez | Route::Healthz => "200 while the process lives",
        Route::Readyz => "200 while new tasks are taken",
        Route::Metrics => "measures for Prometheus",
        Route::OpenApi => "the native API described, OpenAPI 3.1",
        Route::V1(_) => "the native API",
    }
}
