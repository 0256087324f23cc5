//! Those who wait in a line: caller by caller, and of each caller by rank.
//!
//! The slots are shared evenly among the callers that wait, whatever number of tasks each has: next goes a task of
//! the caller with the fewest attempts under way, and of those that are level the one that was served least. That
//! is told by start-time fair queueing (Goyal, Vin and Cheng, 1996) with every start counted alike: each caller has a
//! tag, one more with each start; the line's own time is the tag of the latest start. A caller who comes, or comes
//! back, begins at the line's time, so that nothing is owed to it for its absence, or by it. Of those that are level in
//! that too, the one goes whose first task has the lower rank.
//!
//! Tasks without a fairness key are one more caller. Where there is no other, nothing of this is done.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::task::{Rank, TaskId};

mod queued;

use queued::Queued;

/// The most callers who have gone that are remembered, in case they come back before the others have had their turn.
const GONE_MAX: usize = 1000;

/// How many callers are looked at to tell where a task stands.
const CALLERS_LOOKED_AT: usize = 1000;

/// Where a task stands among those of its caller: by rank, and of one rank the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaitKey {
    pub rank: Rank,
    pub task: TaskId,
}

/// A caller of this line, for as long as it waits or runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallerId(u32);

/// The tasks without a fairness key.
const NOBODY: CallerId = CallerId(0);

/// See the module's own words.
pub struct Waiters {
    /// By their numbers; the first is [`NOBODY`], and always there.
    callers: Vec<Option<Caller>>,
    vacant: Vec<CallerId>,
    by_name: HashMap<Arc<str>, CallerId>,
    /// The callers that have somebody waiting; kept while there is one with a name.
    turns: BTreeSet<Turn>,
    /// The greatest tag of those started so far.
    time: u64,
    /// Callers who have gone, by the time they went.
    gone: VecDeque<CallerId>,
    waiting: usize,
}

#[derive(Default)]
struct Caller {
    name: Option<Arc<str>>,
    waiting: Queued,
    running: u32,
    tag: u64,
    turn: Option<Turn>,
    /// Whether it is among the gone.
    listed: bool,
}

/// Whose turn it is: the least goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    running: u32,
    tag: u64,
    first: WaitKey,
    caller: CallerId,
}

impl Waiters {
    pub fn new() -> Self {
        Self {
            callers: vec![Some(Caller::default())],
            vacant: Vec::new(),
            by_name: HashMap::new(),
            turns: BTreeSet::new(),
            time: 0,
            gone: VecDeque::new(),
            waiting: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.waiting
    }

    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The number of a caller by its fairness key, which is empty for those without one. It holds once a task of it
    /// has joined or begun, until the last has ended.
    pub fn caller(&mut self, name: &str) -> CallerId {
        if name.is_empty() {
            return NOBODY;
        }
        if let Some(&known) = self.by_name.get(name) {
            return known;
        }
        let name: Arc<str> = name.into();
        let caller = Caller { name: Some(name.clone()), ..Caller::default() };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.callers[id.0 as usize] = Some(caller);
                id
            }
            None => {
                self.callers.push(Some(caller));
                CallerId(u32::try_from(self.callers.len() - 1).expect("there are fewer callers than tasks"))
            }
        };
        self.by_name.insert(name, id);
        let first_with_a_name = self.by_name.len() == 1;
        if first_with_a_name {
            self.of(NOBODY).tag = self.time;
            self.note_turn(NOBODY);
        }
        id
    }

    /// A task of a caller waits from now on.
    pub fn join(&mut self, caller: CallerId, key: WaitKey) {
        let time = self.time;
        let of = self.of(caller);
        if of.waiting.is_empty() {
            of.tag = of.tag.max(time);
        }
        of.waiting.insert(key);
        self.waiting += 1;
        self.note_turn(caller);
    }

    /// A task that waited does no more, and has not started.
    pub fn leave(&mut self, caller: CallerId, key: &WaitKey) {
        let left = self.of(caller).waiting.remove(key);
        self.waiting -= usize::from(left);
        self.note_turn(caller);
        self.forget_if_idle(caller);
    }

    /// The next one starts.
    pub fn start_next(&mut self) -> Option<WaitKey> {
        let caller = match self.by_name.is_empty() {
            true => NOBODY,
            false => self.turns.first()?.caller,
        };
        let next = self.of(caller).waiting.pop_first()?;
        self.waiting -= 1;
        self.note_start(caller);
        Some(next)
    }

    /// A task starts that never waited.
    pub fn start_at_once(&mut self, caller: CallerId) {
        let time = self.time;
        let of = self.of(caller);
        of.tag = of.tag.max(time);
        self.note_start(caller);
    }

    fn note_start(&mut self, caller: CallerId) {
        let of = self.of(caller);
        of.running += 1;
        let tag = of.tag;
        of.tag += 1;
        self.note_turn(caller);
        if tag > self.time {
            self.time = tag;
            // Whoever has gone is level with those who come now.
            while !self.gone.is_empty() {
                self.forget_first_gone();
            }
        }
    }

    /// An attempt of a caller has ended.
    pub fn end(&mut self, caller: CallerId) {
        self.of(caller).running -= 1;
        self.note_turn(caller);
        self.forget_if_idle(caller);
    }

    /// How many will start before a task of a caller; `None` where it does not wait. That is exact where there is one
    /// caller only. Else it is as if everybody who runs went on for as long, and nobody came: then the others start as
    /// many as bring them level with the caller. Of very many callers some stand for all.
    pub fn place(&self, caller: CallerId, key: &WaitKey) -> Option<usize> {
        let own = self.callers.get(caller.0 as usize)?.as_ref()?;
        let before = own.waiting.place(key)?;
        if self.by_name.is_empty() {
            return Some(before);
        }
        let stride = self.callers.len().div_ceil(CALLERS_LOOKED_AT);
        let of_others = self.callers.iter().enumerate().step_by(stride).filter_map(|(number, other)| {
            let other = other.as_ref().filter(|_| number != caller.0 as usize)?;
            Some(other.starts_before(own, before).min(other.waiting.len()))
        });
        Some(before + stride * of_others.sum::<usize>())
    }

    /// The first of each caller who has somebody waiting.
    pub fn firsts(&self) -> impl Iterator<Item = &WaitKey> {
        self.callers.iter().flatten().filter_map(|caller| caller.waiting.first())
    }

    /// Up to `most` of those who wait, in an order of their own, from the one after that.
    pub fn page(&self, after: Option<(CallerId, WaitKey)>, most: usize) -> Vec<(CallerId, WaitKey)> {
        let from = after.map_or(NOBODY, |(caller, _)| caller);
        let callers = self.callers.iter().enumerate().skip(from.0 as usize);
        let keys = callers.flat_map(|(number, caller)| {
            let id = CallerId(number as u32);
            let behind = after.filter(|(of, _)| *of == id).map(|(_, key)| key);
            caller.iter().flat_map(move |caller| caller.waiting.after(behind)).map(move |key| (id, *key))
        });
        keys.take(most).collect()
    }

    fn of(&mut self, caller: CallerId) -> &mut Caller {
        self.callers[caller.0 as usize].as_mut().expect("a caller is there while it waits or runs")
    }

    /// Sees to it that a caller stands where it should among those whose turn it is.
    fn note_turn(&mut self, id: CallerId) {
        if self.by_name.is_empty() {
            return;
        }
        let caller = self.callers[id.0 as usize].as_mut().expect("a caller is there while it waits or runs");
        let first = caller.waiting.first();
        let turn = first.map(|first| Turn { running: caller.running, tag: caller.tag, first: *first, caller: id });
        if turn == caller.turn {
            return;
        }
        if let Some(before) = std::mem::replace(&mut caller.turn, turn) {
            self.turns.remove(&before);
        }
        self.turns.extend(turn);
    }

    /// Forgets a caller of whom nothing is left, but not before the others have had the turn it has had.
    fn forget_if_idle(&mut self, id: CallerId) {
        let time = self.time;
        let caller = self.of(id);
        if id == NOBODY || caller.listed || !caller.is_idle() {
            return;
        }
        let is_ahead = caller.tag > time;
        if !is_ahead {
            self.forget(id);
            return;
        }
        caller.listed = true;
        self.gone.push_back(id);
        if self.gone.len() > GONE_MAX {
            self.forget_first_gone();
        }
    }

    fn forget_first_gone(&mut self) {
        let Some(id) = self.gone.pop_front() else { return };
        let caller = self.of(id);
        caller.listed = false;
        if caller.is_idle() {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: CallerId) {
        let caller = self.callers[id.0 as usize].take().expect("a caller is forgotten once");
        self.by_name.remove(&caller.name.expect("only those with a name are forgotten"));
        self.vacant.push(id);
        if self.by_name.is_empty() {
            self.turns.clear();
            self.of(NOBODY).turn = None;
        }
    }
}

impl Caller {
    /// How many it will have started when another caller has started so many, if it has enough that wait.
    fn starts_before(&self, other: &Caller, starts: usize) -> usize {
        let until_level = (other.running as usize + starts).saturating_sub(self.running as usize);
        let level = |caller: &Caller, starts: usize| (caller.running as usize + starts, caller.tag + starts as u64);
        let goes_first = match level(self, until_level).cmp(&level(other, starts)) {
            Ordering::Less => true,
            Ordering::Equal => self.waiting.first() < other.waiting.first(),
            Ordering::Greater => false,
        };
        until_level + usize::from(goes_first)
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Priority, Timestamp};

    /// A line with a number of slots, played without any actor.
    struct Played {
        waiters: Waiters,
        /// Who runs, the longest first.
        running: VecDeque<CallerId>,
        owner: HashMap<TaskId, String>,
    }

    impl Played {
        fn new() -> Self {
            Self { waiters: Waiters::new(), running: VecDeque::new(), owner: HashMap::new() }
        }

        fn join(&mut self, name: &str, tasks: usize) {
            for _ in 0..tasks {
                let (caller, task) = (self.waiters.caller(name), TaskId::generate());
                let rank = Rank::of(Priority(5), Timestamp::UNIX_EPOCH, Rank::AGING);
                self.owner.insert(task, name.to_owned());
                self.waiters.join(caller, WaitKey { rank, task });
            }
        }

        /// Starts the next one, and says whose it is.
        fn start(&mut self) -> String {
            let task = self.waiters.start_next().expect("somebody waits").task;
            let name = self.owner[&task].clone();
            self.running.push_back(self.waiters.caller(&name));
            name
        }

        /// The longest running one ends.
        fn end(&mut self) {
            let caller = self.running.pop_front().expect("something runs");
            self.waiters.end(caller);
        }

        fn run(&mut self, slots: usize, starts: usize) -> HashMap<String, usize> {
            let mut served = HashMap::new();
            for _ in 0..starts {
                while self.running.len() >= slots {
                    self.end();
                }
                *served.entry(self.start()).or_default() += 1;
            }
            served
        }
    }

    #[test]
    fn those_who_wait_are_served_alike_however_many_tasks_they_have() {
        for slots in [1, 2, 3, 7, 16] {
            let mut line = Played::new();
            line.join("million", 5000);
            line.join("", 3000);
            line.join("some", 1500);
            line.join("few", 1200);
            let served = line.run(slots, 4000);
            for (name, starts) in served {
                assert!((999..=1001).contains(&starts), "{slots} slots: {name} was served {starts} times");
            }
        }
    }

    #[test]
    fn a_task_is_told_where_it_stands_and_then_starts_about_there() {
        let rank = Rank::of(Priority(5), Timestamp::UNIX_EPOCH, Rank::AGING);
        let crowds: [&[(&str, usize)]; 3] = [
            &[("", 200)],
            &[("many", 300), ("", 40), ("few", 3), ("some", 90)],
            &[("a", 50), ("b", 50), ("c", 50), ("d", 50), ("e", 50)],
        ];
        for (slots, crowd) in [1, 3, 16].into_iter().flat_map(|slots| crowds.map(|crowd| (slots, crowd))) {
            let mut line = Played::new();
            crowd.iter().for_each(|(name, tasks)| line.join(name, *tasks));
            // What is told in the midst of it.
            line.run(slots, 20);
            while line.running.len() >= slots {
                line.end();
            }
            let told: Vec<(TaskId, usize)> = line
                .waiters
                .page(None, usize::MAX)
                .into_iter()
                .map(|(caller, key)| (key.task, line.waiters.place(caller, &key).unwrap()))
                .collect();
            let mut started = Vec::new();
            while !line.waiters.is_empty() {
                while line.running.len() >= slots {
                    line.end();
                }
                let next = line.waiters.start_next().unwrap().task;
                line.running.push_back(line.waiters.caller(&line.owner[&next].clone()));
                started.push(next);
            }
            let off = if crowd.len() == 1 { 0 } else { crowd.len() + slots };
            for (task, place) in told {
                let then = started.iter().position(|started| *started == task).unwrap();
                assert!(place.abs_diff(then) <= off, "{slots} slots, {crowd:?}: told {place}, then {then}");
            }
            let nobody = WaitKey { rank, task: TaskId::generate() };
            assert_eq!(line.waiters.place(NOBODY, &nobody), None);
        }
    }

    #[test]
    fn who_comes_late_is_next_and_neither_owes_nor_is_owed() {
        let mut line = Played::new();
        line.join("early", 5000);
        line.join("other", 5000);
        line.run(1, 2000);
        line.join("late", 1000);
        line.end();
        assert_eq!(line.start(), "late");
        let served = line.run(1, 600);
        assert!((199..=201).contains(&served["late"]), "{served:?}");
    }

    #[test]
    fn who_comes_back_at_once_gets_no_more_than_who_stays() {
        let mut line = Played::new();
        line.join("one", 1000);
        line.join("two", 1000);
        line.join("comes back", 1);
        let mut served: HashMap<String, usize> = HashMap::new();
        for _ in 0..900 {
            let name = line.start();
            line.end();
            if name == "comes back" {
                line.join("comes back", 1);
            }
            *served.entry(name).or_default() += 1;
        }
        assert!(served.values().all(|starts| (299..=301).contains(starts)), "{served:?}");
    }

    #[test]
    fn slots_are_shared_evenly_although_one_runs_longer() {
        let mut line = Played::new();
        line.join("long", 100);
        line.join("short", 100);
        let first: Vec<String> = (0..4).map(|_| line.start()).collect();
        assert_eq!(first.iter().filter(|name| *name == "long").count(), 2);
        let short = line.waiters.caller("short");
        for _ in 0..50 {
            // Only the short ones end, and their slots stay theirs.
            line.waiters.end(short);
            assert_eq!(line.start(), "short");
        }
    }

    #[test]
    fn nothing_is_kept_of_callers_who_have_gone() {
        let mut line = Played::new();
        line.join("", 10);
        for number in 0..10_000 {
            line.join(&format!("caller {number}"), 1);
            line.run(4, 1);
        }
        line.run(4, 10);
        while !line.running.is_empty() {
            line.end();
        }
        assert!(line.waiters.is_empty());
        assert!(line.waiters.by_name.len() <= GONE_MAX, "{} are remembered", line.waiters.by_name.len());
        assert!(line.waiters.callers.len() <= GONE_MAX + 10);
    }

    #[test]
    fn a_page_shows_everybody_once() {
        let mut line = Played::new();
        for name in ["", "a", "b"] {
            line.join(name, 7);
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = line.waiters.page(after, 4);
            seen.extend(page.iter().map(|(_, key)| key.task));
            match page.last() {
                Some(last) => after = Some(*last),
                None => break,
            }
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 21);
    }
}
