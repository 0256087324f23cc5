//! Looks at every request as it comes and at its answer as it leaves: holds heads to their limit, gives requests
//! about tasks their number, and counts.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready as wait};
use std::time::{Duration, Instant};

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};
use ekiben_actors::clock::stopwatch;
use ekiben_actors::measure::SHORT_SECONDS;

use crate::app::App;
use crate::error::ApiError;
use crate::intake::answer_unread;
use crate::routes::{Route, refusal};
use crate::wire;

const SERVER: HeaderValue = HeaderValue::from_static(concat!("ekiben/", env!("CARGO_PKG_VERSION")));

// ---- counts ----

/// How many requests came, by route, method and class of answer, and how long each route's took until its answer
/// began. All workers count here, without locks.
pub struct Traffic {
    routes: Box<[RouteTraffic]>,
}

#[derive(Default)]
struct RouteTraffic {
    /// By method, then by class of status.
    answers: [[AtomicU64; CLASSES.len()]; METHODS.len()],
    /// One a bound of `SHORT_SECONDS`, not cumulated, and a last one for what is over every bound.
    seconds: [AtomicU64; SHORT_SECONDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// The methods that are told apart; all others are the last.
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "other"];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What stands for the route of a path that is none.
const NO_ROUTE: &str = "none";

/// How many requests were answered so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The route's template, or `none`.
    pub route: &'static str,
    pub method: &'static str,
    pub status: &'static str,
    pub requests: u64,
}

/// How long a route's requests took.
#[derive(Clone, Debug, PartialEq)]
pub struct Took {
    pub route: &'static str,
    /// Each bound in seconds with the count that fell at or under it and over the one before; the last is infinite.
    pub buckets: Vec<(f64, u64)>,
    pub sum: f64,
}

impl Traffic {
    pub fn new() -> Self {
        let no_route = 1;
        Self { routes: (0..Route::count() + no_route).map(|_| RouteTraffic::default()).collect() }
    }

    fn count(&self, route: Option<Route>, method: &Method, status: StatusCode, took: Duration) {
        let route = &self.routes[route.map_or_else(Route::count, Route::number)];
        let other = METHODS.len() - 1;
        let method = METHODS[..other].iter().position(|known| *known == method.as_str()).unwrap_or(other);
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let seconds = took.as_secs_f64();
        let bucket = SHORT_SECONDS.partition_point(|bound| *bound < seconds);
        route.answers[method][class].fetch_add(1, Ordering::Relaxed);
        route.seconds[bucket].fetch_add(1, Ordering::Relaxed);
        route.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn by_route(&self) -> impl Iterator<Item = (&'static str, &RouteTraffic)> {
        let names = Route::all().map(Route::template).chain([NO_ROUTE]);
        names.zip(&self.routes)
    }

    /// Every combination that came up.
    pub fn answered(&self) -> Vec<Answered> {
        let mut all = Vec::new();
        for (route, traffic) in self.by_route() {
            for (method, classes) in METHODS.into_iter().zip(&traffic.answers) {
                for (status, requests) in CLASSES.into_iter().zip(classes) {
                    let requests = requests.load(Ordering::Relaxed);
                    if requests > 0 {
                        all.push(Answered { route, method, status, requests });
                    }
                }
            }
        }
        all
    }

    /// Every route that was asked for.
    pub fn took(&self) -> Vec<Took> {
        let bounds = || SHORT_SECONDS.iter().copied().chain([f64::INFINITY]);
        let took = self.by_route().map(|(route, traffic)| Took {
            route,
            buckets: bounds().zip(traffic.seconds.iter().map(|count| count.load(Ordering::Relaxed))).collect(),
            sum: traffic.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9,
        });
        took.filter(|took| took.buckets.iter().any(|(_, count)| *count > 0)).collect()
    }
}

impl Default for Traffic {
    fn default() -> Self {
        Self::new()
    }
}

// ---- the watch ----

/// Watches over an application: wrap it in this.
pub struct Watch(pub Data<App>);

impl<S> Transform<S, ServiceRequest> for Watch
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
    S::Future: Unpin,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = Watched<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Watched { app: self.0.clone(), service }))
    }
}

/// An application that is watched over.
pub struct Watched<S> {
    app: Data<App>,
    service: S,
}

impl<S> Service<ServiceRequest> for Watched<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
    S::Future: Unpin,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = Answering<S::Future>;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let began = stopwatch();
        let route = Route::of(request.path(), &self.app);
        let taken = route.filter(|route| route.takes(request.method()));
        let limit = self.app.limits.header_bytes;
        let oversized = head_bytes(&request) > limit;
        // A body that nobody reads is held until the answer is out. Only a chunked one needs that: the server
        // itself knows what to do with the others.
        let reads_body = taken.is_some_and(|route| route.reads_body(request.method())) && !oversized;
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let unread = (chunked && !reads_body).then(|| request.take_payload());
        let method = request.method().clone();
        let answer = if oversized {
            let refusal = refusal(request.path(), &ApiError::HeadTooLarge { limit });
            Answer::Ready(Some(request.into_response(refusal)))
        } else {
            Answer::Coming(self.service.call(request))
        };
        let numbered = taken.is_some_and(Route::is_about_tasks);
        Answering { answer, app: self.app.clone(), route, method, numbered, began, unread }
    }
}

/// Roughly the bytes of a request's target and headers, as they were sent.
fn head_bytes(request: &ServiceRequest) -> usize {
    const DELIMITERS: usize = ": \r\n".len();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter();
    headers.fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len() + DELIMITERS)
}

/// The answer to a request, on its way.
pub struct Answering<F> {
    answer: Answer<F>,
    app: Data<App>,
    route: Option<Route>,
    method: Method,
    numbered: bool,
    began: Instant,
    unread: Option<Payload>,
}

enum Answer<F> {
    Ready(Option<ServiceResponse<BoxBody>>),
    Coming(F),
}

impl<F> Future for Answering<F>
where
    F: Future<Output = Result<ServiceResponse<BoxBody>, Error>> + Unpin,
{
    type Output = Result<ServiceResponse<BoxBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut answer = match &mut this.answer {
            Answer::Ready(answer) => answer.take().expect("a future is not polled after its end"),
            Answer::Coming(answer) => wait!(Pin::new(answer).poll(cx))?,
        };
        let headers = answer.headers_mut();
        headers.insert(header::SERVER, SERVER);
        if this.numbered {
            headers.insert(wire::REQUEST_ID, wire::request_id());
        }
        let took = stopwatch().duration_since(this.began);
        this.app.traffic.count(this.route, &this.method, answer.status(), took);
        if let Some(unread) = this.unread.take() {
            let (request, response) = answer.into_parts();
            answer = ServiceResponse::new(request, answer_unread(response, unread));
        }
        Poll::Ready(Ok(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_once_by_its_route_method_and_class() {
        let traffic = Traffic::new();
        let took = Duration::from_millis(2);
        traffic.count(Some(Route::Submit), &Method::POST, StatusCode::OK, took);
        traffic.count(Some(Route::Submit), &Method::POST, StatusCode::OK, took);
        traffic.count(None, &Method::DELETE, StatusCode::NOT_FOUND, took);

        let answered = |route, method, status, requests| Answered { route, method, status, requests };
        assert_eq!(
            traffic.answered(),
            [answered("/{endpoint}/submit", "POST", "2xx", 2), answered("none", "other", "4xx", 1)]
        );
        let took = traffic.took();
        assert_eq!(took.iter().map(|took| took.route).collect::<Vec<_>>(), ["/{endpoint}/submit", "none"]);
        assert_eq!(took[0].buckets.iter().map(|(_, count)| count).sum::<u64>(), 2);
        assert!((took[0].sum - 0.004).abs() < 1e-9);
    }

    #[test]
    fn routes_are_numbered_as_they_are_listed() {
        for (number, route) in Route::all().enumerate() {
            assert_eq!(route.number(), number);
        }
    }
}
