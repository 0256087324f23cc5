//! Runs several attempts as one, for models that are faster by the batch: an executor around an executor.
//!
//! Each attempt keeps its own outcome, cancellation, time and place in the order of results. A batch that fails is
//! halved until the guilty attempt stands alone, so that its neighbours get their results. How inputs become one and
//! an output becomes many is told in `merge`.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::guard::panic_message;
use super::{Attempt, Demand, Description, Executor, Outputs, Report};
use crate::clock::stopwatch;
use crate::task::{FailureCode, Outcome, Output};

mod merge;

pub use merge::Form;
use merge::Piece;

/// The most bytes of inputs that are made one; an input that is larger by itself is a batch of its own.
pub const BATCH_BYTES_MAX: usize = 16 << 20;

/// How attempts are gathered.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    /// The most attempts of a batch.
    pub max_size: usize,
    /// How long the first of a batch waits for others; zero sends what is there.
    pub max_wait: Duration,
    /// How many batches run at a time.
    pub batches: usize,
    pub form: Form,
}

/// See the module's own words.
pub struct Batch(Arc<Gathering>);

struct Gathering {
    inner: Arc<dyn Executor>,
    options: BatchOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Item>,
    running: usize,
}

/// An attempt that waits for its part of a batch's outcome.
struct Item {
    attempt: Attempt,
    piece: Piece,
    since: Instant,
    reply: oneshot::Sender<Outcome>,
}

impl Item {
    /// Whether nobody wants its outcome any more.
    fn is_gone(&self) -> bool {
        self.reply.is_closed() || self.attempt.cancellation.is_cancelled()
    }

    async fn gone(&mut self) {
        let token = self.attempt.cancellation.clone();
        tokio::select! {
            () = self.reply.closed() => {}
            () = token.cancelled() => {}
        }
    }
}

impl Batch {
    pub fn new(inner: Arc<dyn Executor>, options: BatchOptions) -> Self {
        let options = BatchOptions { max_size: options.max_size.max(1), batches: options.batches.max(1), ..options };
        Self(Arc::new(Gathering { inner, options, state: Mutex::default() }))
    }
}

impl Executor for Batch {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        let gathering = self.0.clone();
        Box::pin(async move {
            let piece = match Piece::of(&attempt.input, gathering.options.form).await {
                Ok(piece) => piece,
                Err(refusal) => return refusal,
            };
            let cancellation = attempt.cancellation.clone();
            let (reply, outcome) = oneshot::channel();
            gathering.admit(Item { attempt, piece, since: stopwatch(), reply });
            let lost = || Outcome::failed(FailureCode::Failed, "the batch ended without an outcome for the task");
            let outcome = outcome.map(|outcome| outcome.unwrap_or_else(|_| lost()));
            cancellation.run_until_cancelled(outcome).await.unwrap_or(Outcome::Canceled)
        })
    }

    fn description(&self) -> Option<Description> {
        self.0.inner.description()
    }

    fn demand(&self, demand: Demand) {
        self.0.inner.demand(demand);
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.0.inner.close()
    }
}

impl Gathering {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }

    fn admit(self: Arc<Self>, item: Item) {
        self.state().waiting.push_back(item);
        let patience = self.options.max_wait;
        if !patience.is_zero() {
            let gathering = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(patience).await;
                gathering.send();
            });
        }
        self.send();
    }

    /// Starts batches, as many as are ripe and may run.
    fn send(self: Arc<Self>) {
        while let Some(items) = self.next() {
            let flight = Flight(self.clone());
            tokio::spawn(async move { flight.0.settle(items).await });
        }
    }

    /// The next batch: those that can be made one with the first in line.
    fn next(&self) -> Option<Vec<Item>> {
        let mut state = self.state();
        state.waiting.retain(|item| !item.is_gone());
        let first = state.waiting.front()?;
        let is_ripe = state.waiting.len() >= self.options.max_size || first.since.elapsed() >= self.options.max_wait;
        if state.running >= self.options.batches || !is_ripe {
            return None;
        }
        let mut items: Vec<Item> = Vec::new();
        let (mut bytes, mut kept) = (0, VecDeque::new());
        for item in std::mem::take(&mut state.waiting) {
            let size = item.piece.len();
            let fits = items.first().is_none_or(|first| {
                items.len() < self.options.max_size
                    && bytes + size <= BATCH_BYTES_MAX
                    && first.piece.goes_with(&item.piece)
            });
            if fits {
                bytes += size;
                items.push(item);
            } else {
                kept.push_back(item);
            }
        }
        state.waiting = kept;
        state.running += 1;
        Some(items)
    }

    /// Runs a batch to its end, and answers each of its items.
    fn settle(&self, mut items: Vec<Item>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            items.retain(|item| !item.is_gone());
            if items.is_empty() {
                return;
            }
            let outcome = match self.run_as_one(&mut items).await {
                Outcome::Done(output) => match self.shared_out(output, &items).await {
                    Ok(outputs) => return answer(items, outputs),
                    Err(failure) => failure,
                },
                outcome => outcome,
            };
            let is_someones_fault =
                matches!(outcome, Outcome::Failed(..) | Outcome::FailedForNow { .. } | Outcome::Crashed(_));
            if items.len() > 1 && is_someones_fault {
                let others = items.split_off(items.len() / 2);
                self.settle(items).await;
                self.settle(others).await;
                return;
            }
            let outcomes = vec![outcome; items.len()];
            answer(items, outcomes);
        })
    }

    async fn run_as_one(&self, items: &mut [Item]) -> Outcome {
        let cancellation = CancellationToken::new();
        let attempt = self.merged(items, &cancellation);
        let inner = self.inner.clone();
        let run = AssertUnwindSafe(async move { inner.run(attempt).await }).catch_unwind();
        let run =
            run.map(|ended| ended.unwrap_or_else(|panic| Outcome::failed(FailureCode::Panic, panic_message(&*panic))));
        let all_gone = join_all(items.iter_mut().map(Item::gone));
        tokio::pin!(run);
        tokio::select! {
            outcome = &mut run => outcome,
            _ = all_gone => {
                cancellation.cancel();
                run.await
            }
        }
    }

    /// One attempt in place of them all: it bears the name of the first.
    fn merged(&self, items: &[Item], cancellation: &CancellationToken) -> Attempt {
        let mut attempt = items[0].attempt.clone();
        let pieces: Vec<&Piece> = items.iter().map(|item| &item.piece).collect();
        attempt.input.body = merge::merged(&pieces, self.options.form).into();
        attempt.cancellation = cancellation.clone();
        attempt.timeout = items.iter().filter_map(|item| item.attempt.timeout).max();
        attempt.report = Report::joined(items.iter().map(|item| &item.attempt.report));
        attempt
    }

    /// Each item's part of an output, in their order.
    async fn shared_out(&self, output: Output, items: &[Item]) -> Result<Vec<Outcome>, Outcome> {
        let shares: Vec<usize> = items.iter().map(|item| item.piece.shares()).collect();
        let parts = merge::parts(output, &shares, self.options.form).await?;
        let kept = parts.into_iter().zip(items).map(|(part, item)| kept(part, &item.attempt.outputs));
        Ok(join_all(kept).await)
    }
}

/// A part where the outputs of its own attempt are kept.
async fn kept(part: Output, outputs: &Outputs) -> Outcome {
    match outputs.copy(part.body).await {
        Ok(body) => Outcome::Done(Output { body, ..part }),
        Err(failure) => Outcome::Failed(failure, None),
    }
}

fn answer(items: Vec<Item>, outcomes: Vec<Outcome>) {
    for (item, outcome) in items.into_iter().zip(outcomes) {
        // Whoever asked may have gone away.
        let _ = item.reply.send(outcome);
    }
}

/// A batch under way; its end makes room for the next, whatever happened to it.
struct Flight(Arc<Gathering>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        if tokio::runtime::Handle::try_current().is_ok() {
            self.0.clone().send();
        }
    }
}
