//! Runs what blocks and cannot be interrupted: so many at a time, whether or not anybody still waits for them.

use std::sync::Arc;

use tokio::select;
use tokio::sync::Semaphore;

use crate::executor::handler::Handler;
use crate::executor::{Attempt, Executor};
use crate::task::Outcome;

/// The right to run, so many times at once.
#[derive(Clone)]
pub struct Runs {
    permits: Arc<Semaphore>,
}

impl Runs {
    /// As many as can be counted where `most` is more.
    pub fn at_most(most: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))) }
    }

    /// Waits for a permit, then does the work on a thread of its own.
    ///
    /// Answers `Canceled` as soon as the attempt is canceled. Work that has begun goes on then, as it does when this
    /// future is dropped, and gives its permit back when it is done.
    pub async fn run(self, attempt: Attempt, work: impl Fn(Attempt) -> Outcome + Send + Sync + 'static) -> Outcome {
        let cancellation = attempt.cancellation.clone();
        let running = async move {
            let permit = self.permits.acquire_owned().await.expect("nobody closes the semaphore");
            let holding = move |attempt| {
                let _held_until_the_thread_is_done = &permit;
                work(attempt)
            };
            Handler::blocking(holding).run(attempt).await
        };
        select! {
            biased;
            () = cancellation.cancelled() => Outcome::Canceled,
            outcome = running => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::executor::{Outputs, Report};
    use crate::spool::{BlobName, Blobs};
    use crate::task::{EndpointName, Input, Output, TaskId};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn attempt() -> Attempt {
        let task = TaskId::generate();
        Attempt {
            task,
            endpoint: EndpointName::new("test").unwrap(),
            number: 1,
            timeout: None,
            input: Input::default(),
            cancellation: CancellationToken::new(),
            report: Report::unwatched(),
            outputs: Outputs::new(Blobs::in_memory(), BlobName::Output(task, 1), 1000),
        }
    }

    fn done() -> Outcome {
        Outcome::Done(Output::new("text/plain", "done"))
    }

    /// Work that tells when it has begun and then waits to be released.
    fn stalling()
    -> (impl Fn(Attempt) -> Outcome + Send + Sync + 'static, tokio::sync::mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (begun, has_begun) = tokio::sync::mpsc::channel(1);
        let (release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let work = move |_| {
            begun.blocking_send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
            done()
        };
        (work, has_begun, release)
    }

    #[tokio::test]
    async fn a_canceled_attempt_ends_at_once_and_its_run_keeps_the_permit() {
        let runs = Runs::at_most(1);
        let (work, mut has_begun, release) = stalling();
        let attempt_given_up = attempt();
        let cancellation = attempt_given_up.cancellation.clone();
        let first = tokio::spawn(runs.clone().run(attempt_given_up, work));
        has_begun.recv().await.unwrap();
        cancellation.cancel();
        let outcome = timeout(PATIENCE, first).await.unwrap().unwrap();
        assert!(matches!(outcome, Outcome::Canceled), "{outcome:?}");
        assert_eq!(runs.permits.available_permits(), 0, "the run goes on");

        let second = tokio::spawn(runs.run(attempt(), |_| done()));
        release.send(()).unwrap();
        let outcome = timeout(PATIENCE, second).await.unwrap().unwrap();
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }

    #[tokio::test]
    async fn an_attempt_canceled_while_it_waits_for_a_permit_never_runs() {
        let runs = Runs::at_most(0);
        let waiting = attempt();
        let cancellation = waiting.cancellation.clone();
        let waiting = tokio::spawn(runs.run(waiting, |_| unreachable!("there is no permit")));
        cancellation.cancel();
        let outcome = timeout(PATIENCE, waiting).await.unwrap().unwrap();
        assert!(matches!(outcome, Outcome::Canceled), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_panic_gives_the_permit_back_and_harms_no_other_attempt() {
        let runs = Runs::at_most(1);
        let panicked = tokio::spawn(runs.clone().run(attempt(), |_| panic!("spilt"))).await;
        assert!(panicked.unwrap_err().is_panic());
        let outcome = timeout(PATIENCE, runs.run(attempt(), |_| done())).await.unwrap();
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
}
