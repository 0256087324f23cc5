//! Reads the sections of the tree into the typed settings, with the bounds of each value.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::Uri;
use tracing_subscriber::EnvFilter;

use super::endpoints::endpoints;
use super::layers::Layered;
use super::problem::{Problems, nearest};
use super::section::{Notes, Section, dotted};
use super::tree::{Node, Origin, Table, Value};
use super::{Config, EmbeddedStore, Http, Limits, Loaded, Log, LogFormat, Results, Service, Store, Submit};

/// The most of whatever takes time: no deadline that is reckoned from it overflows.
pub const TIME_MAX: Duration = Duration::from_secs(100 * 31_557_600);
/// The least that may be asked of something that must take some time.
pub const MOMENT: Duration = Duration::from_millis(1);
/// The most tasks that a setting may let in.
pub const TASKS_MAX: usize = 1_000_000_000;
/// The most attempts that may be given to a task.
pub const ATTEMPTS_MAX: usize = 1_000_000;
/// How long results may be kept.
pub const RETENTION: RangeInclusive<Duration> = SECOND..=TIME_MAX;

const SECOND: Duration = Duration::from_secs(1);
const TEBIBYTE: u64 = 1 << 40;
/// What the web server can take; it closes a connection whose head is longer still without an answer.
const HEADER_BYTES_MAX: u64 = 96 << 10;

/// Makes the settings of the layers.
///
/// # Errors
/// All that is wrong with them.
pub fn config(layered: Layered) -> Result<Loaded, Problems> {
    let (config, notes) = read(layered);
    if notes.problems.is_empty() {
        Ok(Loaded { config, settings: notes.settings })
    } else {
        Err(Problems(notes.problems))
    }
}

/// Reads every section. With problems in the notes, the settings hold stand-ins.
fn read(layered: Layered) -> (Config, Notes) {
    let mut tree = layered.tree;
    let mut notes = Notes::default();
    notes.problems.extend(layered.problems);
    let http = http(begin("http", &mut tree, &mut notes));
    let submit = submit(begin("submit", &mut tree, &mut notes));
    let store = store(begin("store", &mut tree, &mut notes));
    let results = results(begin("results", &mut tree, &mut notes));
    let limits = limits(begin("limits", &mut tree, &mut notes));
    let log = log(begin("log", &mut tree, &mut notes));
    // After `results` and `limits`, whose values stand in for what an endpoint does not say.
    let (endpoints, services) = endpoints(tree.remove("endpoints"), &mut notes);
    for service in &services {
        not_ourselves(service, http.listen, &mut notes);
    }
    let config = Config { http, submit, store, results, limits, log, endpoints, services, demo: layered.demo };
    notes.leave("", tree);
    notes.complain_of_unknown_keys(&["http", "submit", "store", "results", "limits", "log", "endpoints"]);
    (config, notes)
}

/// Both ekiben and BentoML take port 3000 where nothing is said: the one must not be in front of itself.
fn not_ourselves(service: &Service, listen: SocketAddr, notes: &mut Notes) {
    let Ok(url) = service.upstream.url.parse::<Uri>() else { return };
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address == listen.ip(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    if here && port == listen.port() {
        let path = dotted("endpoints", service.name.as_str());
        let complaint = format!(
            "ekiben itself is to listen on {listen}, where this service would be; start the service on another port, \
             or ekiben with --listen 127.0.0.1:{}",
            port.checked_add(100).unwrap_or(3000),
        );
        notes.complain(&dotted(&path, "url"), notes.origin_of(&path, "url"), complaint);
    }
}

fn begin<'a>(name: &str, tree: &mut Table, notes: &'a mut Notes) -> Section<'a> {
    // Every section stands in the defaults, so it is there whatever was written.
    let empty = || Node { value: Value::Table(Table::default()), origin: Origin::Default };
    Section::begin(name.to_owned(), tree.remove(name).unwrap_or_else(empty), notes)
}

fn http(mut section: Section) -> Http {
    let listen = section.required("listen", "\"127.0.0.1:3000\"", SocketAddr::from(([0, 0, 0, 0], 0)), address);
    let workers = match section.count("workers", 0..=1024) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let http = Http {
        listen,
        workers,
        connections: section.count("connections", 1..=1_000_000),
        keep_alive: section.time("keep_alive", Duration::ZERO..=TIME_MAX),
        read_timeout: section.time("read_timeout", MOMENT..=TIME_MAX),
        read_rate_min: section.size("read_rate_min", 0..=TEBIBYTE),
        header_bytes: in_memory(section.size("header_bytes", 1024..=HEADER_BYTES_MAX)),
        submissions: section.count("submissions", 1..=1_000_000),
        waiting: section.count("waiting", 0..=1_000_000),
        shutdown_grace: section.time("shutdown_grace", Duration::ZERO..=TIME_MAX),
    };
    section.end();
    http
}

fn submit(mut section: Section) -> Submit {
    let submit = Submit {
        delay: section.time("delay", Duration::ZERO..=TIME_MAX),
        deadline: section.time("deadline", MOMENT..=TIME_MAX),
        timeout: section.time("timeout", MOMENT..=TIME_MAX),
        retention: section.time("retention", RETENTION),
        max_attempts: u32::try_from(section.count("max_attempts", 1..=1_000_000)).expect("its bounds fit"),
        tags: section.count("tags", 0..=1000),
        tag_key: in_memory(section.size("tag_key", 1..=1024)),
        tag_value: in_memory(section.size("tag_value", 0..=16384)),
        wait: section.time("wait", Duration::ZERO..=TIME_MAX),
        envelope: section.size("envelope", 1024..=1 << 30),
    };
    section.end();
    submit
}

fn address(value: &Value) -> Result<SocketAddr, String> {
    let Value::Text(text) = value else {
        return Err(format!("{value} is not an address; write \"127.0.0.1:3000\""));
    };
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok()).unwrap_or("3000");
        format!(
            "{value} is not an address of this machine and a port; \
             write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" to be reached from elsewhere"
        )
    })
}

#[derive(Clone, Copy)]
enum StoreType {
    Embedded,
    Memory,
}

const EMBEDDED_KEYS: [&str; 3] = ["data", "inline_max", "lease"];

fn store(mut section: Section) -> Store {
    let tag = section.tag(&[("embedded", StoreType::Embedded), ("memory", StoreType::Memory)]);
    let store = match tag {
        Some((StoreType::Embedded, _)) => Store::Embedded(EmbeddedStore {
            data: section.required("data", "\"./ekiben-data\"", PathBuf::new(), folder),
            inline_max: in_memory(section.size("inline_max", 0..=64 << 20)),
            lease: section.time("lease", SECOND..=TIME_MAX),
        }),
        Some((StoreType::Memory, written)) => {
            section.without(EMBEDDED_KEYS.into_iter(), &written, "memory");
            Store::Memory
        }
        None => {
            section.forget(&EMBEDDED_KEYS);
            Store::Memory
        }
    };
    section.end();
    store
}

fn folder(value: &Value) -> Result<PathBuf, String> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(PathBuf::from(text)),
        _ => Err(format!("{value} does not name a folder; write one such as \"./ekiben-data\"")),
    }
}

fn results(mut section: Section) -> Results {
    let results = Results {
        retention: section.time("retention", RETENTION),
        sweep_interval: section.time("sweep_interval", Duration::from_millis(100)..=TIME_MAX),
    };
    section.end();
    results
}

fn limits(mut section: Section) -> Limits {
    let limits = Limits {
        body: section.size("body", 1..=TEBIBYTE),
        output: section.size("output", 1..=TEBIBYTE),
        queue: section.count("queue", 1..=TASKS_MAX),
        queue_per_endpoint: section.count("queue_per_endpoint", 1..=TASKS_MAX),
        registry_memory: in_memory(section.size("registry_memory", 1 << 20..=TEBIBYTE)),
        resident: section.count("resident", 1..=TASKS_MAX),
        crash_budget: u32::try_from(section.count("crash_budget", 1..=1000)).expect("its bounds fit"),
        put_backs: u32::try_from(section.count("put_backs", 0..=1_000_000)).expect("its bounds fit"),
        log_lines: section.count("log_lines", 1..=100_000),
        log_bytes: in_memory(section.size("log_bytes", 1..=64 << 20)),
        run_time: section.time("run_time", MOMENT..=TIME_MAX),
        sync_wait: section.time("sync_wait", MOMENT..=TIME_MAX),
    };
    section.end();
    limits
}

fn log(mut section: Section) -> Log {
    let log = Log {
        format: section.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        level: section.required("level", "\"info\"", String::new(), level),
        progress_interval: section.time("progress_interval", MOMENT..=TIME_MAX),
    };
    section.end();
    log
}

/// A filter in the syntax of `EnvFilter`.
///
/// To it a word that is no level names a target, of which everything is shown; here that is always a slip.
fn level(value: &Value) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let way_out =
        "write a level (off, error, warn, info, debug, trace), or levels by target such as \"info,ekiben=debug\"";
    let Value::Text(text) = value else { return Err(format!("{value} is not a level; {way_out}")) };
    for part in text.split(',').map(str::trim) {
        let is_word = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_word || LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level)) {
            continue;
        }
        let meant = nearest(part, LEVELS).map_or(String::new(), |meant| format!("did you mean \"{meant}\"? or "));
        return Err(format!("\"{part}\" is not a level; {meant}{way_out}"));
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.clone()),
        Err(error) => Err(format!("{value} is not a filter of levels: {error}; {way_out}")),
    }
}

/// A number of bytes that are to be in memory. On a small machine, more than it can address means all of it.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::config::{Sources, layers};

    const REFERENCE: &str = include_str!("../config.default.toml");

    /// The reference with its example endpoints: `#key` is a setting, `# text` is prose.
    fn reference_with_examples() -> String {
        let uncomment = |line: &str| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|letter: char| !letter.is_whitespace()) => format!("{setting}\n"),
            _ => format!("{line}\n"),
        };
        REFERENCE.lines().map(uncomment).collect()
    }

    fn read_text(text: &str) -> (Config, Notes) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        let (config, notes) = read(layers::read(&sources).unwrap());
        assert_eq!(notes.problems, []);
        (config, notes)
    }

    /// One name for the same key of all endpoints.
    fn general(section: &str, key: &str) -> String {
        let section = if section.starts_with("endpoints.") { "endpoints" } else { section };
        format!("{section}.{key}")
    }

    #[test]
    fn every_key_of_the_reference_is_read_and_every_key_that_is_read_is_in_the_reference() {
        // That there was no problem means that no key of the file was left over.
        let (_, notes) = read_text(&reference_with_examples());
        let written = notes.settings.iter().filter(|setting| matches!(setting.origin, Origin::File { .. }));
        let written: BTreeSet<String> = written.map(|setting| general(&setting.section, setting.key)).collect();
        let known: BTreeSet<String> = notes.known_keys().map(|(section, key)| general(section, key)).collect();
        assert_eq!(written, known);
    }

    #[test]
    fn the_reference_says_the_defaults_of_endpoints_right() {
        let exemplary = read_text(&reference_with_examples()).1;
        let short = read_text("[endpoints.summarize]\ntype = \"http\"\nurl = \"http://127.0.0.1:8000/summarize\"").1;
        let values = |notes: Notes| -> BTreeMap<&'static str, Value> {
            let settings = notes.settings.into_iter().filter(|setting| setting.section == "endpoints.summarize");
            settings.map(|setting| (setting.key, setting.value)).collect()
        };
        let exemplary = values(exemplary);
        for (key, default) in values(short).into_iter().filter(|(key, _)| *key != "description") {
            // As they are shown: the items of a list know where they were written.
            assert_eq!(exemplary[key].to_string(), default.to_string(), "{key}");
        }
    }

    #[test]
    fn the_reference_is_all_that_is_compiled_in() {
        let (config, _) = read_text(REFERENCE);
        assert_eq!(config, Config::default());
    }
}
