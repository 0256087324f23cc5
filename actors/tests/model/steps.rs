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
    Prune,
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
}

/// What a task asks of the time, from its submission.
#[derive(Clone, Debug)]
pub struct Times {
    pub queue_ttl: Option<Duration>,
    pub deadline: Option<Duration>,
    pub retention: Option<Duration>,
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
        5 => collection::vec(0..4_usize, 0..4).prop_map(|max| Step::Claim { max }),
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
        2 => Just(Step::Prune),
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
    let key = (option::weighted(0.3, 0..3_u8), option::of(0..2_u8));
    (0..3_usize, 0..3_u8, delay(), times(), key, any::<bool>(), used_id, (large, 0..4_u8)).prop_map(
        |(endpoint, priority, delay, times, (key, digest), here, used_id, (large, tags))| Submission {
            endpoint,
            priority,
            delay,
            times,
            key,
            digest,
            tags,
            here,
            used_id,
            large,
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

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => (0..2000_usize).prop_map(|bytes| End::Completed { bytes }),
        1 => any::<bool>().prop_map(|answer| End::Failed { answer }),
        1 => Just(End::Canceled),
        4 => (delay(), why()).prop_map(|(delay, why)| End::Again { delay, why }),
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
