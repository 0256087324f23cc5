//! How operators set endpoints, and the purge, inside the writer's transaction.

use rusqlite::OptionalExtension;

use crate::lifecycle::Verdict;
use crate::store::{Control, ControlChange, Purge};
use crate::task::{EndpointName, Task};

use super::calls::Trouble;
use super::ledger::Ending;
use super::queue::limit;
use super::rows::{EndpointId, Row, micros};
use super::starts::Which;
use super::writer::Writer;

impl Writer<'_> {
    pub fn purge(&mut self, wish: &Purge) -> Result<Vec<Task>, Trouble> {
        self.write_starts(Which::All)?;
        let Some(endpoint) = self.desk.endpoints.known(&wish.endpoint) else { return Ok(Vec::new()) };
        let mut purged = Vec::new();
        for mut row in self.waiting(endpoint, wish)? {
            let before = row.task.state;
            self.finish(&mut row, before, Ending::unrun(Verdict::Canceled(None), wish.keep))?;
            purged.push(row.task);
        }
        Ok(purged)
    }

    fn waiting(&mut self, endpoint: EndpointId, wish: &Purge) -> rusqlite::Result<Vec<Row>> {
        let names = self.desk.shared.counts.names();
        let params = (endpoint.0, micros(wish.submitted_by), limit(wish.max));
        let rows = self.sql.waiting_tasks.query_map(params, |row| Row::read(row, &names))?;
        rows.collect()
    }

    pub fn control(&mut self, endpoint: &EndpointName, change: ControlChange) -> Result<Control, Trouble> {
        let number = self.endpoint_number(endpoint)?;
        let known = self.sql.control_of_endpoint.query_row([number.0], |row| control(row, 0)).optional()?;
        let control = known.unwrap_or_default().with(change);
        self.sql.set_control.execute((number.0, control.paused, control.concurrency))?;
        Ok(control)
    }

    pub fn controls(&mut self) -> Result<Vec<(EndpointName, Control)>, Trouble> {
        let rows = self.sql.all_controls.query_map([], |row| Ok((EndpointId(row.get(0)?), control(row, 1)?)))?;
        let set: Vec<(EndpointId, Control)> = rows.collect::<Result<_, _>>()?;
        let names = self.desk.shared.counts.names();
        Ok(set.into_iter().map(|(number, control)| (names[number.index()].clone(), control)).collect())
    }
}

/// A control whose columns begin with that one.
fn control(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Control> {
    Ok(Control { paused: row.get(first)?, concurrency: row.get(first + 1)? })
}
