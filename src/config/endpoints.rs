//! Reads the endpoints: their names, the rules common to all, and what each kind needs.

use std::time::Duration;

use ekiben_actors::executor::batch::Form;
use ekiben_actors::lifecycle::RetryPolicy;
use ekiben_actors::task::{EndpointName, FailureCode, NotAPriority, Priority};

use super::problem::nearest;
use super::read::{ATTEMPTS_MAX, MOMENT, RETENTION, TASKS_MAX, TIME_MAX};
use super::section::{Notes, Section, dotted};
use super::tree::{Node, Origin, Table, Value};
use super::{Batch, Demo, Endpoint, EndpointKind, RESERVED_NAMES, Service, schema};

mod bentoml;
mod http;
mod onnx;
mod process;

use bentoml::Bentoml;

/// The most attempts of one endpoint at a time.
const CONCURRENCY_MAX: usize = 10_000;

/// The longest a batch may wait for its second task.
const BATCH_WAIT_MAX: Duration = Duration::from_secs(60 * 60);

/// The endpoints, and the services whose routes become more of them.
pub fn endpoints(node: Option<Node>, notes: &mut Notes) -> (Vec<Endpoint>, Vec<Service>) {
    let tables = match node {
        None => Table::default(),
        Some(Node { value: Value::Table(tables), .. }) => tables,
        Some(Node { value, origin }) => {
            let complaint =
                format!("{value} stands where endpoints are expected; write [endpoints.NAME] and its keys below");
            notes.complain("endpoints", Some(origin), complaint);
            Table::default()
        }
    };
    let (mut endpoints, mut services) = (Vec::new(), Vec::new());
    for (written, node) in tables {
        let path = dotted("endpoints", &written);
        let name = endpoint_name(&written);
        if let Err(complaint) = &name {
            notes.complain(&path, Some(node.origin.clone()), complaint);
        }
        // Under a bad name, too, all that is wrong is told.
        match read(name.ok(), Section::begin(path, node, notes)) {
            Some(Read::Endpoint(endpoint)) => endpoints.push(endpoint),
            Some(Read::Service(service)) => services.push(service),
            None => {}
        }
    }
    (endpoints, services)
}

/// What a section says.
enum Read {
    Endpoint(Endpoint),
    Service(Service),
}

/// Takes a name that an endpoint can have beside our own routes.
///
/// # Errors
/// It is not such a name; the text says why, and the way out.
pub fn endpoint_name(written: &str) -> Result<EndpointName, String> {
    let name = EndpointName::new(written).map_err(|error| error.to_string())?;
    match RESERVED_NAMES.iter().find(|reserved| written.eq_ignore_ascii_case(reserved)) {
        Some(reserved) => Err(format!("/{reserved} is a route of ekiben's own; give the endpoint another name")),
        None => Ok(name),
    }
}

/// A `type` an endpoint may have.
#[derive(Clone, Copy)]
struct Type {
    name: &'static str,
    /// The keys that only it has.
    keys: &'static [&'static str],
    read: fn(&mut Section) -> Kind,
}

/// What a section of some type stands for.
enum Kind {
    Endpoint(EndpointKind),
    /// As many endpoints as the service has routes.
    Service(Bentoml),
}

impl From<EndpointKind> for Kind {
    fn from(kind: EndpointKind) -> Self {
        Kind::Endpoint(kind)
    }
}

const TYPES: &[Type] = &[
    Type { name: "http", keys: http::KEYS, read: |section| EndpointKind::Http(http::upstream(section)).into() },
    Type { name: "bentoml", keys: bentoml::KEYS, read: |section| Kind::Service(bentoml::service(section)) },
    Type {
        name: "process",
        keys: process::KEYS,
        read: |section| EndpointKind::Process(process::workers(section)).into(),
    },
    Type { name: "onnx", keys: onnx::KEYS, read: |section| EndpointKind::Onnx(onnx::local_model(section)).into() },
    Type { name: "demo", keys: &["demo"], read: |section| EndpointKind::Demo(section.choice("demo", DEMOS)).into() },
    Type { name: "noop", keys: &[], read: |_| EndpointKind::Noop.into() },
];

const DEMOS: &[(&str, Demo)] = &[("denoise", Demo::Denoise), ("detect_language", Demo::DetectLanguage)];

/// What only a single endpoint says of itself. A service describes its routes.
const OF_ENDPOINTS: [&str; 3] = ["description", "input", "output"];

/// Reads one section; `None` where its name or its type is not to be had.
fn read(name: Option<EndpointName>, mut section: Section) -> Option<Read> {
    let kind = kind(&mut section);
    let read = match kind {
        Some(Kind::Service(bentoml)) => service(name, bentoml, &mut section).map(Read::Service),
        Some(Kind::Endpoint(kind)) => endpoint(name, Some(kind), &mut section).map(Read::Endpoint),
        None => endpoint(name, None, &mut section).map(Read::Endpoint),
    };
    section.end();
    read
}

/// The rules by which tasks run, common to all types.
struct Rules {
    concurrency: usize,
    timeout: Duration,
    retention: Duration,
    queue: usize,
    retry: RetryPolicy,
    priority: Priority,
}

/// `passing` are the statuses after which a task runs again in any case.
fn rules(section: &mut Section, slots: usize, passing: &[u16]) -> Rules {
    section.otherwise("concurrency", Value::Integer(slots.min(CONCURRENCY_MAX) as i64));
    section.inherit("timeout", "limits.run_time");
    section.inherit("retention", "results.retention");
    section.inherit("queue", "limits.queue_per_endpoint");
    section.otherwise("priority", Value::Text("normal".to_owned()));
    Rules {
        concurrency: section.count("concurrency", 1..=CONCURRENCY_MAX),
        timeout: section.time("timeout", MOMENT..=TIME_MAX),
        retention: section.time("retention", RETENTION),
        queue: section.count("queue", 1..=TASKS_MAX),
        retry: retries(section, passing),
        priority: section.required("priority", "\"normal\"", Priority::default(), priority),
    }
}

/// Who names statuses wants their tasks to run again, after no other failures, and as often as they may crash.
fn retries(section: &mut Section, passing: &[u16]) -> RetryPolicy {
    let codes: Vec<FailureCode> = match passing {
        [] => {
            section.otherwise("max_attempts", Value::Integer(1));
            RetryPolicy::passing()
        }
        _ => {
            section.inherit("max_attempts", "limits.crash_budget");
            Vec::new()
        }
    };
    let word = |code: FailureCode| Node { value: Value::Text(code.as_str().to_owned()), origin: Origin::Default };
    section.otherwise("retry_on", Value::List(codes.into_iter().map(word).collect()));
    section.otherwise("backoff", Value::Text("1s".to_owned()));
    section.otherwise("backoff_max", Value::Text("1m".to_owned()));
    let max_attempts = section.count("max_attempts", 1..=ATTEMPTS_MAX);
    let words = section.texts("retry_on", |word| retried(word).map(|code| code.as_str().to_owned()));
    let backoff = section.time("backoff", Duration::ZERO..=TIME_MAX);
    RetryPolicy {
        max_attempts: u32::try_from(max_attempts).expect("its bounds fit"),
        backoff,
        backoff_max: section.time("backoff_max", Duration::ZERO..=TIME_MAX).max(backoff),
        codes: words.iter().filter_map(|word| FailureCode::from_word(word)).collect(),
    }
}

/// A code of failures after which a task may run again.
fn retried(word: &str) -> Result<FailureCode, String> {
    let may_help = |code: &FailureCode| !matches!(code, FailureCode::Expired | FailureCode::Deadline);
    let known: Vec<&str> = FailureCode::ALL.iter().filter(|code| may_help(code)).map(|code| code.as_str()).collect();
    FailureCode::from_word(word).filter(may_help).ok_or_else(|| {
        let meant =
            nearest(word, known.iter().copied()).map_or(String::new(), |meant| format!("did you mean \"{meant}\"? "));
        format!("\"{word}\" is no failure after which a task can run again; {meant}write some of {}", known.join(", "))
    })
}

fn priority(value: &Value) -> Result<Priority, String> {
    let written = match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    };
    written.parse().map_err(|error: NotAPriority| error.to_string())
}

fn service(name: Option<EndpointName>, bentoml: Bentoml, section: &mut Section) -> Option<Service> {
    let Bentoml { upstream, routes, prefix, refresh } = bentoml;
    // Batchable methods of BentoML take objects of lists.
    let batch = batch(section, "fields");
    let slots = batch.as_ref().map_or(1, |batch| batch.max_size);
    let Rules { concurrency, timeout, retention, queue, retry, priority } =
        rules(section, slots, &upstream.retry_statuses);
    Some(Service {
        name: name?,
        upstream,
        routes,
        prefix,
        refresh,
        concurrency,
        timeout,
        retention,
        queue,
        retry,
        priority,
        batch,
    })
}

fn endpoint(name: Option<EndpointName>, kind: Option<EndpointKind>, section: &mut Section) -> Option<Endpoint> {
    let batch = batch(section, "list");
    let slots = kind.as_ref().map_or(1, EndpointKind::slots).max(batch.as_ref().map_or(1, |batch| batch.max_size));
    let passing = kind.as_ref().map_or(&[][..], EndpointKind::retry_statuses);
    let Rules { concurrency, timeout, retention, queue, retry, priority } = rules(section, slots, passing);
    section.otherwise("description", Value::Text(String::new()));
    let description = section.text("description", "\"what it does\"");
    let input = section.optional_of("input", schema::input);
    let output = section.optional_of("output", schema::output);
    Some(Endpoint {
        name: name?,
        kind: kind?,
        concurrency,
        timeout,
        retention,
        queue,
        retry,
        priority,
        batch,
        description,
        input,
        output,
    })
}

/// How its tasks are gathered; `None` where each runs by itself.
fn batch(section: &mut Section, form: &str) -> Option<Batch> {
    section.otherwise("max_batch_size", Value::Integer(1));
    section.otherwise("max_wait", Value::Text("0s".to_owned()));
    section.otherwise("batch_form", Value::Text(form.to_owned()));
    let batch = Batch {
        max_size: section.count("max_batch_size", 1..=CONCURRENCY_MAX),
        max_wait: section.time("max_wait", Duration::ZERO..=BATCH_WAIT_MAX),
        form: section.choice("batch_form", &[("list", Form::List), ("fields", Form::Fields)]),
    };
    (batch.max_size > 1).then_some(batch)
}

fn kind(section: &mut Section) -> Option<Kind> {
    let choices: Vec<(&str, Type)> = TYPES.iter().map(|known| (known.name, *known)).collect();
    let Some((chosen, written)) = section.tag(&choices) else {
        TYPES.iter().for_each(|known| section.forget(known.keys));
        return None;
    };
    let of_others = TYPES.iter().flat_map(|known| known.keys).filter(|key| !chosen.keys.contains(key));
    section.without(of_others.copied(), &written, chosen.name);
    let kind = (chosen.read)(section);
    if let Kind::Service(_) = kind {
        section.without(OF_ENDPOINTS.into_iter(), &written, chosen.name);
    }
    Some(kind)
}
