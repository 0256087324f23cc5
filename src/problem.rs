//! What goes wrong, as the native API answers it: `application/problem+json` (RFC 9457) with a code that stays the
//! same whatever the words around it become.

use actix_web::HttpResponse;
use actix_web::ResponseError;
use actix_web::http::{StatusCode, header};
use serde_json::json;

use crate::error::ApiError;

/// The content type of every problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The answer that tells of an error.
pub fn answer(error: &ApiError) -> HttpResponse {
    let status = status(error);
    let mut problem = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail(error),
        "code": error.code(),
    });
    if let Some(task) = error.task() {
        problem["task_id"] = task.to_string().into();
    }
    let mut response =
        HttpResponse::build(status).insert_header((header::CONTENT_TYPE, CONTENT_TYPE)).body(problem.to_string());
    error.add_headers(&mut response);
    response
}

/// As on the other routes, but where those have the words of BentoML's servers.
fn detail(error: &ApiError) -> String {
    match error {
        ApiError::NoRoute => "there is no such path; /openapi.json tells of those there are".to_owned(),
        ApiError::Method(taken) => format!("this path takes {taken}"),
        ApiError::TaskNotFound { .. } => "there is no such task: it never was, or is kept no longer".to_owned(),
        other => other.to_string(),
    }
}

/// As on the other routes, but where BentoML's clients want another.
fn status(error: &ApiError) -> StatusCode {
    match error {
        ApiError::NotCompleted(_) => StatusCode::CONFLICT,
        ApiError::WasCanceled(_) => StatusCode::GONE,
        other => other.status_code(),
    }
}
