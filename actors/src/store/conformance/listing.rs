//! Promises of `list`, `counts` and `waiting`.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_list_begins_with_the_newest_id,
        a_list_shows_tasks_as_they_stand,
        a_list_keeps_to_its_endpoint_and_state,
        pages_show_every_task_once,
        pages_are_stable_while_tasks_arrive_and_finish,
        a_page_goes_on_after_an_id_that_is_gone,
        counts_agree_with_what_was_done,
        what_waits_counts_whether_held_or_not,
    ]
}

fn every_task() -> ListQuery {
    ListQuery { endpoint: None, state: None, after: None, limit: ALL }
}

async fn list(bench: &Bench, query: ListQuery) -> Vec<Task> {
    bench.store.list(query).await.unwrap()
}

async fn a_list_begins_with_the_newest_id(bench: Bench) {
    let tasks: Vec<NewTask> = (0..10).map(|_| new_task()).collect();
    let mut newest_first: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
    newest_first.reverse();
    // Neither the order they are submitted in nor their urgency matters.
    for (number, task) in tasks.into_iter().enumerate().rev() {
        bench.submit(NewTask { priority: Priority(number as u8 % 3), ..task }).await;
    }
    assert_eq!(ids(&list(&bench, every_task()).await), newest_first);
    let page = list(&bench, ListQuery { limit: 3, ..every_task() }).await;
    assert_eq!(ids(&page), newest_first[..3]);
    assert_eq!(list(&bench, ListQuery { limit: 0, ..every_task() }).await, []);
}

async fn a_list_shows_tasks_as_they_stand(bench: Bench) {
    let canceled = bench.settled(new_task(), Verdict::Canceled(None)).await;
    let failed = bench.settled(new_task(), failed()).await;
    let waiting = bench.submit(delayed(SECOND)).await;
    assert_eq!(list(&bench, every_task()).await, [waiting, failed, canceled]);
}

async fn a_list_keeps_to_its_endpoint_and_state(bench: Bench) {
    let mut tasks = Vec::new();
    for of in [endpoint(), other_endpoint(), endpoint()] {
        tasks.push(bench.settled(new_task_on(of.clone()), done()).await);
        tasks.push(bench.settled(new_task_on(of.clone()), failed()).await);
        let lease = bench.submit_here(new_task_on(of.clone())).await.lease;
        bench.start(lease, 1).await;
        tasks.push(bench.get(lease.task).await);
        tasks.push(bench.submit(new_task_on(of)).await);
    }
    tasks.reverse();
    for only in [None, Some(endpoint()), Some(other_endpoint()), Some(endpoint_named("nobody"))] {
        for state in State::ALL.into_iter().map(Some).chain([None]) {
            let wanted = |task: &&Task| {
                only.as_ref().is_none_or(|only| task.endpoint == *only) && state.is_none_or(|state| task.state == state)
            };
            let expected: Vec<Task> = tasks.iter().filter(wanted).cloned().collect();
            let query = ListQuery { endpoint: only.clone(), state, ..every_task() };
            assert_eq!(list(&bench, query.clone()).await, expected, "{query:?}");
            let first = list(&bench, ListQuery { limit: 1, ..query }).await;
            assert_eq!(first.as_slice(), &expected[..expected.len().min(1)]);
        }
    }
}

async fn pages_show_every_task_once(bench: Bench) {
    for number in 0..11 {
        let of = if number % 3 == 0 { other_endpoint() } else { endpoint() };
        bench.submit(new_task_on(of)).await;
    }
    let mut shown = Vec::new();
    let mut pages = Vec::new();
    for _ in 0..4 {
        let page = list(&bench, ListQuery { after: shown.last().copied(), limit: 4, ..every_task() }).await;
        pages.push(page.len());
        shown.extend(ids(&page));
    }
    assert_eq!(pages, [4, 4, 3, 0]);
    assert_eq!(shown, ids(&list(&bench, every_task()).await));
}

async fn pages_are_stable_while_tasks_arrive_and_finish(bench: Bench) {
    let mut before = Vec::new();
    for _ in 0..9 {
        before.push(bench.submit_here(new_task()).await.lease);
    }
    let mut shown: Vec<TaskId> = Vec::new();
    for round in 0..3 {
        let page = list(&bench, ListQuery { after: shown.last().copied(), limit: 3, ..every_task() }).await;
        shown.extend(ids(&page));
        // Something shown before, something shown next and something new: none of them moves a page.
        bench.settle(before[round], done()).await;
        bench.settle(before[8 - round], failed()).await;
        bench.submit(new_task()).await;
    }
    let newest_first: Vec<TaskId> = before.iter().rev().map(|lease| lease.task).collect();
    assert_eq!(shown, newest_first);
}

async fn a_page_goes_on_after_an_id_that_is_gone(bench: Bench) {
    let oldest = bench.submit(new_task()).await;
    let middle = bench.settled(new_task(), done()).await;
    bench.submit(new_task()).await;
    bench.clock.advance(KEEP);
    assert_eq!(bench.prune().await.len(), 1);
    let page = list(&bench, ListQuery { after: Some(middle.id), ..every_task() }).await;
    assert_eq!(page, [oldest]);
}

async fn counts_agree_with_what_was_done(bench: Bench) {
    assert_counts(&bench, &[]).await;
    let there = bench.submit(new_task_on(other_endpoint())).await;
    let here = bench.submit_here(new_task()).await.lease;
    bench.submit(new_task()).await;
    assert_counts(&bench, &[(endpoint(), State::Pending, 2), (other_endpoint(), State::Pending, 1)]).await;

    bench.start(here, 1).await;
    bench.store.cancel(there.id, other_endpoint(), KEEP).await.unwrap();
    let by_now =
        [(endpoint(), State::Pending, 1), (endpoint(), State::InProgress, 1), (other_endpoint(), State::Canceled, 1)];
    assert_counts(&bench, &by_now).await;

    bench.settle(here, done()).await;
    bench.settled(new_task(), done()).await;
    bench.settled(new_task(), failed()).await;
    let by_now = [
        (endpoint(), State::Pending, 1),
        (endpoint(), State::Completed, 2),
        (endpoint(), State::Failed, 1),
        (other_endpoint(), State::Canceled, 1),
    ];
    assert_counts(&bench, &by_now).await;

    bench.clock.advance(KEEP);
    bench.prune().await;
    assert_counts(&bench, &[(endpoint(), State::Pending, 1)]).await;
}

async fn what_waits_counts_whether_held_or_not(bench: Bench) {
    bench.submit(new_task()).await;
    bench.submit(delayed(KEEP)).await;
    let held = bench.submit_here(new_task()).await.lease;
    let there = bench.submit(new_task_on(other_endpoint())).await;
    assert_eq!(waiting(&bench).await, [(endpoint(), 3), (other_endpoint(), 1)]);
    bench.start(held, 1).await;
    bench.store.cancel(there.id, other_endpoint(), KEEP).await.unwrap();
    assert_eq!(waiting(&bench).await, [(endpoint(), 2)]);
    bench.settle(held, again(KEEP)).await;
    assert_eq!(waiting(&bench).await, [(endpoint(), 3)]);
}

async fn waiting(bench: &Bench) -> Vec<(EndpointName, u64)> {
    let mut waiting = bench.store.waiting().await.unwrap();
    waiting.retain(|(_, tasks)| *tasks > 0);
    waiting.sort();
    waiting
}

async fn assert_counts(bench: &Bench, expected: &[(EndpointName, State, u64)]) {
    let mut counts = bench.store.counts().await.unwrap();
    counts.retain(|count| count.tasks > 0);
    counts.sort_by_key(|count| (count.endpoint.clone(), count.state));
    let counts: Vec<_> = counts.into_iter().map(|count| (count.endpoint, count.state, count.tasks)).collect();
    assert_eq!(counts, expected);
}
