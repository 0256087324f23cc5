//! What an embedder needs, in one line. Our own modules import by name.

pub use crate::body::Body;
pub use crate::endpoint::Endpoint;
pub use crate::executor::handler::Handler;
#[cfg(feature = "http")]
pub use crate::executor::http::{Http, HttpOptions};
pub use crate::executor::{Attempt, Executor};
pub use crate::limits::Limits;
pub use crate::registry::{Fetch, List, Status, Watch};
#[cfg(feature = "embedded")]
pub use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
pub use crate::store::memory::{MemoryOptions, MemoryStore};
pub use crate::supervisor::{Cancel, Retry, Submit};
pub use crate::system::System;
pub use crate::task::{EndpointName, Failure, FailureCode, Input, NewTask, Outcome, Output, State, Task, TaskId};
