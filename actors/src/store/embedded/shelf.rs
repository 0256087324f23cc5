//! What is due on an endpoint, as a claim looks at it: steps into the index task_waiting.
//!
//! What waits for its time is not on the shelf. The columns cannot tell whether it has come, so a claim first notes,
//! in `ripe`, of which tasks it has.

use rusqlite::OptionalExtension;

use crate::store::Claimed;
use crate::store::fair::Shelf;
use crate::task::{Priority, Timestamp};

use super::calls::Trouble;
use super::queue::limit;
use super::rows::{EndpointId, Row, micros, time};
use super::writer::Writer;

/// The most tasks of which one claim notes that they are due.
const RIPEN_MAX: i64 = 1000;

impl Writer<'_> {
    /// Puts what is due by now on the shelf.
    pub fn ripen(&mut self, endpoint: EndpointId) -> Result<(), Trouble> {
        let now = micros(self.group.now);
        self.sql.ripen.execute((endpoint.0, now, RIPEN_MAX))?;
        Ok(())
    }

    /// When the next task of an endpoint is due that is not on the shelf.
    pub fn next_due(&mut self, endpoint: EndpointId) -> Result<Option<Timestamp>, Trouble> {
        Ok(self.sql.next_due.query_row([endpoint.0], |row| time(0, row.get(0)?)).optional()?)
    }
}

/// What a claim takes is taken down in `taken`.
pub(super) struct OfEndpoint<'w, 'c> {
    pub writer: &'w mut Writer<'c>,
    pub endpoint: EndpointId,
    pub taken: &'w mut Vec<Claimed>,
}

impl Shelf for OfEndpoint<'_, '_> {
    type Error = Trouble;

    fn caller_after(&mut self, caller: &str) -> Result<Option<String>, Trouble> {
        let next = self.writer.sql.next_caller.query_row((self.endpoint.0, caller), |row| row.get(0));
        Ok(next.optional()?)
    }

    fn priority_after(
        &mut self,
        caller: &str,
        above: Option<Priority>,
    ) -> Result<Option<(Priority, Timestamp)>, Trouble> {
        let above = above.map_or(-1, |above| i64::from(above.0));
        let params = (self.endpoint.0, column(caller), above);
        let next = self.writer.sql.next_priority.query_row(params, |row| {
            let due_at = time(1, row.get(1)?)?;
            Ok((Priority(row.get(0)?), due_at))
        });
        Ok(next.optional()?)
    }

    fn longest_due(&mut self, caller: &str, priority: Priority) -> Result<Option<Timestamp>, Trouble> {
        let params = (self.endpoint.0, column(caller), priority.0);
        Ok(self.writer.sql.longest_due.query_row(params, |row| time(0, row.get(0)?)).optional()?)
    }

    fn take(&mut self, caller: &str, priority: Priority, due_by: i64, most: usize) -> Result<usize, Trouble> {
        let params = (self.endpoint.0, column(caller), priority.0, due_by, limit(most));
        let due: Vec<Row> = {
            let names = self.writer.desk.shared.counts.names();
            let rows = self.writer.sql.due_tasks.query_map(params, |row| Row::read(row, &names))?;
            rows.collect::<Result<_, _>>()?
        };
        let taken = due.len();
        for row in due {
            self.taken.push(self.writer.claim_one(row)?);
        }
        Ok(taken)
    }
}

/// A caller as the column holds it: those without a name are NULL, which is before every name.
pub(super) fn column(caller: &str) -> Option<&str> {
    Some(caller).filter(|caller| !caller.is_empty())
}
