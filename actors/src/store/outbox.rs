//! What the courier does with the store: it takes deliveries out, and says what came of them.

use std::time::Duration;

use crate::store::Answer;
use crate::task::Timestamp;
use crate::webhook::{Delivery, DeliveryId, Next, Parcel, Try};

/// A wish for deliveries to try.
#[derive(Clone, Debug)]
pub struct Take {
    pub max: usize,
    /// The most that may be under way to one host.
    pub per_host: usize,
    /// How many are under way already, by host.
    pub under_way: Vec<(String, usize)>,
    /// How long they are the taker's.
    pub lease: Duration,
}

impl Take {
    /// How many more may go to a host.
    pub(super) fn room_at(&self, host: &str) -> usize {
        let under_way = self.under_way.iter().find(|(busy, _)| busy == host).map_or(0, |(_, number)| *number);
        self.per_host.saturating_sub(under_way)
    }

    /// Counts one more that is under way.
    pub(super) fn note(&mut self, host: &str, number: usize) {
        match self.under_way.iter_mut().find(|(busy, _)| busy == host) {
            Some((_, under_way)) => *under_way += number,
            None => self.under_way.push((host.to_owned(), number)),
        }
    }
}

/// What `take` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub parcels: Vec<Parcel>,
    /// When the next one can be taken of those whose host has room then.
    pub next_at: Option<Timestamp>,
}

/// What came of a try.
#[derive(Clone, Debug)]
pub struct Report {
    pub delivery: DeliveryId,
    /// That of the [`Parcel`].
    pub fence: u32,
    pub made: Try,
    pub next: Next,
}

/// What `report` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    Noted,
    /// It was taken again in between, or is not there any more: the report is refused.
    FenceLost,
}

/// What `replay` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is due now, and its tries begin anew.
    Due,
    Unknown,
}

/// Deliveries of webhooks. A store records one with the end it tells of, in the same step: there is no end without its
/// delivery.
///
/// A delivery is deleted with the task it tells of; one that is still pending then, when it has ended.
pub trait Outbox: Send + Sync + 'static {
    /// Takes deliveries that are due and that nobody has: of each host the longest due first, to none more than there
    /// is room for. Nobody else gets them until the lease is over, or this node has ended.
    fn take(&self, wish: Take) -> Answer<Taken>;

    /// Records a try, and what becomes of the delivery, if it was not taken again since; durable when it answers.
    fn report(&self, report: Report) -> Answer<Reported>;

    /// Makes a delivery due, whatever has become of it, as if what it tells of had ended now. It keeps its id and its
    /// body.
    fn replay(&self, delivery: DeliveryId) -> Answer<Replayed>;

    /// A delivery and its log; `None` where what has that id has not ended, or asked for none.
    fn delivery(&self, delivery: DeliveryId) -> Answer<Option<Delivery>>;
}
