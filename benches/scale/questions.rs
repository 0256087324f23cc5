//! What is asked of the service, and how long the answers take.

use ekiben_actors::clock::stopwatch;
use serde_json::Value;

use crate::fill::{ENDPOINTS, TAGS};
use crate::server::Server;
use crate::wire::Client;

/// How often each question is asked.
const ROUNDS: usize = 1000;

/// How many tasks a page has.
const LIMIT: usize = 50;

/// How one question was answered; times in milliseconds.
pub struct Times {
    pub question: String,
    pub asked: usize,
    pub median: f64,
    pub p99: f64,
    pub most: f64,
}

impl Times {
    fn of(question: &str, mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        let quantile = |part: f64| millis[((millis.len() - 1) as f64 * part).round() as usize];
        let (median, p99, most) = (quantile(0.5), quantile(0.99), quantile(1.0));
        Self { question: question.to_owned(), asked: millis.len(), median, p99, most }
    }
}

/// Asks all there is to ask.
pub fn ask(large: &Server, small: &Server) -> Result<Vec<Times>, String> {
    let mut large = Asker::connect(large)?;
    let mut small = Asker::connect(small)?;
    let mut times = status(&mut large, &mut small)?;
    for filter in filters() {
        times.push(large.pages(&filter)?);
    }
    for path in ["/v1/endpoints".to_owned(), format!("/v1/endpoints/{}", ENDPOINTS[0])] {
        let mut millis = Vec::new();
        for _ in 0..ROUNDS {
            millis.push(large.get(&path)?.0);
        }
        times.push(Times::of(&format!("GET {path}"), millis));
    }
    Ok(times)
}

/// The filters of the lists, as queries.
fn filters() -> Vec<String> {
    let mut filters = vec![String::new()];
    filters
        .extend(["pending", "in_progress", "completed", "failed", "canceled"].map(|state| format!("&state={state}")));
    filters.extend([
        format!("&endpoint={}", ENDPOINTS[1]),
        format!("&endpoint={}&state=completed", ENDPOINTS[1]),
        format!("&endpoint={}&state=failed", ENDPOINTS[1]),
        format!("&endpoint={}&state=pending", ENDPOINTS[1]),
        format!("&tag=project:p{}", TAGS / 3),
        format!("&tag=project:p{}&state=failed", TAGS / 3 + 1),
        format!("&tag=project:p{}&endpoint={}", TAGS / 3, ENDPOINTS[2]),
        "&tag=project:nobody".to_owned(),
    ]);
    filters
}

/// Asks both stores for tasks anywhere in them, in turns.
fn status(large: &mut Asker, small: &mut Asker) -> Result<Vec<Times>, String> {
    let (mut of_large, mut of_small) = (Vec::new(), Vec::new());
    let large_tasks = large.some_tasks()?;
    let small_tasks = small.some_tasks()?;
    for round in 0..ROUNDS {
        of_large.push(large.get(&format!("/v1/tasks/{}", large_tasks[round % large_tasks.len()]))?.0);
        of_small.push(small.get(&format!("/v1/tasks/{}", small_tasks[round % small_tasks.len()]))?.0);
    }
    Ok(vec![Times::of("GET /v1/tasks/{id}", of_large), Times::of("the same of a store with 1,100 tasks", of_small)])
}

/// A connection that takes the time.
struct Asker {
    client: Client,
}

impl Asker {
    fn connect(server: &Server) -> Result<Self, String> {
        Ok(Self { client: Client::connect(server.address).map_err(|error| format!("connecting: {error}"))? })
    }

    /// How many milliseconds the answer took, and what it was.
    fn get(&mut self, path: &str) -> Result<(f64, Value), String> {
        let watch = stopwatch();
        let (status, body) = self.client.get(path)?;
        let millis = watch.elapsed().as_secs_f64() * 1000.0;
        if status != 200 {
            return Err(format!("GET {path} was answered {status}: {body}"));
        }
        Ok((millis, serde_json::from_str(&body).map_err(|error| format!("GET {path}: {error}"))?))
    }

    /// Turns page after page, from the newest on; begins anew at the end.
    fn pages(&mut self, filter: &str) -> Result<Times, String> {
        let first = format!("/v1/tasks?limit={LIMIT}{filter}");
        let mut path = first.clone();
        let mut millis = Vec::new();
        for _ in 0..ROUNDS {
            let (took, page) = self.get(&path)?;
            millis.push(took);
            path = match page["next_cursor"].as_str() {
                Some(cursor) => format!("{first}&cursor={cursor}"),
                None => first.clone(),
            };
        }
        Ok(Times::of(&format!("GET {first}, page by page"), millis))
    }

    /// Ids from all over the store: of the newest, and of those far back in time.
    fn some_tasks(&mut self) -> Result<Vec<String>, String> {
        let (_, newest) = self.get("/v1/tasks?limit=1")?;
        let newest = newest["tasks"][0]["submitted_at"].as_str().ok_or("there is no task")?.to_owned();
        let newest: chrono::DateTime<chrono::Utc> = newest.parse().map_err(|error| format!("{newest}: {error}"))?;
        let mut tasks = Vec::new();
        for step in 0..100 {
            let before = newest - chrono::TimeDelta::seconds(step * 1000);
            let before = before.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            let (_, page) = self.get(&format!("/v1/tasks?limit=10&submitted_before={before}"))?;
            let page = page["tasks"].as_array().ok_or("a page has tasks")?;
            tasks.extend(page.iter().filter_map(|task| task["id"].as_str().map(str::to_owned)));
        }
        Ok(tasks)
    }
}
