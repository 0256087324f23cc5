//! What may be asked of a store, as random values that shrink.
//!
//! A step names tasks and leases by a number into what is known when it is taken, so that a shrunken
//! sequence still means something.

use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::Index;
use proptest::{collection, option};

/// A time the lease of the stores under test is sure to be over after.
pub const OVER_THE_LEASE: Duration = Duration::from_secs(31);

#[derive(Clone, Debug)]
pub enum Step {
    Enqueue(Vec<Submission>),
    Resubmit {
        of: Index,
        endpoint: Option<usize>,
        here: bool,
    },
    Claim {
        max: Vec<usize>,
        aging: Duration,
        /// After whose turn.
        after: Option<u8>,
    },
    Purge {
        endpoint: usize,
        /// How long ago the latest was submitted that is meant.
        ago: Duration,
        keep: Duration,
    },
    Control {
        endpoint: usize,
        change: Change,
    },
    Renew,
    Cancel {
        task: Index,
        endpoint: Option<usize>,
        keep: Duration,
    },
    Reclaim,
    Overdue {
        max: usize,
    },
    RequestCancel {
        lease: Index,
    },
    Start {
        lease: Index,
        durable: bool,
    },
    Settle {
        lease: Index,
        ran: bool,
        end: End,
        keep: Duration,
        worker: bool,
        log: bool,
    },
    Read {
        task: Index,
    },
    List {
        endpoint: Option<usize>,
        states: Vec<usize>,
        /// A bit a tag.
        tags: u8,
        from: Option<Index>,
        after: Option<Index>,
        limit: usize,
    },
    Delete {
        task: Index,
    },
    /// Begins a batch, or finds one that was begun.
    BeginBatch {
        endpoint: usize,
        key: Option<u8>,
    },
    /// Sends lines to a batch, some of them again.
    Receive {
        batch: Index,
        custom_ids: Vec<u8>,
        refused: u64,
    },
    CloseBatch {
        batch: Index,
        cancel: bool,
    },
    /// A page of a batch, from after a line on.
    Members {
        batch: Index,
        after: Option<u8>,
        limit: usize,
        state: Option<usize>,
    },
    Prune,
    /// Takes all deliveries that are due, or what there is room for.
    Take {
        max: usize,
        per_host: usize,
        busy: bool,
    },
    Report {
        parcel: Index,
        next: Tried,
    },
    Replay {
        task: Index,
    },
    Advance(Duration),
    /// The node ends and another begins on the same data; a store that cannot reopen only loses its lease.
    Restart {
        close: bool,
    },
}

#[derive(Clone, Debug)]
pub struct Submission {
    pub endpoint: usize,
    pub priority: u8,
    /// Whose task it is; 0 is an empty key.
    pub caller: Option<u8>,
    pub delay: Duration,
    pub times: Times,
    pub key: Option<u8>,
    pub digest: Option<u8>,
    /// A bit a tag.
    pub tags: u8,
    pub here: bool,
    /// The id of a task that may be there already; a fresh one otherwise.
    pub used_id: Option<Index>,
    pub large: bool,
    /// The host that is told of the task's end.
    pub webhook: Option<u8>,
}

/// What became of a try of a delivery.
#[derive(Clone, Debug)]
pub enum Tried {
    Delivered,
    Gone,
    GivenUp,
    Again { delay: Duration },
}

/// What a task asks of the time, from its submission.
#[derive(Clone, Debug)]
pub struct Times {
    pub queue_ttl: Option<Duration>,
    pub deadline: Option<Duration>,
    pub retention: Option<Duration>,
}

#[derive(Clone, Debug)]
pub enum Change {
    Paused(bool),
    Concurrency(Option<u32>),
}

#[derive(Clone, Debug)]
pub enum End {
    Completed { bytes: usize },
    Failed { answer: bool },
    Canceled,
    Again { delay: Duration, why: Why },
}

#[derive(Clone, Copy, Debug)]
pub enum Why {
    Interrupted,
    PutBack,
    Crashed,
    Failed,
}

pub fn sequence() -> impl Strategy<Value = Vec<Step>> {
    collection::vec(step(), 1..80)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => collection::vec(submission(), 0..4).prop_map(Step::Enqueue),
        2 => (any::<Index>(), elsewhere(), any::<bool>())
            .prop_map(|(of, endpoint, here)| Step::Resubmit { of, endpoint, here }),
        6 => (collection::vec(0..6_usize, 0..4), delay(), option::of(0..5_u8))
            .prop_map(|(max, aging, after)| Step::Claim { max, aging, after }),
        1 => (0..3_usize, delay(), keep()).prop_map(|(endpoint, ago, keep)| Step::Purge { endpoint, ago, keep }),
        1 => (0..3_usize, change()).prop_map(|(endpoint, change)| Step::Control { endpoint, change }),
        2 => Just(Step::Renew),
        3 => (any::<Index>(), elsewhere(), keep())
            .prop_map(|(task, endpoint, keep)| Step::Cancel { task, endpoint, keep }),
        2 => Just(Step::Reclaim),
        3 => prop_oneof![1 => Just(1), 2 => Just(1000)].prop_map(|max| Step::Overdue { max }),
        2 => any::<Index>().prop_map(|lease| Step::RequestCancel { lease }),
        5 => (any::<Index>(), any::<bool>()).prop_map(|(lease, durable)| Step::Start { lease, durable }),
        6 => (any::<Index>(), any::<bool>(), end(), keep(), any::<bool>(), any::<bool>())
            .prop_map(|(lease, ran, end, keep, worker, log)| Step::Settle { lease, ran, end, keep, worker, log }),
        4 => any::<Index>().prop_map(|task| Step::Read { task }),
        4 => list(),
        2 => any::<Index>().prop_map(|task| Step::Delete { task }),
        2 => (0..3_usize, option::weighted(0.5, 0..2_u8))
            .prop_map(|(endpoint, key)| Step::BeginBatch { endpoint, key }),
        4 => (any::<Index>(), collection::vec(0..8_u8, 0..5), 0..3_u64)
            .prop_map(|(batch, custom_ids, refused)| Step::Receive { batch, custom_ids, refused }),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(batch, cancel)| Step::CloseBatch { batch, cancel }),
        1 => (any::<Index>(), option::of(0..8_u8), 0..4_usize, option::of(0..5_usize))
            .prop_map(|(batch, after, limit, state)| Step::Members { batch, after, limit, state }),
        2 => Just(Step::Prune),
        4 => (0..5_usize, 1..4_usize, any::<bool>())
            .prop_map(|(max, per_host, busy)| Step::Take { max, per_host, busy }),
        4 => (any::<Index>(), tried()).prop_map(|(parcel, next)| Step::Report { parcel, next }),
        1 => any::<Index>().prop_map(|task| Step::Replay { task }),
        5 => pause().prop_map(Step::Advance),
        1 => any::<bool>().prop_map(|close| Step::Restart { close }),
    ]
}

fn list() -> impl Strategy<Value = Step> {
    let states = prop_oneof![1 => Just(Vec::new()), 2 => collection::vec(0..5_usize, 1..4)];
    let tags = prop_oneof![1 => Just(0), 1 => 0..4_u8];
    let bounds = (option::weighted(0.2, any::<Index>()), option::of(any::<Index>()));
    (option::of(0..3_usize), states, tags, bounds, 0..6_usize).prop_map(
        |(endpoint, states, tags, (from, after), limit)| Step::List { endpoint, states, tags, from, after, limit },
    )
}

fn submission() -> impl Strategy<Value = Submission> {
    let used_id = option::weighted(0.05, any::<Index>());
    let large = prop_oneof![30 => Just(false), 1 => Just(true)];
    let webhook = option::weighted(0.4, 0..3_u8);
    let key = (option::weighted(0.3, 0..3_u8), option::of(0..2_u8));
    let whose = (0..3_usize, option::of(0..5_u8));
    (whose, 0..3_u8, delay(), times(), key, any::<bool>(), used_id, (large, 0..4_u8, webhook)).prop_map(
        |((endpoint, caller), priority, delay, times, (key, digest), here, used_id, (large, tags, webhook))| {
            Submission { endpoint, priority, caller, delay, times, key, digest, tags, here, used_id, large, webhook }
        },
    )
}

/// Such times as the clock is moved by; most tasks have none.
fn times() -> impl Strategy<Value = Times> {
    let time = || option::weighted(0.3, prop_oneof![delay(), Just(Duration::from_secs(30))]);
    (time(), time(), option::weighted(0.2, keep())).prop_map(|(queue_ttl, deadline, retention)| Times {
        queue_ttl,
        deadline,
        retention,
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![any::<bool>().prop_map(Change::Paused), option::of(1..100_u32).prop_map(Change::Concurrency),]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => (0..2000_usize).prop_map(|bytes| End::Completed { bytes }),
        1 => any::<bool>().prop_map(|answer| End::Failed { answer }),
        1 => Just(End::Canceled),
        4 => (delay(), why()).prop_map(|(delay, why)| End::Again { delay, why }),
    ]
}

fn tried() -> impl Strategy<Value = Tried> {
    prop_oneof![
        2 => Just(Tried::Delivered),
        1 => Just(Tried::Gone),
        1 => Just(Tried::GivenUp),
        3 => delay().prop_map(|delay| Tried::Again { delay }),
    ]
}

fn why() -> impl Strategy<Value = Why> {
    prop_oneof![Just(Why::Interrupted), Just(Why::PutBack), Just(Why::Crashed), Just(Why::Failed)]
}

/// Another endpoint than the task's own, now and then.
fn elsewhere() -> impl Strategy<Value = Option<usize>> {
    option::weighted(0.1, 0..3_usize)
}

fn delay() -> impl Strategy<Value = Duration> {
    prop_oneof![
        3 => Just(Duration::ZERO),
        1 => Just(Duration::from_micros(1)),
        1 => Just(Duration::from_secs(5)),
        1 => Just(Duration::from_secs(60)),
    ]
}

fn keep() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), Just(Duration::from_secs(60)), Just(Duration::from_secs(86_400))]
}

/// Steps of the clock that meet the delays, the lease and the times to be kept exactly, as well as between.
fn pause() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::from_micros(1)),
        Just(Duration::from_secs(5)),
        Just(Duration::from_secs(30)),
        Just(OVER_THE_LEASE),
        Just(Duration::from_secs(60)),
        Just(Duration::from_secs(86_400)),
    ]
}
