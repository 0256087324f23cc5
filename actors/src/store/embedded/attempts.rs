//! The table `attempt`: what the row of a task does not tell of its attempts.

use crate::task::{AttemptOutcome, AttemptRecord, Failure, FailureCode, RunNotes};

use super::rows::{Row, micros, time, unreadable};
use super::writer::Writer;

/// How an attempt ended, for its record.
pub(super) struct Ended {
    /// The epoch that ran it.
    pub node: Option<i64>,
    pub outcome: AttemptOutcome,
    pub failure: Option<Failure>,
    pub notes: RunNotes,
}

impl Writer<'_> {
    /// Records the latest attempt of a task by itself, and forgets one where there are too many.
    pub fn record_attempt(&mut self, row: &Row, ended: Ended) -> rusqlite::Result<()> {
        let Some(started_at) = row.task.started_at else { return Ok(()) };
        let Ended { node, outcome, failure, notes } = ended;
        let attempt = AttemptRecord::running(row.task.attempt, started_at, None);
        let attempt = attempt.ended(self.group.now, outcome, failure, notes);
        self.sql.insert_attempt.execute((
            row.seq,
            attempt.number,
            node,
            attempt.worker,
            micros(started_at),
            micros(self.group.now),
            outcome.as_str(),
            attempt.failure.as_ref().map(|failure| failure.code.as_str()),
            attempt.failure.as_ref().map(|failure| failure.message.as_str()),
            attempt.log,
        ))?;
        if let Some((first, last)) = AttemptRecord::forgotten_with(attempt.number) {
            self.sql.delete_attempts.execute((row.seq, first, last))?;
        }
        Ok(())
    }
}

/// Reads the columns of `attempts_of_task.sql`.
pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<AttemptRecord> {
    let failure = match row.get_ref(6)?.as_str_or_null()? {
        Some(word) => {
            let code = FailureCode::from_word(word).ok_or_else(|| unreadable(6, "an unknown failure code"))?;
            Some(Failure { code, message: row.get(7)?, log: None })
        }
        None => None,
    };
    let outcome = AttemptOutcome::from_word(row.get_ref(5)?.as_str()?);
    Ok(AttemptRecord {
        number: row.get(0)?,
        node: row.get::<_, Option<i64>>(1)?.map(node_name),
        worker: row.get(2)?,
        started_at: time(3, row.get(3)?)?,
        ended_at: Some(time(4, row.get(4)?)?),
        outcome: outcome.ok_or_else(|| unreadable(5, "an unknown outcome"))?,
        failure,
        log: row.get(8)?,
    })
}

/// What a node is called: the number of its opening of the store.
pub(super) fn node_name(epoch: i64) -> String {
    epoch.to_string()
}
