//! Who starts when: by priority, with aging, and fair to the callers.

use std::collections::HashMap;

use ekiben_actors::supervisor::Submit;
use ekiben_actors::task::{NewTask, Priority, Rank, TaskId, TaskOptions};

use super::*;

/// An endpoint whose attempts run until they are let go, the longest running first; it tells in which order they began.
struct Stage {
    system: System,
    gate: Gate,
    began: Arc<Mutex<Vec<TaskId>>>,
    callers: HashMap<TaskId, String>,
    /// How many attempts were let go.
    ended: usize,
    slots: usize,
}

impl Stage {
    /// All slots are taken, by tasks that do not count.
    async fn set(slots: usize, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let (gate, began) = (Gate::closed(), Arc::new(Mutex::new(Vec::new())));
        let endpoint = {
            let (gate, began) = (gate.clone(), began.clone());
            Endpoint::new(Handler::new(move |attempt: Attempt| {
                let (gate, began) = (gate.clone(), began.clone());
                async move {
                    began.lock().unwrap().push(attempt.task);
                    gate.opened().await;
                    Outcome::Done(Output::new("text/plain", "done"))
                }
            }))
        };
        let builder = System::builder(memory(clock.clone())).clock(clock).limits(limits);
        let system = builder.endpoint("stage", endpoint.concurrency(slots)).unwrap().start().await.unwrap();
        let mut stage = Self { system, gate, began, callers: HashMap::new(), ended: 0, slots };
        for _ in 0..slots {
            stage.submit(Priority::default(), "").await;
        }
        stage.until_begun(slots).await;
        stage
    }

    async fn submit(&mut self, priority: Priority, caller: &str) -> Task {
        let name = EndpointName::new("stage").unwrap();
        let fairness_key = Some(caller.to_owned()).filter(|caller| !caller.is_empty());
        let options = TaskOptions { fairness_key, ..TaskOptions::default() };
        let task = NewTask { priority, options, ..NewTask::new(name, Input::default()) };
        let task = self.system.supervisor.send(Submit(task)).await.unwrap().unwrap().into_task();
        self.callers.insert(task.id, caller.to_owned());
        task
    }

    async fn until_begun(&self, tasks: usize) {
        let enough = async {
            while self.began.lock().unwrap().len() < tasks {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("as many begin in time");
    }

    /// Lets the longest running one end, and answers which begins in its place.
    async fn turn(&mut self) -> TaskId {
        self.gate.let_go(1);
        self.ended += 1;
        let tasks = self.slots + self.ended;
        self.until_begun(tasks).await;
        self.began.lock().unwrap()[tasks - 1]
    }

    /// How often each caller is served in so many turns.
    async fn serve(&mut self, turns: usize) -> HashMap<String, usize> {
        let mut served = HashMap::new();
        for _ in 0..turns {
            let task = self.turn().await;
            *served.entry(self.callers[&task].clone()).or_default() += 1;
        }
        served
    }
}

#[track_caller]
fn assert_even(served: &HashMap<String, usize>, callers: usize, turns: usize) {
    let even = turns / callers;
    assert_eq!(served.len(), callers, "{served:?}");
    let within_a_tenth = |starts: &usize| starts.abs_diff(even) * 10 <= even;
    assert!(served.values().all(within_a_tenth), "{turns} turns for {callers}: {served:?}");
}

#[actix::test]
async fn those_who_wait_start_by_priority_and_of_one_priority_in_their_order() {
    let mut stage = Stage::set(1, Limits::default(), Arc::new(SystemClock)).await;
    let mut tasks = Vec::new();
    for priority in [9, 0, 5, 2, 7, 5, 0, 9, 1] {
        tasks.push((priority, stage.submit(Priority(priority), "").await.id));
    }
    // The sort is stable: of one priority they stay in the order they came.
    tasks.sort_by_key(|(priority, _)| *priority);
    for (_, expected) in tasks {
        assert_eq!(stage.turn().await, expected);
    }
}

#[actix::test]
async fn the_least_urgent_starts_within_its_bound_under_endless_urgent_load() {
    // Wherever they wait: with an actor, or in the store.
    for resident_max in [1000, 1] {
        let clock = Arc::new(ManualClock::new());
        let limits = Limits { resident_max, ..Limits::default() };
        let mut stage = Stage::set(1, limits, clock.clone()).await;
        stage.submit(Priority::URGENT, "").await;
        let least = stage.submit(Priority::BACKGROUND, "").await;
        stage.submit(Priority::URGENT, "").await;
        let bound = least.submitted_at + 9 * Rank::AGING;
        // As many urgent ones come as can be served, so that one always waits.
        let mut turns = 0;
        while stage.turn().await != least.id {
            turns += 1;
            clock.advance(Rank::AGING / 2);
            stage.submit(Priority::URGENT, "").await;
            assert!(clock.now() <= bound + Rank::AGING, "it still waits after {turns} turns");
        }
        assert!(clock.now() > bound - Rank::AGING, "urgent ones went before it meanwhile: {turns}");
    }
}

#[actix::test]
async fn callers_share_the_slots_evenly_however_many_tasks_each_has_waiting() {
    for slots in [1, 4] {
        let mut stage = Stage::set(slots, Limits::default(), Arc::new(SystemClock)).await;
        for (caller, tasks) in [("million", 900), ("many", 300), ("", 200), ("some", 130)] {
            for _ in 0..tasks {
                stage.submit(Priority::default(), caller).await;
            }
        }
        // Those that took the slots to begin with had none.
        stage.serve(slots).await;
        let served = stage.serve(400).await;
        assert_even(&served, 4, 400);
    }
}

#[actix::test]
async fn callers_share_the_slots_evenly_when_nearly_all_wait_in_the_store() {
    let limits = Limits { resident_max: 16, ..Limits::default() };
    let mut stage = Stage::set(4, limits, Arc::new(SystemClock)).await;
    for (caller, tasks) in [("million", 900), ("many", 300), ("", 200), ("some", 150)] {
        for _ in 0..tasks {
            stage.submit(Priority::default(), caller).await;
        }
    }
    // Until what had an actor before the others came is through.
    stage.serve(40).await;
    let served = stage.serve(400).await;
    assert_even(&served, 4, 400);
}

#[actix::test]
async fn urgent_tasks_of_one_caller_do_not_hold_up_another() {
    let mut stage = Stage::set(2, Limits::default(), Arc::new(SystemClock)).await;
    for _ in 0..200 {
        stage.submit(Priority::URGENT, "pushy").await;
    }
    for _ in 0..100 {
        stage.submit(Priority::BACKGROUND, "patient").await;
    }
    stage.serve(2).await;
    let served = stage.serve(100).await;
    assert_even(&served, 2, 100);
}

#[actix::test]
async fn a_caller_who_comes_late_is_served_at_once_and_neither_owes_nor_is_owed() {
    for resident_max in [10_000, 16] {
        let limits = Limits { resident_max, ..Limits::default() };
        let mut stage = Stage::set(2, limits, Arc::new(SystemClock)).await;
        for _ in 0..600 {
            stage.submit(Priority::default(), "early").await;
        }
        stage.serve(200).await;
        for _ in 0..150 {
            stage.submit(Priority::default(), "late").await;
        }
        let soon = stage.serve(8).await;
        assert!((3..=6).contains(&soon["late"]), "{soon:?}");
        let served = stage.serve(200).await;
        assert_even(&served, 2, 200);
    }
}
