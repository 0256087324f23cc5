//! The whole URL map, and the application that serves it.
//!
//! A path that is no route of ours, or names no endpoint, is 404; a known path with another method is 405 and told
//! which it takes; a known path with a slash too many is sent to the one without.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::guard::fn_guard;
use actix_web::http::{Method, header};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{Error, FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder};

use crate::app::App;
use crate::error::ApiError;
use crate::metrics;
use crate::traffic::Watch;

pub mod bentoml;
pub mod health;
pub mod home;
pub mod schema;

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
}

/// Serves every route.
pub fn configure(app: Data<App>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config
            .app_data(app.clone())
            .service(at(Route::Submit, &app, bentoml::submit))
            .service(at(Route::Status, &app, bentoml::status))
            .service(at(Route::Get, &app, bentoml::get))
            .service(at(Route::Cancel, &app, bentoml::cancel))
            .service(at(Route::Retry, &app, bentoml::retry))
            .service(at(Route::Call, &app, bentoml::call))
            .service(at(Route::Home, &app, home::home))
            .service(at(Route::Schema, &app, schema::schema))
            .service(at(Route::Livez, &app, health::livez))
            .service(at(Route::Healthz, &app, health::livez))
            .service(at(Route::Readyz, &app, health::readyz))
            .service(at(Route::Metrics, &app, metrics::answer))
            .default_service(web::to(elsewhere));
    }
}

impl Route {
    pub const ALL: [Route; 12] = [
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
    ];

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
            Route::Livez | Route::Healthz | Route::Readyz | Route::Metrics => "GET, HEAD",
        }
    }

    pub fn takes(self, method: &Method) -> bool {
        self.methods().split(", ").any(|known| known == method.as_str())
    }

    /// Whether it is about tasks, rather than about the service.
    pub fn is_about_tasks(self) -> bool {
        self.template().starts_with("/{endpoint}")
    }

    /// Whether it reads the request's body.
    pub fn reads_body(self) -> bool {
        match self {
            Route::Submit | Route::Call => true,
            Route::Status | Route::Get | Route::Cancel | Route::Retry => false,
            Route::Home | Route::Schema => false,
            Route::Livez | Route::Healthz | Route::Readyz | Route::Metrics => false,
        }
    }

    /// The route a path leads to; `None` where there is none, or no endpoint of that name.
    pub fn of(path: &str, app: &App) -> Option<Self> {
        let (first, rest) = match path.strip_prefix('/')?.split_once('/') {
            Some((first, rest)) => (first, Some(rest)),
            None => (&path[1..], None),
        };
        match (first, rest) {
            ("", None) => return Some(Route::Home),
            ("schema.json", None) => return Some(Route::Schema),
            ("livez", None) => return Some(Route::Livez),
            ("healthz", None) => return Some(Route::Healthz),
            ("readyz", None) => return Some(Route::Readyz),
            ("metrics", None) => return Some(Route::Metrics),
            _ => app.endpoint(first)?,
        };
        match rest {
            None => Some(Route::Call),
            Some("submit") => Some(Route::Submit),
            Some("status") => Some(Route::Status),
            Some("get") => Some(Route::Get),
            Some("cancel") => Some(Route::Cancel),
            Some("retry") => Some(Route::Retry),
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

/// A route with its handler.
fn at<F, Args>(route: Route, app: &Data<App>, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let resource = web::resource(route.template())
        .route(web::route().guard(fn_guard(move |asked| route.takes(&asked.head().method))).to(handler))
        .default_service(web::to(move || async move { Err::<HttpResponse, _>(ApiError::Method(route.methods())) }));
    if !route.is_about_tasks() {
        return resource;
    }
    let app = app.clone();
    resource.guard(fn_guard(move |asked| Route::of(asked.head().uri.path(), &app) == Some(route)))
}

/// Answers every path that is no route.
async fn elsewhere(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let path = request.path();
    let bare = path.trim_end_matches('/');
    // Only a route of ours is ever sent to, so that no foreign place can be smuggled in.
    if bare.len() == path.len() || Route::of(bare, &app).is_none() {
        return Err(ApiError::NoRoute);
    }
    let target = match request.uri().query() {
        Some(query) => format!("{bare}?{query}"),
        None => bare.to_owned(),
    };
    Ok(HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, target)).finish())
}
