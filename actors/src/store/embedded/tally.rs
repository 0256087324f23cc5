//! What a store keeps in memory beside its file: the names of the endpoints and the numbers of their tasks.
//!
//! Read by every caller, written by the writer only, once a group and after the commit.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, RwLock};

use crate::store::Count;
use crate::task::{EndpointName, State};

use super::rows::{EndpointId, state_index};

/// One number a state, in the order of [`State::ALL`].
type ByState = [i64; State::ALL.len()];

/// How numbers of tasks change, or are.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Vec<ByState>);

impl Tally {
    pub fn add(&mut self, endpoint: EndpointId, state: State, tasks: i64) {
        let index = endpoint.index();
        if self.0.len() <= index {
            self.0.resize(index + 1, ByState::default());
        }
        self.0[index][state_index(state)] += tasks;
    }

    pub fn moved(&mut self, endpoint: EndpointId, from: State, to: State) {
        self.add(endpoint, from, -1);
        self.add(endpoint, to, 1);
    }

    /// Every number that is not zero.
    pub fn iter(&self) -> impl Iterator<Item = (EndpointId, State, i64)> + '_ {
        let rows = self.0.iter().enumerate();
        let all = rows.flat_map(|(index, by_state)| {
            State::ALL.into_iter().map(move |state| (EndpointId::at(index), state, by_state[state_index(state)]))
        });
        all.filter(|(_, _, tasks)| *tasks != 0)
    }

    pub fn add_all(&mut self, changes: &Tally) {
        for (endpoint, state, tasks) in changes.iter() {
            self.add(endpoint, state, tasks);
        }
    }

    /// Back to nothing, the memory kept.
    pub fn clear(&mut self) {
        self.0.fill(ByState::default());
    }
}

/// The numbers of tasks as of the last commit, with the starts that were answered and not written yet.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Only grows, and a name keeps its number for good: one seen in a row is always here.
    names: RwLock<Vec<EndpointName>>,
    tasks: Mutex<Tally>,
}

impl Counts {
    pub fn new(names: Vec<EndpointName>, tasks: Tally) -> Self {
        Self { names: RwLock::new(names), tasks: Mutex::new(tasks) }
    }

    pub fn names(&self) -> std::sync::RwLockReadGuard<'_, Vec<EndpointName>> {
        self.names.read().expect("nobody panics while holding the names")
    }

    /// The writer's own step.
    pub fn change(&self) -> MutexGuard<'_, Tally> {
        self.tasks.lock().expect("nobody panics while holding the counts")
    }

    pub fn all(&self) -> Vec<Count> {
        let names = self.names();
        let tasks = self.change();
        let counts = tasks.iter().map(|(endpoint, state, tasks)| Count {
            endpoint: names[endpoint.index()].clone(),
            state,
            tasks: u64::try_from(tasks).unwrap_or(0),
        });
        counts.collect()
    }

    /// How many tasks are in a state, of every endpoint.
    pub fn of_state(&self, wanted: State) -> i64 {
        self.change().iter().filter(|(_, state, _)| *state == wanted).map(|(_, _, tasks)| tasks).sum()
    }
}

/// The numbers of the endpoints, as the writer gives them.
///
/// A name gets its number in memory and keeps it, even when the group that first wrote it fails: it is then
/// written by the next group that needs a number. Names are written in the order of their numbers, so that
/// the file never has a gap.
pub(super) struct Endpoints {
    numbers: HashMap<EndpointName, EndpointId>,
    unwritten: Vec<(EndpointId, EndpointName)>,
    /// Written in the group that is being made.
    fresh: Vec<(EndpointId, EndpointName)>,
}

impl Endpoints {
    /// `names` are those in the file, in the order of their numbers.
    pub fn new(names: &[EndpointName]) -> Self {
        let numbers = names.iter().enumerate().map(|(index, name)| (name.clone(), EndpointId::at(index)));
        Self { numbers: numbers.collect(), unwritten: Vec::new(), fresh: Vec::new() }
    }

    pub fn known(&self, name: &EndpointName) -> Option<EndpointId> {
        self.numbers.get(name).copied()
    }

    /// The number of an endpoint. What [`Endpoints::unwritten`] then gives must be written before it is used.
    pub fn number(&mut self, name: &EndpointName, counts: &Counts) -> EndpointId {
        if let Some(number) = self.known(name) {
            return number;
        }
        let mut names = counts.names.write().expect("nobody panics while holding the names");
        let number = EndpointId::at(names.len());
        names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        self.unwritten.push((number, name.clone()));
        number
    }

    /// The names that are not in the file yet; counted as written with this group.
    pub fn unwritten(&mut self) -> &[(EndpointId, EndpointName)] {
        let already = self.fresh.len();
        self.fresh.append(&mut self.unwritten);
        &self.fresh[already..]
    }

    pub fn committed(&mut self) {
        self.fresh.clear();
    }

    pub fn failed(&mut self) {
        self.fresh.append(&mut self.unwritten);
        std::mem::swap(&mut self.fresh, &mut self.unwritten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> EndpointName {
        EndpointName::new(text).unwrap()
    }

    #[test]
    fn a_name_keeps_its_number_when_the_group_that_wrote_it_fails() {
        let counts = Counts::default();
        let mut endpoints = Endpoints::new(&[]);
        let first = endpoints.number(&name("first"), &counts);
        assert_eq!(endpoints.unwritten(), [(first, name("first"))]);
        endpoints.failed();

        let second = endpoints.number(&name("second"), &counts);
        assert_eq!(endpoints.unwritten(), [(first, name("first")), (second, name("second"))]);
        endpoints.committed();
        assert_eq!(endpoints.number(&name("first"), &counts), first);
        assert!(endpoints.unwritten().is_empty());
    }
}
