//! Webhooks between the settings, the actor system and the API: the messages that are sent, and the log that is shown.

use ekiben_actors::courier;
use ekiben_actors::executor::http::filled_in;
use ekiben_actors::task::{Batch, State, Task};
use ekiben_actors::webhook::{Allowed, BadAllowance, BadSecret, Delivery, Schedule, Secret, Try, event_type};
use serde_json::{Value, json};

use crate::config;
use crate::routes::v1::batches::json as batches;
use crate::task_json::{self, Live, time};

/// Why webhooks cannot be delivered as the settings say. No message shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum WebhooksError {
    #[error("secret {number} of webhooks.secrets cannot be read: {reason}")]
    Unreadable { number: usize, reason: String },
    #[error("secret {number} of webhooks.secrets: {reason}")]
    Secret { number: usize, reason: BadSecret },
    #[error("webhooks.allow: {0}")]
    Allow(#[from] BadAllowance),
}

/// How the courier goes about it, by the settings.
///
/// # Errors
/// A secret is not where the settings say, or is none.
pub fn courier(settings: &config::Webhooks) -> Result<courier::Webhooks, WebhooksError> {
    let mut secrets = Vec::new();
    for (index, text) in settings.secrets.iter().enumerate() {
        let number = index + 1;
        let text = filled_in(text).map_err(|reason| WebhooksError::Unreadable { number, reason })?;
        secrets.push(Secret::read(&text).map_err(|reason| WebhooksError::Secret { number, reason })?);
    }
    Ok(courier::Webhooks {
        secrets,
        allowed: Allowed::read(settings.allow.iter().map(String::as_str))?,
        timeout: settings.timeout,
        concurrency: settings.concurrency,
        concurrency_per_host: settings.concurrency_per_host,
        schedule: Schedule { first_pause: settings.first_pause, give_up: settings.give_up },
    })
}

/// The message that tells of a task's end: the task as the API has it, and where its output is.
pub fn event(task: &Task) -> String {
    let mut data = task_json::value(task, Live::default());
    data["output"] = match task.state {
        State::Canceled => Value::Null,
        _ => format!("/v1/tasks/{}/output", task.id).into(),
    };
    json!({ "type": event_type(task), "timestamp": task.finished_at.map(time), "data": data }).to_string()
}

/// The message that tells of a batch's end: the batch as the API has it, and where its results are.
pub fn batch_event(batch: &Batch) -> String {
    let mut data = batches::shown(batch);
    data.insert("results".to_owned(), format!("/v1/batches/{}/results", batch.id).into());
    let kind = format!("batch.{}", batch.state);
    json!({ "type": kind, "timestamp": batch.finished_at.map(time), "data": data }).to_string()
}

/// The log of a delivery as the API has it.
pub fn delivery(delivery: &Delivery) -> Value {
    let attempt = |made: &Try| {
        json!({
            "at": time(made.at),
            "status": made.status,
            "error": made.error,
            "took_ms": made.took_ms,
        })
    };
    json!({
        "id": delivery.id.to_string(),
        "url": delivery.url,
        "state": delivery.state.as_str(),
        "attempts": delivery.tries.iter().map(attempt).collect::<Vec<_>>(),
        "next_at": delivery.next_at.map(time),
    })
}
