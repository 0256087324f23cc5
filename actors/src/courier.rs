//! Takes the deliveries of webhooks round: takes out of the store what is due, sends it, and records what came of it.
//!
//! It is one task of the work's pool and never holds a slot of an endpoint. What was under way when the process ended is
//! sent again by the next one, under the same id: receivers get each message at least once.
//!
//! - `sender`: one request, to an address that was checked

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::bell::Bell;
use crate::clock::{Clock, stopwatch};
use crate::store::{Outbox, Report, Reported, StoreError, Take, Taken};
use crate::task::Timestamp;
use crate::webhook::{Admission, Allowed, Answered, BadWebhook, Parcel, Schedule, Secret, Try};

mod sender;

use sender::{Sender, Trouble};

/// How often the store is looked into, whatever was heard of.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The pause before the store is asked again when it could not serve.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// How long what is under way may go on when the system ends; what does not end by then is sent again by the next one.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// How much longer a delivery is the courier's than a try takes: for recording it.
const LEASE_SPARE: Duration = Duration::from_secs(30);

/// How webhooks are delivered.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// The first signs, and so do the others: for changing over. Without any, no webhook is taken.
    pub secrets: Vec<Secret>,
    /// What may be called beside public addresses.
    pub allowed: Allowed,
    /// How long one try may take, from looking up the name to the status of the answer.
    pub timeout: Duration,
    /// Tries at a time.
    pub concurrency: usize,
    /// Tries at a time to one host.
    pub concurrency_per_host: usize,
    pub schedule: Schedule,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            secrets: Vec::new(),
            allowed: Allowed::default(),
            timeout: Duration::from_secs(15),
            concurrency: 16,
            concurrency_per_host: 4,
            schedule: Schedule::default(),
        }
    }
}

impl Webhooks {
    /// What a submission may name.
    pub fn admission(&self) -> Admission {
        let has_secret = !self.secrets.is_empty();
        Admission::new(has_secret.then(|| self.allowed.clone()))
    }
}

/// A courier that is on its way. Dropped, it is left to the end of its runtime.
pub(crate) struct OnItsWay {
    leave: CancellationToken,
    working: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl OnItsWay {
    /// Takes no more, gives what is under way a last moment, and waits for that.
    pub async fn end(&self) {
        self.leave.cancel();
        if let Some(working) = self.working.lock().await.take() {
            // A courier that panicked has said so on its own.
            let _ = working.await;
        }
    }
}

/// See the module's own words.
pub(crate) struct Courier {
    outbox: Arc<dyn Outbox>,
    round: Arc<Round>,
    bell: Bell,
    leave: CancellationToken,
    /// The tries that are under way: each answers with its host.
    under_way: JoinSet<String>,
    by_host: HashMap<String, usize>,
}

/// What every try needs.
struct Round {
    webhooks: Webhooks,
    sender: Sender,
    clock: Arc<dyn Clock>,
    outbox: Arc<dyn Outbox>,
    leave: CancellationToken,
}

impl Courier {
    /// Sends a courier on its way.
    pub fn start(
        outbox: Arc<dyn Outbox>,
        webhooks: Webhooks,
        clock: Arc<dyn Clock>,
        bell: Bell,
        pool: &runtime::Handle,
    ) -> OnItsWay {
        let leave = CancellationToken::new();
        let sender = Sender::new(webhooks.allowed.clone(), webhooks.timeout);
        let round = Round { webhooks, sender, clock, outbox: outbox.clone(), leave: leave.clone() };
        let courier = Self {
            outbox,
            round: Arc::new(round),
            bell,
            leave: leave.clone(),
            under_way: JoinSet::new(),
            by_host: HashMap::new(),
        };
        OnItsWay { leave, working: tokio::sync::Mutex::new(Some(pool.spawn(courier.work()))) }
    }

    async fn work(mut self) {
        while !self.leave.is_cancelled() {
            let pause = match self.take().await {
                Ok(pause) => pause,
                Err(StoreError::Closed) => break,
                Err(error) => {
                    tracing::warn!(%error, "deliveries of webhooks could not be taken from the store; trying again");
                    STORE_AGAIN
                }
            };
            let has_room = self.room() > 0;
            tokio::select! {
                () = self.leave.cancelled() => break,
                Some(ended) = self.under_way.join_next() => self.note_end(ended),
                () = self.bell.rung(), if has_room => {}
                () = tokio::time::sleep(pause), if has_room => {}
            }
        }
        // What does not end in time is dropped with the set.
        let all = async { while self.under_way.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_MOMENT, all).await;
    }

    fn room(&self) -> usize {
        self.round.webhooks.concurrency.saturating_sub(self.under_way.len())
    }

    /// Sets out with what is due and fits, and answers how long there will be nothing more.
    async fn take(&mut self) -> Result<Duration, StoreError> {
        let webhooks = &self.round.webhooks;
        let wish = Take {
            max: self.room(),
            per_host: webhooks.concurrency_per_host,
            under_way: self.by_host.iter().map(|(host, number)| (host.clone(), *number)).collect(),
            lease: webhooks.timeout + LEASE_SPARE,
        };
        if wish.max == 0 {
            return Ok(LOOK_AGAIN);
        }
        let Taken { parcels, next_at } = self.outbox.take(wish).await?;
        for parcel in parcels {
            *self.by_host.entry(parcel.host.clone()).or_default() += 1;
            self.under_way.spawn(self.round.clone().deliver(parcel));
        }
        let now = self.round.clock.now();
        let pause = next_at.map(|at| (at - now).to_std().unwrap_or(Duration::ZERO));
        Ok(pause.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN))
    }

    fn note_end(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(host) => {
                if let Some(number) = self.by_host.get_mut(&host) {
                    *number -= 1;
                }
                self.by_host.retain(|_, number| *number > 0);
            }
            // Its host stays counted until the process ends; the delivery is tried again when its lease is over.
            Err(error) => tracing::error!(%error, "a try of a webhook panicked: a bug"),
        }
    }
}

impl Round {
    /// One try and its record; answers with the host.
    async fn deliver(self: Arc<Self>, parcel: Parcel) -> String {
        let at = self.clock.now();
        let began = stopwatch();
        let sent = self.send(&parcel, at).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, answered, error) = match sent {
            Ok(status) => (Some(status), Answered::With(status), None),
            Err(Trouble::Answered { status, said }) => (Some(status), Answered::With(status), Some(said)),
            Err(Trouble::Unanswered(why)) => (None, Answered::Not, Some(why)),
        };
        let next = self.webhooks.schedule.next(&parcel, answered, self.clock.now());
        let id = parcel.id;
        tracing::info!(delivery = %id, host = parcel.host, status, took_ms, error, ?next, "webhook");
        let made = Try { at, status, error, took_ms };
        self.record(Report { delivery: id, fence: parcel.fence, made, next }).await;
        parcel.host
    }

    async fn send(&self, parcel: &Parcel, at: Timestamp) -> Result<u16, Trouble> {
        if self.webhooks.secrets.is_empty() {
            return Err(Trouble::Unanswered(BadWebhook::NoSecret.to_string()));
        }
        self.sender.post(parcel, at, &self.webhooks.secrets).await
    }

    /// However long the store cannot write; only the system's end gives up.
    async fn record(&self, report: Report) {
        loop {
            match self.outbox.report(report.clone()).await {
                Ok(Reported::Noted) | Err(StoreError::Closed) => return,
                Ok(Reported::FenceLost) => {
                    tracing::debug!(delivery = %report.delivery, "a late try of a webhook was not noted: it is replayed");
                    return;
                }
                Err(error) => {
                    tracing::warn!(delivery = %report.delivery, %error, "a try of a webhook could not be recorded");
                    tokio::select! {
                        () = tokio::time::sleep(STORE_AGAIN) => {}
                        () = self.leave.cancelled() => return,
                    }
                }
            }
        }
    }
}
