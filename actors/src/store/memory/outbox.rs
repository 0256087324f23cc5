//! The deliveries of the memory store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::clock;
use crate::store::{Answer, Outbox, Replayed, Report, Reported, Take, Taken};
use crate::task::{Batch, Timestamp};
use crate::webhook::{Delivery, DeliveryId, DeliveryState, NewDelivery, Next, Parcel, Render, note_try};

use super::{MemoryStore, tables};

impl Outbox for MemoryStore {
    fn take(&self, wish: Take) -> Answer<Taken> {
        self.step(|kept, now| Ok(kept.tables.deliveries.take(wish, now)))
    }

    fn report(&self, report: Report) -> Answer<Reported> {
        self.step(|kept, _| Ok(kept.tables.deliveries.report(report)))
    }

    fn replay(&self, delivery: DeliveryId) -> Answer<Replayed> {
        self.step(|kept, now| Ok(kept.tables.deliveries.replay(delivery, now)))
    }

    fn delivery(&self, delivery: DeliveryId) -> Answer<Option<Delivery>> {
        self.step(|kept, _| Ok(kept.tables.deliveries.get(delivery).cloned()))
    }
}

pub(super) struct Deliveries {
    render: Render,
    rows: HashMap<DeliveryId, Row>,
    /// What can be taken and when, by host.
    waiting: BTreeMap<String, BTreeSet<(Timestamp, DeliveryId)>>,
}

struct Row {
    delivery: Delivery,
    host: String,
    body: String,
    traceparent: Option<String>,
    fence: u32,
    begun_at: Timestamp,
    /// Since it began.
    tries: u32,
    /// When it can be taken: when it is due, or while it is taken, when that ends.
    free_at: Option<Timestamp>,
    /// What it tells of is deleted.
    orphan: bool,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self::new(Render::default())
    }
}

impl Deliveries {
    pub fn new(render: Render) -> Self {
        Self { render, rows: HashMap::new(), waiting: BTreeMap::new() }
    }

    /// What a batch leaves that has just ended, where its sender named a webhook.
    pub fn announce_batch(&mut self, ended: &Batch, webhook: Option<&str>, now: Timestamp) {
        if let Some(delivery) = NewDelivery::of_batch(ended, webhook, &self.render) {
            self.add(delivery, now);
        }
    }

    /// What a task leaves that has ended by now, where its submission named a webhook.
    pub fn announce(&mut self, ended: &tables::Row) {
        let Some(ended_at) = ended.task.finished_at else { return };
        let traceparent = || ended.input.headers.get("traceparent").map(str::to_owned);
        if let Some(delivery) = NewDelivery::of(&ended.task, &self.render, traceparent) {
            self.add(delivery, ended_at);
        }
    }

    /// Records a delivery that is due now.
    pub fn add(&mut self, new: NewDelivery, now: Timestamp) {
        // An id may be used again once its task is deleted.
        self.leave(new.id);
        let host = new.host();
        let NewDelivery { id, about, url, body, traceparent } = new;
        let state = DeliveryState::Pending;
        let delivery = Delivery { id, about, url, state, tries: Vec::new(), next_at: Some(now) };
        let row = Row {
            delivery,
            host,
            body,
            traceparent,
            fence: 0,
            begun_at: now,
            tries: 0,
            free_at: Some(now),
            orphan: false,
        };
        self.enter(row);
    }

    pub fn get(&self, id: DeliveryId) -> Option<&Delivery> {
        self.rows.get(&id).map(|row| &row.delivery)
    }

    pub fn take(&mut self, mut wish: Take, now: Timestamp) -> Taken {
        let mut taken = Taken::default();
        let due = self.waiting.iter().filter_map(|(host, line)| Some((line.first()?.0, host.clone())));
        let mut hosts: Vec<_> = due.filter(|(free_at, _)| *free_at <= now).collect();
        hosts.sort();
        for (_, host) in hosts {
            let room = wish.room_at(&host).min(wish.max - taken.parcels.len());
            let line = self.waiting[&host].iter().take_while(|(free_at, _)| *free_at <= now);
            let due: Vec<DeliveryId> = line.take(room).map(|(_, id)| *id).collect();
            wish.note(&host, due.len());
            for id in due {
                taken.parcels.push(self.take_one(id, clock::after(now, wish.lease)));
            }
        }
        let open = self.waiting.iter().filter(|(host, _)| wish.room_at(host) > 0);
        taken.next_at = open.filter_map(|(_, line)| line.first()).map(|(free_at, _)| *free_at).min();
        taken
    }

    fn take_one(&mut self, id: DeliveryId, until: Timestamp) -> Parcel {
        let mut row = self.leave(id).expect("the line names deliveries that are there");
        row.fence += 1;
        row.free_at = Some(until);
        let parcel = Parcel {
            id,
            fence: row.fence,
            host: row.host.clone(),
            url: row.delivery.url.clone(),
            body: row.body.clone(),
            traceparent: row.traceparent.clone(),
            begun_at: row.begun_at,
            tries: row.tries,
        };
        self.enter(row);
        parcel
    }

    pub fn report(&mut self, report: Report) -> Reported {
        let Report { delivery: id, fence, made, next } = report;
        let holds = self.rows.get(&id).is_some_and(|row| row.fence == fence);
        if !holds {
            return Reported::FenceLost;
        }
        let mut row = self.leave(id).expect("it was just there");
        // A taking is reported on once.
        row.fence += 1;
        row.tries += 1;
        note_try(&mut row.delivery.tries, made);
        (row.delivery.state, row.delivery.next_at) = match next {
            Next::Delivered => (DeliveryState::Delivered, None),
            Next::Gone => (DeliveryState::Gone, None),
            Next::GivenUp => (DeliveryState::Failed, None),
            Next::Again(at) => (DeliveryState::Pending, Some(at)),
        };
        row.free_at = row.delivery.next_at;
        let forgotten = row.orphan && row.free_at.is_none();
        if !forgotten {
            self.enter(row);
        }
        Reported::Noted
    }

    pub fn replay(&mut self, id: DeliveryId, now: Timestamp) -> Replayed {
        let Some(mut row) = self.leave(id) else { return Replayed::Unknown };
        row.delivery.state = DeliveryState::Pending;
        row.delivery.next_at = Some(now);
        row.free_at = Some(now);
        // A try that is under way does not end what begins now.
        row.fence += 1;
        (row.begun_at, row.tries) = (now, 0);
        self.enter(row);
        Replayed::Due
    }

    /// Deletes a delivery, if it is there.
    pub fn forget(&mut self, id: DeliveryId) {
        self.leave(id);
    }

    /// What a delivery tells of is deleted: it goes too, now or when it has ended.
    pub fn orphan(&mut self, id: DeliveryId) {
        let Some(mut row) = self.leave(id) else { return };
        row.orphan = true;
        if row.free_at.is_some() {
            self.enter(row);
        }
    }

    fn enter(&mut self, row: Row) {
        let id = row.delivery.id;
        if let Some(free_at) = row.free_at {
            self.waiting.entry(row.host.clone()).or_default().insert((free_at, id));
        }
        self.rows.insert(id, row);
    }

    fn leave(&mut self, id: DeliveryId) -> Option<Row> {
        let row = self.rows.remove(&id)?;
        if let (Some(free_at), Some(line)) = (row.free_at, self.waiting.get_mut(&row.host)) {
            line.remove(&(free_at, id));
            if line.is_empty() {
                self.waiting.remove(&row.host);
            }
        }
        Some(row)
    }
}
