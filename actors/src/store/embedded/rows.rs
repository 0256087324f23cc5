//! Rows of the table `task` as values, and values as what the columns hold.

use std::sync::{Arc, OnceLock};

use chrono::DateTime;
use rusqlite::types::Type;

use crate::task::{
    EndpointName, Failure, FailureCode, InputDigest, Priority, State, Task, TaskId, TaskOptions, Timestamp,
};

/// The number of an endpoint in this database, counted from 1 and never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndpointId(pub i64);

impl EndpointId {
    /// Where the endpoint stands in a list that begins with number 1.
    pub fn index(self) -> usize {
        usize::try_from(self.0 - 1).expect("endpoints are numbered from 1")
    }

    pub fn at(index: usize) -> Self {
        Self(index as i64 + 1)
    }
}

/// A task with what the store alone knows of it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub seq: i64,
    pub endpoint: EndpointId,
    pub fence: u32,
    /// The epoch that holds the task.
    pub holder: Option<i64>,
    pub input_in_file: bool,
    pub output_in_file: bool,
    pub task: Task,
}

impl Row {
    /// Reads the columns in the order of the table, as `SELECT *` gives them.
    pub fn read(row: &rusqlite::Row<'_>, names: &[EndpointName]) -> rusqlite::Result<Self> {
        let endpoint: i64 = row.get(2)?;
        let name = usize::try_from(endpoint - 1).ok().and_then(|index| names.get(index));
        let name = name.ok_or_else(|| unreadable(2, "an endpoint that is not in the table of endpoints"))?;
        let failure = match row.get_ref(18)?.as_str_or_null()? {
            Some(word) => {
                let code = FailureCode::from_word(word).ok_or_else(|| unreadable(18, "an unknown failure code"))?;
                Some(Box::new(Failure { code, message: row.get(19)?, log: row.get(21)? }))
            }
            None => None,
        };
        let task = Task {
            id: id_at(row, 1)?,
            endpoint: name.clone(),
            state: state_at(row, 3)?,
            priority: Priority(row.get(4)?),
            attempt: row.get(5)?,
            crashes: row.get(6)?,
            submitted_at: time(9, row.get(9)?)?,
            due_at: time(10, row.get(10)?)?,
            started_at: optional_time(row, 11)?,
            finished_at: optional_time(row, 12)?,
            expires_at: optional_time(row, 13)?,
            input_bytes: row.get::<_, i64>(14)? as u64,
            output_bytes: row.get::<_, i64>(15)? as u64,
            failure,
            failures: row.get(23)?,
            start_by: optional_time(row, 24)?,
            deadline: optional_time(row, 25)?,
            options: options_at(row, 22)?,
            cancel_requested: row.get(cancel_requested_column(row)?)?,
        };
        Ok(Self {
            seq: row.get(0)?,
            endpoint: EndpointId(endpoint),
            fence: row.get(7)?,
            holder: row.get(8)?,
            input_in_file: row.get(16)?,
            output_in_file: row.get(17)?,
            task,
        })
    }
}

/// Where the column stands depends on what was added to the table before it, and is the same in every database in its
/// newest shape: looking for its name each time would cost as much as reading all the others.
fn cancel_requested_column(row: &rusqlite::Row<'_>) -> rusqlite::Result<usize> {
    static COLUMN: OnceLock<usize> = OnceLock::new();
    if let Some(column) = COLUMN.get() {
        return Ok(*column);
    }
    let found = row.as_ref().column_index("cancel_requested")?;
    Ok(*COLUMN.get_or_init(|| found))
}

fn options_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Arc<TaskOptions>>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    let options = serde_json::from_str(text).map_err(|_| unreadable(column, "options that are not ours"))?;
    Ok(Some(Arc::new(options)))
}

/// Options as a column holds them.
pub(super) fn options_text(options: Option<&TaskOptions>) -> Option<String> {
    options.map(|options| serde_json::to_string(options).expect("options are always JSON"))
}

pub(super) fn id_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<TaskId> {
    let bytes = row.get_ref(column)?.as_blob()?.try_into();
    Ok(TaskId::from_bytes(bytes.map_err(|_| unreadable(column, "an id that is not 16 bytes long"))?))
}

/// A digest of an input, where there is one. Only a task with a key has it, so it is no part of a [`Row`].
pub(super) fn digest_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<InputDigest>> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null()? else { return Ok(None) };
    Ok(Some(bytes.try_into().map_err(|_| unreadable(column, "a digest that is not 32 bytes long"))?))
}

/// The number a state has in a row.
pub(super) fn state_number(state: State) -> i64 {
    match state {
        State::Pending => 0,
        State::InProgress => 1,
        State::Completed => 2,
        State::Failed => 3,
        State::Canceled => 4,
    }
}

/// Where a state stands in a list of one value a state.
pub(super) fn state_index(state: State) -> usize {
    state_number(state) as usize
}

pub(super) fn state_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<State> {
    let number: i64 = row.get(column)?;
    let state = State::ALL.into_iter().find(|state| state_number(*state) == number);
    state.ok_or_else(|| unreadable(column, "a number that is no state"))
}

/// An instant as a column holds it: microseconds since 1970.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.timestamp_micros()
}

pub(super) fn time(column: usize, micros: i64) -> rusqlite::Result<Timestamp> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| unreadable(column, "a time beyond the calendar"))
}

fn optional_time(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?.map(|micros| time(column, micros)).transpose()
}

/// The error for a column that holds what we never write.
pub(super) fn unreadable(column: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, what.into())
}
