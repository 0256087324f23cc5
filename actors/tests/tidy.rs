//! Who may import whom: reads the `use` lines of the sources and fails on a breach of the rules in
//! `ARCHITECTURE.md`.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module of the crate, the modules of ours it may name, and the libraries it may not.
const RULES: &[(&str, &[&str], &[&str])] = &[
    ("body", &[], &["actix", "tokio", "futures", "rusqlite", "reqwest"]),
    ("task", &["body"], &["actix", "tokio", "futures", "rusqlite", "reqwest"]),
    ("measure", &[], &["actix", "tokio", "futures", "rusqlite", "reqwest", "chrono"]),
    ("lifecycle", &["task"], &["actix", "tokio", "futures", "rusqlite", "reqwest", "chrono"]),
    ("clock", &["task"], &["actix", "tokio", "futures", "rusqlite", "reqwest"]),
    ("spool", &["body", "task"], &["actix", "rusqlite", "reqwest"]),
    ("store", &["body", "clock", "lifecycle", "measure", "spool", "store", "task"], &["actix", "reqwest"]),
    ("executor", &["body", "clock", "executor", "lifecycle", "spool", "task"], &["actix", "rusqlite"]),
    ("endpoint", &["executor", "lifecycle", "task"], &["actix", "tokio", "rusqlite", "reqwest"]),
    ("limits", &[], &["actix", "tokio", "rusqlite", "reqwest"]),
    ("journal", &["clock", "lifecycle", "store", "task"], &["actix", "tokio", "rusqlite", "reqwest"]),
    ("alarm", &[], &["actix", "rusqlite", "reqwest"]),
    ("turns", &[], &["rusqlite", "reqwest"]),
    ("rate", &["clock"], &["actix", "tokio", "rusqlite", "reqwest"]),
    (
        "registry",
        &["alarm", "body", "executor", "journal", "lifecycle", "measure", "rate", "store", "task", "turns"],
        &["rusqlite", "reqwest"],
    ),
    (
        "task_actor",
        &["clock", "endpoint", "executor", "lifecycle", "registry", "spool", "store", "task"],
        &["rusqlite", "reqwest"],
    ),
    (
        "supervisor",
        &[
            "alarm",
            "clock",
            "endpoint",
            "executor",
            "journal",
            "lifecycle",
            "limits",
            "rate",
            "registry",
            "store",
            "task",
            "task_actor",
            "turns",
        ],
        &["rusqlite", "reqwest"],
    ),
    (
        "system",
        &[
            "alarm",
            "clock",
            "endpoint",
            "executor",
            "lifecycle",
            "limits",
            "registry",
            "spool",
            "store",
            "supervisor",
            "task",
            "task_actor",
        ],
        &["rusqlite", "reqwest"],
    ),
];

/// Files that may name a driver or a client, beside the rules above.
const ONLY_IN: &[(&str, &str)] = &[
    ("rusqlite", "store/embedded"),
    ("httpdate", "executor/http"),
    ("hyper", "executor/http"),
    ("reqwest", "executor/http"),
    ("rustls", "executor/http"),
    ("rten", "executor/onnx"),
    ("rten_onnx", "executor/onnx"),
    ("rten_tensor", "executor/onnx"),
    ("command_fds", "executor/process"),
    ("nix", "executor/process"),
];

/// A source file, by its path under `src` without the ending: `store/embedded/writer`.
struct Source {
    name: String,
    text: String,
}

impl Source {
    fn module(&self) -> &str {
        self.name.split('/').next().expect("a path has a first part")
    }

    /// The code, without comments: what is told is not what is used.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(|line| line.split("//").next().unwrap_or_default())
    }

    /// The modules of ours that are named, as `crate::x` anywhere in the code.
    fn own_modules(&self) -> Vec<String> {
        let mut named = Vec::new();
        for line in self.code() {
            for after in line.split("crate::").skip(1) {
                named.push(after.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect());
            }
        }
        named
    }

    fn names_library(&self, library: &str) -> bool {
        self.code().any(|line| {
            let starts_a_path = |at: usize| {
                !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
            };
            line.match_indices(&format!("{library}::")).any(|(at, _)| starts_a_path(at))
        })
    }
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let read = |path: PathBuf| Source {
        name: path.strip_prefix(&root).unwrap().with_extension("").to_str().unwrap().to_owned(),
        text: fs::read_to_string(&path).unwrap(),
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_module_imports_only_what_the_map_allows() {
    let mut breaches = Vec::new();
    for source in sources() {
        // The front door and the embedder's one line name everything.
        if source.name == "lib" || source.name == "prelude" {
            continue;
        }
        let rule = RULES.iter().find(|(module, ..)| *module == source.module());
        let Some((_, ours, libraries)) = rule else {
            breaches.push(format!("{}: the module is not on the map", source.name));
            continue;
        };
        for named in source.own_modules() {
            if named != source.module() && !ours.contains(&named.as_str()) {
                breaches.push(format!("{} may not import crate::{named}", source.name));
            }
        }
        for library in *libraries {
            if source.names_library(library) {
                breaches.push(format!("{} may not use {library}", source.name));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn a_driver_is_named_beside_its_own_door_only() {
    for source in sources() {
        for (library, place) in ONLY_IN {
            let allowed = source.name.starts_with(place);
            assert!(allowed || !source.names_library(library), "{} may not use {library}", source.name);
        }
    }
}

#[test]
fn no_module_file_is_called_mod_and_no_room_is_called_utils() {
    const NO_NAMES: [&str; 7] = ["mod", "utils", "common", "helpers", "types", "misc", "manager"];
    for source in sources() {
        for part in source.name.split('/') {
            assert!(!NO_NAMES.contains(&part), "{}: what is it for?", source.name);
        }
    }
}

#[test]
fn every_source_file_begins_with_what_it_is_for() {
    for source in sources() {
        let told = source.text.starts_with("//!") || source.text.starts_with("#![doc");
        assert!(told, "{} does not say what it is for", source.name);
    }
}
