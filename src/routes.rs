//! The whole URL map, and the application that serves it.
//!
//! A path that is no route of ours, or names no endpoint, is 404; a known path with another method is 405 and told
//! which it takes; a known path with a slash too many is sent to the one without.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{Error, HttpRequest, HttpResponse, ResponseError};

use crate::app::App;
use crate::error::ApiError;
use crate::metrics;
use crate::problem;
use crate::traffic::Watch;

pub mod bentoml;
pub mod health;
pub mod home;
pub mod schema;
pub mod v1;

/// Everything we answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Submit,
    Status,
    Get,
    Cancel,
    Retry,
    Call,
    Home,
    Schema,
    Livez,
    Healthz,
    Readyz,
    Metrics,
    OpenApi,
    /// The native API.
    V1(v1::Route),
}

/// Serves every route.
///
/// The map is matched by hand: actix's router would try one regular expression after the other, which is a tenth of
/// what a status costs us.
pub fn configure(app: Data<App>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config.app_data(app).default_service(web::to(answer));
    }
}

async fn answer(request: HttpRequest, body: Payload) -> Result<HttpResponse, Error> {
    let app = App::of(&request);
    let Some(route) = Route::of(request.path(), app) else { return Ok(elsewhere(app, &request)) };
    if !route.takes(request.method()) {
        return Ok(refusal(request.path(), &ApiError::Method(route.methods())));
    }
    Ok(match route {
        Route::Submit => bentoml::submit(&request, body).await?,
        Route::Status => bentoml::status(&request).await?,
        Route::Get => bentoml::get(&request).await?,
        Route::Cancel => bentoml::cancel(&request).await?,
        Route::Retry => bentoml::retry(&request).await?,
        Route::Call => bentoml::call(&request, body).await?,
        Route::Home => home::home(app),
        Route::Schema => schema::schema(app),
        Route::Livez | Route::Healthz => health::livez(),
        Route::Readyz => health::readyz(app),
        Route::Metrics => metrics::answer(app).await?,
        Route::OpenApi => v1::openapi::answer(),
        Route::V1(route) => v1::answer(route, &request, body).await,
    })
}

impl Route {
    /// Those that are not of the native API.
    pub const PLAIN: [Route; 13] = [
        Route::Submit,
        Route::Status,
        Route::Get,
        Route::Cancel,
        Route::Retry,
        Route::Call,
        Route::Home,
        Route::Schema,
        Route::Livez,
        Route::Healthz,
        Route::Readyz,
        Route::Metrics,
        Route::OpenApi,
    ];

    /// Every route, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::PLAIN.into_iter().chain(v1::Route::all().map(Route::V1))
    }

    /// How many there are.
    pub fn count() -> usize {
        Self::PLAIN.len() + v1::Route::count()
    }

    /// Which one it is, counted from 0.
    pub fn number(self) -> usize {
        match self {
            Route::V1(route) => Self::PLAIN.len() + route.number(),
            plain => Self::PLAIN.iter().position(|known| *known == plain).expect("all are listed"),
        }
    }

    /// The path, with `{endpoint}` where any endpoint's name may stand.
    pub fn template(self) -> &'static str {
        match self {
            Route::Submit => "/{endpoint}/submit",
            Route::Status => "/{endpoint}/status",
            Route::Get => "/{endpoint}/get",
            Route::Cancel => "/{endpoint}/cancel",
            Route::Retry => "/{endpoint}/retry",
            Route::Call => "/{endpoint}",
            Route::Home => "/",
            Route::Schema => "/schema.json",
            Route::Livez => "/livez",
            Route::Healthz => "/healthz",
            Route::Readyz => "/readyz",
            Route::Metrics => "/metrics",
            Route::OpenApi => "/openapi.json",
            Route::V1(route) => route.template(),
        }
    }

    /// The methods it takes, as an `allow` header tells them. BentoML has `PUT` for cancel and `POST` for retry,
    /// its documentation the reverse for one of them: both are taken for both.
    pub fn methods(self) -> &'static str {
        match self {
            Route::Submit | Route::Call => "POST",
            Route::Cancel => "PUT, POST",
            Route::Retry => "POST, PUT",
            Route::Status | Route::Get | Route::Home | Route::Schema => "GET, HEAD",
            Route::Livez | Route::Healthz | Route::Readyz | Route::Metrics | Route::OpenApi => "GET, HEAD",
            Route::V1(route) => route.methods(),
        }
    }

    pub fn takes(self, method: &Method) -> bool {
        self.methods().split(", ").any(|known| known == method.as_str())
    }

    /// Whether it is one of BentoML's routes about tasks.
    pub fn is_about_tasks(self) -> bool {
        self.template().starts_with("/{endpoint}")
    }

    /// Whether it reads the body of a request with that method.
    pub fn reads_body(self, method: &Method) -> bool {
        match self {
            Route::Submit | Route::Call => true,
            Route::Status | Route::Get | Route::Cancel | Route::Retry => false,
            Route::Home | Route::Schema => false,
            Route::Livez | Route::Healthz | Route::Readyz | Route::Metrics | Route::OpenApi => false,
            Route::V1(route) => route.reads_body(method.as_str()),
        }
    }

    /// The route a path leads to; `None` where there is none, or no endpoint of that name.
    pub fn of(path: &str, app: &App) -> Option<Self> {
        match path {
            "/" => return Some(Route::Home),
            "/schema.json" => return Some(Route::Schema),
            "/livez" => return Some(Route::Livez),
            "/healthz" => return Some(Route::Healthz),
            "/readyz" => return Some(Route::Readyz),
            "/metrics" => return Some(Route::Metrics),
            "/openapi.json" => return Some(Route::OpenApi),
            _ if v1::owns(path) => return v1::Route::of(path).map(Route::V1),
            _ => app.endpoint_of(path)?,
        };
        match path[1..].split_once('/') {
            None => Some(Route::Call),
            Some((_, "submit")) => Some(Route::Submit),
            Some((_, "status")) => Some(Route::Status),
            Some((_, "get")) => Some(Route::Get),
            Some((_, "cancel")) => Some(Route::Cancel),
            Some((_, "retry")) => Some(Route::Retry),
            Some(_) => None,
        }
    }
}

/// The whole application: the routes, and what watches over every request.
pub fn application(
    app: Data<App>,
) -> actix_web::App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>,
> {
    actix_web::App::new().wrap(Watch(app.clone())).configure(configure(app))
}

/// Answers every path that is no route.
fn elsewhere(app: &App, request: &HttpRequest) -> HttpResponse {
    let path = request.path();
    let bare = path.trim_end_matches('/');
    // Only a route of ours is ever sent to, so that no foreign place can be smuggled in.
    if bare.len() == path.len() || Route::of(bare, app).is_none() {
        return refusal(path, &ApiError::NoRoute);
    }
    let target = match request.uri().query() {
        Some(query) => format!("{bare}?{query}"),
        None => bare.to_owned(),
    };
    HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, target)).finish()
}

/// An error in the form that clients of the path expect.
pub fn refusal(path: &str, error: &ApiError) -> HttpResponse {
    if v1::owns(path) { problem::answer(error) } else { error.error_response() }
}
