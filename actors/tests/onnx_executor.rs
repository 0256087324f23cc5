//! The ONNX executor against small models, written by hand.
#![cfg(feature = "onnx")]

use std::path::Path;

use ekiben_actors::executor::onnx::{Onnx, OnnxOptions, OutputForm};
use ekiben_actors::executor::{Attempt, Executor, Outputs, Report};
use ekiben_actors::spool::{BlobName, Blobs};
use ekiben_actors::task::{EndpointName, FailureCode, Input, Outcome, Output, TaskId};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::tiny_model::{BOOL, FLOAT, INT32, INT64, STRING, TinyModel, UINT8};

mod support {
    pub mod tiny_model;
}

const OUTPUT_MAX: u64 = 10_000;

fn attempt(input: Input) -> Attempt {
    let task = TaskId::generate();
    Attempt {
        task,
        endpoint: EndpointName::new("test").unwrap(),
        number: 1,
        timeout: None,
        input,
        cancellation: CancellationToken::new(),
        report: Report::unwatched(),
        outputs: Outputs::new(Blobs::in_memory(), BlobName::Output(task, 1), OUTPUT_MAX),
    }
}

fn loaded(model: &TinyModel) -> Onnx {
    let folder = tempfile::tempdir().unwrap();
    Onnx::new(OnnxOptions::new(model.write(folder.path()))).unwrap()
}

fn in_npy(model: &TinyModel) -> Onnx {
    let folder = tempfile::tempdir().unwrap();
    Onnx::new(OnnxOptions { output: OutputForm::Npy, ..OnnxOptions::new(model.write(folder.path())) }).unwrap()
}

/// Why a model is not loaded.
fn refusal(model: &TinyModel) -> String {
    let folder = tempfile::tempdir().unwrap();
    Onnx::new(OnnxOptions::new(model.write(folder.path()))).unwrap_err().to_string()
}

/// `c`, of `rows` rows of two, is `a` and in each row `b`.
fn add() -> TinyModel {
    TinyModel {
        operator: "Add",
        inputs: vec![("b", FLOAT, vec![Ok(2)]), ("a", FLOAT, vec![Err("rows"), Ok(2)])],
        outputs: vec![("c", FLOAT, vec![Err("rows"), Ok(2)])],
        weights: Vec::new(),
    }
}

async fn done(onnx: &Onnx, input: Input) -> Output {
    match onnx.run(attempt(input)).await {
        Outcome::Done(output) => output,
        other => panic!("not done: {other:?}"),
    }
}

async fn answered(onnx: &Onnx, input: Value) -> Value {
    let output = done(onnx, Input::json(&input).unwrap()).await;
    assert_eq!((output.status, output.headers.content_type()), (200, Some("application/json")));
    serde_json::from_slice(&output.body.read().unwrap()).unwrap()
}

/// The failure's message, which is also what the client is answered.
async fn refused(onnx: &Onnx, input: Input) -> String {
    let outcome = onnx.run(attempt(input)).await;
    let Outcome::Failed(failure, Some(answer)) = outcome else { panic!("not refused: {outcome:?}") };
    assert_eq!((failure.code, answer.status), (FailureCode::BadInput, 400));
    let explained: Value = serde_json::from_slice(&answer.body.read().unwrap()).unwrap();
    assert_eq!(explained, json!({ "error": failure.message }));
    failure.message
}

#[tokio::test]
async fn inputs_go_in_by_name_and_outputs_come_out_by_name() {
    let onnx = loaded(&add());
    let lists = json!({ "a": [[1, 2], [3, 4.5]], "b": [10, 20] });
    assert_eq!(answered(&onnx, lists).await, json!({ "c": [[11.0, 22.0], [13.0, 24.5]] }));
    let flat = json!({ "a": { "dtype": "float32", "shape": [1, 2], "data": [1, 2] }, "b": [10, 20] });
    assert_eq!(answered(&onnx, flat).await, json!({ "c": [[11.0, 22.0]] }));
}

#[tokio::test]
async fn every_form_of_one_input_gives_the_same() {
    let onnx = loaded(&TinyModel::identity(INT32, &[Err("rows"), Ok(2)]));
    let bytes: Vec<u8> = [1_i32, -2, 3, 4].iter().flat_map(|number| number.to_le_bytes()).collect();
    let header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2), }\n".as_bytes();
    let npy = [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header, &bytes].concat();
    let forms = [
        Input::new("application/json", r#"{"x": [[1, -2], [3, 4]]}"#),
        Input::new("application/json; charset=utf-8", "[[1, -2], [3, 4]]"),
        Input { body: "[[1, -2], [3, 4]]".into(), ..Input::default() },
        Input::new("application/octet-stream", bytes),
        Input::new("application/x-npy", npy.clone()),
        Input::new("Application/NPY", npy),
    ];
    for form in forms {
        let output = done(&onnx, form).await;
        assert_eq!(&output.body.read().unwrap()[..], br#"{"y":[[1,-2],[3,4]]}"#);
    }
}

#[tokio::test]
async fn types_that_the_runtime_holds_otherwise_come_out_as_the_model_tells_them() {
    let bools = loaded(&TinyModel::identity(BOOL, &[Err("n")]));
    assert_eq!(answered(&bools, json!({ "x": [true, false] })).await, json!({ "y": [true, false] }));

    let longs = in_npy(&TinyModel::identity(INT64, &[Err("n")]));
    let output = done(&longs, Input::new("application/json", "[-3]")).await;
    assert_eq!(output.headers.content_type(), Some("application/x-npy"));
    let bytes = output.body.read().unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("'descr': '<i8'"));
    assert!(bytes.ends_with(&(-3_i64).to_le_bytes()));
}

#[tokio::test]
async fn an_input_that_has_a_value_in_the_file_is_not_asked_for() {
    let model = TinyModel {
        inputs: vec![("a", FLOAT, vec![Ok(2)]), ("b", FLOAT, vec![Ok(2)])],
        outputs: vec![("c", FLOAT, vec![Ok(2)])],
        weights: vec![("b", vec![10.0, 20.0])],
        ..add()
    };
    assert_eq!(answered(&loaded(&model), json!([1, 2])).await, json!({ "c": [11.0, 22.0] }));
}

#[tokio::test]
async fn an_input_that_does_not_fit_is_answered_400_with_what_was_expected() {
    let onnx = loaded(&add());
    let told = async |input: Value| refused(&onnx, Input::json(&input).unwrap()).await;
    assert_eq!(told(json!({ "b": [1, 2] })).await, "input \"a\" is missing: float32 [rows, 2] is expected");
    let shape = told(json!({ "a": [[1, 2, 3]], "b": [1, 2] })).await;
    assert!(shape.starts_with("input \"a\": float32 [rows, 2] is expected, shape [1, 3] came"), "{shape}");
    let rank = told(json!({ "a": [1, 2], "b": [1, 2] })).await;
    assert!(rank.starts_with("input \"a\": float32 [rows, 2] is expected, shape [2] came"), "{rank}");
    let name = told(json!({ "d": [1, 2] })).await;
    assert!(name.starts_with("a name is none of the model's inputs, which are \"b\", \"a\""), "{name}");
    let text = refused(&onnx, Input::new("text/plain", "bento")).await;
    assert!(text.starts_with("the input is not JSON") && !text.contains("bento"), "{text}");
    let bytes = refused(&onnx, Input::new("application/octet-stream", vec![0; 8])).await;
    assert_eq!(bytes, "the model has the inputs \"b\", \"a\": send them as JSON");
}

#[tokio::test]
async fn a_number_that_the_type_cannot_hold_is_refused() {
    let longs = loaded(&TinyModel::identity(INT64, &[Err("n")]));
    let told = refused(&longs, Input::json(&json!([3_000_000_000_u64])).unwrap()).await;
    assert!(told.contains("outside of what 32 bits hold"), "{told}");
    let told = refused(&longs, Input::new("application/octet-stream", i64::MAX.to_le_bytes().to_vec())).await;
    assert!(told.contains("outside of what 32 bits hold"), "{told}");
    let bytes = loaded(&TinyModel::identity(UINT8, &[Err("n")]));
    let told = refused(&bytes, Input::json(&json!([256])).unwrap()).await;
    assert!(told.contains("outside of what the type holds"), "{told}");
}

#[tokio::test]
async fn what_the_model_cannot_compute_fails_the_attempt_with_the_operator() {
    let square = |name| (name, FLOAT, vec![Err("n"), Err("m")]);
    let model = TinyModel { operator: "MatMul", inputs: vec![square("a"), square("b")], ..add() };
    let input = Input::json(&json!({ "a": [[1, 2]], "b": [[1, 2]] })).unwrap();
    let outcome = loaded(&model).run(attempt(input)).await;
    let Outcome::Failed(failure, None) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.code, FailureCode::Failed);
    assert!(failure.message.starts_with("the model failed: ") && failure.message.contains("the_operator"), "{failure}");
}

#[tokio::test]
async fn an_output_over_the_limit_is_too_large_in_either_form() {
    let model = TinyModel::identity(UINT8, &[Err("n")]);
    for onnx in [loaded(&model), in_npy(&model)] {
        let input = Input::new("application/octet-stream", vec![0; OUTPUT_MAX as usize]);
        let outcome = onnx.run(attempt(input)).await;
        let Outcome::Failed(failure, None) = outcome else { panic!("{outcome:?}") };
        assert_eq!(failure.code, FailureCode::TooLarge);
        assert!(failure.message.contains(&OUTPUT_MAX.to_string()), "{failure}");
    }
}

#[tokio::test]
async fn many_attempts_at_once_keep_their_own_output() {
    let onnx = loaded(&TinyModel::identity(INT32, &[Err("n")]));
    let answers = join_all((0..64).map(|number| answered(&onnx, json!({ "x": [number] })))).await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, json!({ "y": [number] }));
    }
}

#[tokio::test]
async fn an_attempt_canceled_before_it_runs_says_so() {
    let attempt = attempt(Input::new("application/json", "[1]"));
    attempt.cancellation.cancel();
    let outcome = loaded(&TinyModel::identity(INT32, &[Err("n")])).run(attempt).await;
    assert!(matches!(outcome, Outcome::Canceled), "{outcome:?}");
}

#[test]
fn the_schema_is_the_models() {
    let described = loaded(&add()).description().unwrap();
    let text = "An ONNX model: takes b (float32 [2]), a (float32 [rows, 2]), gives c (float32 [rows, 2]).";
    assert_eq!(described.text.as_deref(), Some(text));
    let input = described.input.unwrap();
    assert_eq!(input["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!((&input["required"], &input["properties"]["b"]["shape"]), (&json!(["b", "a"]), &json!([2])));
    assert_eq!(described.output.unwrap()["properties"]["c"]["dtype"], "float32");
}

#[test]
fn a_model_that_cannot_be_run_is_refused_with_its_file_and_the_reason() {
    let unknown = refusal(&TinyModel { operator: "Frobnicate", ..add() });
    assert!(unknown.contains("tiny.onnx cannot be run here") && unknown.contains("Frobnicate"), "{unknown}");
    let texts = refusal(&TinyModel::identity(STRING, &[Ok(1)]));
    let told = "its input \"x\" has elements of type STRING, which cannot be exchanged";
    assert!(texts.contains("tiny.onnx cannot be run here") && texts.ends_with(told), "{texts}");

    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, bytes: Option<&[u8]>| {
        let path = folder.path().join(name);
        bytes.inspect(|bytes| std::fs::write(&path, bytes).unwrap());
        Onnx::new(OnnxOptions::new(path)).unwrap_err().to_string()
    };
    let absent = load("absent.onnx", None);
    assert!(absent.contains("absent.onnx cannot be read: No such file"), "{absent}");
    let cut = std::fs::read(add().write(folder.path())).unwrap();
    for bytes in [&b""[..], b"bento", &cut[..cut.len() / 2]] {
        let garbage = load("garbage.onnx", Some(bytes));
        assert!(garbage.ends_with("garbage.onnx is not an ONNX model: it is cut, or something else"), "{garbage}");
    }
    let ending = load("model.bin", Some(b"bento"));
    assert!(ending.ends_with("its name does not end in .onnx"), "{ending}");
}

#[test]
fn npy_is_refused_for_a_model_with_two_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let two = vec![("y", FLOAT, vec![Ok(1)]), ("z", FLOAT, vec![Ok(1)])];
    let model = TinyModel { operator: "Split", outputs: two, ..TinyModel::identity(FLOAT, &[Ok(2)]) };
    let load = |folder: &Path| {
        let options = OnnxOptions::new(model.write(folder));
        Onnx::new(OnnxOptions { output: OutputForm::Npy, ..options })
    };
    let refusal = load(folder.path()).unwrap_err().to_string();
    assert!(refusal.ends_with("has 2 outputs, and .npy holds one; choose JSON"), "{refusal}");
}
