//! One worker at work: which attempts it has, and what is said to it.
//!
//! An attempt holds its slot until the worker has ended it or is gone, whatever became of whoever waited for it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::ProcessOptions;
use super::answer::{self, Deaf};
use super::ending::Ending;
use super::frame::{TooLong, frame_start};
use super::launch::{Group, Ready};
use super::message::{Offer, ToWorker};
use super::pool::Slot;
use crate::body::Body;
use crate::executor::{Attempt, Outputs, Report};
use crate::spool;
use crate::task::{Failure, FailureCode, Outcome, TaskId};

/// How long what a worker said before it ended is still read.
const LAST_WORDS_TIME: Duration = Duration::from_secs(5);

/// A worker that has said hello.
pub struct Worker {
    pub group: Arc<Group>,
    /// How many attempts it runs at a time.
    pub concurrency: usize,
    offer: Offer,
    grace: Duration,
    timeout: Option<Duration>,
    runtime: Handle,
    outbox: mpsc::UnboundedSender<Outgoing>,
    attempts: Mutex<Attempts>,
    has_completed: AtomicBool,
}

#[derive(Default)]
struct Attempts {
    last_id: u64,
    in_flight: HashMap<u64, InFlight>,
    /// The worker is gone: nothing is handed to it any more.
    ended: bool,
}

struct InFlight {
    task: TaskId,
    outputs: Outputs,
    report: Report,
    is_told_to_stop: bool,
    answer: oneshot::Sender<Outcome>,
    slot: Slot,
}

/// A frame on its way to the worker.
struct Outgoing {
    start: Bytes,
    body: Body,
}

/// What it takes to attend to a worker.
pub struct Attendance {
    worker: Arc<Worker>,
    ready: Ready,
    inbox: mpsc::UnboundedReceiver<Outgoing>,
}

impl Worker {
    pub fn new(ready: Ready, options: &ProcessOptions, runtime: Handle) -> (Arc<Self>, Attendance) {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let worker = Arc::new(Self {
            group: ready.leash.group.clone(),
            concurrency: ready.hello.concurrency.min(options.threads),
            offer: ready.offer.clone(),
            grace: options.grace,
            timeout: options.timeout,
            runtime,
            outbox,
            attempts: Mutex::default(),
            has_completed: AtomicBool::new(false),
        });
        (worker.clone(), Attendance { worker, ready, inbox })
    }

    /// Whether an attempt of it came to a result.
    pub fn has_completed(&self) -> bool {
        self.has_completed.load(Ordering::Acquire)
    }

    /// Tells it that no more attempts will come, and kills it where it is still there after the grace time.
    pub fn exit(self: &Arc<Self>) {
        self.say(&ToWorker::Exit);
        self.end_after_grace(|_| true);
    }

    /// Tells it to stop an attempt, and kills it where it has not done so after the grace time. Harmless for an
    /// attempt that has ended.
    fn stop(self: &Arc<Self>, id: u64) {
        let newly_told = match self.attempts().in_flight.get_mut(&id) {
            Some(attempt) => !std::mem::replace(&mut attempt.is_told_to_stop, true),
            None => false,
        };
        if newly_told {
            self.say(&ToWorker::Cancel { id });
            self.end_after_grace(move |worker| worker.attempts().in_flight.contains_key(&id));
        }
    }

    fn end_after_grace(self: &Arc<Self>, still_due: impl FnOnce(&Self) -> bool + Send + 'static) {
        let (worker, grace) = (Arc::downgrade(self), self.grace);
        self.runtime.spawn(async move {
            sleep(grace).await;
            if let Some(worker) = worker.upgrade().filter(|worker| still_due(worker)) {
                worker.group.end(Ending::Stubborn(grace));
            }
        });
    }

    fn say(&self, message: &ToWorker) {
        let start = frame_start(&message.header(), 0).expect("a short header fits a frame");
        // It is not heard where the worker is gone, and need not be.
        let _ = self.outbox.send(Outgoing { start, body: Body::default() });
    }

    /// Whether it was given an attempt that has ended.
    pub fn has_ended(&self, id: u64) -> bool {
        let attempts = self.attempts();
        (1..=attempts.last_id).contains(&id) && !attempts.in_flight.contains_key(&id)
    }

    /// Where the output of an attempt goes; `None` where there is no such attempt.
    pub fn outputs(&self, id: u64) -> Option<Outputs> {
        self.attempts().in_flight.get(&id).map(|attempt| attempt.outputs.clone())
    }

    /// Whose attempt it is, and what takes what it tells.
    pub fn teller(&self, id: u64) -> Option<(TaskId, Report)> {
        self.attempts().in_flight.get(&id).map(|attempt| (attempt.task, attempt.report.clone()))
    }

    /// Ends an attempt: frees its slot and answers whoever waits for it.
    pub fn settle(&self, id: u64, outcome: Outcome) {
        self.group.log.catch_up();
        let ended = {
            let mut attempts = self.attempts();
            let ended = attempts.in_flight.remove(&id);
            self.group.log.tag(sole_teller(&attempts.in_flight));
            ended
        };
        if matches!(outcome, Outcome::Done(_)) {
            self.has_completed.store(true, Ordering::Release);
        }
        if let Some(InFlight { slot, answer, .. }) = ended {
            drop(slot);
            // Nobody listens where the attempt was given up.
            let _ = answer.send(outcome);
        }
    }

    /// Puts an attempt among those in flight and its frame on the way; `None` where the worker is gone.
    fn begin(&self, slot: Slot, attempt: &Attempt) -> Option<Result<Begun, TooLong>> {
        let (answer, answered) = oneshot::channel();
        self.group.log.catch_up();
        let mut attempts = self.attempts();
        if attempts.ended {
            return None;
        }
        attempts.last_id += 1;
        let id = attempts.last_id;
        let run = ToWorker::Run {
            id,
            task: &self.offer.name,
            task_id: attempt.task.to_string(),
            endpoint: attempt.endpoint.as_str(),
            attempt: attempt.number,
            timeout_ms: attempt
                .timeout
                .or(self.timeout)
                .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            headers: attempt.input.headers.iter().collect(),
        };
        let start = match frame_start(&run.header(), attempt.input.body.len()) {
            Ok(start) => start,
            Err(too_long) => {
                drop(attempts);
                return Some(Err(too_long));
            }
        };
        let in_flight = InFlight {
            task: attempt.task,
            outputs: attempt.outputs.clone(),
            report: attempt.report.clone(),
            is_told_to_stop: false,
            answer,
            slot,
        };
        attempt.report.worker(&format!("pid {}", self.group.pid));
        attempts.in_flight.insert(id, in_flight);
        self.group.log.tag(sole_teller(&attempts.in_flight));
        // Said under the lock, so that a stop cannot overtake it. Where it is not heard, the worker's end answers.
        let _ = self.outbox.send(Outgoing { start, body: attempt.input.body.clone() });
        Some(Ok(Begun { id, answered }))
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().expect("nobody panics while holding it")
    }

    /// Answers all that is in flight with the worker's end.
    fn give_back(&self, ending: &Ending) {
        let in_flight = {
            let mut attempts = self.attempts();
            attempts.ended = true;
            std::mem::take(&mut attempts.in_flight)
        };
        for InFlight { slot, answer, is_told_to_stop, .. } in in_flight.into_values() {
            drop(slot);
            let outcome = match is_told_to_stop {
                true => Outcome::Canceled,
                false => {
                    let failure = Failure::new(ending.code(), format!("the worker {ending}"));
                    Outcome::Crashed(failure.with_log(&self.group.log.tail()))
                }
            };
            // Nobody listens where the attempt was given up.
            let _ = answer.send(outcome);
        }
    }
}

fn sole_teller(in_flight: &HashMap<u64, InFlight>) -> Option<(TaskId, Report)> {
    let mut all = in_flight.values();
    let first = all.next().filter(|_| all.next().is_none())?;
    Some((first.task, first.report.clone()))
}

struct Begun {
    id: u64,
    answered: oneshot::Receiver<Outcome>,
}

/// Stops an attempt when it is let go of; one that has ended is not touched.
struct StopWhenDropped {
    worker: Arc<Worker>,
    id: u64,
}

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.worker.stop(self.id);
    }
}

/// Runs an attempt in a slot; `None` where its worker had ended before, so that another slot is to be sought.
pub async fn run(slot: Slot, attempt: &Attempt) -> Option<Outcome> {
    let worker = slot.worker().clone();
    let Begun { id, mut answered } = match worker.begin(slot, attempt)? {
        Ok(begun) => begun,
        Err(too_long) => return Some(Outcome::failed(FailureCode::TooLarge, too_long.to_string())),
    };
    let given_up = StopWhenDropped { worker, id };
    let outcome = tokio::select! {
        outcome = &mut answered => outcome,
        () = attempt.cancellation.cancelled() => {
            given_up.worker.stop(id);
            answered.await
        }
    };
    // Without an answer the runtime goes down, and the worker with it.
    Some(outcome.unwrap_or(Outcome::Canceled))
}

impl Attendance {
    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// Carries all that is said between the worker and us until it is gone; then answers what it left behind.
    /// Dropped before, it kills the worker.
    pub async fn attend(self) -> Ending {
        let Self { worker, ready, inbox } = self;
        let Ready { mut leash, mut frames, sink, .. } = ready;
        let heard = {
            let mut hearing = pin!(answer::hear(&worker, &mut frames));
            tokio::select! {
                deaf = &mut hearing => Some(deaf),
                _ = leash.ended() => {
                    // A descendant may keep the channel open; what the worker said last may end an attempt.
                    worker.group.kill();
                    timeout(LAST_WORDS_TIME, hearing).await.ok()
                }
                never = speak(&worker, sink, inbox) => match never {},
            }
        };
        match heard {
            Some(Deaf::Closed) => leash.closed().await,
            Some(Deaf::Breach(rule)) => worker.group.end(Ending::Breach(rule)),
            None => {}
        }
        let ending = leash.finish().await;
        worker.give_back(&ending);
        ending
    }
}

/// Writes what is to be said. It never ends: a channel that broke is noticed where it is read.
async fn speak(worker: &Worker, mut sink: OwnedWriteHalf, mut inbox: mpsc::UnboundedReceiver<Outgoing>) -> Infallible {
    while let Some(outgoing) = inbox.recv().await {
        if sink.write_all(&outgoing.start).await.is_err() {
            break;
        }
        let mut chunks = pin!(spool::chunks(outgoing.body));
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) if sink.write_all(&chunk).await.is_ok() => {}
                Ok(_) => break,
                Err(error) => {
                    worker.group.end(Ending::GivenUp(format!("an input could not be read from disk: {error}")));
                    break;
                }
            }
        }
    }
    pending().await
}
