//! Work that runs until it is let go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ekiben_actors::endpoint::Endpoint;
use ekiben_actors::executor::Attempt;
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::task::{Outcome, Output};
use tokio::sync::Semaphore;

/// Runs until it is let go; counts how often it was begun.
#[derive(Clone)]
pub struct Gate {
    open: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    /// Whether it stops when its token fires.
    obedient: bool,
}

impl Gate {
    pub fn closed() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), begun: Arc::default(), obedient: true }
    }

    /// One that does not hear that it should stop.
    pub fn deaf() -> Self {
        Self { obedient: false, ..Self::closed() }
    }

    pub fn let_go(&self, runs: usize) {
        self.open.add_permits(runs);
    }

    /// A run begins.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until a run is let go.
    pub async fn opened(&self) {
        self.open.acquire().await.expect("it is never closed").forget();
    }

    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub fn endpoint(&self) -> Endpoint {
        let gate = self.clone();
        Endpoint::new(Handler::new(move |attempt: Attempt| {
            let gate = gate.clone();
            async move {
                gate.begin();
                tokio::select! {
                    () = gate.opened() => {}
                    () = attempt.cancellation.cancelled(), if gate.obedient => return Outcome::Canceled,
                }
                Outcome::Done(Output::new("text/plain", "done"))
            }
        }))
    }
}
