//! What the tests say to the service over HTTP, in the words of the contract.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::program::PATIENCE;

/// A client of one endpoint.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
}

/// A request that got an answer, or none.
pub type Answer<T> = Result<T, reqwest::Error>;

impl Client {
    /// `url` is the service's, with nothing after it.
    pub fn new(url: &str, endpoint: &str) -> Self {
        Self { http: http(), url: format!("{url}/{endpoint}") }
    }

    /// As [`Client::new`], for many requests to a service that is not restarted meanwhile.
    pub fn keeping_connections(url: &str, endpoint: &str) -> Self {
        let fresh = Self::new(url, endpoint);
        let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client needs nothing more");
        Self { http, ..fresh }
    }

    /// Submits a JSON text and answers with the response, whatever it is.
    pub async fn try_submit(&self, body: impl Into<reqwest::Body>) -> Answer<Response> {
        let request = self.http.post(format!("{}/submit", self.url)).header("content-type", "application/json");
        request.body(body).send().await
    }

    /// As [`Client::try_submit`], by the native API and as a caller of that name; the response has the id in `id`.
    pub async fn try_submit_as(&self, body: impl Into<reqwest::Body>, caller: &str, priority: u8) -> Answer<Response> {
        let (service, endpoint) = self.url.rsplit_once('/').expect("the endpoint stands behind the service");
        let request = self.http.post(format!("{service}/v1/endpoints/{endpoint}/tasks"));
        let request = request.header("ekiben-fairness-key", caller).header("ekiben-priority", priority.to_string());
        request.header("content-type", "application/json").body(body).send().await
    }

    /// Submits and answers with the id; panics where that is refused.
    pub async fn submit(&self, body: impl Into<reqwest::Body>) -> String {
        let answer = self.try_submit(body).await.expect("the service answers");
        assert_eq!(answer.status(), StatusCode::OK);
        id_in(answer).await.expect("the answer is whole")
    }

    pub async fn status(&self, task: &str) -> Value {
        let answer = self.ask("status", task).await;
        assert_eq!(answer.status(), StatusCode::OK, "the task is known");
        answer.json().await.expect("a status is JSON")
    }

    pub async fn state(&self, task: &str) -> String {
        self.status(task).await["status"].as_str().expect("a status has a word").to_owned()
    }

    pub async fn get(&self, task: &str) -> Response {
        self.ask("get", task).await
    }

    pub async fn cancel(&self, task: &str) -> Response {
        self.http.put(format!("{}/cancel?task_id={task}", self.url)).send().await.expect("the service answers")
    }

    pub async fn retry(&self, task: &str) -> Response {
        self.http.post(format!("{}/retry?task_id={task}", self.url)).send().await.expect("the service answers")
    }

    pub async fn ask(&self, what: &str, task: &str) -> Response {
        self.http.get(format!("{}/{what}?task_id={task}", self.url)).send().await.expect("the service answers")
    }

    /// Asks until the task is in one of the states.
    pub async fn until(&self, task: &str, states: &[&str]) -> String {
        let asking = async {
            loop {
                let state = self.state(task).await;
                if states.contains(&state.as_str()) {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, asking).await;
        reached.unwrap_or_else(|_| panic!("task {task} is not {states:?} after {PATIENCE:?}"))
    }

    pub async fn until_finished(&self, task: &str) -> String {
        self.until(task, &["completed", "failed", "canceled"]).await
    }
}

/// A plain HTTP client. It keeps no connections: the service is restarted under it.
pub fn http() -> reqwest::Client {
    // Installed already by another test, as likely as not.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().pool_max_idle_per_host(0).timeout(PATIENCE).build().expect("a client needs nothing more")
}

/// The id in the answer to a submit or a retry, by either API.
pub async fn id_in(answer: Response) -> Answer<String> {
    let body: Value = answer.json().await?;
    let id = body.get("task_id").or(body.get("id"));
    Ok(id.and_then(Value::as_str).expect("the answer has an id").to_owned())
}

/// The text of a page of the service, such as `/metrics`.
pub async fn page(url: &str, path: &str) -> String {
    let answer = http().get(format!("{url}{path}")).send().await.expect("the service answers");
    answer.text().await.expect("the page is text")
}
