//! Deliveries of webhooks: rows as values, and what the courier's calls do inside the writer's transaction.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock;
use crate::store::{Answer, Outbox, Replayed, Report, Reported, Take, Taken};
use crate::task::{Batch, Task, Timestamp};
use crate::webhook::{Delivery, DeliveryId, DeliveryState, NewDelivery, Next, Parcel, Subject, Try, note_try};

use super::EmbeddedStore;
use super::calls::{Call, Trouble};
use super::headers;
use super::queue::limit;
use super::reader::Question;
use super::rows::{id_at, micros, time, unreadable};
use super::writer::Writer;

impl Outbox for EmbeddedStore {
    fn take(&self, wish: Take) -> Answer<Taken> {
        self.call(|asker| Call::Take(wish, asker))
    }

    fn report(&self, report: Report) -> Answer<Reported> {
        self.call(|asker| Call::Report(report, asker))
    }

    fn replay(&self, delivery: DeliveryId) -> Answer<Replayed> {
        self.call(|asker| Call::Replay(delivery, asker))
    }

    fn delivery(&self, delivery: DeliveryId) -> Answer<Option<Delivery>> {
        self.question(|asker| Question::Delivery(delivery, asker))
    }
}

/// A delivery with what the store alone knows of it.
struct DeliveryRow {
    delivery: Delivery,
    host: String,
    body: String,
    traceparent: Option<String>,
    fence: u32,
    begun_at: Timestamp,
    tries: u32,
    orphan: bool,
}

impl DeliveryRow {
    /// Reads the columns as `delivery_by_id.sql` has them.
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let log: Vec<Try> = match row.get_ref(10)?.as_str_or_null()? {
            Some(log) => serde_json::from_str(log).map_err(|_| unreadable(10, "a log that is not ours"))?,
            None => Vec::new(),
        };
        let state = usize::from(row.get::<_, u8>(2)?);
        let state = DeliveryState::ALL.get(state);
        let delivery = Delivery {
            id: DeliveryId::from(id_at(row, 0)?),
            about: about_at(row, 1)?,
            url: row.get(4)?,
            state: *state.ok_or_else(|| unreadable(2, "a number that is no state of a delivery"))?,
            tries: log,
            next_at: row.get::<_, Option<i64>>(11)?.map(|micros| time(11, micros)).transpose()?,
        };
        Ok(Self {
            delivery,
            host: row.get(3)?,
            body: row.get(5)?,
            traceparent: row.get(6)?,
            fence: row.get(7)?,
            begun_at: time(8, row.get(8)?)?,
            tries: row.get(9)?,
            orphan: row.get(13)?,
        })
    }
}

/// A row of `delivery_by_id.sql` as others see it.
pub(super) fn shown(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    DeliveryRow::read(row).map(|row| row.delivery)
}

/// What processes before this one had taken can be taken again at once: they are gone.
pub(super) fn free_what_was_taken(connection: &Connection) -> rusqlite::Result<()> {
    let mut freed = connection.prepare(include_str!("free_deliveries.sql"))?;
    let hosts: Vec<String> = freed.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for host in hosts {
        connection.execute(include_str!("note_destination.sql"), [host])?;
    }
    Ok(())
}

impl Writer<'_> {
    /// What a task that has just ended leaves, where its submission named a webhook.
    pub fn announce_end(&mut self, task: &Task, seq: i64) -> Result<(), Trouble> {
        if !asks(task) {
            return Ok(());
        }
        let traceparent = self.traceparent(seq)?;
        let delivery = NewDelivery::of(task, &self.desk.render, || traceparent);
        delivery.map_or(Ok(()), |delivery| Ok(self.insert_delivery(&delivery)?))
    }

    /// What a batch that has just ended leaves, where its sender named a webhook.
    pub fn announce_batch_end(&mut self, batch: &Batch, webhook: Option<&str>) -> rusqlite::Result<()> {
        let delivery = NewDelivery::of_batch(batch, webhook, &self.desk.render);
        delivery.map_or(Ok(()), |delivery| self.insert_delivery(&delivery))
    }

    fn traceparent(&mut self, seq: i64) -> Result<Option<String>, Trouble> {
        let read = |row: &Row<'_>| row.get::<_, Option<Vec<u8>>>(0);
        let bytes = self.sql.headers_of_input.query_row([seq], read).optional()?.flatten();
        let headers = headers::decode(bytes.as_deref());
        Ok(headers.and_then(|headers| headers.get("traceparent").map(str::to_owned)))
    }

    /// Records a delivery that is due now, with whatever else this group does.
    pub fn insert_delivery(&mut self, delivery: &NewDelivery) -> rusqlite::Result<()> {
        let NewDelivery { id, about, url, body, traceparent } = delivery;
        // An id may be used again once its task is deleted.
        self.drop_delivery(*id)?;
        let host = delivery.host();
        let begun_at = micros(self.group.now);
        let params = (id.as_bytes(), about_number(*about), &host, url, body, traceparent, begun_at);
        self.sql.insert_delivery.execute(params)?;
        self.note_destination(&host)
    }

    pub fn take(&mut self, mut wish: Take) -> Result<Taken, Trouble> {
        let mut taken = Taken::default();
        for host in self.due_destinations(&wish)? {
            let room = wish.room_at(&host).min(wish.max - taken.parcels.len());
            let due = self.due_deliveries(&host, room)?;
            wish.note(&host, due.len());
            for row in due {
                taken.parcels.push(self.take_one(row, &wish)?);
            }
            self.note_destination(&host)?;
        }
        taken.next_at = self.next_free(&wish)?;
        Ok(taken)
    }

    /// Each host that is not full has one to take, so that these are enough.
    fn due_destinations(&mut self, wish: &Take) -> rusqlite::Result<Vec<String>> {
        let most = if wish.max == 0 { 0 } else { wish.max.saturating_add(full_hosts(wish)) };
        let rows = self.sql.due_destinations.query_map((micros(self.group.now), limit(most)), |row| row.get(0))?;
        rows.collect()
    }

    fn due_deliveries(&mut self, host: &str, most: usize) -> rusqlite::Result<Vec<DeliveryRow>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let params = (host, micros(self.group.now), limit(most));
        self.sql.due_deliveries.query_map(params, DeliveryRow::read)?.collect()
    }

    fn take_one(&mut self, row: DeliveryRow, wish: &Take) -> Result<Parcel, Trouble> {
        let DeliveryRow { delivery, host, body, traceparent, fence, begun_at, tries, .. } = row;
        let fence = fence + 1;
        let until = clock::after(self.group.now, wish.lease);
        self.sql.take_delivery.execute((delivery.id.as_bytes(), fence, micros(until)))?;
        Ok(Parcel { id: delivery.id, fence, host, url: delivery.url, body, traceparent, begun_at, tries })
    }

    fn next_free(&mut self, wish: &Take) -> rusqlite::Result<Option<Timestamp>> {
        let most = limit(full_hosts(wish).saturating_add(1));
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, time(1, row.get(1)?)?));
        for row in self.sql.next_destinations.query_map([most], read)? {
            let (host, free_at) = row?;
            if wish.room_at(&host) > 0 {
                return Ok(Some(free_at));
            }
        }
        Ok(None)
    }

    pub fn report(&mut self, report: Report) -> Result<Reported, Trouble> {
        let Report { delivery: id, fence, made, next } = report;
        let row = self.delivery_row(id)?.filter(|row| row.fence == fence);
        let Some(DeliveryRow { mut delivery, host, tries, orphan, .. }) = row else { return Ok(Reported::FenceLost) };
        let (state, next_at) = match next {
            Next::Delivered => (DeliveryState::Delivered, None),
            Next::Gone => (DeliveryState::Gone, None),
            Next::GivenUp => (DeliveryState::Failed, None),
            Next::Again(at) => (DeliveryState::Pending, Some(micros(at))),
        };
        if orphan && next_at.is_none() {
            self.sql.delete_delivery.execute([id.as_bytes()])?;
        } else {
            note_try(&mut delivery.tries, made);
            let log = serde_json::to_string(&delivery.tries).expect("text and numbers are always JSON");
            // A taking is reported on once.
            self.sql.note_try.execute((id.as_bytes(), state_number(state), fence + 1, tries + 1, log, next_at))?;
        }
        self.note_destination(&host)?;
        Ok(Reported::Noted)
    }

    pub fn replay(&mut self, id: DeliveryId) -> Result<Replayed, Trouble> {
        let Some(row) = self.delivery_row(id)? else { return Ok(Replayed::Unknown) };
        // A try that is under way does not end what begins now.
        self.sql.replay_delivery.execute((id.as_bytes(), row.fence + 1, micros(self.group.now)))?;
        self.note_destination(&row.host)?;
        Ok(Replayed::Due)
    }

    /// Deletes a delivery, if it is there.
    pub fn drop_delivery(&mut self, id: DeliveryId) -> rusqlite::Result<()> {
        let Some(row) = self.delivery_row(id)? else { return Ok(()) };
        self.sql.delete_delivery.execute([id.as_bytes()])?;
        self.note_destination(&row.host)
    }

    /// The task is deleted, and with it what tells of its end.
    pub fn orphan_delivery_of(&mut self, task: &Task) -> Result<(), Trouble> {
        if asks(task) { self.orphan_delivery(task.id.into()) } else { Ok(()) }
    }

    /// What a delivery tells of is deleted: it goes too, now or when it has ended.
    pub fn orphan_delivery(&mut self, id: DeliveryId) -> Result<(), Trouble> {
        let Some(row) = self.delivery_row(id)? else { return Ok(()) };
        match row.delivery.state {
            DeliveryState::Pending => self.sql.orphan_delivery.execute([id.as_bytes()])?,
            DeliveryState::Delivered | DeliveryState::Failed | DeliveryState::Gone => {
                self.sql.delete_delivery.execute([id.as_bytes()])?
            }
        };
        Ok(())
    }

    fn delivery_row(&mut self, id: DeliveryId) -> rusqlite::Result<Option<DeliveryRow>> {
        self.sql.delivery_by_id.query_row([id.as_bytes()], DeliveryRow::read).optional()
    }

    /// Keeps what is known of a host as its deliveries are.
    fn note_destination(&mut self, host: &str) -> rusqlite::Result<()> {
        let written = self.sql.note_destination.execute([host])?;
        if written == 0 {
            self.sql.forget_destination.execute([host])?;
        }
        Ok(())
    }
}

/// How many hosts have no room.
fn full_hosts(wish: &Take) -> usize {
    wish.under_way.iter().filter(|(_, number)| *number >= wish.per_host).count()
}

/// Whether a task's submission named a webhook.
fn asks(task: &Task) -> bool {
    task.options.as_ref().is_some_and(|options| options.webhook.is_some())
}

fn state_number(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Pending => 0,
        DeliveryState::Delivered => 1,
        DeliveryState::Failed => 2,
        DeliveryState::Gone => 3,
    }
}

fn about_number(about: Subject) -> i64 {
    match about {
        Subject::Task => 0,
        Subject::Batch => 1,
    }
}

fn about_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Subject> {
    match row.get(column)? {
        0 => Ok(Subject::Task),
        1 => Ok(Subject::Batch),
        _ => Err(unreadable(column, "a number that is nothing to tell of")),
    }
}
