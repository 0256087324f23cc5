//! What runs the work: the trait every executor implements, and what an attempt is given.
//!
//! An executor says what came of an attempt; what is made of that is decided in [`crate::lifecycle`]. It need
//! not time itself, catch its panics or watch the drain: the TaskActor wraps every run alike.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::spool::{self, BlobName, Blobs, Spool};
use crate::task::{EndpointName, Failure, FailureCode, Input, Outcome, TaskId};

pub mod batch;
pub mod conformance;
pub mod guard;
pub mod handler;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "onnx")]
pub mod onnx;
#[cfg(all(feature = "process", unix))]
pub mod process;
pub mod report;

pub use report::Report;

/// Runs the attempts of one endpoint.
pub trait Executor: Send + Sync + 'static {
    /// Runs one attempt, on a thread pool made for work. The future may be dropped at any await: when its time or the
    /// task's is over, when a client cancels it by force, or when the node drains and the grace time is over.
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome>;

    /// What it takes and gives, where it knows that by itself; it may learn so later. What the endpoint's own
    /// settings say comes first.
    fn description(&self) -> Option<Description> {
        None
    }

    /// Told whenever it changes how much work there is. Called on an actor's thread: must be cheap and never wait.
    fn demand(&self, demand: Demand) {
        let _ = demand;
    }

    /// Ends what it holds outside this process, and comes to an end when that is gone. Nothing is run afterwards.
    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What an executor tells of the work it does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    pub text: Option<String>,
    /// The JSON schema of the input, in BentoML's form.
    pub input: Option<serde_json::Value>,
    /// The JSON schema of the output.
    pub output: Option<serde_json::Value>,
}

/// How much work an endpoint has on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Tasks that have not started.
    pub waiting: u64,
    /// Attempts that run.
    pub running: usize,
}

/// One run of a task.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub task: TaskId,
    pub endpoint: EndpointName,
    /// Counted from 1, through crashes and put-backs.
    pub number: u32,
    /// How long it may take, where that is known; it is stopped then, whether or not it looks at this.
    pub timeout: Option<Duration>,
    pub input: Input,
    /// Fires when the attempt should stop: at a drain's end, when its time is over, or when it is canceled by force.
    pub cancellation: CancellationToken,
    /// Takes what it tells of itself: how far it has come, its log.
    pub report: Report,
    pub outputs: Outputs,
}

/// Where an attempt puts an output whose size it does not know yet.
#[derive(Clone, Debug)]
pub struct Outputs {
    blobs: Blobs,
    name: BlobName,
    limit: u64,
}

impl Outputs {
    pub fn new(blobs: Blobs, name: BlobName, limit: u64) -> Self {
        Self { blobs, name, limit }
    }

    /// The most bytes an output may have.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Begins an output; a large one goes to disk as it comes. One at a time an attempt.
    pub fn spool(&self) -> Spool {
        self.blobs.spool(self.name, self.limit)
    }

    /// Copies a body to where the output is kept.
    ///
    /// # Errors
    /// The failure of an output that is too large, or cannot be read or written.
    pub async fn copy(&self, body: Body) -> Result<Body, Failure> {
        let mut spool = self.spool();
        let mut chunks = pin!(spool::chunks(body));
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                Failure::new(FailureCode::Failed, format!("the output could not be read from disk: {error}"))
            })?;
            spool.write(&chunk).await?;
        }
        Ok(spool.finish().await?)
    }
}
