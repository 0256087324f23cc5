//! What an operator does to an endpoint while it runs.

use std::sync::Barrier;

use ekiben_actors::store::faulty::{FaultPlan, FaultyStore};
use ekiben_actors::store::{Control, ControlChange, Wanted};
use ekiben_actors::supervisor::{ControlError, LineMeasures};

use super::*;

fn name(text: &str) -> EndpointName {
    EndpointName::new(text).unwrap()
}

async fn line(system: &System) -> LineMeasures {
    system.supervisor.send(MeasureLines).await.unwrap().remove(0)
}

/// Waits until the line is as it should be.
async fn line_is(system: &System, holds: impl Fn(&LineMeasures) -> bool) {
    let asking = async {
        while !holds(&line(system).await) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it comes to hold in time");
}

#[actix::test]
async fn a_paused_endpoint_takes_tasks_and_starts_none_until_it_is_resumed() {
    let gate = Gate::closed();
    let system = start("gate", gate.endpoint().concurrency(2)).await;
    let running = submit(&system, "gate").await;
    reaches(&system, &running, State::InProgress).await;
    system.pause(&name("gate")).await.unwrap();
    assert!(line(&system).await.paused);

    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(submit(&system, "gate").await);
    }
    gate.let_go(20);
    finished(&system, &running).await;
    line_is(&system, |line| line.slots_used == 0).await;
    assert_eq!((gate.begun(), line(&system).await.waiting), (1, 10));
    // Cancels are obeyed meanwhile, of those with an actor and those without.
    assert_eq!(cancel(&system, &waiting.remove(0)).await, CancelAnswer::Canceled);
    assert_eq!(cancel(&system, &waiting.pop().unwrap()).await, CancelAnswer::Canceled);

    system.resume(&name("gate")).await.unwrap();
    for task in &waiting {
        assert_eq!(finished(&system, task).await.0.state, State::Completed);
    }
    let line = line(&system).await;
    assert_eq!((line.paused, line.waiting, gate.begun()), (false, 0, 9));
}

#[actix::test]
async fn a_paused_endpoint_leaves_the_room_for_actors_to_others() {
    let gate = Gate::closed();
    let store = memory(Arc::new(SystemClock));
    let system = System::builder(store.clone()).limits(Limits { resident_max: 10, ..Limits::default() });
    let system = system.endpoint("paused", gate.endpoint()).unwrap().endpoint("busy", gate.endpoint()).unwrap();
    let system = system.start().await.unwrap();
    system.pause(&name("paused")).await.unwrap();
    for endpoint in ["paused", "busy"] {
        for _ in 0..50 {
            submit(&system, endpoint).await;
        }
    }
    // What has no actor is held by nobody.
    let left = |endpoint| {
        let claims = store.claim(vec![Wanted::new(name(endpoint), 100)]);
        async { claims.await.unwrap().tasks.len() }
    };
    assert_eq!((left("paused").await, left("busy").await), (48, 42));
}

#[actix::test]
async fn how_an_endpoint_is_set_holds_after_a_restart_and_can_be_taken_back() {
    let store = memory(Arc::new(SystemClock));
    let system = |gate: &Gate| {
        let endpoint = gate.endpoint().concurrency(2);
        System::builder(store.clone()).endpoint("gate", endpoint).unwrap().start()
    };
    let gate = Gate::closed();
    let before = system(&gate).await.unwrap();
    before.pause(&name("gate")).await.unwrap();
    before.set_concurrency(&name("gate"), Some(5)).await.unwrap();
    drop(before);

    let after = system(&gate).await.unwrap();
    let shown = line(&after).await;
    assert_eq!((shown.paused, shown.slots, shown.slots_configured), (true, 5, 2));
    for _ in 0..10 {
        submit(&after, "gate").await;
    }
    assert_eq!(gate.begun(), 0);
    after.resume(&name("gate")).await.unwrap();
    line_is(&after, |line| line.slots_used == 5).await;
    after.set_concurrency(&name("gate"), None).await.unwrap();
    assert_eq!(line(&after).await.slots, 2);
    assert_eq!(store.controls().await.unwrap(), [(name("gate"), Control::default())]);
}

#[actix::test]
async fn an_endpoint_added_later_is_as_it_was_set() {
    let store = memory(Arc::new(SystemClock));
    store.control(name("gate"), ControlChange::Paused(true)).await.unwrap();
    let system = System::builder(store).start().await.unwrap();
    system.add(name("gate"), Gate::closed().endpoint()).await.unwrap();
    assert!(line(&system).await.paused);
}

#[actix::test]
async fn more_run_at_once_when_told_so_and_fewer_once_some_have_ended() {
    let gate = Gate::closed();
    let system = start("gate", gate.endpoint().concurrency(2)).await;
    for _ in 0..30 {
        submit(&system, "gate").await;
    }
    line_is(&system, |line| line.slots_used == 2).await;
    system.set_concurrency(&name("gate"), Some(6)).await.unwrap();
    line_is(&system, |line| line.slots_used == 6 && line.slots_allowed == 6).await;

    system.set_concurrency(&name("gate"), Some(3)).await.unwrap();
    assert_eq!(line(&system).await.slots_used, 6);
    gate.let_go(3);
    line_is(&system, |line| line.slots_used == 3 && line.waiting == 24).await;
    // The next only when one of the three has ended.
    gate.let_go(1);
    line_is(&system, |line| line.slots_used == 3 && line.waiting == 23).await;
    // Each of the seven has begun by the time its executor says so.
    let begun = async {
        while gate.begun() < 7 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    assert_eq!(gate.begun(), 7);
}

#[actix::test]
async fn a_concurrency_out_of_bounds_is_refused_with_the_bounds() {
    let limits = Limits { slots_max: 20, ..Limits::default() };
    let builder = builder().limits(limits).endpoint("gate", Gate::closed().endpoint()).unwrap();
    let system = builder.endpoint("other", upper().concurrency(5)).unwrap().start().await.unwrap();
    for asked in [0, 16, usize::MAX] {
        let refused = system.set_concurrency(&name("gate"), Some(asked)).await;
        assert_eq!(refused, Err(ControlError::Concurrency { endpoint: name("gate"), asked, most: 15 }));
    }
    system.set_concurrency(&name("gate"), Some(15)).await.unwrap();
    let stranger = name("nobody");
    let unknown = Err(ControlError::UnknownEndpoint(stranger.clone()));
    assert_eq!(system.set_concurrency(&stranger, Some(1)).await, unknown);
    assert_eq!(system.pause(&stranger).await, unknown);
    assert_eq!(system.resume(&stranger).await, unknown);
    assert_eq!(system.purge(&stranger).await, Err(ControlError::UnknownEndpoint(stranger)));
}

#[actix::test]
async fn there_are_threads_for_all_the_work_a_raised_concurrency_lets_run() {
    const TOGETHER: usize = 100;
    let meeting = Arc::new(Barrier::new(TOGETHER));
    let endpoint = Endpoint::new(Handler::blocking(move |_: Attempt| {
        meeting.wait();
        Outcome::Done(Output::new("text/plain", "met"))
    }));
    let system = start("meeting", endpoint).await;
    system.set_concurrency(&name("meeting"), Some(TOGETHER)).await.unwrap();
    let tasks = futures::future::join_all((0..TOGETHER).map(|_| submit(&system, "meeting"))).await;
    for task in &tasks {
        assert_eq!(finished(&system, task).await.0.state, State::Completed);
    }
}

#[actix::test]
async fn a_purge_cancels_all_that_waits_and_says_how_many() {
    // With an actor, in the store, and in both.
    for resident_max in [10_000, 1, 600] {
        let gate = Gate::closed();
        let limits = Limits { resident_max, ..Limits::default() };
        let builder = builder().limits(limits).endpoint("gate", gate.endpoint().concurrency(2)).unwrap();
        let system = builder.start().await.unwrap();
        let running = [submit(&system, "gate").await, submit(&system, "gate").await];
        for task in &running {
            reaches(&system, task, State::InProgress).await;
        }
        let waiting = futures::future::join_all((0..2100).map(|_| submit(&system, "gate"))).await;
        let canceled = system.purge(&name("gate")).await.unwrap();
        assert_eq!(canceled, 2100, "with {resident_max} residents");
        for task in &waiting {
            assert_eq!(known(&system, task).await.unwrap().state, State::Canceled);
        }
        line_is(&system, |line| (line.waiting, line.slots_used) == (0, 2)).await;
        assert_eq!(system.purge(&name("gate")).await.unwrap(), 0);

        // It takes new ones as ever.
        let next = submit(&system, "gate").await;
        gate.let_go(3);
        for task in running.iter().chain([&next]) {
            assert_eq!(finished(&system, task).await.0.state, State::Completed);
        }
        assert_eq!(gate.begun(), 3);
    }
}

#[actix::test]
async fn a_purge_wakes_whoever_waits_for_a_task_that_it_cancels() {
    let system = start("gate", Gate::closed().endpoint()).await;
    system.pause(&name("gate")).await.unwrap();
    let tasks = futures::future::join_all((0..20).map(|_| submit(&system, "gate"))).await;
    let all = futures::future::join_all(tasks.iter().map(|task| finished(&system, task)));
    let gate = name("gate");
    let (all, canceled) = futures::join!(all, system.purge(&gate));
    assert_eq!(canceled, Ok(20));
    assert!(all.iter().all(|(task, _)| task.state == State::Canceled));
}

/// The race again, against a purge: what it counts never ran, and the rest did.
#[actix::test]
async fn a_task_is_never_both_purged_and_run() {
    let ran = Arc::new(Mutex::new(HashSet::new()));
    let endpoint = {
        let ran = ran.clone();
        Endpoint::new(Handler::new(move |attempt: Attempt| {
            ran.lock().unwrap().insert(attempt.task);
            async { Outcome::Done(Output::new("text/plain", "ran")) }
        }))
    };
    let limits = Limits { resident_max: 20, ..Limits::default() };
    let builder = builder().limits(limits).endpoint("race", endpoint.concurrency(2)).unwrap();
    let system = builder.start().await.unwrap();
    let (mut purged, mut counted) = (0, 0);
    for _ in 0..50 {
        let tasks = futures::future::join_all((0..60).map(|_| submit(&system, "race"))).await;
        counted += system.purge(&name("race")).await.unwrap();
        for task in &tasks {
            let (task, _) = finished(&system, task).await;
            let has_run = ran.lock().unwrap().contains(&task.id);
            assert_eq!(has_run, task.state == State::Completed, "{task:?}");
            purged += u64::from(task.state == State::Canceled);
        }
    }
    assert_eq!(purged, counted);
    assert!(purged > 0, "nothing was purged: the race was none");
}

#[actix::test]
async fn a_store_that_fails_now_and_then_leaves_an_endpoint_as_one_answer_said_in_the_end() {
    for seed in 0..20 {
        let inner = memory(Arc::new(SystemClock));
        let faulty = Arc::new(FaultyStore::new(inner.clone(), FaultPlan { seed, one_in: 2 }));
        faulty.behave();
        let gate = Gate::closed();
        let system = System::builder(faulty.clone()).limits(Limits { resident_max: 30, ..Limits::default() });
        let system = system.endpoint("gate", gate.endpoint()).unwrap().start().await.unwrap();
        system.pause(&name("gate")).await.unwrap();
        let tasks = futures::future::join_all((0..100).map(|_| submit(&system, "gate"))).await;
        faulty.fail();
        while system.purge(&name("gate")).await.is_err() {}
        while system.set_concurrency(&name("gate"), Some(3)).await.is_err() {}
        while system.resume(&name("gate")).await.is_err() {}
        faulty.behave();

        for task in &tasks {
            assert_eq!(inner.get(task.id).await.unwrap().unwrap().state, State::Canceled);
        }
        let set = Control { paused: false, concurrency: Some(3) };
        assert_eq!(inner.controls().await.unwrap(), [(name("gate"), set)]);
        let shown = line(&system).await;
        assert_eq!((shown.paused, shown.slots), (false, 3));
        let next = submit(&system, "gate").await;
        gate.let_go(1);
        assert_eq!(finished(&system, &next).await.0.state, State::Completed);
        assert_eq!(gate.begun(), 1);
    }
}
