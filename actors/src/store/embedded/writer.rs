//! The one thread that writes. It takes all calls that wait, carries them out in one transaction, commits once,
//! and only then answers each: what was answered is on the disk.
//!
//! ```text
//!   calls that wait ──► one group ──► BEGIN, each call, tally, COMMIT (sync) ──► an answer each
//! ```
//!
//! Calls of a group do not know of each other. One that is refused has written nothing. When the database
//! itself fails, the group is undone as a whole, in the file and in memory, each of its calls is told, and the
//! next group starts afresh.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::body::BodyFile;
use crate::clock::{self, Clock, stopwatch};
use crate::spool::Blobs;
use crate::store::{StartDurability, StoreError};
use crate::task::{State, Timestamp};

use super::Shared;
use super::calls::{Asker, Call, Reply, Trouble, answer, reply, store_error};
use super::housekeeper::Job;
use super::inbox::{Inbox, Taken};
use super::starts::{Starts, Which};
use super::statements::Statements;
use super::tally::{Endpoints, Tally};

/// The most calls of one group. It bounds how long the first of them waits for the last.
const GROUP_MAX: usize = 2048;

/// What the writer knows beside the file, and what it was opened with.
pub(super) struct Desk {
    pub shared: Arc<Shared>,
    pub calls: Arc<Inbox<Call>>,
    pub jobs: Arc<Inbox<Job>>,
    pub clock: Arc<dyn Clock>,
    pub blobs: Blobs,
    /// How long a lease lasts.
    pub lease: Duration,
    pub lease_until: Timestamp,
    /// This opening of the store: what holds tasks, and greater than all before.
    pub epoch: i64,
    pub endpoints: Endpoints,
}

pub(super) struct Writer<'c> {
    pub connection: &'c Connection,
    pub sql: Statements<'c>,
    pub desk: Desk,
    pub starts: Starts,
    pub group: Group,
}

/// What a group has brought about in memory, until its commit.
pub(super) struct Group {
    /// Every call of a group happens at this instant.
    pub now: Timestamp,
    pub tally: Tally,
    pub adopted: Vec<BodyFile>,
    replies: Vec<Reply>,
}

impl<'c> Writer<'c> {
    pub fn new(connection: &'c Connection, desk: Desk) -> rusqlite::Result<Self> {
        let sql = Statements::prepare(connection)?;
        let group = Group { now: desk.clock.now(), tally: Tally::default(), adopted: Vec::new(), replies: Vec::new() };
        Ok(Self { connection, sql, desk, starts: Starts::default(), group })
    }

    /// Works until the inbox is closed and empty, or until it is asked to close; answers who asked.
    pub fn run(&mut self) -> Option<Asker<()>> {
        let mut waiting = VecDeque::new();
        let mut closing = None;
        while closing.is_none() {
            match self.desk.calls.take(&mut waiting, GROUP_MAX, self.starts.patience()) {
                Taken::Some | Taken::TimedOut => {}
                Taken::Closed => break,
            }
            closing = self.work_off(&mut waiting);
        }
        self.desk.calls.close();
        self.desk.calls.take_now(&mut waiting, usize::MAX);
        for call in waiting.drain(..) {
            call.refuse(StoreError::Closed);
        }
        self.leave();
        closing
    }

    /// Carries out what waits, in one group or a few; answers who asked to close, with the rest still waiting.
    /// Where nothing waits, starts are due.
    fn work_off(&mut self, waiting: &mut VecDeque<Call>) -> Option<Asker<()>> {
        if waiting.is_empty() {
            self.make_group(std::iter::empty());
        }
        while !waiting.is_empty() {
            let together = waiting.iter().position(goes_alone).unwrap_or(waiting.len());
            if together > 0 {
                self.make_group(waiting.drain(..together));
            }
            match waiting.pop_front() {
                None => {}
                Some(Call::Close(asker)) => return Some(asker),
                Some(alone) => self.make_group(std::iter::once(alone)),
            }
        }
        None
    }

    fn make_group(&mut self, calls: impl ExactSizeIterator<Item = Call>) {
        let began = stopwatch();
        let size = calls.len();
        self.group.now = self.desk.clock.now();
        let written = self.write_group(calls);
        let committed = written.map_err(|error| store_error(&error));
        match &committed {
            Ok(()) => self.committed(),
            Err(error) => self.failed(error),
        }
        self.desk.shared.observe_commit(began.elapsed(), size);
        for reply in self.group.replies.drain(..) {
            reply(committed.as_ref().copied());
        }
    }

    /// The group in one transaction. After an error nothing of it is in the file, and no call is left to carry out.
    fn write_group(&mut self, mut calls: impl Iterator<Item = Call>) -> rusqlite::Result<()> {
        let written = self.write_and_commit(&mut calls);
        if let Err(error) = &written {
            for call in calls {
                call.refuse(store_error(error));
            }
            // On a full disk SQLite may have rolled back already. A rollback that fails is tried again by the next
            // group, whose BEGIN fails first: until then nothing is written.
            if !self.connection.is_autocommit()
                && let Err(error) = self.sql.rollback.raw_execute()
            {
                tracing::error!(%error, "a group of calls to the store could not be undone yet; trying again");
            }
        }
        written
    }

    fn write_and_commit(&mut self, calls: &mut impl Iterator<Item = Call>) -> rusqlite::Result<()> {
        self.sql.begin.raw_execute()?;
        self.write_starts(Which::Due)?;
        for call in calls {
            self.carry_out(call)?;
        }
        self.write_tally()?;
        self.sql.commit.raw_execute()?;
        Ok(())
    }

    fn carry_out(&mut self, call: Call) -> rusqlite::Result<()> {
        match call {
            Call::Enqueue(tasks, asker) => {
                let enqueued = self.enqueue(tasks);
                self.promise(asker, enqueued)
            }
            Call::Resubmit(wish, input, asker) => {
                let resubmitted = self.resubmit(wish, input);
                self.promise(asker, resubmitted)
            }
            Call::Claim(wanted, asker) => {
                let claims = self.claim(&wanted);
                self.promise(asker, claims)
            }
            Call::Renew(asker) => {
                // Nobody else can hold the folder, so nobody but us needs to know how long.
                self.desk.lease_until = clock::after(self.group.now, self.desk.lease);
                self.promise(asker, Ok(()))
            }
            Call::Cancel(task, endpoint, keep, asker) => {
                let canceled = self.cancel(task, &endpoint, keep);
                self.promise(asker, canceled)
            }
            Call::Reclaim(max, policy, asker) => {
                let reclaims = self.reclaim(max, &policy);
                self.promise(asker, reclaims)
            }
            Call::Overdue(max, retention, asker) => {
                let overdue = self.overdue(max, &retention);
                self.promise(asker, overdue)
            }
            Call::Start(lease, run, StartDurability::Durable, asker) => {
                let started = self.start(lease, run);
                self.promise(asker, started)
            }
            Call::Start(lease, run, StartDurability::Lazy, asker) => match self.start_soon(lease, run) {
                Ok(started) => {
                    answer(asker, Ok(started));
                    Ok(())
                }
                Err(trouble) => self.promise(asker, Err(trouble)),
            },
            Call::RequestCancel(lease, asker) => {
                let requested = self.request_cancel(lease);
                self.promise(asker, requested)
            }
            Call::Settle(settlement, asker) => {
                let settled = self.settle(settlement);
                self.promise(asker, settled)
            }
            Call::Delete(task, asker) => {
                let deleted = self.delete(task);
                self.promise_after_deletion(asker, deleted)
            }
            Call::Prune(max, asker) => {
                let pruned = self.prune(max);
                self.promise_after_deletion(asker, pruned)
            }
            Call::Close(_) => unreachable!("a close is no part of a group"),
        }
    }

    /// Keeps an answer for after the commit.
    pub fn promise<T: 'static>(&mut self, asker: Asker<T>, with: Result<T, Trouble>) -> rusqlite::Result<()> {
        let (with, broken) = match with {
            Ok(value) => (Ok(value), None),
            Err(Trouble::Refused(refusal)) => (Err(refusal), None),
            Err(Trouble::Broken(error)) => (Err(store_error(&error)), Some(error)),
        };
        self.group.replies.push(reply(asker, with));
        broken.map_or(Ok(()), Err)
    }

    pub fn promise_in_person(&mut self, reply: Reply) {
        self.group.replies.push(reply);
    }

    /// Writes starts that were answered before.
    pub fn write_starts(&mut self, which: Which) -> rusqlite::Result<()> {
        while let Some((task, start)) = self.starts.next(which, &self.desk.shared.starts) {
            let started_at = super::rows::micros(start.run.started_at);
            let holder = self.desk.epoch;
            let params = (task.as_bytes(), holder, start.fence, start.run.attempt, started_at);
            let written = self.sql.start_task_late.execute(params)?;
            if written > 0 {
                self.group.tally.moved(start.endpoint, State::Pending, State::InProgress);
            }
        }
        Ok(())
    }

    fn write_tally(&mut self) -> rusqlite::Result<()> {
        for (endpoint, state, tasks) in self.group.tally.iter() {
            self.sql.add_to_tally.execute((endpoint.0, super::rows::state_number(state), tasks))?;
        }
        Ok(())
    }

    fn committed(&mut self) {
        let mut counts = self.desk.shared.counts.change();
        counts.add_all(&self.group.tally);
        // Those were counted as started when they were answered.
        for start in self.starts.committed(&self.desk.shared.starts) {
            counts.moved(start.endpoint, State::InProgress, State::Pending);
        }
        drop(counts);
        self.desk.endpoints.committed();
        self.group.tally.clear();
        self.group.adopted.clear();
    }

    fn failed(&mut self, error: &StoreError) {
        tracing::warn!(%error, "a group of calls to the store was undone");
        for file in self.group.adopted.drain(..) {
            file.disown();
        }
        self.starts.failed(&self.desk.shared.starts);
        self.desk.endpoints.failed();
        self.group.tally.clear();
    }

    /// The last group: all starts, and a note that this process went in good order.
    fn leave(&mut self) {
        self.group.now = self.desk.clock.now();
        let now = super::rows::micros(self.group.now);
        let written = self.sql.begin.raw_execute().and_then(|_| {
            self.write_starts(Which::All)?;
            self.write_tally()?;
            self.sql.close_node.execute([now])?;
            self.sql.commit.raw_execute()
        });
        if let Err(error) = written {
            // What was answered is safe; the next opening finds the rest as after a crash.
            tracing::warn!(%error, "the store was closed without a last note");
        }
    }
}

/// A close ends the groups. What makes room must not fail with those that find none.
fn goes_alone(call: &Call) -> bool {
    matches!(call, Call::Delete(..) | Call::Prune(..) | Call::Close(..))
}
