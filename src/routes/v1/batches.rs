//! Batches: many tasks sent in as JSON lines, asked about, canceled and read as one.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use actix_web::web::Query;
use ekiben_actors::registry::{FindBatch, ListBatches};
use ekiben_actors::store::StoreError;
use ekiben_actors::store::batches::BatchQuery;
use ekiben_actors::supervisor::{BeginBatch, CancelBatch, SubmitError};
use ekiben_actors::task::{Batch, BatchId, EndpointName, Priority};
use serde_json::{Map, Value, json};

use self::upload::{Report, Upload};
use super::{Answer, Call, Operation, Refusal};
use crate::config::nearest;
use crate::error::ApiError;
use crate::intake::answer_unread;
use crate::problem;
use crate::submission::Wishes;
use crate::wire;

pub mod json;
mod results;
mod upload;

pub const OPERATIONS: &[Operation] = &[
    Operation::new("POST", "/v1/batches", "record many tasks, a line of JSON each", |call| Box::pin(begin(call)))
        .with_body(),
    Operation::new("GET", "/v1/batches", "batches, the newest first", |call| Box::pin(list(call))),
    Operation::new("GET", "/v1/batches/{batch}", "how a batch stands", |call| Box::pin(get(call))),
    Operation::new("POST", "/v1/batches/{batch}/lines", "go on sending lines", |call| Box::pin(go_on(call)))
        .with_body(),
    Operation::new("GET", "/v1/batches/{batch}/results", "what came of its lines so far, in their order", |call| {
        Box::pin(results::results(call))
    }),
    Operation::new("POST", "/v1/batches/{batch}/cancel", "cancel all that waits, or with force all", |call| {
        Box::pin(cancel(call))
    }),
];

/// The batches on a page where the query does not say, and the most it may ask for.
const PAGE: usize = 50;
const PAGE_MAX: usize = 1000;

async fn begin(mut call: Call) -> Answer {
    let mut body = call.take_body();
    let begun = async {
        let query = Parameters::of(call.query(), &["endpoint", "priority", "open", "webhook"])?;
        let name = query.get("endpoint").ok_or_else(|| bad("endpoint", "name the endpoint of the tasks".to_owned()))?;
        let name = EndpointName::new(name).map_err(SubmitError::BadEndpoint)?;
        let keep_open = query.flag("open")?;
        let priority = query.read("priority", |text| text.parse::<Priority>().map_err(|error| error.to_string()))?;
        refuse_other_types(&call)?;
        let pass = call.app.gates.upload()?;
        let begin = BeginBatch {
            endpoint: name,
            priority: priority.unwrap_or(Priority::BACKGROUND),
            idempotency_key: Wishes::key_of_headers(call.headers())?,
            webhook: query.read("webhook", |url| {
                call.app.system.webhooks().check(url).map_err(|error| error.to_string())?;
                Ok(url.to_owned())
            })?,
        };
        Ok::<_, ApiError>((call.app.system.begin_batch(begin).await?, keep_open, pass))
    };
    let (begun, keep_open, _pass) = match begun.await {
        Ok(begun) => begun,
        Err(error) => return Err(Refusal::Unread(error, body)),
    };
    let mut report = Report::default();
    let taken = Upload::new(&call, &begun.batch, &mut report).take_in(&mut body, keep_open).await;
    let replayed = begun.known && report.recorded == 0;
    answer(taken, begun.batch.id, report, replayed, body)
}

async fn go_on(mut call: Call) -> Answer {
    let mut body = call.take_body();
    let found = async {
        let keep_open = Parameters::of(call.query(), &["open"])?.flag("open")?;
        refuse_other_types(&call)?;
        let pass = call.app.gates.upload()?;
        Ok::<_, ApiError>((batch(&call).await?, keep_open, pass))
    };
    let (found, keep_open, _pass) = match found.await {
        Ok(found) => found,
        Err(error) => return Err(Refusal::Unread(error, body)),
    };
    let mut report = Report::default();
    let taken = Upload::new(&call, &found, &mut report).take_in(&mut body, keep_open).await;
    answer(taken, found.id, report, false, body)
}

/// The answer to an upload: the batch, or what is wrong with how far it has come. What was recorded stays so.
fn answer(
    taken: Result<Batch, ApiError>,
    id: BatchId,
    report: Report,
    replayed: bool,
    unread: actix_web::dev::Payload,
) -> Answer {
    match taken {
        Ok(batch) => {
            let mut shown = json::shown(&batch);
            shown.insert("upload".to_owned(), report.shown());
            let status = if replayed { StatusCode::OK } else { StatusCode::ACCEPTED };
            let mut response = wire::json(status, Value::Object(shown).to_string());
            let location = HeaderValue::from_str(&format!("/v1/batches/{id}")).expect("hex digits are visible");
            response.headers_mut().insert(LOCATION, location);
            if replayed {
                response.headers_mut().insert(super::submit::REPLAYED, HeaderValue::from_static("true"));
            }
            Ok(response)
        }
        Err(error) => {
            let mut more = Map::new();
            more.insert("batch_id".to_owned(), id.to_string().into());
            more.insert("upload".to_owned(), report.shown());
            more.insert("lines".to_owned(), report.bad_lines());
            Ok(answer_unread(problem::answer_with(&error, more), unread))
        }
    }
}

/// Lines are JSON, and the request must not say that they are something else.
fn refuse_other_types(call: &Call) -> Result<(), ApiError> {
    const TYPES: [&str; 5] = [
        "application/jsonl",
        "application/x-ndjson",
        "application/ndjson",
        "application/x-jsonlines",
        "application/jsonlines",
    ];
    let Some(given) = call.headers().get(CONTENT_TYPE) else { return Ok(()) };
    let given = String::from_utf8_lossy(given.as_bytes());
    let essence = given.split(';').next().unwrap_or_default().trim();
    if TYPES.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    Err(ApiError::NotLines(essence.to_owned()))
}

async fn list(call: Call) -> Answer {
    let query = Parameters::of(call.query(), &["endpoint", "limit", "cursor"])?;
    let limit = query.read("limit", |text| {
        let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
        limit.ok_or_else(|| format!("{text:?} is not a number from 1 to {PAGE_MAX}"))
    })?;
    let limit = limit.unwrap_or(PAGE);
    let asked = BatchQuery {
        endpoint: query.read("endpoint", |text| EndpointName::new(text).map_err(|error| error.to_string()))?,
        after: query
            .read("cursor", |text| text.parse().map_err(|_| format!("{text:?} is not the `next_cursor` of a page")))?,
        // One more tells whether more follow.
        limit: limit + 1,
    };
    let mut batches = call.app.system.registry.send(ListBatches(asked)).await.unwrap_or(Err(StoreError::Closed))?;
    let more_follow = batches.len() > limit;
    batches.truncate(limit);
    let next = batches.last().filter(|_| more_follow).map(|last| last.id.to_string());
    let batches: Vec<Map<String, Value>> = batches.iter().map(json::shown).collect();
    Ok(wire::json(StatusCode::OK, json!({ "batches": batches, "next_cursor": next }).to_string()))
}

async fn get(call: Call) -> Answer {
    Ok(shown(&batch(&call).await?))
}

async fn cancel(call: Call) -> Answer {
    let force = Parameters::of(call.query(), &["force"])?.flag("force")?;
    let id = batch(&call).await?.id;
    let canceled = call.app.system.supervisor.send(CancelBatch { batch: id, force }).await??;
    Ok(shown(&canceled.ok_or(ApiError::BatchNotFound)?))
}

/// The batch that the path names.
pub async fn batch(call: &Call) -> Result<Batch, ApiError> {
    // What is no id of ours names no batch: unknown, not malformed.
    let id = call.parameter().parse().map_err(|_| ApiError::BatchNotFound)?;
    let found = call.app.system.registry.send(FindBatch(id)).await.unwrap_or(Err(StoreError::Closed))?;
    found.ok_or(ApiError::BatchNotFound)
}

fn shown(batch: &Batch) -> HttpResponse {
    wire::json(StatusCode::OK, Value::Object(json::shown(batch)).to_string())
}

// ---- a query ----

/// The parameters of a query, each known and given once.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(query: &str, known: &[&str]) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_query(query)
            .map_err(|error| bad("the query", format!("it cannot be read: {error}")))?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let meant = nearest(name, known.iter().copied());
                let meant = meant.map_or_else(String::new, |known| format!("; did you mean {known:?}?"));
                return Err(bad(name, format!("there is no such parameter{meant}")));
            }
            if pairs[..index].iter().any(|(before, _)| before == name) {
                return Err(bad(name, "it stands there twice".to_owned()));
            }
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn read<T>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, ApiError> {
        self.get(name).map(read).transpose().map_err(|complaint| bad(name, complaint))
    }

    fn flag(&self, name: &str) -> Result<bool, ApiError> {
        let read = self.read(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("{other:?} is neither true nor false")),
        });
        Ok(read?.unwrap_or(false))
    }
}

fn bad(name: &str, complaint: String) -> ApiError {
    ApiError::BadQuery { name: name.to_owned(), complaint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_known_and_given_once() {
        let read = |query| Parameters::of(query, &["endpoint", "open"]).map_err(|error| error.to_string());
        let query = read("endpoint=echo&open=true").unwrap();
        assert_eq!((query.get("endpoint"), query.flag("open").unwrap()), (Some("echo"), true));
        assert!(!read("").unwrap().flag("open").unwrap());
        assert!(read("open=yes").unwrap().flag("open").unwrap_err().to_string().contains("neither true nor false"));
        assert!(read("endpont=echo").err().unwrap().contains("did you mean \"endpoint\"?"));
        assert!(read("open=true&open=true").err().unwrap().contains("twice"));
    }
}
