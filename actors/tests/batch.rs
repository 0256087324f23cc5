//! Batching: what goes out as one comes back as many, each task with its own outcome.

use std::sync::Arc;
use std::time::Duration;

use ekiben_actors::executor::batch::{Batch, BatchOptions, Form};
use ekiben_actors::executor::handler::Handler;
use ekiben_actors::executor::{Attempt, Executor, Outputs, Report};
use ekiben_actors::spool::{BlobName, Blobs};
use ekiben_actors::task::{EndpointName, FailureCode, Input, Outcome, Output, TaskId};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

const OUTPUT_MAX: u64 = 1000;

fn attempt(input: Value) -> Attempt {
    let task = TaskId::generate();
    Attempt {
        task,
        endpoint: EndpointName::new("test").unwrap(),
        number: 1,
        timeout: None,
        input: Input::json(&input).unwrap(),
        cancellation: CancellationToken::new(),
        report: Report::unwatched(),
        outputs: Outputs::new(Blobs::in_memory(), BlobName::Output(task, 1), OUTPUT_MAX),
    }
}

/// A model behind a gate that tells which batches it was given.
struct Bench {
    batch: Batch,
    gate: Arc<Semaphore>,
    given: mpsc::UnboundedReceiver<Value>,
}

impl Bench {
    fn new(form: Form, max_size: usize, max_wait: Duration, model: fn(Value) -> Outcome) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let (tell, given) = mpsc::unbounded_channel();
        let inner = {
            let gate = gate.clone();
            Handler::new(move |attempt: Attempt| {
                let (gate, tell) = (gate.clone(), tell.clone());
                async move {
                    let input: Value = serde_json::from_slice(&attempt.input.body.read().unwrap()).unwrap();
                    tell.send(input.clone()).unwrap();
                    let passed = attempt.cancellation.run_until_cancelled(gate.acquire()).await;
                    match passed {
                        Some(permit) => permit.unwrap().forget(),
                        None => return Outcome::Canceled,
                    }
                    model(input)
                }
            })
        };
        let options = BatchOptions { max_size, max_wait, batches: 1, form };
        Self { batch: Batch::new(Arc::new(inner), options), gate, given }
    }

    /// Has an attempt run beside the test.
    fn run(&self, attempt: Attempt) -> tokio::task::JoinHandle<Outcome> {
        tokio::spawn(self.batch.run(attempt))
    }

    async fn next_batch(&mut self) -> Value {
        self.given.recv().await.expect("the model is there")
    }
}

fn doubled(input: Value) -> Outcome {
    let doubled: Vec<Value> = input.as_array().unwrap().iter().map(|item| json!(item.as_i64().unwrap() * 2)).collect();
    Outcome::Done(Output::json(&doubled).unwrap())
}

fn read(outcome: Outcome) -> Value {
    let Outcome::Done(output) = outcome else { panic!("not done: {outcome:?}") };
    serde_json::from_slice(&output.body.read().unwrap()).unwrap()
}

fn code(outcome: Outcome) -> FailureCode {
    let Outcome::Failed(failure, _) = outcome else { panic!("not failed: {outcome:?}") };
    failure.code
}

#[tokio::test]
async fn what_gathers_while_a_batch_runs_is_the_next_one_and_each_gets_its_own_result() {
    let mut bench = Bench::new(Form::List, 4, Duration::ZERO, doubled);
    let mut running = vec![bench.run(attempt(json!(0)))];
    assert_eq!(bench.next_batch().await, json!([0]));
    running.extend((1..10).map(|number| bench.run(attempt(json!(number)))));
    // One thread runs all of this, so that each has come as far as it can: in line behind the first, which holds the
    // model.
    tokio::task::yield_now().await;
    bench.gate.add_permits(100);
    let results: Vec<Value> = join_all(running).await.into_iter().map(|outcome| read(outcome.unwrap())).collect();
    assert_eq!(results, (0..10).map(|number| json!(number * 2)).collect::<Vec<_>>());
    let mut sizes = Vec::new();
    while let Ok(batch) = bench.given.try_recv() {
        sizes.push(batch.as_array().unwrap().len());
    }
    assert!(sizes.iter().all(|size| *size <= 4) && sizes.iter().sum::<usize>() == 9, "{sizes:?}");
    assert!(sizes.len() < 9, "nothing was batched: {sizes:?}");
}

#[tokio::test]
async fn a_batch_waits_for_others_when_told_to_and_no_longer_than_that() {
    let mut bench = Bench::new(Form::List, 3, Duration::from_secs(3600), doubled);
    bench.gate.add_permits(100);
    let running: Vec<_> = (0..3).map(|number| bench.run(attempt(json!(number)))).collect();
    assert_eq!(bench.next_batch().await.as_array().unwrap().len(), 3);
    join_all(running).await;

    let mut bench = Bench::new(Form::List, 3, Duration::from_millis(20), doubled);
    bench.gate.add_permits(100);
    let alone = bench.run(attempt(json!(7)));
    assert_eq!(bench.next_batch().await, json!([7]));
    assert_eq!(read(alone.await.unwrap()), json!(14));
}

#[tokio::test]
async fn a_batch_that_fails_is_halved_until_the_guilty_one_stands_alone() {
    fn picky(input: Value) -> Outcome {
        match input.as_array().unwrap().contains(&json!(5)) {
            true => Outcome::failed(FailureCode::Upstream5xx, "five is right out"),
            false => doubled(input),
        }
    }
    let bench = Bench::new(Form::List, 8, Duration::from_secs(3600), picky);
    bench.gate.add_permits(100);
    let outcomes = join_all((0..8).map(|number| bench.run(attempt(json!(number))))).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match number {
            5 => assert_eq!(code(outcome.unwrap()), FailureCode::Upstream5xx),
            _ => assert_eq!(read(outcome.unwrap()), json!(number * 2)),
        }
    }
}

#[tokio::test]
async fn a_worker_that_dies_of_one_task_costs_no_other_a_crash() {
    fn deadly(input: Value) -> Outcome {
        match input.as_array().unwrap().contains(&json!(1)) {
            true => Outcome::Crashed(ekiben_actors::task::Failure::new(FailureCode::Killed, "killed")),
            false => doubled(input),
        }
    }
    let bench = Bench::new(Form::List, 4, Duration::from_secs(3600), deadly);
    bench.gate.add_permits(100);
    let outcomes = join_all((0..4).map(|number| bench.run(attempt(json!(number))))).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome.unwrap() {
            Outcome::Crashed(_) => assert_eq!(number, 1),
            outcome => assert_eq!(read(outcome), json!(number * 2)),
        }
    }
}

#[tokio::test]
async fn one_canceled_in_a_running_batch_leaves_at_once_and_the_others_stay() {
    let mut bench = Bench::new(Form::List, 2, Duration::from_secs(3600), doubled);
    let (canceled, other) = (attempt(json!(1)), attempt(json!(2)));
    let cancellation = canceled.cancellation.clone();
    let (canceled, other) = (bench.run(canceled), bench.run(other));
    bench.next_batch().await;
    cancellation.cancel();
    assert!(matches!(canceled.await.unwrap(), Outcome::Canceled));
    bench.gate.add_permits(1);
    assert_eq!(read(other.await.unwrap()), json!(4));
}

#[tokio::test]
async fn a_batch_that_nobody_waits_for_any_more_is_stopped_and_makes_room() {
    let mut bench = Bench::new(Form::List, 2, Duration::ZERO, doubled);
    let given_up = bench.run(attempt(json!(1)));
    bench.next_batch().await;
    let next = bench.run(attempt(json!(2)));
    given_up.abort();
    assert_eq!(bench.next_batch().await, json!([2]));
    bench.gate.add_permits(1);
    assert_eq!(read(next.await.unwrap()), json!(4));
}

#[tokio::test]
async fn results_that_do_not_match_the_batch_are_no_output() {
    for model in [
        (|_| Outcome::Done(Output::json(&json!([1, 2, 3])).unwrap())) as fn(Value) -> Outcome,
        |_| Outcome::Done(Output::json(&json!({ "a": [1] })).unwrap()),
        |_| Outcome::Done(Output::new("text/plain", "bento")),
    ] {
        let bench = Bench::new(Form::List, 2, Duration::ZERO, model);
        bench.gate.add_permits(100);
        assert_eq!(code(bench.run(attempt(json!(1))).await.unwrap()), FailureCode::BadOutput);
    }
}

#[tokio::test]
async fn lists_of_one_name_are_joined_and_results_are_cut_where_they_were() {
    fn lengths(input: Value) -> Outcome {
        let texts = input["texts"].as_array().unwrap();
        let lengths: Vec<usize> = texts.iter().map(|text| text.as_str().unwrap().len()).collect();
        match input.get("named") {
            Some(_) => Outcome::Done(Output::json(&json!({ "length": lengths })).unwrap()),
            None => Outcome::Done(Output::json(&lengths).unwrap()),
        }
    }
    let mut bench = Bench::new(Form::Fields, 2, Duration::from_secs(3600), lengths);
    bench.gate.add_permits(100);
    let one = bench.run(attempt(json!({ "texts": ["a", "bb"] })));
    let two = bench.run(attempt(json!({ "texts": ["ccc"] })));
    assert_eq!(bench.next_batch().await["texts"].as_array().unwrap().len(), 3);
    assert_eq!((read(one.await.unwrap()), read(two.await.unwrap())), (json!([1, 2]), json!([3])));

    let named = |texts: Value| attempt(json!({ "texts": texts, "named": [true] }));
    let (one, two) = (bench.run(named(json!(["a"]))), bench.run(named(json!(["bb"]))));
    assert_eq!(read(one.await.unwrap()), json!({ "length": [1] }));
    assert_eq!(read(two.await.unwrap()), json!({ "length": [2] }));
}

#[tokio::test]
async fn what_cannot_be_a_part_of_a_batch_is_bad_input() {
    let fields = Bench::new(Form::Fields, 2, Duration::ZERO, doubled);
    for bad in [json!([1]), json!({}), json!({ "a": [] }), json!({ "a": 1 }), json!({ "a": [1], "b": [1, 2] })] {
        assert_eq!(code(fields.run(attempt(bad)).await.unwrap()), FailureCode::BadInput);
    }
    let list = Bench::new(Form::List, 2, Duration::ZERO, doubled);
    let no_json = Attempt { input: Input::new("text/plain", "bento"), ..attempt(json!(1)) };
    assert_eq!(code(list.run(no_json).await.unwrap()), FailureCode::BadInput);
}

#[tokio::test]
async fn a_result_over_the_limit_fails_its_own_task_only() {
    fn long(input: Value) -> Outcome {
        let long = |item: &Value| json!("x".repeat(item.as_u64().unwrap() as usize));
        Outcome::Done(Output::json(&input.as_array().unwrap().iter().map(long).collect::<Vec<_>>()).unwrap())
    }
    let bench = Bench::new(Form::List, 2, Duration::from_secs(3600), long);
    bench.gate.add_permits(100);
    let (small, large) = (bench.run(attempt(json!(10))), bench.run(attempt(json!(OUTPUT_MAX))));
    assert_eq!(read(small.await.unwrap()), json!("x".repeat(10)));
    assert_eq!(code(large.await.unwrap()), FailureCode::TooLarge);
}
