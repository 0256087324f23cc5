//! Promises of the outbox: no end without its delivery, and a delivery until it has ended.

use crate::lifecycle::Closing;
use crate::store::batches::{Line, NewBatch, Receive};
use crate::store::{Replayed, Report, Reported, Take, Taken};
use crate::task::{BatchId, Timestamp};
use crate::webhook::{Delivery, DeliveryId, DeliveryState, Next, Parcel, Subject, TRIES_KEPT, Try};

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        every_way_to_end_leaves_a_delivery,
        what_has_not_ended_or_asked_for_none_leaves_no_delivery,
        a_batch_that_is_over_leaves_a_delivery_once,
        a_delivery_has_the_traceparent_of_its_submission,
        a_task_retried_tells_of_its_own_end,
        a_delivery_is_handed_out_once_until_its_lease_is_over,
        the_longest_due_is_taken_first_and_no_more_than_wanted,
        a_host_gets_no_more_than_it_has_room_for_and_hides_no_other,
        a_take_tells_when_the_next_can_be_taken,
        a_try_is_recorded_and_tried_again_when_it_is_due,
        what_is_delivered_gone_or_given_up_is_not_taken_again,
        a_late_report_is_refused,
        a_replay_makes_any_delivery_due_under_its_id,
        a_log_keeps_the_latest_tries,
        a_delivery_goes_with_its_task,
        a_task_deleted_takes_its_delivery_along,
        a_pending_delivery_outlives_its_task_until_it_has_ended,
    ]
}

pub(super) fn durable_cases() -> Vec<Case> {
    cases![deliveries_survive, what_the_node_before_had_taken_can_be_taken_at_once]
}

const URL: &str = "http://hooks.example.com/end";
const LEASE_OF_ONE: Duration = Duration::from_secs(20);

fn hooked() -> NewTask {
    hooked_to(URL)
}

fn hooked_to(url: &str) -> NewTask {
    let options = TaskOptions { webhook: Some(url.to_owned()), ..TaskOptions::default() };
    NewTask { options, ..new_task() }
}

fn take_of(max: usize) -> Take {
    Take { max, per_host: ALL, under_way: Vec::new(), lease: LEASE_OF_ONE }
}

fn names(parcels: &[Parcel]) -> Vec<DeliveryId> {
    parcels.iter().map(|parcel| parcel.id).collect()
}

impl Bench {
    async fn take(&self, wish: Take) -> Taken {
        self.store.take(wish).await.unwrap()
    }

    async fn take_all(&self) -> Vec<Parcel> {
        self.take(take_of(ALL)).await.parcels
    }

    async fn take_the_one(&self) -> Parcel {
        let [parcel] = <[Parcel; 1]>::try_from(self.take_all().await).expect("one delivery is due");
        parcel
    }

    async fn report(&self, parcel: &Parcel, next: Next) -> Reported {
        let made = Try { at: self.clock.now(), status: Some(200), error: None, took_ms: 7 };
        self.store.report(Report { delivery: parcel.id, fence: parcel.fence, made, next }).await.unwrap()
    }

    async fn find_delivery(&self, id: impl Into<DeliveryId>) -> Option<Delivery> {
        self.store.delivery(id.into()).await.unwrap()
    }

    async fn find_delivery_of(&self, id: DeliveryId) -> Option<Delivery> {
        self.store.delivery(id).await.unwrap()
    }

    async fn replay(&self, id: impl Into<DeliveryId>) -> Replayed {
        self.store.replay(id.into()).await.unwrap()
    }

    /// A task that has ended and left its delivery.
    async fn ended(&self) -> Task {
        self.settled(hooked(), done()).await
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

async fn every_way_to_end_leaves_a_delivery(bench: Bench) {
    let mut ended = vec![bench.settled(hooked(), done()).await];
    ended.push(bench.settled(hooked(), failed()).await);
    let lease = bench.submit_here(hooked()).await.lease;
    ended.push(match bench.settle(lease, Verdict::Canceled(None)).await {
        Settled::Recorded(task) => task,
        Settled::FenceLost => panic!("the fence holds"),
    });
    let waiting = bench.submit(hooked()).await;
    ended.push(match bench.cancel(waiting.id).await {
        Canceled::Canceled(task) => task,
        other => panic!("nobody holds it: {other:?}"),
    });
    bench.submit(NewTask { queue_ttl: Some(SECOND), ..hooked() }).await;
    bench.submit(NewTask { deadline: Some(2 * SECOND), ..hooked() }).await;
    bench.clock.advance(2 * SECOND);
    ended.extend(bench.overdue(ALL).await.settled);
    let running = bench.submit_here(hooked()).await.lease;
    for attempt in 1..=CRASH_BUDGET {
        let lease = if attempt == 1 { running } else { bench.claim_one().await.lease };
        bench.start(lease, attempt).await;
        bench.lapse();
        ended.extend(bench.reclaim(ALL).await.lost);
        bench.store.renew().await.unwrap();
    }

    let count = |state: State| ended.iter().filter(|task| task.state == state).count();
    assert_eq!((count(State::Completed), count(State::Failed), count(State::Canceled), ended.len()), (1, 3, 3, 7));
    for task in &ended {
        let delivery = bench.find_delivery(task.id).await.expect("its end left a delivery");
        assert_eq!(
            (delivery.about, delivery.url.as_str(), delivery.state),
            (Subject::Task, URL, DeliveryState::Pending)
        );
        assert_eq!((delivery.next_at, &delivery.tries[..]), (task.finished_at, &[][..]));
    }
    let mut parcels = bench.take_all().await;
    parcels.sort_by_key(|parcel| parcel.id);
    ended.sort_by_key(|task| task.id);
    for (parcel, task) in parcels.iter().zip(&ended) {
        assert_eq!((parcel.id, &parcel.body), (task.id.into(), &crate::webhook::plain_event(task)));
        assert_eq!((parcel.host.as_str(), Some(parcel.begun_at)), ("hooks.example.com:80", task.finished_at));
    }
    assert_eq!(parcels.len(), ended.len());
}

async fn what_has_not_ended_or_asked_for_none_leaves_no_delivery(bench: Bench) {
    let silent = bench.settled(new_task(), done()).await;
    let again = bench.settled(hooked(), again(SECOND)).await;
    let waiting = bench.submit(hooked()).await;
    for task in [silent, again, waiting] {
        assert_eq!(bench.find_delivery(task.id).await, None);
    }
    assert_eq!(bench.take_all().await, []);
    assert_eq!(bench.replay(TaskId::generate()).await, Replayed::Unknown);
}

async fn a_batch_that_is_over_leaves_a_delivery_once(bench: Bench) {
    let begin = async |endpoint: EndpointName| {
        let new = NewBatch {
            id: BatchId::generate(),
            endpoint,
            priority: Priority::BACKGROUND,
            keep: KEEP,
            idempotency_key: None,
            webhook: Some(URL.to_owned()),
        };
        bench.store.begin_batch(new).await.unwrap().batch.id
    };
    let by_its_last_task = begin(endpoint()).await;
    let lines = vec![Line { custom_id: "a".to_owned(), task: new_task() }];
    bench.store.receive(Receive { batch: by_its_last_task, lines, refused: 0 }).await.unwrap();
    bench.store.close_batch(by_its_last_task, Closing::Whole, None).await.unwrap();
    assert_eq!(bench.find_delivery(by_its_last_task).await, None);
    let lease = bench.claim_one().await.lease;
    bench.settle(lease, done()).await;
    let by_closing = begin(endpoint()).await;
    bench.store.close_batch(by_closing, Closing::Whole, None).await.unwrap();
    let canceled = begin(endpoint()).await;
    bench.store.close_batch(canceled, Closing::Cancel, None).await.unwrap();

    let over = [by_its_last_task, by_closing, canceled];
    for id in over {
        let delivery = bench.find_delivery(id).await.expect("its end left a delivery");
        assert_eq!((delivery.about, delivery.url.as_str()), (Subject::Batch, URL));
        bench.store.close_batch(id, Closing::Cancel, None).await.unwrap();
    }
    let mut told = names(&bench.take_all().await);
    told.sort();
    let mut expected = over.map(DeliveryId::from);
    expected.sort();
    assert_eq!(told, expected);
    bench.clock.advance(2 * KEEP);
    bench.prune().await;
    bench.prune().await;
    let parcel = bench.take_all().await.pop().expect("what is pending outlives its batch");
    assert_eq!(bench.report(&parcel, Next::Delivered).await, Reported::Noted);
    assert_eq!(bench.find_delivery_of(parcel.id).await, None);
}

async fn a_delivery_has_the_traceparent_of_its_submission(bench: Bench) {
    let mut traced = hooked();
    traced.input.headers.add("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let traced = bench.settled(traced, done()).await;
    bench.ended().await;
    for parcel in bench.take_all().await {
        let expected = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(parcel.traceparent.as_deref(), (parcel.id == traced.id.into()).then_some(expected));
    }
}

async fn a_task_retried_tells_of_its_own_end(bench: Bench) {
    let first = bench.ended().await;
    let wish = Resubmit { of: first.id, endpoint: endpoint(), id: TaskId::generate(), place: Place::Here };
    let Resubmitted::Enqueued(again) = bench.store.resubmit(wish).await.unwrap() else { panic!("it has finished") };
    bench.settle(again.lease.unwrap(), failed()).await;
    assert_eq!(bench.find_delivery(again.task.id).await.unwrap().url, URL);
    assert_eq!(bench.take_all().await.len(), 2);
}

async fn a_delivery_is_handed_out_once_until_its_lease_is_over(bench: Bench) {
    bench.ended().await;
    let first = bench.take_the_one().await;
    assert_eq!(bench.take_all().await, []);
    bench.clock.advance(LEASE_OF_ONE - Duration::from_micros(1));
    assert_eq!(bench.take_all().await, []);
    bench.clock.advance(Duration::from_micros(1));
    let second = bench.take_the_one().await;
    assert!(second.fence > first.fence);
    assert_eq!(second, Parcel { fence: second.fence, ..first });
}

async fn the_longest_due_is_taken_first_and_no_more_than_wanted(bench: Bench) {
    let mut ended = Vec::new();
    for _ in 0..5 {
        ended.push(DeliveryId::from(bench.ended().await.id));
        bench.clock.advance(SECOND);
    }
    assert_eq!(bench.take(take_of(0)).await, Taken { parcels: Vec::new(), next_at: Some(bench.now() - 5 * SECOND) });
    assert_eq!(names(&bench.take(take_of(2)).await.parcels), ended[..2]);
    assert_eq!(names(&bench.take(take_of(2)).await.parcels), ended[2..4]);
    assert_eq!(names(&bench.take(take_of(2)).await.parcels), ended[4..]);
}

async fn a_host_gets_no_more_than_it_has_room_for_and_hides_no_other(bench: Bench) {
    for _ in 0..10 {
        bench.ended().await;
    }
    bench.clock.advance(SECOND);
    let other = bench.settled(hooked_to("http://other.example.com/"), done()).await;
    let busy = bench.settled(hooked_to("http://other.example.com:81/"), done()).await;

    let under_way = vec![("hooks.example.com:80".to_owned(), 2), ("other.example.com:81".to_owned(), 4)];
    let taken = bench.take(Take { max: 8, per_host: 4, under_way, lease: LEASE_OF_ONE }).await;
    let of_host = |host: &str| taken.parcels.iter().filter(|parcel| parcel.host == host).count();
    assert_eq!((of_host("hooks.example.com:80"), of_host("other.example.com:80")), (2, 1));
    assert_eq!(taken.parcels.len(), 3);
    assert!(names(&taken.parcels).contains(&other.id.into()));
    assert!(!names(&taken.parcels).contains(&busy.id.into()));
    // What waits for room is not told of; what is taken can be taken again when its lease is over.
    assert_eq!(taken.next_at, Some(bench.now() + LEASE_OF_ONE));
}

async fn a_take_tells_when_the_next_can_be_taken(bench: Bench) {
    assert_eq!(bench.take(take_of(ALL)).await, Taken::default());
    bench.ended().await;
    let parcel = bench.take_the_one().await;
    let again_at = bench.now() + 7 * SECOND;
    bench.report(&parcel, Next::Again(again_at)).await;
    assert_eq!(bench.take(take_of(ALL)).await, Taken { parcels: Vec::new(), next_at: Some(again_at) });
    bench.clock.advance(7 * SECOND);
    let parcel = bench.take_the_one().await;
    bench.report(&parcel, Next::Delivered).await;
    assert_eq!(bench.take(take_of(ALL)).await, Taken::default());
}

async fn a_try_is_recorded_and_tried_again_when_it_is_due(bench: Bench) {
    let task = bench.ended().await;
    let parcel = bench.take_the_one().await;
    let made = Try { at: bench.now(), status: None, error: Some("nobody home".to_owned()), took_ms: 3 };
    let again_at = bench.now() + 5 * SECOND;
    let report = Report { delivery: parcel.id, fence: parcel.fence, made: made.clone(), next: Next::Again(again_at) };
    assert_eq!(bench.store.report(report).await.unwrap(), Reported::Noted);

    let delivery = bench.find_delivery(task.id).await.unwrap();
    assert_eq!((delivery.state, delivery.next_at), (DeliveryState::Pending, Some(again_at)));
    assert_eq!(delivery.tries, [made]);
    assert_eq!(bench.take_all().await, []);
    bench.clock.advance(5 * SECOND);
    let second = bench.take_the_one().await;
    assert_eq!((second.tries, second.begun_at, &second.body), (1, parcel.begun_at, &parcel.body));
}

async fn what_is_delivered_gone_or_given_up_is_not_taken_again(bench: Bench) {
    let ends = [
        (Next::Delivered, DeliveryState::Delivered),
        (Next::Gone, DeliveryState::Gone),
        (Next::GivenUp, DeliveryState::Failed),
    ];
    for (next, state) in ends {
        let task = bench.ended().await;
        let parcel = bench.take_the_one().await;
        assert_eq!(bench.report(&parcel, next).await, Reported::Noted);
        let delivery = bench.find_delivery(task.id).await.unwrap();
        assert_eq!((delivery.state, delivery.next_at, delivery.tries.len()), (state, None, 1));
        bench.clock.advance(LEASE_OF_ONE);
        assert_eq!(bench.take(take_of(ALL)).await, Taken::default());
    }
}

async fn a_late_report_is_refused(bench: Bench) {
    let task = bench.ended().await;
    let first = bench.take_the_one().await;
    bench.clock.advance(LEASE_OF_ONE);
    let second = bench.take_the_one().await;
    assert_eq!(bench.report(&first, Next::GivenUp).await, Reported::FenceLost);
    assert_eq!(bench.report(&second, Next::Delivered).await, Reported::Noted);
    assert_eq!(bench.report(&second, Next::GivenUp).await, Reported::FenceLost);
    let delivery = bench.find_delivery(task.id).await.unwrap();
    assert_eq!((delivery.state, delivery.tries.len()), (DeliveryState::Delivered, 1));
}

async fn a_replay_makes_any_delivery_due_under_its_id(bench: Bench) {
    let task = bench.ended().await;
    let mut parcel = bench.take_the_one().await;
    for next in [Next::Delivered, Next::Gone, Next::GivenUp, Next::Again(bench.now() + 1000 * SECOND)] {
        bench.report(&parcel, next).await;
        bench.clock.advance(SECOND);
        assert_eq!(bench.replay(task.id).await, Replayed::Due);
        let delivery = bench.find_delivery(task.id).await.unwrap();
        assert_eq!((delivery.state, delivery.next_at), (DeliveryState::Pending, Some(bench.now())));
        let again = bench.take_the_one().await;
        assert_eq!((again.id, &again.body, again.tries, again.begun_at), (parcel.id, &parcel.body, 0, bench.now()));
        parcel = again;
    }
    // Replayed while a try is under way: that one does not end it.
    bench.replay(task.id).await;
    assert_eq!(bench.report(&parcel, Next::GivenUp).await, Reported::FenceLost);
    assert_eq!(bench.take_the_one().await.tries, 0);
    assert_eq!(bench.find_delivery(task.id).await.unwrap().tries.len(), 4);
}

async fn a_log_keeps_the_latest_tries(bench: Bench) {
    let task = bench.ended().await;
    for _ in 0..TRIES_KEPT + 2 {
        let parcel = bench.take_the_one().await;
        bench.report(&parcel, Next::Again(bench.now() + SECOND)).await;
        bench.clock.advance(SECOND);
    }
    let tries = bench.find_delivery(task.id).await.unwrap().tries;
    assert_eq!((tries.len(), tries[0].at), (TRIES_KEPT, task.finished_at.unwrap() + 2 * SECOND));
}

async fn a_delivery_goes_with_its_task(bench: Bench) {
    let task = bench.ended().await;
    let parcel = bench.take_the_one().await;
    bench.report(&parcel, Next::Delivered).await;
    bench.clock.advance(KEEP);
    bench.prune().await;
    assert_eq!(bench.find_delivery(task.id).await, None);
    assert_eq!(bench.replay(task.id).await, Replayed::Unknown);
}

async fn a_task_deleted_takes_its_delivery_along(bench: Bench) {
    let (waiting, taken) = (bench.ended().await, bench.ended().await);
    let parcels = bench.take_all().await;
    let late = parcels.iter().find(|parcel| parcel.id == taken.id.into()).unwrap();
    for task in [&waiting, &taken] {
        assert!(matches!(bench.store.delete(task.id).await.unwrap(), Deleted::Deleted(_)));
        assert_eq!(bench.find_delivery(task.id).await, None);
    }
    assert_eq!(bench.report(late, Next::Again(bench.now())).await, Reported::FenceLost);
    bench.clock.advance(LEASE_OF_ONE);
    assert_eq!(bench.take(take_of(ALL)).await, Taken::default());
}

async fn a_pending_delivery_outlives_its_task_until_it_has_ended(bench: Bench) {
    let task = bench.ended().await;
    bench.clock.advance(KEEP);
    assert_eq!(bench.prune().await.len(), 1);
    assert!(bench.find_delivery(task.id).await.is_some());
    let parcel = bench.take_the_one().await;
    bench.report(&parcel, Next::Again(bench.now() + SECOND)).await;
    bench.clock.advance(SECOND);
    let parcel = bench.take_the_one().await;
    assert_eq!(bench.report(&parcel, Next::Delivered).await, Reported::Noted);
    assert_eq!(bench.find_delivery(task.id).await, None);
    assert_eq!(bench.take(take_of(ALL)).await, Taken::default());
}

async fn deliveries_survive(mut bench: Bench) {
    let tried = bench.ended().await;
    let parcel = bench.take_the_one().await;
    bench.report(&parcel, Next::Again(bench.now() + SECOND)).await;
    let fresh = bench.ended().await;
    for ending in [Ending::Closed, Ending::Dropped] {
        let before = (bench.find_delivery(tried.id).await, bench.find_delivery(fresh.id).await);
        bench = bench.reopen(ending).await;
        assert_eq!((bench.find_delivery(tried.id).await, bench.find_delivery(fresh.id).await), before);
    }
    bench.clock.advance(SECOND);
    assert_eq!(names(&bench.take_all().await), [fresh.id.into(), tried.id.into()]);
}

async fn what_the_node_before_had_taken_can_be_taken_at_once(mut bench: Bench) {
    let task = bench.ended().await;
    let mut last = 0;
    for ending in [Ending::Closed, Ending::Dropped] {
        let parcel = bench.take_the_one().await;
        assert!(parcel.fence > last, "each taking has a number of its own");
        last = parcel.fence;
        bench = bench.reopen(ending).await;
    }
    assert_eq!(bench.take_the_one().await.id, task.id.into());
}
