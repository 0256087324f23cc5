//! Webhooks: what became of the message about a task's end, and sending it again.

use actix_web::http::StatusCode;
use ekiben_actors::store::Replayed;
use ekiben_actors::task::BatchId;
use ekiben_actors::webhook::DeliveryId;
use serde_json::json;

use super::{Answer, Call, Operation};
use crate::error::ApiError;
use crate::{webhooks, wire};

pub const OPERATIONS: &[Operation] = &[
    Operation::new("GET", "/v1/tasks/{task}/webhooks", "what became of the message about its end", |call| {
        Box::pin(of_task(call))
    }),
    Operation::new("GET", "/v1/batches/{batch}/webhooks", "what became of the message about its end", |call| {
        Box::pin(of_batch(call))
    }),
    Operation::new("POST", "/v1/webhooks/{delivery}/replay", "send a message once more", |call| Box::pin(replay(call))),
];

async fn of_task(call: Call) -> Answer {
    let id = call.task_id()?;
    // A message that is still tried outlives its task, and so does its log.
    let deliveries = match call.app.system.delivery(id.into()).await? {
        Some(delivery) => vec![webhooks::delivery(&delivery)],
        None => {
            call.task().await?;
            Vec::new()
        }
    };
    Ok(wire::json(StatusCode::OK, json!({ "deliveries": deliveries }).to_string()))
}

async fn of_batch(call: Call) -> Answer {
    let id: BatchId = call.parameter().parse().map_err(|_| ApiError::BatchNotFound)?;
    let deliveries = match call.app.system.delivery(id.into()).await? {
        Some(delivery) => vec![webhooks::delivery(&delivery)],
        None => {
            super::batches::batch(&call).await?;
            Vec::new()
        }
    };
    Ok(wire::json(StatusCode::OK, json!({ "deliveries": deliveries }).to_string()))
}

async fn replay(call: Call) -> Answer {
    let id: DeliveryId = call.parameter().parse().map_err(|_| ApiError::DeliveryNotFound)?;
    match call.app.system.replay(id).await? {
        Replayed::Due => {}
        Replayed::Unknown => return Err(ApiError::DeliveryNotFound.into()),
    }
    let delivery = call.app.system.delivery(id).await?.ok_or(ApiError::DeliveryNotFound)?;
    Ok(wire::json(StatusCode::ACCEPTED, webhooks::delivery(&delivery).to_string()))
}
