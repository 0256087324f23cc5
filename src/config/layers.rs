//! The layers of settings, laid over one another: defaults, file, environment, flags.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::Problem;
use super::tree::{self, Node, Origin, Table, Value};

/// Every key with its default: compiled in, and printed nowhere else.
const DEFAULTS: &str = include_str!("../config.default.toml");

/// What is offered where no endpoint is configured.
const DEMO: &str = r#"
[endpoints.denoise]
type = "demo"
demo = "denoise"
concurrency = 2
description = "Takes the noise out of a WAV recording of speech."

[endpoints.detect_language]
type = "demo"
demo = "detect_language"
concurrency = 4
description = "Tells which language a text is written in."
"#;

/// What the name of an environment variable begins with to be a setting.
const PREFIX: &str = "EKIBEN__";

/// Where settings come from, besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// All of the environment; what is none of ours is passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// The flag `--listen`.
    pub listen: Option<String>,
    /// The flag `--data`.
    pub data: Option<PathBuf>,
    /// The flag `--bentoml`: the URL of a service.
    pub bentoml: Option<String>,
}

/// The layers in one tree.
pub struct Layered {
    pub tree: Table,
    /// Whether the demo's endpoints had to be put in.
    pub demo: bool,
    /// What could not be taken in. The tree is without it and can still be judged.
    pub problems: Vec<Problem>,
}

/// Reads and merges the layers.
///
/// # Errors
/// The file cannot be read, so that what the other layers say cannot be judged either.
pub fn read(sources: &Sources) -> Result<Layered, Vec<Problem>> {
    let mut tree = tree::parse(DEFAULTS, &|_| Origin::Default).expect("config.default.toml is TOML, by test");
    if let Some(path) = &sources.file {
        tree.merge(file(path)?);
    }
    let mut problems = Vec::new();
    environment(&mut tree, &sources.environment, &mut problems);
    flags(&mut tree, sources, &mut problems);

    let configured = match tree.get("endpoints").map(|node| &node.value) {
        None => false,
        Some(Value::Table(endpoints)) => !endpoints.is_empty(),
        // Not a section: the reader will say so.
        Some(_) => true,
    };
    if !configured {
        tree.merge(tree::parse(DEMO, &|_| Origin::Demo).expect("the demo's settings are TOML, by test"));
    }
    Ok(Layered { tree, demo: !configured, problems })
}

fn file(path: &Path) -> Result<Table, Vec<Problem>> {
    let text = fs::read_to_string(path).map_err(|error| {
        let complaint = format!("cannot read {}: {error}; name a readable TOML file", path.display());
        vec![Problem::new("--config", None, complaint)]
    })?;
    let path: Arc<Path> = path.into();
    tree::parse(&text, &|line| Origin::File { path: Arc::clone(&path), line })
}

fn environment(tree: &mut Table, variables: &[(OsString, OsString)], problems: &mut Vec<Problem>) {
    let mut ours: Vec<_> =
        variables.iter().filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())).collect();
    // The environment has no order of its own, and what is told about it should not change from run to run.
    ours.sort();
    for (name, value) in ours {
        let shown = name.to_string_lossy();
        let origin = Origin::Environment(shown.clone().into_owned());
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            problems.push(Problem::new("", Some(origin), "not UTF-8; write name and value in UTF-8"));
            continue;
        };
        let path = path_of(&name[PREFIX.len()..], tree);
        if path.iter().any(String::is_empty) {
            problems.push(Problem::new("", Some(origin), "names no setting; write EKIBEN__SECTION__KEY"));
            continue;
        }
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        tree.insert_at(&path, Node { value: Value::Text(value.to_owned()), origin });
    }
}

/// The path that a variable's name, less its prefix, stands for.
fn path_of(name: &str, tree: &Table) -> Vec<String> {
    const ENDPOINTS: &str = "endpoints";
    let keys = |text: &str| text.split("__").map(str::to_ascii_lowercase).collect::<Vec<String>>();
    let Some((section, rest)) = name.split_once("__").filter(|(section, _)| section.eq_ignore_ascii_case(ENDPOINTS))
    else {
        return keys(name);
    };
    let mut path = vec![section.to_ascii_lowercase()];
    match configured_endpoint(rest, tree) {
        Some((endpoint, rest)) => {
            path.push(endpoint);
            path.extend(keys(rest));
        }
        None => path.extend(keys(rest)),
    }
    path
}

/// The configured endpoint whose name `text` begins with, and the rest behind the double underscore.
///
/// Case does not count, nor does `_` for `-`, which few shells take in a variable's name. The longest name
/// wins, as a name may hold a double underscore itself; of two as long the one that is nearer to the letter.
fn configured_endpoint<'a>(text: &'a str, tree: &Table) -> Option<(String, &'a str)> {
    let Some(Node { value: Value::Table(endpoints), .. }) = tree.get("endpoints") else { return None };
    let loose = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let matching = endpoints.keys().filter_map(|endpoint| {
        let rest = text.get(endpoint.len()..)?.strip_prefix("__")?;
        let named = &text[..endpoint.len()];
        let letters_right = named.bytes().zip(endpoint.bytes()).filter(|(a, b)| a == b).count();
        let underscores = endpoint.bytes().filter(|letter| *letter == b'_').count();
        (loose(named) == loose(endpoint)).then_some((endpoint, rest, (endpoint.len(), underscores, letters_right)))
    });
    let (endpoint, rest, _) = matching.max_by_key(|(_, _, nearness)| *nearness)?;
    Some((endpoint.to_owned(), rest))
}

fn flags(tree: &mut Table, sources: &Sources, problems: &mut Vec<Problem>) {
    if let Some(listen) = &sources.listen {
        let node = Node { value: Value::Text(listen.clone()), origin: Origin::Flag("--listen") };
        tree.insert_at(&["http", "listen"], node);
    }
    if let Some(url) = &sources.bentoml {
        for (key, value) in [("type", "bentoml"), ("url", url)] {
            let node = Node { value: Value::Text(value.to_owned()), origin: Origin::Flag("--bentoml") };
            tree.insert_at(&["endpoints", "bentoml", key], node);
        }
    }
    if let Some(data) = &sources.data {
        let origin = Origin::Flag("--data");
        match data.to_str() {
            Some(data) => tree.insert_at(&["store", "data"], Node { value: Value::Text(data.to_owned()), origin }),
            None => {
                let complaint = format!("{} is not UTF-8; name a folder whose path is", data.display());
                problems.push(Problem::new("store.data", Some(origin), complaint));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_endpoints(names: &[&str]) -> Table {
        let mut tree = Table::default();
        for name in names {
            let table = Node { value: Value::Table(Table::default()), origin: Origin::Default };
            tree.insert_at(&["endpoints", name], table);
        }
        tree
    }

    #[test]
    fn a_variable_names_a_setting_in_any_case() {
        let tree = Table::default();
        assert_eq!(path_of("HTTP__READ_TIMEOUT", &tree), ["http", "read_timeout"]);
        assert_eq!(path_of("http__listen", &tree), ["http", "listen"]);
    }

    #[test]
    fn a_variable_finds_its_endpoint_whatever_its_case_dashes_and_underscores() {
        let tree = with_endpoints(&["Summarize", "speech-to-text", "my__model"]);
        assert_eq!(path_of("ENDPOINTS__SUMMARIZE__URL", &tree), ["endpoints", "Summarize", "url"]);
        assert_eq!(path_of("ENDPOINTS__SPEECH_TO_TEXT__URL", &tree), ["endpoints", "speech-to-text", "url"]);
        assert_eq!(path_of("ENDPOINTS__MY__MODEL__INPUT__FILE", &tree), ["endpoints", "my__model", "input", "file"]);
        assert_eq!(path_of("ENDPOINTS__NEW__URL", &tree), ["endpoints", "new", "url"]);
    }

    #[test]
    fn of_two_names_that_a_variable_may_mean_the_nearer_is_taken() {
        let tree = with_endpoints(&["a-b", "a_b", "A_B"]);
        assert_eq!(path_of("ENDPOINTS__A_B__URL", &tree), ["endpoints", "A_B", "url"]);
        assert_eq!(path_of("ENDPOINTS__a_b__URL", &tree), ["endpoints", "a_b", "url"]);
    }
}
