//! Which tasks a claim takes: callers in turn, and of each the most urgent, by [`Rank`].
//!
//! Callers have turns in the order of their names, round and round, and what is wanted is shared evenly among those
//! that have something due: round robin over queues (Nagle, RFC 970, 1985), with what a short queue leaves given to
//! the others. The store remembers no turn: whoever claims says whose was the last.
//!
//! No task that is not taken is read, however many wait. A caller's line is merged from one line a priority, each
//! sorted by due time, so that no rank is kept: another `aging` holds from the next claim on.

use crate::store::{Round, Wanted};
use crate::task::{Priority, Rank, Timestamp};

/// The most callers one claim looks at: those with nothing due cost a few steps each, too.
pub(super) const CALLERS_MAX: usize = 1000;

/// What waits on an endpoint and is held by nobody, as a store keeps it. Those without a fairness key are the caller
/// with the empty name, the first of all.
pub(super) trait Shelf {
    type Error;

    /// The next caller by name who has something waiting, due or not.
    fn caller_after(&mut self, caller: &str) -> Result<Option<String>, Self::Error>;

    /// The next less urgent priority of which the caller has something waiting, and when the first of it is due;
    /// `None` asks for the most urgent.
    fn priority_after(
        &mut self,
        caller: &str,
        above: Option<Priority>,
    ) -> Result<Option<(Priority, Timestamp)>, Self::Error>;

    /// When the first of a caller and a priority is due that is due after an instant; `None` asks for the first of all.
    fn due_after(
        &mut self,
        caller: &str,
        priority: Priority,
        after: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, Self::Error>;

    /// Takes up to `most` of a caller and a priority that are due at an instant, the longest due first, then the
    /// oldest; answers how many.
    fn take(&mut self, caller: &str, priority: Priority, due_by: Timestamp, most: usize) -> Result<usize, Self::Error>;
}

/// What came of a wish beside the tasks, which the shelf has taken down.
#[derive(Debug, Default)]
pub(super) struct Came {
    pub next_due: Option<Timestamp>,
    pub round: Round,
}

/// Takes what is wanted.
pub(super) fn claim<S: Shelf>(shelf: &mut S, wanted: &Wanted, now: Timestamp) -> Result<Came, S::Error> {
    let mut callers = Callers { first: wanted.after.clone(), last: wanted.after.clone(), wrapped: false, whole: false };
    let mut next_due = None;
    let mut left = wanted.max;
    let mut looked_at = 0;
    let mut served = wanted.after.clone();
    loop {
        // No more callers than there is something for: the others have the next turns.
        let mut in_turn = Vec::new();
        while in_turn.len() < left
            && looked_at < CALLERS_MAX
            && let Some(name) = callers.next(shelf)?
        {
            looked_at += 1;
            let (caller, first_later) = Caller::look(shelf, name, now)?;
            next_due = next_due.into_iter().chain(first_later).min();
            if !caller.due.is_empty() {
                in_turn.push(caller);
            }
        }
        if in_turn.is_empty() {
            break;
        }
        while left > 0 && !in_turn.is_empty() {
            let share = (left / in_turn.len()).max(1);
            for caller in &mut in_turn {
                let most = share.min(left);
                if most == 0 {
                    break;
                }
                left -= caller.take(shelf, most, wanted, now)?;
                served = Some(caller.name.clone());
            }
            in_turn.retain(|caller| !caller.due.is_empty());
        }
    }
    // Who was looked at in vain is passed over for good, or many of them would stand before the others for ever.
    let after = if left > 0 { callers.last } else { served };
    Ok(Came { next_due, round: Round { after, whole: callers.whole } })
}

/// The callers by name from the one after `first`, round to that one again.
struct Callers {
    first: Option<String>,
    last: Option<String>,
    wrapped: bool,
    /// Whether all have had their turn.
    whole: bool,
}

impl Callers {
    fn next<S: Shelf>(&mut self, shelf: &mut S) -> Result<Option<String>, S::Error> {
        if self.whole {
            return Ok(None);
        }
        let mut next = match &self.last {
            None => Some(String::new()),
            Some(last) => shelf.caller_after(last)?,
        };
        if next.is_none() && self.first.is_some() && !self.wrapped {
            self.wrapped = true;
            next = Some(String::new());
        }
        let beyond = |name: &String| self.wrapped && self.first.as_ref().is_some_and(|first| name > first);
        match next.filter(|name| !beyond(name)) {
            Some(name) => {
                self.last = Some(name.clone());
                Ok(Some(name))
            }
            None => {
                self.whole = true;
                Ok(None)
            }
        }
    }
}

/// A caller whose turn it is.
struct Caller {
    name: String,
    /// The first of each priority, where it is due.
    due: Vec<First>,
}

#[derive(Clone, Copy)]
struct First {
    priority: Priority,
    due_at: Timestamp,
}

impl Caller {
    /// Looks at what a caller has waiting; answers when the next of what is not due yet will be, too.
    fn look<S: Shelf>(shelf: &mut S, name: String, now: Timestamp) -> Result<(Self, Option<Timestamp>), S::Error> {
        let (mut due, mut next_due, mut above) = (Vec::new(), None, None);
        while let Some((priority, due_at)) = shelf.priority_after(&name, above)? {
            let first_later = if due_at <= now {
                due.push(First { priority, due_at });
                shelf.due_after(&name, priority, Some(now))?
            } else {
                Some(due_at)
            };
            next_due = next_due.into_iter().chain(first_later).min();
            above = Some(priority);
        }
        Ok((Self { name, due }, next_due))
    }

    /// Takes up to `most` that are due, by rank; answers how many.
    fn take<S: Shelf>(
        &mut self,
        shelf: &mut S,
        most: usize,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<usize, S::Error> {
        let aging = wanted.aging;
        let rank = |first: &First| Rank::of(first.priority, first.due_at, aging);
        let mut taken = 0;
        while taken < most {
            self.due.sort_unstable_by_key(rank);
            let Some(&First { priority, due_at }) = self.due.first() else { break };
            // All of that priority that stand before the first of any other.
            let until = self.due.get(1).map(|second| rank(second).overtaken_until(priority, aging));
            let until = until.and_then(Timestamp::from_timestamp_micros).map_or(now, |until| until.clamp(due_at, now));
            taken += shelf.take(&self.name, priority, until, most - taken)?;
            match shelf.due_after(&self.name, priority, None)?.filter(|due_at| *due_at <= now) {
                Some(due_at) => self.due[0].due_at = due_at,
                None => drop(self.due.remove(0)),
            }
        }
        Ok(taken)
    }
}
