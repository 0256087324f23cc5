//! What came of a batch's lines, as JSON lines in the order of the input: a page of tasks and a few outputs are in memory
//! at a time, however many there are.

use std::collections::VecDeque;

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::web::Data;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use ekiben_actors::registry::{BatchMembers, OutputOf, PositionOf};
use ekiben_actors::spool;
use ekiben_actors::store::StoreError;
use ekiben_actors::store::batches::MemberQuery;
use ekiben_actors::task::{BatchId, Member, Output, State, Task};
use futures::stream::{self, Stream, StreamExt};
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::{Answer, Call};
use super::{Parameters, bad, batch};
use crate::app::App;
use crate::error::ApiError;
use crate::task_json::FailureJson;

/// How many tasks are read at a time, and how many outputs ahead of the one that is written.
const PAGE: usize = 200;
const OUTPUTS_AHEAD: usize = 8;

pub async fn results(call: Call) -> Answer {
    let query = Parameters::of(call.query(), &["state", "after"])?;
    let states = query.read("state", read_states)?.unwrap_or_default();
    let batch = batch(&call).await?.id;
    let after = match query.get("after") {
        None => 0,
        Some(custom_id) => position_of(&call, batch, custom_id).await?,
    };
    let mut response = HttpResponse::Ok();
    response.content_type("application/jsonl");
    if call.request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let pages = Pages { app: call.app.clone(), batch, states, after: Some(after) };
    Ok(response.streaming(lines(pages)))
}

/// `completed,failed`, for instance.
fn read_states(text: &str) -> Result<Vec<State>, String> {
    let known = |word: &str| State::ALL.into_iter().find(|state| state.as_str() == word.trim());
    let words = State::ALL.map(State::as_str).join(", ");
    text.split(',').map(|word| known(word).ok_or_else(|| format!("{word:?} is not one of {words}"))).collect()
}

async fn position_of(call: &Call, batch: BatchId, custom_id: &str) -> Result<u64, ApiError> {
    if custom_id.len() > Member::CUSTOM_ID_MAX {
        return Err(bad("after", "it is no custom_id of a line".to_owned()));
    }
    let member = Member { batch, custom_id: custom_id.to_owned() };
    let found = call.app.system.registry.send(PositionOf(member)).await.unwrap_or(Err(StoreError::Closed))?;
    found.ok_or_else(|| ApiError::LineNotFound(batch, custom_id.to_owned()))
}

/// The tasks that are wanted, page by page.
struct Pages {
    app: Data<App>,
    batch: BatchId,
    /// Empty for all.
    states: Vec<State>,
    /// Where the next page begins; `None` after the last.
    after: Option<u64>,
}

impl Pages {
    async fn next(&mut self) -> Option<Result<VecDeque<Task>, StoreError>> {
        let after = self.after.take()?;
        let only = if let [state] = self.states[..] { Some(state) } else { None };
        let query = MemberQuery { batch: self.batch, after, limit: PAGE, state: only };
        let page = self.app.system.registry.send(BatchMembers(query)).await.unwrap_or(Err(StoreError::Closed));
        Some(page.map(|mut page| {
            self.after = page.next;
            page.tasks.retain(|task| self.states.is_empty() || self.states.contains(&task.state));
            page.tasks.into()
        }))
    }
}

/// A line a task. Where the store fails in the middle the stream breaks, so that nobody takes a part for the whole.
fn lines(pages: Pages) -> impl Stream<Item = Result<Bytes, actix_web::Error>> + 'static {
    let app = pages.app.clone();
    let tasks = stream::unfold(pages, |mut pages| async move { Some((pages.next().await?, pages)) });
    let tasks = tasks.flat_map(|page| match page {
        Ok(tasks) => stream::iter(tasks).map(Ok).left_stream(),
        Err(error) => stream::iter([Err(error)]).right_stream(),
    });
    let fetching = app.clone();
    let with_outputs = tasks.map(move |task| fetch(fetching.clone(), task)).buffered(OUTPUTS_AHEAD);
    with_outputs.then(move |found| {
        let output_max = app.batches.output;
        async move {
            let written = match found {
                Ok((task, output)) => line(&task, output, output_max).await,
                Err(error) => Err(error),
            };
            written.map_err(|error| {
                tracing::warn!(%error, "the results of a batch were cut short");
                actix_web::error::ErrorInternalServerError(error)
            })
        }
    })
}

async fn fetch(app: Data<App>, task: Result<Task, StoreError>) -> Result<(Task, Option<Output>), StoreError> {
    let task = task?;
    let has_output = match task.state {
        State::Completed | State::Failed => true,
        State::Pending | State::InProgress | State::Canceled => false,
    };
    if !has_output {
        return Ok((task, None));
    }
    let output = app.system.registry.send(OutputOf(task.id)).await.unwrap_or(Err(StoreError::Closed))?;
    Ok((task, output))
}

/// What is told of one line of the input.
#[derive(Serialize)]
struct ResultLine<'a> {
    custom_id: &'a str,
    task_id: String,
    state: &'static str,
    output: Option<&'a RawValue>,
    /// An output that is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_base64: Option<String>,
    /// Where to fetch an output that is too large for a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_url: Option<String>,
    content_type: Option<&'a str>,
    failure: Option<FailureJson<'a>>,
}

async fn line(task: &Task, output: Option<Output>, output_max: u64) -> Result<Bytes, StoreError> {
    let too_large = output.as_ref().is_some_and(|output| output.body.len() > output_max);
    let bytes = match &output {
        Some(output) if !too_large => {
            let whole = spool::whole(output.body.clone()).await;
            Some(whole.map_err(|error| StoreError::Failed(format!("an output could not be read: {error}")))?)
        }
        Some(_) | None => None,
    };
    let content_type = output.as_ref().and_then(|output| output.headers.content_type());
    let json = bytes.as_ref().filter(|_| content_type.is_some_and(is_json)).and_then(|bytes| on_one_line(bytes));
    let as_it_is = bytes.as_ref().filter(|_| json.is_none());
    let told = ResultLine {
        custom_id: task.batch.as_ref().map_or("", |member| member.custom_id.as_str()),
        task_id: task.id.to_string(),
        state: task.state.as_str(),
        output: json.as_deref(),
        output_base64: as_it_is.map(|bytes| BASE64.encode(bytes)),
        output_url: too_large.then(|| format!("/v1/tasks/{}/output", task.id)),
        content_type,
        failure: task.failure.as_deref().map(FailureJson::from),
    };
    let mut line = BytesMut::new().writer();
    serde_json::to_writer(&mut line, &told).expect("text and numbers are always JSON");
    let mut line = line.into_inner();
    line.put_u8(b'\n');
    Ok(line.freeze())
}

/// Whether a content type is JSON or has it as its syntax.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// JSON as it was written, but without line breaks; `None` for what is none. Between its tokens a break is as good as a
/// space, and within a text there is none.
fn on_one_line(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    match raw.get().contains(['\n', '\r']) {
        false => Some(raw.to_owned()),
        true => RawValue::from_string(raw.get().replace(['\n', '\r'], " ")).ok(),
    }
}

#[cfg(test)]
mod tests {
    use ekiben_actors::task::{EndpointName, Failure, FailureCode, TaskId, Timestamp};
    use serde_json::{Value, json};

    use super::*;

    async fn told(task: &Task, output: Option<Output>) -> Value {
        let line = line(task, output, 10).await.unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&line).unwrap()
    }

    #[actix_web::test]
    async fn a_line_holds_json_as_it_is_and_anything_else_encoded_or_linked_to() {
        let now = Timestamp::UNIX_EPOCH;
        let failure = Failure::new(FailureCode::Timeout, "no");
        let task = Task {
            failure: Some(Box::new(failure)),
            ..Task::submitted(TaskId::generate(), EndpointName::new("echo").unwrap(), now)
        };
        let json_output = told(&task, Some(Output::new("application/problem+json", "{\n}"))).await;
        assert_eq!((&json_output["output"], json_output.get("output_base64")), (&json!({}), None));
        assert_eq!(json_output["failure"]["code"], "timeout");
        let text = told(&task, Some(Output::new("text/plain", "x"))).await;
        assert_eq!(
            (&text["output"], &text["output_base64"], &text["content_type"]),
            (&Value::Null, &json!("eA=="), &json!("text/plain"))
        );
        let broken = told(&task, Some(Output::new("application/json", "{"))).await;
        assert_eq!(broken["output_base64"], "ew==");
        let large = told(&task, Some(Output::new("text/plain", "x".repeat(11)))).await;
        assert_eq!(
            (large.get("output_base64"), &large["output_url"]),
            (None, &json!(format!("/v1/tasks/{}/output", task.id)))
        );
        let none = told(&task, None).await;
        assert_eq!((&none["output"], &none["content_type"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn json_stays_as_it_was_written_on_one_line() {
        let on_one_line = |text: &str| on_one_line(text.as_bytes()).map(|raw| raw.get().to_owned());
        assert_eq!(on_one_line("{\"a\": 1.50}\n").as_deref(), Some("{\"a\": 1.50}"));
        assert_eq!(on_one_line("[\n  1,\r\n  \"x\\n\"\n]").as_deref(), Some("[   1,    \"x\\n\" ]"));
        assert_eq!(on_one_line("{"), None);
        assert_eq!(on_one_line(""), None);
    }

    #[test]
    fn states_are_read_from_a_list() {
        assert_eq!(read_states("failed,canceled").unwrap(), [State::Failed, State::Canceled]);
        assert!(read_states("done").unwrap_err().contains("not one of pending, in_progress"));
    }
}
