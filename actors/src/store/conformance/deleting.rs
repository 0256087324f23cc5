//! Promises of `delete`.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_deleted_task_is_gone_at_once_with_all_that_was_kept_of_it,
        an_unfinished_task_is_not_deleted,
        a_task_that_is_not_there_cannot_be_deleted,
        a_key_is_free_again_when_its_task_is_deleted,
        a_delete_leaves_the_input_of_a_retried_task,
    ]
}

async fn delete(bench: &Bench, task: TaskId) -> Deleted {
    bench.store.delete(task).await.unwrap()
}

async fn a_deleted_task_is_gone_at_once_with_all_that_was_kept_of_it(bench: Bench) {
    let mut large = tagged(&[("project", "rice")]);
    large.input.body = bench.spool(BlobName::Input(large.id), &bytes_of_length(200_000)).await;
    let id = bench.submit(large).await.id;
    let lease = bench.claim_one().await.lease;
    let body = bench.spool(BlobName::Output(id, lease.fence), &bytes_of_length(100_000)).await;
    let output = Output { status: 200, headers: Headers::new(), body };
    bench.settle(lease, Verdict::Completed(output)).await;
    let blobs = bench.store.blobs();
    let files = [BlobName::Input(id), BlobName::Output(id, lease.fence)].map(|name| blobs.path(name));
    let files_there = || files.iter().flatten().filter(|file| file.exists()).count();
    assert_eq!(files_there(), files.iter().flatten().count());

    let gone = Pruned { id, endpoint: endpoint(), state: State::Completed };
    assert_eq!(delete(&bench, id).await, Deleted::Deleted(gone));
    assert_eq!(bench.find(id).await, None);
    assert!(bench.store.input(id).await.unwrap().is_none());
    assert!(bench.output(id).await.is_none());
    assert_eq!(files_there(), 0);
    assert_eq!(bench.store.list(ListQuery::newest(ALL)).await.unwrap(), Page::default());
    let by_tag = ListQuery { tags: vec![("project".to_owned(), "rice".to_owned())], ..ListQuery::newest(ALL) };
    assert_eq!(bench.store.list(by_tag).await.unwrap(), Page::default());
    assert!(bench.store.counts().await.unwrap().iter().all(|count| count.tasks == 0));
    bench.clock.advance(KEEP);
    assert_eq!(bench.prune().await, []);
}

async fn an_unfinished_task_is_not_deleted(bench: Bench) {
    let waiting = bench.submit(new_task()).await;
    let lease = bench.submit_here(new_task()).await.lease;
    bench.start(lease, 1).await;
    assert_eq!(delete(&bench, waiting.id).await, Deleted::Unfinished(State::Pending));
    assert_eq!(delete(&bench, lease.task).await, Deleted::Unfinished(State::InProgress));
    assert_eq!(bench.get(waiting.id).await, waiting);
    assert!(matches!(bench.settle(lease, done()).await, Settled::Recorded(_)));
}

async fn a_task_that_is_not_there_cannot_be_deleted(bench: Bench) {
    let task = bench.settled(new_task(), failed()).await;
    assert!(matches!(delete(&bench, task.id).await, Deleted::Deleted(_)));
    assert_eq!(delete(&bench, task.id).await, Deleted::Unknown);
    assert_eq!(delete(&bench, TaskId::generate()).await, Deleted::Unknown);
}

async fn a_key_is_free_again_when_its_task_is_deleted(bench: Bench) {
    let first = bench.settled(new_task_with_key("order 7"), done()).await;
    delete(&bench, first.id).await;
    let answer = bench.enqueue(vec![(new_task_with_key("order 7"), Place::Queue)]).await.remove(0);
    assert_eq!(answer.novelty, Novelty::New);
}

async fn a_delete_leaves_the_input_of_a_retried_task(bench: Bench) {
    let mut large = new_task();
    large.input.body = bench.spool(BlobName::Input(large.id), &bytes_of_length(200_000)).await;
    let first = bench.settled(large, failed()).await;
    let wish = Resubmit { of: first.id, endpoint: endpoint(), id: TaskId::generate(), place: Place::Queue };
    let Resubmitted::Enqueued(again) = bench.store.resubmit(wish).await.unwrap() else { panic!("it has finished") };
    delete(&bench, first.id).await;
    assert_eq!(read(&bench.input(again.task.id).await.body), bytes_of_length(200_000));
}
