//! Whether the service lives, and whether it takes tasks.

use std::sync::atomic::Ordering;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use crate::app::App;
use crate::wire;

/// The process lives, draining or not.
pub fn livez() -> HttpResponse {
    wire::plain(StatusCode::OK, "\n")
}

/// New tasks are taken.
pub fn readyz(app: &App) -> HttpResponse {
    if app.draining.load(Ordering::Acquire) {
        return wire::plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    wire::plain(StatusCode::OK, "\n")
}
