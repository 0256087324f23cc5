//! Which tasks a claim takes: callers in turn, and of each the most urgent, by [`Rank`].
//!
//! Callers have turns in the order of their names, round and round, and what is wanted is shared evenly among those
//! that have something due: round robin over queues (Nagle, RFC 970, 1985), with what a short queue leaves given to
//! the others. The store remembers no turn: whoever claims says whose was the last.
//!
//! No task that is not taken is read, however many wait. A caller's line is merged from one line a priority, each
//! sorted by due time, so that no rank is kept: another `aging` holds from the next claim on.

use crate::store::Wanted;
use crate::task::{Priority, Rank, Timestamp};

/// What is due on an endpoint and held by nobody, as a store keeps it. Those without a fairness key are the caller
/// with the empty name, the first of all.
pub(super) trait Shelf {
    type Error;

    /// The next caller by name who has something due.
    fn caller_after(&mut self, caller: &str) -> Result<Option<String>, Self::Error>;

    /// The next less urgent priority of which the caller has something due, and since when; `None` asks for the most
    /// urgent.
    fn priority_after(
        &mut self,
        caller: &str,
        above: Option<Priority>,
    ) -> Result<Option<(Priority, Timestamp)>, Self::Error>;

    /// Since when the first of a caller and a priority is due.
    fn longest_due(&mut self, caller: &str, priority: Priority) -> Result<Option<Timestamp>, Self::Error>;

    /// Takes up to `most` of a caller and a priority that became due by a time, in microseconds since 1970, the longest
    /// due first, then the oldest; answers how many.
    fn take(&mut self, caller: &str, priority: Priority, due_by: i64, most: usize) -> Result<usize, Self::Error>;
}

/// Takes what is wanted, and answers whose turn was the last.
pub(super) fn claim<S: Shelf>(shelf: &mut S, wanted: &Wanted) -> Result<Option<String>, S::Error> {
    let mut callers = Callers { first: wanted.after.as_deref(), last: wanted.after.clone(), wrapped: false };
    // No more callers than there is something for: the others have the next turns.
    let mut in_turn = Vec::new();
    while in_turn.len() < wanted.max
        && let Some(name) = callers.next(shelf)?
    {
        let caller = Caller::look(shelf, name)?;
        if !caller.firsts.is_empty() {
            in_turn.push(caller);
        }
    }
    let (mut left, mut after) = (wanted.max, wanted.after.clone());
    while left > 0 && !in_turn.is_empty() {
        let share = (left / in_turn.len()).max(1);
        for caller in &mut in_turn {
            let most = share.min(left);
            if most == 0 {
                break;
            }
            left -= caller.take(shelf, most, wanted)?;
            after = Some(caller.name.clone());
        }
        in_turn.retain(|caller| !caller.firsts.is_empty());
    }
    Ok(after)
}

/// The callers by name from the one after `first`, round to that one again.
struct Callers<'w> {
    first: Option<&'w str>,
    last: Option<String>,
    wrapped: bool,
}

impl Callers<'_> {
    fn next<S: Shelf>(&mut self, shelf: &mut S) -> Result<Option<String>, S::Error> {
        let mut next = match &self.last {
            None => Some(String::new()),
            Some(last) => shelf.caller_after(last)?,
        };
        if next.is_none() && self.first.is_some() && !self.wrapped {
            self.wrapped = true;
            next = Some(String::new());
        }
        let had_a_turn = |name: &String| self.wrapped && self.first.is_some_and(|first| name.as_str() > first);
        let next = next.filter(|name| !had_a_turn(name));
        self.last.clone_from(&next);
        Ok(next)
    }
}

/// A caller whose turn it is.
struct Caller {
    name: String,
    /// The longest due of each priority.
    firsts: Vec<First>,
}

#[derive(Clone, Copy)]
struct First {
    priority: Priority,
    due_at: Timestamp,
}

impl Caller {
    fn look<S: Shelf>(shelf: &mut S, name: String) -> Result<Self, S::Error> {
        let (mut firsts, mut above) = (Vec::new(), None);
        while let Some((priority, due_at)) = shelf.priority_after(&name, above)? {
            firsts.push(First { priority, due_at });
            above = Some(priority);
        }
        Ok(Self { name, firsts })
    }

    /// Takes up to `most`, by rank; answers how many.
    fn take<S: Shelf>(&mut self, shelf: &mut S, most: usize, wanted: &Wanted) -> Result<usize, S::Error> {
        let aging = wanted.aging;
        let rank = |first: &First| Rank::of(first.priority, first.due_at, aging);
        let mut taken = 0;
        while taken < most {
            self.firsts.sort_unstable_by_key(rank);
            let Some(&First { priority, due_at }) = self.firsts.first() else { break };
            // All of that priority that stand before the first of any other.
            let until = self.firsts.get(1).map_or(i64::MAX, |second| rank(second).overtaken_until(priority, aging));
            taken += shelf.take(&self.name, priority, until.max(due_at.timestamp_micros()), most - taken)?;
            match shelf.longest_due(&self.name, priority)? {
                Some(due_at) => self.firsts[0].due_at = due_at,
                None => drop(self.firsts.remove(0)),
            }
        }
        Ok(taken)
    }
}
