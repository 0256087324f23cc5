//! Pages of tasks.

use actix_web::http::StatusCode;
use actix_web::web::Query;
use ekiben_actors::registry::List;
use ekiben_actors::store::{ListQuery, StoreError};
use ekiben_actors::task::{EndpointName, State, TaskId};

use super::{Answer, Call, Operation};
use crate::config::nearest;
use crate::error::ApiError;
use crate::submission::{instant, read_tag_in_query};
use crate::task_json::{self, Live};
use crate::wire;

pub const OPERATIONS: &[Operation] =
    &[Operation::new("GET", "/v1/tasks", "tasks, the newest first", |call| Box::pin(list(call)))];

/// The tasks on a page where the query does not say.
const PAGE: usize = 50;
/// The most tasks on a page.
const PAGE_MAX: usize = 1000;
/// The most tags a query may ask for.
const TAGS_MAX: usize = 16;

const PARAMETERS: [&str; 7] = ["endpoint", "state", "tag", "submitted_after", "submitted_before", "limit", "cursor"];

async fn list(call: Call) -> Answer {
    let query = read(call.query())?;
    let page = call.app.system.registry.send(List(query)).await.unwrap_or(Err(StoreError::Closed))?;
    let tasks: Vec<String> = page.tasks.iter().map(|task| task_json::text(task, Live::default())).collect();
    let next = page.next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    Ok(wire::json(StatusCode::OK, format!(r#"{{"tasks":[{}],"next_cursor":{next}}}"#, tasks.join(","))))
}

/// The question that a query asks.
fn read(query: &str) -> Result<ListQuery, ApiError> {
    let Query(pairs) = Query::<Vec<(String, String)>>::from_query(query)
        .map_err(|error| bad("the query", format!("it cannot be read: {error}")))?;
    let mut asked = ListQuery::newest(PAGE);
    let (mut before, mut cursor, mut limit) = (None, None, None);
    for (name, value) in &pairs {
        match name.as_str() {
            "endpoint" => once(&mut asked.endpoint, name, value, |value| {
                EndpointName::new(value).map_err(|error| error.to_string())
            })?,
            "state" => add_states(&mut asked.states, value)?,
            "tag" => add_tag(&mut asked.tags, value)?,
            "submitted_after" => once(&mut asked.from, name, value, least_at)?,
            "submitted_before" => once(&mut before, name, value, least_at)?,
            "limit" => once(&mut limit, name, value, |value| {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                limit.ok_or_else(|| format!("{value:?} is not a number from 1 to {PAGE_MAX}"))
            })?,
            "cursor" => once(&mut cursor, name, value, |value| {
                value.parse::<TaskId>().map_err(|_| format!("{value:?} is not the `next_cursor` of a page"))
            })?,
            _ => return Err(unknown(name)),
        }
    }
    asked.limit = limit.unwrap_or(PAGE);
    asked.after = before.into_iter().chain(cursor).min();
    Ok(asked)
}

/// The ids of a time and later are those from this one on.
fn least_at(value: &str) -> Result<TaskId, String> {
    // A plus sign of an offset that was not encoded has become a space.
    Ok(TaskId::least_at(instant(&value.replace(' ', "+"))?))
}

fn add_states(states: &mut Vec<State>, value: &str) -> Result<(), ApiError> {
    for word in value.split(',') {
        let known = State::ALL.into_iter().find(|state| state.as_str() == word.trim());
        let state = known.ok_or_else(|| {
            let words = State::ALL.map(State::as_str).join(", ");
            bad("state", format!("{word:?} is not one of {words}"))
        })?;
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Ok(())
}

fn add_tag(tags: &mut Vec<(String, String)>, value: &str) -> Result<(), ApiError> {
    let tag = read_tag_in_query(value).ok_or_else(|| bad("tag", format!("{value:?} is no tag; write key:value")))?;
    tags.push(tag);
    if tags.len() > TAGS_MAX {
        return Err(bad("tag", format!("there are more than {TAGS_MAX} of it")));
    }
    Ok(())
}

fn once<T>(
    place: &mut Option<T>,
    name: &str,
    value: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<(), ApiError> {
    if place.is_some() {
        return Err(bad(name, "it stands there twice".to_owned()));
    }
    *place = Some(read(value).map_err(|complaint| bad(name, complaint))?);
    Ok(())
}

fn bad(name: &str, complaint: String) -> ApiError {
    ApiError::BadQuery { name: name.to_owned(), complaint }
}

fn unknown(name: &str) -> ApiError {
    let meant = nearest(name, PARAMETERS).map_or_else(String::new, |known| format!("; did you mean {known:?}?"));
    bad(name, format!("there is no such parameter{meant}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_in_full() {
        let query = "endpoint=echo&state=failed,canceled&state=failed&tag=project:rice:red&tag=a:&limit=7\
             &submitted_after=2026-01-01T00:00:00%2B01:00&submitted_before=2026-01-02T00:00:00Z";
        let asked = read(query).unwrap();
        assert_eq!(asked.endpoint.as_ref().map(EndpointName::as_str), Some("echo"));
        assert_eq!(asked.states, [State::Failed, State::Canceled]);
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(asked.tags, [tag("project", "rice:red"), tag("a", "")]);
        let at = |text| TaskId::least_at(instant(text).unwrap());
        assert_eq!(asked.from, Some(at("2025-12-31T23:00:00Z")));
        assert_eq!((asked.after, asked.limit), (Some(at("2026-01-02T00:00:00Z")), 7));
        let plus = read("submitted_after=2026-01-01T00:00:00+01:00").unwrap();
        assert_eq!(plus.from, asked.from);
    }

    #[test]
    fn a_cursor_and_a_time_both_bound_the_page() {
        let early = "0192f0c4a7b87c3e9d1f2a3b4c5d6e7f";
        let asked = |time: &str| read(&format!("cursor={early}&submitted_before={time}")).unwrap().after;
        assert_eq!(asked("2100-01-01T00:00:00Z"), early.parse().ok());
        assert_eq!(asked("2000-01-01T00:00:00Z"), Some(least_at("2000-01-01T00:00:00Z").unwrap()));
    }

    #[test]
    fn what_a_query_cannot_mean_is_refused_with_the_way_out() {
        for (query, expected) in [
            ("state=done", "not one of pending, in_progress"),
            ("limit=0", "from 1 to 1000"),
            ("limit=1001", "from 1 to 1000"),
            ("limit=5&limit=6", "twice"),
            ("cursor=x", "`next_cursor`"),
            ("tag=rice", "write key:value"),
            ("submitted_after=now", "RFC 3339"),
            ("endpoint=a b", "cannot name an endpoint"),
            ("stat=failed", "did you mean \"state\"?"),
        ] {
            let error = read(query).expect_err(query).to_string();
            assert!(error.contains(expected), "{query}: {error}");
        }
    }
}
