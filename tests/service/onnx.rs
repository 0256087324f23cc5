//! A real model that runs in the service: what the Python package gives for real files, we give.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use reqwest::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{http, page};
use crate::harness::Server;
use crate::venv::{Clients, Venv};

/// How far a score may lie from the package's. For most files it is a millionth; but where the model is torn, the
/// package's own runtime (onnxruntime 1.32) gives scores 0.003 apart for one file by itself and for the same in a batch.
/// The same graph computed in double precision lies up to 0.005 from the package, and less than 0.0001 from us.
const TOLERANCE: f32 = 0.01;

/// What all scores but those of a few files must be within.
const USUAL_TOLERANCE: f32 = 0.001;
const FEW: usize = 5;

/// What the package makes of files, by `magika_vectors.py`.
#[derive(Deserialize)]
struct Found {
    model: PathBuf,
    /// In the order of the model's output.
    labels: Vec<String>,
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    path: PathBuf,
    /// What the model is given.
    vector: Vec<i32>,
    label: String,
    score: f32,
}

impl Found {
    fn in_folder(folder: &Path) -> Self {
        let path = folder.join("found.json");
        Venv::of(Clients::Models).run("magika_vectors.py", &[path.to_str().unwrap()]);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn serve(&self, more: &str) -> Server {
        let model = self.model.to_str().unwrap();
        Server::start(&format!("[endpoints.file_type]\ntype = \"onnx\"\nmodel = \"{model}\"\nconcurrency = 2\n{more}"))
    }

    fn best(&self, scores: impl Iterator<Item = f32>) -> (&str, f32) {
        let (at, score) = scores.enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other)).unwrap();
        (&self.labels[at], score)
    }
}

/// Calls the endpoint and waits for the task.
async fn call(server: &Server, content_type: &str, body: Vec<u8>) -> Response {
    let request = http().post(format!("{}/file_type", server.url())).header("content-type", content_type);
    request.body(body).send().await.unwrap()
}

#[tokio::test]
async fn fifty_real_files_get_the_labels_and_scores_of_the_python_package() {
    let folder = tempfile::tempdir().unwrap();
    let found = Found::in_folder(folder.path());
    assert_eq!(found.files.len(), 50);
    let kinds: HashSet<&str> = found.files.iter().map(|file| file.label.as_str()).collect();
    assert!(kinds.len() >= 8, "too few kinds to tell anything: {kinds:?}");

    let server = found.serve("");
    let mut distances = Vec::new();
    for file in &found.files {
        let answer = call(&server, "application/json", json!({ "bytes": [file.vector] }).to_string().into()).await;
        let answer: Value = answer.json().await.unwrap();
        let scores = answer["target_label"][0].as_array().unwrap();
        let (label, score) = found.best(scores.iter().map(|score| score.as_f64().unwrap() as f32));
        assert_eq!(label, file.label, "{}", file.path.display());
        distances.push((score - file.score).abs());
    }
    distances.sort_by(f32::total_cmp);
    let (farthest, usual) = (distances[distances.len() - 1], distances[distances.len() - 1 - FEW]);
    println!("{} kinds of file; scores lie {farthest} apart, {usual} without those of {FEW} files", kinds.len());
    assert!(farthest <= TOLERANCE && usual <= USUAL_TOLERANCE, "scores lie too far apart: {distances:?}");
}

#[tokio::test]
async fn bare_bytes_go_in_and_npy_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let found = Found::in_folder(folder.path());
    let server = found.serve("output_format = \"npy\"\n");
    let two = &found.files[..2];
    let bytes = two.iter().flat_map(|file| &file.vector).flat_map(|number| number.to_le_bytes()).collect();
    let answer = call(&server, "application/octet-stream", bytes).await;
    assert_eq!(answer.headers()["content-type"], "application/x-npy");

    let npy = answer.bytes().await.unwrap();
    let elements = &npy[npy.len() - 2 * found.labels.len() * size_of::<f32>()..];
    let elements = elements.chunks_exact(size_of::<f32>()).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap()));
    let elements: Vec<f32> = elements.collect();
    for (file, scores) in two.iter().zip(elements.chunks(found.labels.len())) {
        assert_eq!(found.best(scores.iter().copied()).0, file.label);
    }
}

#[tokio::test]
async fn an_input_of_another_shape_is_answered_400_and_the_schema_says_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let server = Found::in_folder(folder.path()).serve("");
    let answer = call(&server, "application/json", b"{\"bytes\": [[1, 2, 3]]}".to_vec()).await;
    assert_eq!(answer.status(), 400);
    let answer: Value = answer.json().await.unwrap();
    let told = answer["error"].as_str().unwrap();
    assert!(told.starts_with("input \"bytes\": int32 [") && told.contains(", 2048] is expected, shape [1, 3] came"));

    let schema: Value = serde_json::from_str(&page(&server.url(), "/schema.json").await).unwrap();
    let bytes = &schema["routes"][0]["input"]["properties"]["bytes"];
    assert_eq!((&bytes["type"], &bytes["dtype"]), (&json!("tensor"), &json!("int32")));
}

#[test]
fn the_current_clients_send_and_get_numpy_arrays() {
    send_and_get_arrays(Clients::Current);
}

#[test]
fn clients_of_1_4_13_send_and_get_numpy_arrays() {
    send_and_get_arrays(Clients::V1_4_13);
}

#[track_caller]
fn send_and_get_arrays(clients: Clients) {
    let folder = tempfile::tempdir().unwrap();
    let server = Found::in_folder(folder.path()).serve("");
    Venv::of(clients).run("tensors.py", &[&server.url(), folder.path().join("found.json").to_str().unwrap()]);
}
