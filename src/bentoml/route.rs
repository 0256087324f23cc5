//! A route of a service as an executor: its synchronous call, by the executor for any HTTP upstream.

use std::sync::{PoisonError, RwLock};

use ekiben_actors::executor::http::{Http, HttpError};
use ekiben_actors::executor::{Attempt, Description, Executor};
use ekiben_actors::task::Outcome;
use futures::future::BoxFuture;

use super::schema::Route;
use crate::config::Service;
use crate::executors;

/// Runs the tasks of one route. Where the route stands and what it says of itself may change while it runs.
pub struct Call {
    current: RwLock<Current>,
}

struct Current {
    route: Route,
    http: Http,
}

impl Call {
    /// # Errors
    /// The route cannot be called as the service's settings say.
    pub fn new(service: &Service, route: Route) -> Result<Self, HttpError> {
        let http = Http::new(executors::http(&service.upstream(&route.path)))?;
        Ok(Self { current: RwLock::new(Current { route, http }) })
    }

    /// Takes over what the service says of the route now; answers whether that is new.
    ///
    /// # Errors
    /// The route cannot be called where it stands now; it is left as it was.
    pub fn update(&self, service: &Service, route: Route) -> Result<bool, HttpError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.route == route {
            return Ok(false);
        }
        if current.route.path != route.path {
            current.http = Http::new(executors::http(&service.upstream(&route.path)))?;
        }
        current.route = route;
        Ok(true)
    }
}

impl Executor for Call {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).http.run(attempt)
    }

    fn description(&self) -> Option<Description> {
        let Route { input, output, description, .. } =
            self.current.read().unwrap_or_else(PoisonError::into_inner).route.clone();
        Some(Description { text: description, input, output })
    }
}
