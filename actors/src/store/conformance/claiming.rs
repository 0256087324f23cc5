//! Promises of `claim`.

use std::collections::HashSet;

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        of_those_that_come_together_a_claim_takes_the_most_urgent_then_the_longest_due_then_the_oldest,
        who_has_waited_long_enough_is_claimed_before_newer_ones_that_are_more_urgent,
        the_least_urgent_is_claimed_within_its_bound_under_endless_urgent_load,
        another_aging_holds_from_the_next_claim_on,
        a_task_that_is_not_due_does_not_hold_up_a_less_urgent_one,
        a_claim_takes_at_most_what_is_wanted_of_each_endpoint,
        a_claim_takes_only_of_the_endpoints_it_names,
        a_task_is_claimed_when_it_is_due_and_not_before,
        a_claim_tells_when_the_next_task_is_due,
        a_claim_with_nothing_to_wait_for_tells_no_time,
        a_claimed_task_is_pending_until_it_starts,
        a_claimed_task_is_not_claimed_again,
        many_claims_at_once_hand_no_task_out_twice,
        a_fence_grows_with_each_claim,
    ]
}

async fn of_those_that_come_together_a_claim_takes_the_most_urgent_then_the_longest_due_then_the_oldest(bench: Bench) {
    // As they are made: priority and seconds until they are due.
    let made = [(255, 0), (255, 0), (200, 0), (5, 2), (5, 2), (5, 1), (0, 3)];
    let in_order = [6, 5, 3, 4, 2, 0, 1];
    let tasks: Vec<NewTask> = made
        .iter()
        .map(|(priority, delay)| NewTask { priority: Priority(*priority), ..delayed(Duration::from_secs(*delay)) })
        .collect();
    // Submitted the other way round: the age of a task is that of its id.
    for task in tasks.iter().rev() {
        bench.submit(task.clone()).await;
    }
    bench.clock.advance(Duration::from_secs(10));

    let mut claimed = claimed_ids(&bench.claim(3).await);
    claimed.extend(claimed_ids(&bench.claim(ALL).await));
    assert_eq!(claimed, in_order.map(|number: usize| tasks[number].id));
}

async fn who_has_waited_long_enough_is_claimed_before_newer_ones_that_are_more_urgent(bench: Bench) {
    let urgent = || NewTask { priority: Priority(2), ..new_task() };
    let patient = bench.submit(NewTask { priority: Priority(5), ..new_task() }).await;
    bench.clock.advance(3 * Rank::AGING);
    let level = bench.submit(urgent()).await;
    bench.clock.advance(Duration::from_micros(1));
    let overtaken = bench.submit(urgent()).await;
    assert_eq!(claimed_ids(&bench.claim(ALL).await), [level.id, patient.id, overtaken.id]);
}

async fn the_least_urgent_is_claimed_within_its_bound_under_endless_urgent_load(bench: Bench) {
    let least = bench.submit(NewTask { priority: Priority::LAST, ..new_task() }).await;
    let bound = bench.clock.now() + 9 * Rank::AGING;
    loop {
        for _ in 0..2 {
            bench.submit(NewTask { priority: Priority::URGENT, ..new_task() }).await;
        }
        // As many as come are claimed, and one more.
        let claimed = claimed_ids(&bench.claim(2).await);
        if claimed.contains(&least.id) {
            break;
        }
        assert!(bench.clock.now() <= bound, "the least urgent task still waits");
        bench.clock.advance(Rank::AGING / 2);
    }
    assert!(bench.clock.now() > bound - Rank::AGING, "aging is no more than it should be");
}

async fn another_aging_holds_from_the_next_claim_on(bench: Bench) {
    let old = bench.submit(NewTask { priority: Priority(5), ..new_task() }).await;
    let older_still = bench.submit(NewTask { priority: Priority(5), ..new_task() }).await;
    bench.clock.advance(10 * SECOND);
    let urgent = bench.submit(NewTask { priority: Priority(0), ..new_task() }).await;
    let claim = |aging| {
        let wanted = Wanted { aging, ..Wanted::new(endpoint(), 1) };
        async { claimed_ids(&bench.store.claim(vec![wanted]).await.unwrap().tasks) }
    };
    assert_eq!(claim(SECOND).await, [old.id]);
    assert_eq!(claim(Duration::MAX).await, [urgent.id]);
    assert_eq!(claim(Duration::ZERO).await, [older_still.id]);
}

async fn a_task_that_is_not_due_does_not_hold_up_a_less_urgent_one(bench: Bench) {
    bench.submit(NewTask { priority: Priority(0), ..delayed(SECOND) }).await;
    let ready = bench.submit(NewTask { priority: Priority(9), ..new_task() }).await;
    assert_eq!(claimed_ids(&bench.claim(ALL).await), [ready.id]);
}

async fn a_claim_takes_at_most_what_is_wanted_of_each_endpoint(bench: Bench) {
    for _ in 0..5 {
        bench.submit(new_task()).await;
        bench.submit(new_task_on(other_endpoint())).await;
    }
    let wanted = vec![Wanted::new(endpoint(), 2), Wanted::new(other_endpoint(), 3)];
    let claims = bench.store.claim(wanted).await.unwrap();
    let taken_of = |endpoint| claims.tasks.iter().filter(|claimed| claimed.task.endpoint == endpoint).count();
    assert_eq!((taken_of(endpoint()), taken_of(other_endpoint())), (2, 3));

    let nothing = vec![Wanted::new(endpoint(), 0)];
    assert!(bench.store.claim(nothing).await.unwrap().tasks.is_empty());
    assert_eq!(bench.claim(ALL).await.len(), 3);
}

async fn a_claim_takes_only_of_the_endpoints_it_names(bench: Bench) {
    bench.submit(new_task()).await;
    assert!(bench.claims_of(&[other_endpoint(), endpoint_named("nobody")], ALL).await.tasks.is_empty());
    assert!(bench.claims_of(&[], ALL).await.tasks.is_empty());
    assert_eq!(bench.claim(ALL).await.len(), 1);
}

async fn a_task_is_claimed_when_it_is_due_and_not_before(bench: Bench) {
    let task = bench.submit(delayed(SECOND)).await;
    bench.clock.advance(SECOND - Duration::from_micros(1));
    assert!(bench.claim(ALL).await.is_empty());
    bench.clock.advance(Duration::from_micros(1));
    assert_eq!(claimed_ids(&bench.claim(ALL).await), [task.id]);
}

async fn a_claim_tells_when_the_next_task_is_due(bench: Bench) {
    let soon = bench.submit(NewTask { priority: Priority(9), ..delayed(2 * SECOND) }).await;
    let later = bench.submit(NewTask { priority: Priority(0), ..delayed(3 * SECOND) }).await;
    bench.submit(NewTask { delay: SECOND, ..new_task_on(other_endpoint()) }).await;

    assert_eq!(bench.claims_of(&[endpoint()], ALL).await.next_due, Some(soon.due_at));
    for both in [[endpoint(), other_endpoint()], [other_endpoint(), endpoint()]] {
        assert_eq!(bench.claims_of(&both, ALL).await.next_due, Some(bench.clock.now() + SECOND));
    }
    bench.clock.advance(2 * SECOND);
    assert_eq!(bench.claims_of(&[endpoint()], ALL).await.next_due, Some(later.due_at));
}

async fn a_claim_with_nothing_to_wait_for_tells_no_time(bench: Bench) {
    bench.submit_here(new_task()).await;
    bench.submit(new_task()).await;
    bench.submit(new_task()).await;
    bench.submit(NewTask { delay: SECOND, ..new_task_on(other_endpoint()) }).await;
    // One is left that is due already: there is no time to wait for.
    let claims = bench.claims_of(&[endpoint()], 1).await;
    assert_eq!((claims.tasks.len(), claims.next_due), (1, None));
}

async fn a_claimed_task_is_pending_until_it_starts(bench: Bench) {
    let submitted = bench.submit(new_task()).await;
    let claimed = bench.claim_one().await;
    assert_eq!(claimed.task, submitted);
    assert_eq!(bench.get(submitted.id).await, submitted);
    assert_eq!(bench.store.waiting().await.unwrap(), [(endpoint(), 1)]);
}

async fn a_claimed_task_is_not_claimed_again(bench: Bench) {
    bench.submit(new_task()).await;
    bench.claim_one().await;
    assert!(bench.claim(ALL).await.is_empty());
    bench.lapse();
    // Not even when the lease has lapsed: only a reclaim takes a task from its holder.
    assert!(bench.claim(ALL).await.is_empty());
}

async fn many_claims_at_once_hand_no_task_out_twice(bench: Bench) {
    const TASKS: usize = 200;
    bench.enqueue((0..TASKS).map(|_| (new_task(), Place::Queue)).collect()).await;
    let claims = (0..50).map(|_| {
        let store = bench.store.clone();
        move || store.claim(vec![Wanted::new(endpoint(), 7)])
    });
    let answers = from_threads(claims).await;
    let claimed: Vec<Claimed> = answers.into_iter().flat_map(|claims| claims.tasks).collect();

    let distinct: HashSet<TaskId> = claimed_ids(&claimed).into_iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (TASKS, TASKS));
    assert!(claimed.iter().all(|claimed| claimed.lease == Lease { task: claimed.task.id, fence: 1 }));
}

async fn a_fence_grows_with_each_claim(bench: Bench) {
    let mut fence = bench.submit_here(new_task()).await.lease;
    for _ in 0..5 {
        bench.settle(fence, again(Duration::ZERO)).await;
        let next = bench.claim_one().await.lease;
        assert!(next.fence > fence.fence);
        fence = next;
    }
    bench.lapse();
    bench.reclaim(ALL).await;
    assert!(bench.claim_one().await.lease.fence > fence.fence);
}
