//! Promises about inputs and outputs: they come back as they went in.

use futures::TryStreamExt;

use crate::spool::chunks;

use super::*;

pub(super) fn cases() -> Vec<Case> {
    cases![
        an_input_comes_back_byte_for_byte,
        an_output_comes_back_byte_for_byte,
        a_large_input_comes_back_whole,
        a_large_output_comes_back_whole,
        a_large_body_that_was_never_spooled_comes_back_whole,
        a_body_at_the_hand_of_a_reader_outlives_its_task,
        a_known_key_leaves_the_first_input_as_it_was,
        a_refused_report_leaves_the_recorded_output_as_it_was,
        a_task_without_an_output_answers_none,
        what_was_never_recorded_has_no_input_and_no_output,
    ]
}

/// Over what any store keeps in a row, and no multiple of anything.
const LARGE: usize = 300 * 1024 + 7;

/// Headers and bytes of every awkward kind.
fn samples() -> Vec<(Headers, Vec<u8>)> {
    let mut several = Headers::of_type("multipart/form-data; boundary=\"a b\"");
    several.add("Content-Disposition", "attachment; filename=\"naïve 名前.wav\"");
    several.add("x-part", "one");
    several.add("x-part", "two");
    several.add("x-empty", "");
    vec![
        (Headers::new(), Vec::new()),
        (Headers::of_type("text/plain; charset=utf-8"), Vec::new()),
        (Headers::new(), b"no type at all".to_vec()),
        (Headers::of_type("application/octet-stream"), (0..=255).collect()),
        (Headers::of_type("text/plain"), vec![0; 10]),
        (several, "several headers, 弁当".into()),
    ]
}

async fn an_input_comes_back_byte_for_byte(bench: Bench) {
    for (headers, bytes) in samples() {
        let input = Input { headers: headers.clone(), body: bytes.clone().into() };
        let task = bench.submit(NewTask { input, ..new_task() }).await;
        assert_eq!(task.input_bytes, bytes.len() as u64);
        let stored = bench.input(task.id).await;
        assert_eq!((stored.headers, read(&stored.body)), (headers, bytes.into()));
    }
}

async fn an_output_comes_back_byte_for_byte(bench: Bench) {
    for (status, (headers, bytes)) in [200, 201, 299, 400, 503, 599].into_iter().zip(samples()) {
        let output = Output { status, headers: headers.clone(), body: bytes.clone().into() };
        let task = bench.settled(new_task(), Verdict::Completed(output)).await;
        assert_eq!(task.output_bytes, bytes.len() as u64);
        let stored = bench.output(task.id).await.expect("a completed task has an output");
        assert_eq!((stored.status, stored.headers, read(&stored.body)), (status, headers, bytes.into()));
    }
}

async fn a_large_input_comes_back_whole(bench: Bench) {
    let new = new_task();
    let body = bench.spool(BlobName::Input(new.id), &bytes_of_length(LARGE)).await;
    let task = bench.submit(NewTask { input: Input::new("audio/wav", body), ..new }).await;

    assert_eq!(task.input_bytes, LARGE as u64);
    let stored = bench.input(task.id).await;
    assert_eq!(stored.headers.content_type(), Some("audio/wav"));
    assert_eq!(streamed(stored.body).await, bytes_of_length(LARGE));
}

async fn a_large_output_comes_back_whole(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    let body = bench.spool(BlobName::Output(lease.task, lease.fence), &bytes_of_length(LARGE)).await;
    let output = Output::new("audio/wav", body).with_status(203);
    let Settled::Recorded(task) = bench.settle(lease, Verdict::Completed(output)).await else {
        panic!("the fence holds")
    };

    assert_eq!(task.output_bytes, LARGE as u64);
    let stored = bench.output(task.id).await.expect("a completed task has an output");
    assert_eq!((stored.status, stored.headers.content_type()), (203, Some("audio/wav")));
    assert_eq!(streamed(stored.body).await, bytes_of_length(LARGE));
}

async fn a_large_body_that_was_never_spooled_comes_back_whole(bench: Bench) {
    let input = Input::new("audio/wav", bytes_of_length(LARGE));
    let output = Output::new("audio/wav", bytes_of_length(LARGE + 1));
    let task = bench.settled(NewTask { input, ..new_task() }, Verdict::Completed(output)).await;
    assert_eq!(read(&bench.input(task.id).await.body), bytes_of_length(LARGE));
    assert_eq!(read(&bench.output(task.id).await.unwrap().body), bytes_of_length(LARGE + 1));
}

async fn a_body_at_the_hand_of_a_reader_outlives_its_task(bench: Bench) {
    let new = new_task();
    let body = bench.spool(BlobName::Input(new.id), &bytes_of_length(LARGE)).await;
    let task = bench.settled(NewTask { input: Input::new("audio/wav", body), ..new }, done()).await;
    let (input, output) = (bench.input(task.id).await, bench.output(task.id).await.unwrap());
    bench.clock.advance(KEEP);
    assert_eq!(bench.prune().await.len(), 1);
    assert_eq!(streamed(input.body).await, bytes_of_length(LARGE));
    assert_eq!(read(&output.body), "some output");
}

async fn a_known_key_leaves_the_first_input_as_it_was(bench: Bench) {
    let first = new_task_with_key("order 7");
    let body = bench.spool(BlobName::Input(first.id), &bytes_of_length(LARGE)).await;
    let first = bench.submit(NewTask { input: Input::new("audio/wav", body), ..first }).await;
    let repeated = new_task_with_key("order 7");
    let body = bench.spool(BlobName::Input(repeated.id), &[7; LARGE]).await;
    bench.submit(NewTask { input: Input::new("audio/wav", body), ..repeated }).await;
    assert_eq!(streamed(bench.input(first.id).await.body).await, bytes_of_length(LARGE));
}

async fn a_refused_report_leaves_the_recorded_output_as_it_was(bench: Bench) {
    let stale = bench.submit_here(new_task()).await.lease;
    let late = bench.spool(BlobName::Output(stale.task, stale.fence), &[7; LARGE]).await;
    bench.lapse();
    bench.reclaim(ALL).await;
    let fresh = bench.claim_one().await.lease;
    let body = bench.spool(BlobName::Output(fresh.task, fresh.fence), &bytes_of_length(LARGE)).await;
    bench.settle(fresh, Verdict::Completed(Output::new("audio/wav", body))).await;

    let refused = bench.settle(stale, Verdict::Completed(Output::new("text/plain", late))).await;
    assert_eq!(refused, Settled::FenceLost);
    let stored = bench.output(fresh.task).await.unwrap();
    assert_eq!(stored.headers.content_type(), Some("audio/wav"));
    assert_eq!(streamed(stored.body).await, bytes_of_length(LARGE));
}

async fn a_task_without_an_output_answers_none(bench: Bench) {
    let lease = bench.submit_here(new_task()).await.lease;
    assert!(bench.output(lease.task).await.is_none());
    bench.start(lease, 1).await;
    assert!(bench.output(lease.task).await.is_none());
    bench.settle(lease, Verdict::Canceled(None)).await;
    assert!(bench.output(lease.task).await.is_none());
}

async fn what_was_never_recorded_has_no_input_and_no_output(bench: Bench) {
    let nobody = TaskId::generate();
    assert!(bench.store.input(nobody).await.unwrap().is_none());
    assert!(bench.output(nobody).await.is_none());
    assert_eq!(bench.find(nobody).await, None);
}

async fn streamed(body: Body) -> Vec<u8> {
    chunks(body).try_collect::<Vec<Bytes>>().await.unwrap().concat()
}
