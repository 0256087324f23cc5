//! Promises of `list`, `counts` and `waiting`.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_list_begins_with_the_newest_id,
        a_list_shows_tasks_as_they_stand,
        a_list_keeps_to_its_endpoint_and_state,
        a_list_keeps_to_several_states,
        a_list_keeps_to_all_of_its_tags,
        a_list_keeps_to_its_bounds,
        a_page_says_where_to_go_on_until_nothing_follows,
        a_retried_task_is_found_by_the_tags_of_the_first,
        a_rare_task_is_found_in_the_end_however_many_do_not_fit,
        pages_show_every_task_once,
        pages_are_stable_while_tasks_arrive_and_finish,
        a_page_goes_on_after_an_id_that_is_gone,
        counts_agree_with_what_was_done,
        what_waits_counts_whether_held_or_not,
    ]
}

fn every_task() -> ListQuery {
    ListQuery::newest(ALL)
}

async fn list(bench: &Bench, query: ListQuery) -> Vec<Task> {
    bench.store.list(query).await.unwrap().tasks
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
            let states = state.into_iter().collect();
            let query = ListQuery { endpoint: only.clone(), states, ..every_task() };
            assert_eq!(list(&bench, query.clone()).await, expected, "{query:?}");
            let first = list(&bench, ListQuery { limit: 1, ..query }).await;
            assert_eq!(first.as_slice(), &expected[..expected.len().min(1)]);
        }
    }
}

/// The states that some numbers stand for, bit by bit.
fn states_of(bits: usize) -> Vec<State> {
    State::ALL.into_iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1).map(|(_, state)| state).collect()
}

/// One task in each state on each endpoint, tagged with its number; newest first.
async fn one_of_each(bench: &Bench) -> Vec<Task> {
    let mut tasks = Vec::new();
    for of in [endpoint(), other_endpoint()] {
        for state in State::ALL {
            let parity = if tasks.len() % 2 == 0 { "even" } else { "odd" };
            let third = if tasks.len() % 3 == 0 { "yes" } else { "no" };
            let task = NewTask { endpoint: of.clone(), ..tagged(&[("parity", parity), ("third", third)]) };
            let id = task.id;
            match state {
                State::Pending => drop(bench.submit(task).await),
                State::InProgress => {
                    let lease = bench.submit_here(task).await.lease;
                    bench.start(lease, 1).await;
                }
                State::Completed => drop(bench.settled(task, done()).await),
                State::Failed => drop(bench.settled(task, failed()).await),
                State::Canceled => drop(bench.settled(task, Verdict::Canceled(None)).await),
            }
            tasks.push(bench.get(id).await);
        }
    }
    tasks.reverse();
    tasks
}

async fn a_list_keeps_to_several_states(bench: Bench) {
    let tasks = one_of_each(&bench).await;
    for only in [None, Some(endpoint()), Some(other_endpoint())] {
        for states in (1..1 << State::ALL.len()).map(states_of) {
            let query = ListQuery { endpoint: only.clone(), states: states.clone(), ..every_task() };
            let of_endpoint = tasks.iter().filter(|task| only.as_ref().is_none_or(|only| *only == task.endpoint));
            let expected: Vec<Task> = of_endpoint.filter(|task| states.contains(&task.state)).cloned().collect();
            assert_eq!(list(&bench, query.clone()).await, expected, "{query:?}");
        }
    }
}

async fn a_list_keeps_to_all_of_its_tags(bench: Bench) {
    let tasks = one_of_each(&bench).await;
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let combinations = [
        vec![tag("parity", "even")],
        vec![tag("parity", "odd"), tag("third", "yes")],
        vec![tag("third", "no"), tag("parity", "even")],
        vec![tag("parity", "even"), tag("parity", "odd")],
        vec![tag("parity", "yes")],
        vec![tag("third", "no"), tag("colour", "red")],
    ];
    for tags in combinations {
        for (only, states) in
            [(None, vec![]), (Some(endpoint()), vec![]), (None, vec![State::Completed, State::Pending])]
        {
            let query =
                ListQuery { endpoint: only.clone(), states: states.clone(), tags: tags.clone(), ..every_task() };
            let has_all = |task: &&Task| {
                let own = &task.options.as_ref().expect("all are tagged").tags;
                tags.iter().all(|(key, value)| own.get(key) == Some(value))
            };
            let fits = |task: &&Task| {
                only.as_ref().is_none_or(|only| *only == task.endpoint)
                    && (states.is_empty() || states.contains(&task.state))
            };
            let expected: Vec<Task> = tasks.iter().filter(has_all).filter(fits).cloned().collect();
            assert_eq!(list(&bench, query.clone()).await, expected, "{query:?}");
        }
    }
}

async fn a_list_keeps_to_its_bounds(bench: Bench) {
    let tasks = one_of_each(&bench).await;
    let (after, from) = (tasks[2].id, tasks[6].id);
    let even = vec![("parity".to_owned(), "even".to_owned())];
    let troubled = vec![State::Failed, State::Canceled];
    for query in [
        every_task(),
        ListQuery { tags: even, ..every_task() },
        ListQuery { states: troubled, ..every_task() },
        ListQuery { states: vec![State::Pending], ..every_task() },
        ListQuery { endpoint: Some(endpoint()), ..every_task() },
    ] {
        let all = list(&bench, query.clone()).await;
        let between: Vec<Task> = all.into_iter().filter(|task| task.id < after && task.id >= from).collect();
        let bounded = ListQuery { after: Some(after), from: Some(from), ..query.clone() };
        assert_eq!(list(&bench, bounded).await, between, "{query:?}");
        let void = ListQuery { after: Some(from), from: Some(after), ..query };
        assert_eq!(bench.store.list(void).await.unwrap(), Page::default());
    }
}

async fn a_page_says_where_to_go_on_until_nothing_follows(bench: Bench) {
    let tasks = one_of_each(&bench).await;
    let even = vec![("parity".to_owned(), "even".to_owned())];
    for (query, expected) in [
        (every_task(), tasks.len()),
        (ListQuery { endpoint: Some(endpoint()), ..every_task() }, 5),
        (ListQuery { tags: even, ..every_task() }, 5),
        (ListQuery { states: vec![State::Failed, State::Canceled], ..every_task() }, 4),
        (ListQuery { states: vec![State::Pending, State::InProgress], ..every_task() }, 4),
        (ListQuery { states: vec![State::Completed], ..every_task() }, 2),
    ] {
        let mut shown = Vec::new();
        let mut after = None;
        loop {
            let page = bench.store.list(ListQuery { after, limit: 2, ..query.clone() }).await.unwrap();
            shown.extend(ids(&page.tasks));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(shown, ids(&list(&bench, query.clone()).await), "{query:?}");
        assert_eq!(shown.len(), expected, "{query:?}");
    }
}

async fn a_retried_task_is_found_by_the_tags_of_the_first(bench: Bench) {
    let first = bench.settled(tagged(&[("project", "rice")]), failed()).await;
    let wish = Resubmit { of: first.id, endpoint: endpoint(), id: TaskId::generate(), place: Place::Queue };
    let Resubmitted::Enqueued(again) = bench.store.resubmit(wish).await.unwrap() else { panic!("it has finished") };
    let query = ListQuery { tags: vec![("project".to_owned(), "rice".to_owned())], ..every_task() };
    assert_eq!(ids(&list(&bench, query).await), [again.task.id, first.id]);
}

async fn a_rare_task_is_found_in_the_end_however_many_do_not_fit(bench: Bench) {
    let rare = bench.settled(tagged(&[("project", "rice")]), done()).await;
    let others = (0..WALK_MAX + 7).map(|_| (tagged(&[("project", "rice")]), Place::Queue));
    bench.enqueue(others.collect()).await;
    let rice = vec![("project".to_owned(), "rice".to_owned())];
    for (endpoint, tags) in [(None, Vec::new()), (Some(endpoint()), Vec::new()), (None, rice)] {
        let query = ListQuery { endpoint, tags, states: vec![State::Completed], ..ListQuery::newest(10) };
        let mut page = bench.store.list(query.clone()).await.unwrap();
        while page.tasks.is_empty() {
            let after = Some(page.next.expect("the task is there"));
            page = bench.store.list(ListQuery { after, ..query.clone() }).await.unwrap();
        }
        assert_eq!(page, Page { tasks: vec![rare.clone()], next: None });
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
