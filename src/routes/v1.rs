//! The native API, all that is below `/v1`: its map, and how a request finds the operation that answers it.
//!
//! Each area of the API is a file below this one, with a list of its operations; `AREAS` is the map. What an
//! operation takes and answers is described in a fragment of the OpenAPI document, one an area too: see [`openapi`].
//! Errors are problems (`crate::problem`).

use std::sync::LazyLock;

use actix_web::dev;
use actix_web::http::header::HeaderMap;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use ekiben_actors::registry::Find;
use ekiben_actors::store::StoreError;
use ekiben_actors::supervisor::SubmitError;
use ekiben_actors::task::{EndpointName, Task, TaskId};
use futures::future::LocalBoxFuture;

use crate::app::{App, Endpoint};
use crate::error::ApiError;
use crate::intake::answer_unread;
use crate::problem;

mod attempts;
mod bodies;
pub mod endpoints;
mod list;
pub mod openapi;
mod submit;
mod tasks;

/// Every area of the API.
const AREAS: &[&[Operation]] = &[
    submit::OPERATIONS,
    list::OPERATIONS,
    tasks::OPERATIONS,
    attempts::OPERATIONS,
    bodies::OPERATIONS,
    endpoints::OPERATIONS,
];

// ---- the map ----

/// One thing that can be asked for.
pub struct Operation {
    /// `GET` is `HEAD` too.
    method: &'static str,
    /// The path, with a name in braces where a parameter stands.
    template: &'static str,
    /// A few words for a person.
    purpose: &'static str,
    body: RequestBody,
    answer: fn(Call) -> LocalBoxFuture<'static, Answer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestBody {
    Read,
    Ignored,
}

/// What an operation makes of a call.
pub type Answer = Result<HttpResponse, Refusal>;

impl Operation {
    /// An operation that does not look at the request's body.
    pub const fn new(
        method: &'static str,
        template: &'static str,
        purpose: &'static str,
        answer: fn(Call) -> LocalBoxFuture<'static, Answer>,
    ) -> Self {
        Self { method, template, purpose, body: RequestBody::Ignored, answer }
    }

    /// The same operation, but it reads the request's body.
    pub const fn with_body(self) -> Self {
        Self { body: RequestBody::Read, ..self }
    }
}

/// A path of the API, by its place in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(usize);

/// The operations of one path.
struct Place {
    template: &'static str,
    /// As an `allow` header tells them.
    methods: String,
    operations: Vec<&'static Operation>,
}

static MAP: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let mut map: Vec<Place> = Vec::new();
    for operation in AREAS.iter().copied().flatten() {
        let known = map.iter().position(|place| place.template == operation.template);
        let index = known.unwrap_or_else(|| {
            map.push(Place { template: operation.template, methods: String::new(), operations: Vec::new() });
            map.len() - 1
        });
        let place = &mut map[index];
        if !place.methods.is_empty() {
            place.methods.push_str(", ");
        }
        place.methods.push_str(if operation.method == "GET" { "GET, HEAD" } else { operation.method });
        place.operations.push(operation);
    }
    map
});

impl Route {
    /// Every path of the API, in the order of the map.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAP.len()).map(Self)
    }

    /// How many there are.
    pub fn count() -> usize {
        MAP.len()
    }

    /// Which one it is, counted from 0.
    pub fn number(self) -> usize {
        self.0
    }

    /// The route a path leads to.
    pub fn of(path: &str) -> Option<Self> {
        MAP.iter().position(|place| parameter(place.template, path).is_some()).map(Self)
    }

    pub fn template(self) -> &'static str {
        self.place().template
    }

    pub fn methods(self) -> &'static str {
        &self.place().methods
    }

    /// What each of its methods is for.
    pub fn purposes(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.place().operations.iter().map(|operation| (operation.method, operation.purpose))
    }

    /// Whether it reads the body of a request with that method.
    pub fn reads_body(self, method: &str) -> bool {
        self.operation(method).is_some_and(|operation| operation.body == RequestBody::Read)
    }

    fn place(self) -> &'static Place {
        &MAP[self.0]
    }

    fn operation(self, method: &str) -> Option<&'static Operation> {
        let method = if method == "HEAD" { "GET" } else { method };
        self.place().operations.iter().copied().find(|operation| operation.method == method)
    }
}

/// Whether a path is of this API, be there a route or not.
pub fn owns(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// What stands where the template has its parameter, or the empty text where it has none; `None` where the path does
/// not fit. A parameter is never empty.
fn parameter<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, rest)) = template.split_once('{') else { return (template == path).then_some("") };
    let (_, after) = rest.split_once('}').expect("a brace that opens is closed");
    let value = path.strip_prefix(before)?.strip_suffix(after)?;
    (!value.is_empty() && !value.contains('/')).then_some(value)
}

// ---- a call ----

/// A request to an operation.
pub struct Call {
    pub app: Data<App>,
    pub request: HttpRequest,
    /// What stands in the path where the template has its parameter.
    parameter: String,
    body: dev::Payload,
}

/// Why a call was refused.
pub enum Refusal {
    Of(ApiError),
    /// The rest of the body was not read.
    Unread(ApiError, dev::Payload),
}

impl<E: Into<ApiError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal::Of(error.into())
    }
}

/// Answers a request to a route of this API.
pub async fn answer(route: Route, request: &HttpRequest, body: Payload) -> HttpResponse {
    let Some(operation) = route.operation(request.method().as_str()) else {
        return problem::answer(&ApiError::Method(route.methods()));
    };
    let parameter = parameter(route.template(), request.path()).expect("it fitted before").to_owned();
    let call = Call { app: App::of(request).clone(), request: request.clone(), parameter, body: body.into_inner() };
    match (operation.answer)(call).await {
        Ok(response) => response,
        Err(Refusal::Of(error)) => problem::answer(&error),
        Err(Refusal::Unread(error, unread)) => answer_unread(problem::answer(&error), unread),
    }
}

impl Call {
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    pub fn query(&self) -> &str {
        self.request.query_string()
    }

    /// What stands in the path where the template has its parameter.
    pub fn parameter(&self) -> &str {
        &self.parameter
    }

    /// The endpoint that the path names.
    pub fn endpoint(&self) -> Result<std::sync::Arc<Endpoint>, ApiError> {
        let unknown = || match EndpointName::new(&self.parameter) {
            Ok(name) => SubmitError::UnknownEndpoint(name),
            Err(error) => SubmitError::BadEndpoint(error),
        };
        self.app.endpoint_named(&self.parameter).ok_or_else(|| unknown().into())
    }

    /// The id of the task that the path names.
    pub fn task_id(&self) -> Result<TaskId, ApiError> {
        // What is no id of ours names no task: unknown, not malformed.
        self.parameter.parse().map_err(|_| ApiError::TaskNotFound { kept: None })
    }

    /// The task that the path names.
    pub async fn task(&self) -> Result<Task, ApiError> {
        let id = self.task_id()?;
        let found = self.app.system.registry.send(Find(id)).await.unwrap_or(Err(StoreError::Closed))?;
        found.ok_or(ApiError::TaskNotFound { kept: None })
    }

    /// The body, to be read by the caller.
    pub fn take_body(&mut self) -> dev::Payload {
        std::mem::replace(&mut self.body, dev::Payload::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_what_stands_in_its_place_and_never_empty() {
        let found = |path| parameter("/v1/tasks/{task}/output", path);
        assert_eq!(found("/v1/tasks/abc/output"), Some("abc"));
        for other in ["/v1/tasks//output", "/v1/tasks/output", "/v1/tasks/a/b/output", "/v1/tasks/a/outputs", "/v1"] {
            assert_eq!(found(other), None, "{other}");
        }
        assert_eq!(parameter("/v1/tasks", "/v1/tasks"), Some(""));
        assert_eq!(parameter("/v1/tasks", "/v1/tasks/"), None);
    }
}
