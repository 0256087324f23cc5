//! Reads the endpoints: their names, the rules common to all, and what each kind needs.

use std::time::Duration;

use ekiben_actors::executor::batch::Form;
use ekiben_actors::task::EndpointName;

use super::read::{MOMENT, RETENTION, TASKS_MAX, TIME_MAX};
use super::section::{Notes, Section, dotted};
use super::tree::{Node, Table, Value};
use super::{Batch, Demo, Endpoint, EndpointKind, RESERVED_NAMES, schema};

mod http;
mod process;

/// The most attempts of one endpoint at a time.
const CONCURRENCY_MAX: usize = 10_000;

/// The longest a batch may wait for its second task.
const BATCH_WAIT_MAX: Duration = Duration::from_secs(60 * 60);

pub fn endpoints(node: Option<Node>, notes: &mut Notes) -> Vec<Endpoint> {
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
    let mut endpoints = Vec::new();
    for (written, node) in tables {
        let path = dotted("endpoints", &written);
        let name = name(&written);
        if let Err(complaint) = &name {
            notes.complain(&path, Some(node.origin.clone()), complaint);
        }
        // Under a bad name, too, all that is wrong is told.
        endpoints.extend(endpoint(name.ok(), Section::begin(path, node, notes)));
    }
    endpoints
}

fn name(written: &str) -> Result<EndpointName, String> {
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
    read: fn(&mut Section) -> EndpointKind,
}

const TYPES: &[Type] = &[
    Type { name: "http", keys: http::KEYS, read: |section| EndpointKind::Http(http::upstream(section)) },
    Type { name: "process", keys: process::KEYS, read: |section| EndpointKind::Process(process::workers(section)) },
    Type { name: "demo", keys: &["demo"], read: |section| EndpointKind::Demo(section.choice("demo", DEMOS)) },
    Type { name: "noop", keys: &[], read: |_| EndpointKind::Noop },
];

const DEMOS: &[(&str, Demo)] = &[("denoise", Demo::Denoise), ("detect_language", Demo::DetectLanguage)];

/// Reads one endpoint; `None` where its name or its type is not to be had.
fn endpoint(name: Option<EndpointName>, mut section: Section) -> Option<Endpoint> {
    let kind = kind(&mut section);
    let batch = batch(&mut section);
    let slots = kind.as_ref().map_or(1, EndpointKind::slots).max(batch.as_ref().map_or(1, |batch| batch.max_size));
    section.otherwise("concurrency", Value::Integer(slots.min(CONCURRENCY_MAX) as i64));
    section.otherwise("description", Value::Text(String::new()));
    section.inherit("timeout", "limits.run_time");
    section.inherit("retention", "results.retention");
    section.inherit("queue", "limits.queue_per_endpoint");

    let concurrency = section.count("concurrency", 1..=CONCURRENCY_MAX);
    let timeout = section.time("timeout", MOMENT..=TIME_MAX);
    let retention = section.time("retention", RETENTION);
    let queue = section.count("queue", 1..=TASKS_MAX);
    let description = section.text("description", "\"what it does\"");
    let input = section.optional_of("input", schema::input);
    let output = section.optional_of("output", schema::output);
    section.end();
    Some(Endpoint {
        name: name?,
        kind: kind?,
        concurrency,
        timeout,
        retention,
        queue,
        batch,
        description,
        input,
        output,
    })
}

/// How its tasks are gathered; `None` where each runs by itself.
fn batch(section: &mut Section) -> Option<Batch> {
    section.otherwise("max_batch_size", Value::Integer(1));
    section.otherwise("max_wait", Value::Text("0s".to_owned()));
    section.otherwise("batch_form", Value::Text("list".to_owned()));
    let batch = Batch {
        max_size: section.count("max_batch_size", 1..=CONCURRENCY_MAX),
        max_wait: section.time("max_wait", Duration::ZERO..=BATCH_WAIT_MAX),
        form: section.choice("batch_form", &[("list", Form::List), ("fields", Form::Fields)]),
    };
    (batch.max_size > 1).then_some(batch)
}

fn kind(section: &mut Section) -> Option<EndpointKind> {
    let choices: Vec<(&str, Type)> = TYPES.iter().map(|known| (known.name, *known)).collect();
    let Some((chosen, written)) = section.tag(&choices) else {
        TYPES.iter().for_each(|known| section.forget(known.keys));
        return None;
    };
    let of_others = TYPES.iter().flat_map(|known| known.keys).filter(|key| !chosen.keys.contains(key));
    section.without(of_others.copied(), &written, chosen.name);
    Some((chosen.read)(section))
}
