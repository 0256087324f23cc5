//! Reads the endpoints: their names, the rules common to all, and what each kind needs.

use std::time::Duration;

use ekiben_actors::task::EndpointName;

use super::read::{MOMENT, RETENTION, TASKS_MAX, TIME_MAX};
use super::section::{Notes, Section, dotted};
use super::tree::{Node, Table, Value};
use super::{Demo, Endpoint, EndpointKind, RESERVED_NAMES, Service, schema};

mod bentoml;
mod http;

/// The most attempts of one endpoint at a time.
const CONCURRENCY_MAX: usize = 10_000;

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
    Service(bentoml::Bentoml),
}

impl Kind {
    fn slots(&self) -> usize {
        match self {
            Kind::Endpoint(kind) => kind.slots(),
            Kind::Service(_) => 1,
        }
    }
}

impl From<EndpointKind> for Kind {
    fn from(kind: EndpointKind) -> Self {
        Kind::Endpoint(kind)
    }
}

const TYPES: &[Type] = &[
    Type { name: "http", keys: http::KEYS, read: |section| EndpointKind::Http(http::upstream(section)).into() },
    Type { name: "bentoml", keys: bentoml::KEYS, read: |section| Kind::Service(bentoml::service(section)) },
    Type { name: "demo", keys: &["demo"], read: |section| EndpointKind::Demo(section.choice("demo", DEMOS)).into() },
    Type { name: "noop", keys: &[], read: |_| EndpointKind::Noop.into() },
];

const DEMOS: &[(&str, Demo)] = &[("denoise", Demo::Denoise), ("detect_language", Demo::DetectLanguage)];

/// What only a single endpoint says of itself; a service's routes are described by the service.
const DESCRIBING: [&str; 3] = ["description", "input", "output"];

/// Reads one section; `None` where its name or its type is not to be had.
fn read(name: Option<EndpointName>, mut section: Section) -> Option<Read> {
    let kind = kind(&mut section);
    let rules = rules(&mut section, kind.as_ref().map_or(1, Kind::slots));
    let read = match kind {
        Some(Kind::Service(bentoml)) => name.map(|name| Read::Service(bentoml.under(name, rules))),
        Some(Kind::Endpoint(kind)) => endpoint(name, Some(kind), rules, &mut section).map(Read::Endpoint),
        None => endpoint(name, None, rules, &mut section).map(Read::Endpoint),
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
}

fn rules(section: &mut Section, slots: usize) -> Rules {
    section.otherwise("concurrency", Value::Integer(slots as i64));
    section.inherit("timeout", "limits.run_time");
    section.inherit("retention", "results.retention");
    section.inherit("queue", "limits.queue_per_endpoint");
    Rules {
        concurrency: section.count("concurrency", 1..=CONCURRENCY_MAX),
        timeout: section.time("timeout", MOMENT..=TIME_MAX),
        retention: section.time("retention", RETENTION),
        queue: section.count("queue", 1..=TASKS_MAX),
    }
}

fn endpoint(
    name: Option<EndpointName>,
    kind: Option<EndpointKind>,
    rules: Rules,
    section: &mut Section,
) -> Option<Endpoint> {
    section.otherwise("description", Value::Text(String::new()));
    let description = section.text("description", "\"what it does\"");
    let input = section.optional_of("input", schema::input);
    let output = section.optional_of("output", schema::output);
    let Rules { concurrency, timeout, retention, queue } = rules;
    Some(Endpoint { name: name?, kind: kind?, concurrency, timeout, retention, queue, description, input, output })
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
        section.without(DESCRIBING.into_iter(), &written, chosen.name);
    }
    Some(kind)
}
