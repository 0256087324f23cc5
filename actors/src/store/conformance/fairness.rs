//! Promises of `claim` to the callers that share an endpoint.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_claim_is_shared_evenly_among_the_callers,
        what_one_caller_leaves_goes_to_the_others,
        tasks_without_a_key_are_one_more_caller,
        callers_have_their_turns_from_claim_to_claim,
        a_callers_tasks_come_by_rank,
        a_caller_is_found_behind_many_with_nothing_due,
        many_tasks_that_come_due_at_once_are_all_claimed,
        a_task_that_was_put_back_is_still_its_callers,
        a_task_submitted_again_is_still_its_callers,
    ]
}

fn task_of(caller: &str) -> NewTask {
    let options = TaskOptions { fairness_key: Some(caller.to_owned()), ..TaskOptions::default() };
    NewTask { options, ..new_task() }
}

impl Bench {
    async fn submit_of(&self, caller: &str, tasks: usize) {
        self.enqueue((0..tasks).map(|_| (task_of(caller), Place::Queue)).collect()).await;
    }

    /// Claims from the caller on whose turn is next, and answers whose the tasks are.
    async fn claim_in_turn(&self, max: usize, after: &mut Option<String>) -> Vec<String> {
        let wanted = Wanted { after: after.take(), ..Wanted::new(endpoint(), max) };
        let mut claims = self.store.claim(vec![wanted]).await.unwrap();
        *after = claims.turns.remove(0);
        claims.tasks.iter().map(|claimed| claimed.task.caller().to_owned()).collect()
    }
}

fn number_of(callers: &[String], caller: &str) -> usize {
    callers.iter().filter(|of| *of == caller).count()
}

async fn a_claim_is_shared_evenly_among_the_callers(bench: Bench) {
    bench.submit_of("many", 200).await;
    bench.submit_of("some", 40).await;
    bench.submit_of("few", 10).await;
    let claimed = bench.claim_in_turn(30, &mut None).await;
    let shares = ["many", "some", "few"].map(|caller| number_of(&claimed, caller));
    assert_eq!(shares, [10, 10, 10]);
}

async fn what_one_caller_leaves_goes_to_the_others(bench: Bench) {
    bench.submit_of("many", 200).await;
    bench.submit_of("some", 200).await;
    bench.submit_of("few", 3).await;
    let claimed = bench.claim_in_turn(41, &mut None).await;
    assert_eq!((claimed.len(), number_of(&claimed, "few")), (41, 3));
    let (many, some) = (number_of(&claimed, "many"), number_of(&claimed, "some"));
    assert_eq!(many.abs_diff(some), 0, "{many} and {some}");
}

async fn tasks_without_a_key_are_one_more_caller(bench: Bench) {
    for _ in 0..50 {
        bench.submit(new_task()).await;
    }
    // A key without a letter is none.
    bench.submit_of("", 50).await;
    bench.submit_of("named", 50).await;
    let claimed = bench.claim_in_turn(20, &mut None).await;
    assert_eq!((number_of(&claimed, ""), number_of(&claimed, "named")), (10, 10));
}

async fn callers_have_their_turns_from_claim_to_claim(bench: Bench) {
    for caller in ["a", "b", "", "c"] {
        bench.submit_of(caller, 10).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    for _ in 0..8 {
        seen.extend(bench.claim_in_turn(1, &mut after).await);
    }
    assert_eq!(seen, ["", "a", "b", "c", "", "a", "b", "c"]);
    // Two rounds of five, and the odd one goes on with the next caller.
    assert_eq!(bench.claim_in_turn(5, &mut after).await, ["", "a", "b", "c", ""]);
    assert_eq!(bench.claim_in_turn(1, &mut after).await, ["a"]);
    // A caller who is gone leaves the turn to the next.
    let mut after = Some("bb".to_owned());
    assert_eq!(bench.claim_in_turn(1, &mut after).await, ["c"]);
}

async fn a_callers_tasks_come_by_rank(bench: Bench) {
    let with_priority = |priority| NewTask { priority: Priority(priority), ..task_of("a") };
    let late = bench.submit(with_priority(9)).await;
    let middle = bench.submit(with_priority(5)).await;
    let early = bench.submit(with_priority(0)).await;
    bench.submit_of("b", 9).await;
    let claimed = bench.claim(6).await;
    let of_a = claimed.iter().map(|claimed| &claimed.task).filter(|task| task.caller() == "a");
    assert_eq!(ids(of_a), [early.id, middle.id, late.id]);
}

async fn a_caller_is_found_behind_many_with_nothing_due(bench: Bench) {
    let later: Vec<_> =
        (0..2500).map(|number| (NewTask { delay: SECOND, ..task_of(&format!("{number:05}")) }, Place::Queue)).collect();
    bench.enqueue(later).await;
    bench.submit_of("last of all", 1).await;
    assert_eq!(bench.claim_in_turn(2, &mut None).await, ["last of all"]);
}

async fn many_tasks_that_come_due_at_once_are_all_claimed(bench: Bench) {
    const TASKS: usize = 2500;
    bench.enqueue((0..TASKS).map(|_| (delayed(SECOND), Place::Queue)).collect()).await;
    bench.clock.advance(SECOND);
    let mut claimed = 0;
    loop {
        let claims = bench.claims_of(&[endpoint()], ALL).await;
        claimed += claims.tasks.len();
        // Where a store takes several steps, it says that more are due by now.
        match claims.next_due {
            Some(due) => assert!(due <= bench.clock.now() && !claims.tasks.is_empty()),
            None => break,
        }
    }
    assert_eq!(claimed, TASKS);
}

async fn a_task_that_was_put_back_is_still_its_callers(bench: Bench) {
    let lease = bench.submit_here(task_of("a")).await.lease;
    bench.settle(lease, again(Duration::ZERO)).await;
    bench.submit(new_task()).await;
    assert_eq!(bench.claim_in_turn(1, &mut Some(String::new())).await, ["a"]);
}

async fn a_task_submitted_again_is_still_its_callers(bench: Bench) {
    let first = bench.settled(task_of("a"), done()).await;
    let wish = Resubmit { of: first.id, endpoint: endpoint(), id: TaskId::generate(), place: Place::Queue };
    bench.store.resubmit(wish).await.unwrap();
    bench.submit(new_task()).await;
    assert_eq!(bench.claim_in_turn(1, &mut Some(String::new())).await, ["a"]);
}
