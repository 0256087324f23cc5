//! When a waiting task will start, as it is told beforehand, against when it then starts: the real actors on a clock
//! that is moved from one event to the next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ekiben_actors::clock::{Clock, ManualClock};
use ekiben_actors::endpoint::Endpoint;
use ekiben_actors::executor::{Attempt, Executor};
use ekiben_actors::store::memory::{MemoryOptions, MemoryStore};
use ekiben_actors::supervisor::{Foresee, MeasureLines, Within};
use ekiben_actors::system::System;
use ekiben_actors::task::{Input, Outcome, Output, TaskId, Timestamp};
use futures::future::BoxFuture;
use tokio::sync::oneshot;

/// Longer than anything here takes on the slowest machine; only a broken promise waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The part of what the slots could do that is asked of them.
const LOAD: f64 = 0.9;
/// Tasks before the first one that counts.
const WARM_UP: usize = 120;
const TASKS: usize = 400;
/// How many of them come at once, in the middle.
const RUSH: usize = 80;

/// Chance from a seed: SplitMix64.
struct Chance(u64);

impl Chance {
    /// From 0 up to below 1.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal: the sum of twelve.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// How long runs take, in seconds.
#[derive(Clone, Copy, Debug)]
enum RunTimes {
    /// From 50 to 150 ms, each as likely.
    Even,
    /// Most are short, some are long: the logarithm is normal.
    Skewed,
}

impl RunTimes {
    fn draw(self, chance: &mut Chance) -> f64 {
        match self {
            RunTimes::Even => 0.05 + 0.1 * chance.uniform(),
            RunTimes::Skewed => 0.08 * (0.7 * chance.normal()).exp(),
        }
    }

    fn mean(self) -> f64 {
        match self {
            RunTimes::Even => 0.1,
            RunTimes::Skewed => 0.08 * (0.7f64 * 0.7 / 2.0).exp(),
        }
    }
}

/// Runs each task for as long as its input says, on the clock that is moved.
#[derive(Clone)]
struct Timed {
    clock: Arc<ManualClock>,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    started: HashMap<TaskId, Timestamp>,
    ends: BinaryHeap<Reverse<(Timestamp, TaskId)>>,
    let_go: HashMap<TaskId, oneshot::Sender<()>>,
}

impl Executor for Timed {
    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        let seconds: f64 = serde_json::from_slice(&attempt.input.body.read().unwrap()).unwrap();
        let (go, going) = oneshot::channel();
        let now = self.clock.now();
        let mut world = self.world.lock().unwrap();
        world.started.insert(attempt.task, now);
        world.ends.push(Reverse((now + Duration::from_secs_f64(seconds), attempt.task)));
        world.let_go.insert(attempt.task, go);
        Box::pin(async move {
            going.await.expect("every run is let go");
            Outcome::Done(Output::new("text/plain", ""))
        })
    }
}

/// A system with one endpoint, and what was told of those who had to wait.
struct Bench {
    system: System,
    timed: Timed,
    slots: usize,
    submitted: usize,
    ended: usize,
    told: Vec<(TaskId, u64, Within)>,
}

impl Bench {
    async fn new(slots: usize) -> Self {
        let clock = Arc::new(ManualClock::new());
        let store = MemoryStore::new(MemoryOptions::new(clock.clone()));
        let timed = Timed { clock: clock.clone(), world: Arc::default() };
        let endpoint = Endpoint::new(timed.clone()).concurrency(slots);
        let builder = System::builder(Arc::new(store)).clock(clock).endpoint("timed", endpoint).unwrap();
        let system = builder.start().await.unwrap();
        Self { system, timed, slots, submitted: 0, ended: 0, told: Vec::new() }
    }

    async fn submit(&mut self, seconds: f64) {
        let task = self.system.submit("timed", Input::json(&seconds).unwrap()).await.unwrap();
        self.submitted += 1;
        let prospect = self.system.supervisor.send(Foresee { task: task.id }).await.unwrap();
        let prospect = prospect.expect("it waits or runs, or has just ended");
        if prospect.position > 0
            && self.submitted > WARM_UP
            && let Some(start) = prospect.estimate().start
        {
            self.told.push((task.id, prospect.position, start));
        }
        self.all_slots_are_taken().await;
    }

    /// Moves the clock on, letting go of every run that ends until then.
    async fn go_on(&mut self, until: Timestamp) {
        while let Some((end, task)) = self.next_end().filter(|(end, _)| *end <= until) {
            self.move_to(end);
            let go = {
                let mut world = self.timed.world.lock().unwrap();
                world.ends.pop();
                world.let_go.remove(&task).unwrap()
            };
            go.send(()).unwrap();
            self.ended += 1;
            self.all_slots_are_taken().await;
        }
        self.move_to(until);
    }

    fn next_end(&self) -> Option<(Timestamp, TaskId)> {
        self.timed.world.lock().unwrap().ends.peek().map(|Reverse(next)| *next)
    }

    fn move_to(&self, time: Timestamp) {
        self.timed.clock.advance((time - self.timed.clock.now()).to_std().unwrap_or_default());
    }

    /// Waits until as many have begun as can have, and all that ended is known to have.
    async fn all_slots_are_taken(&self) {
        let begun = self.submitted.min(self.ended + self.slots);
        let waiting = async {
            while self.timed.world.lock().unwrap().started.len() < begun || self.slots_used().await > begun - self.ended
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the next task starts in time");
    }

    async fn slots_used(&self) -> usize {
        self.system.supervisor.send(MeasureLines).await.unwrap()[0].slots_used
    }
}

/// What came of what was told.
#[derive(Default)]
struct Tally {
    within: usize,
    all: usize,
    /// Of tasks far back: how wide the range was, as a part of the time they were to wait.
    widths: Vec<f64>,
}

/// A steady load with a rush in it.
async fn play(run_times: RunTimes, slots: usize, seed: u64, tally: &mut Tally) {
    let mut chance = Chance(seed);
    let mut bench = Bench::new(slots).await;
    let mut foretold_at = HashMap::new();
    for number in 0..TASKS {
        let is_in_rush = (TASKS / 2..TASKS / 2 + RUSH).contains(&number);
        if !is_in_rush {
            let pause = -(1.0 - chance.uniform()).ln() * run_times.mean() / slots as f64 / LOAD;
            bench.go_on(bench.timed.clock.now() + Duration::from_secs_f64(pause)).await;
        }
        let told = bench.told.len();
        bench.submit(run_times.draw(&mut chance)).await;
        if bench.told.len() > told {
            foretold_at.insert(bench.told[told].0, bench.timed.clock.now());
        }
    }
    bench.go_on(bench.timed.clock.now() + Duration::from_secs(3600)).await;
    let started = std::mem::take(&mut bench.timed.world.lock().unwrap().started);
    assert_eq!(started.len(), TASKS);
    for (task, position, within) in &bench.told {
        let hit = (within.earliest..=within.latest).contains(&started[task]);
        tally.within += usize::from(hit);
        tally.all += 1;
        if *position >= 50 {
            let seconds = |from: Timestamp, to: Timestamp| (to - from).as_seconds_f64();
            let wait = seconds(foretold_at[task], within.latest);
            tally.widths.push(seconds(within.earliest, within.latest) / wait);
        }
    }
}

async fn nine_of_ten_start_within(run_times: RunTimes, slots: usize) {
    let mut tally = Tally::default();
    for seed in [1, 2, 3] {
        play(run_times, slots, seed, &mut tally).await;
    }
    let Tally { within, all, widths } = tally;
    println!("{run_times:?} on {slots}: {within} of {all}, {} far back", widths.len());
    assert!(all > TASKS / 2, "{run_times:?} on {slots}: only {all} were told");
    assert!(within * 10 >= all * 9, "{run_times:?} on {slots}: {within} of {all} started within");
    // A range that says everything says nothing.
    let mean = widths.iter().sum::<f64>() / widths.len() as f64;
    assert!(mean < 0.6, "{run_times:?} on {slots}: the range is {mean} of the wait");
}

#[actix::test]
async fn on_one_slot_with_even_run_times_nine_of_ten_tasks_start_within_the_stated_range() {
    nine_of_ten_start_within(RunTimes::Even, 1).await;
}

#[actix::test]
async fn on_one_slot_with_skewed_run_times_nine_of_ten_tasks_start_within_the_stated_range() {
    nine_of_ten_start_within(RunTimes::Skewed, 1).await;
}

#[actix::test]
async fn on_four_slots_with_even_run_times_nine_of_ten_tasks_start_within_the_stated_range() {
    nine_of_ten_start_within(RunTimes::Even, 4).await;
}

#[actix::test]
async fn on_four_slots_with_skewed_run_times_nine_of_ten_tasks_start_within_the_stated_range() {
    nine_of_ten_start_within(RunTimes::Skewed, 4).await;
}
