//! Settings as they were written, not yet checked: a tree in which each value knows where it came from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::show;

/// Where a value was written. The order is that of the layers: a later one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// It was not written at all, and another setting's value stands in for it.
    Inherited(&'static str),
    /// It belongs to an endpoint that is offered because none was configured.
    Demo,
    File {
        path: Arc<Path>,
        line: usize,
    },
    Environment(String),
    Flag(&'static str),
}

impl Origin {
    /// Whether this is written in a layer under that of `other`.
    pub fn is_under(&self, other: &Origin) -> bool {
        self.layer() < other.layer()
    }

    fn layer(&self) -> u8 {
        match self {
            Origin::Default | Origin::Inherited(_) | Origin::Demo => 0,
            Origin::File { .. } => 1,
            Origin::Environment(_) => 2,
            Origin::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Inherited(from) => write!(f, "as {from}"),
            Origin::Demo => f.write_str("demo, as no endpoint is configured"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub value: Value,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
}

impl fmt::Display for Value {
    /// As a complaint quotes it: short, and without the secrets of a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LENGTH_MAX: usize = 100;
        match self {
            Value::Text(text) => {
                let shown = show::without_secrets(text);
                match shown.char_indices().nth(LENGTH_MAX) {
                    Some((end, _)) => write!(f, "\"{}…\"", &shown[..end]),
                    None => write!(f, "\"{shown}\""),
                }
            }
            Value::Integer(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number}"),
            Value::Boolean(truth) => write!(f, "{truth}"),
            Value::List(_) => f.write_str("a list"),
            Value::Table(_) => f.write_str("a table"),
        }
    }
}

/// Keys and what they hold, in the order they were written. Tables of settings are small: a search is a walk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(Vec<(String, Node)>);

impl Table {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, node)| node)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.iter_mut().find(|(known, _)| known == key).map(|(_, node)| node)
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let place = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(place).1)
    }

    /// Puts a key in; what it held before is gone.
    pub fn insert(&mut self, key: &str, node: Node) {
        match self.get_mut(key) {
            Some(held) => *held = node,
            None => self.0.push((key.to_owned(), node)),
        }
    }

    /// Puts a value at the end of a path of keys; tables on the way are made where there are none.
    pub fn insert_at(&mut self, path: &[&str], node: Node) {
        match path {
            [] => {}
            [key] => self.insert(key, node),
            [key, rest @ ..] => {
                if !matches!(self.get(key), Some(Node { value: Value::Table(_), .. })) {
                    let table = Node { value: Value::Table(Table::default()), origin: node.origin.clone() };
                    self.insert(key, table);
                }
                if let Some(Node { value: Value::Table(table), .. }) = self.get_mut(key) {
                    table.insert_at(rest, node);
                }
            }
        }
    }

    /// Lays another table over this one: tables are merged, any other value is replaced.
    pub fn merge(&mut self, over: Table) {
        for (key, node) in over.0 {
            match (self.get_mut(&key), node) {
                (Some(Node { value: Value::Table(under), .. }), Node { value: Value::Table(over), .. }) => {
                    under.merge(over);
                }
                (_, node) => self.insert(&key, node),
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(key, node)| (key.as_str(), node))
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }
}

impl IntoIterator for Table {
    type Item = (String, Node);
    type IntoIter = std::vec::IntoIter<(String, Node)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Reads TOML. `origin` tells of a line, counted from 1, where that is.
///
/// # Errors
/// Everything that is not TOML, and numbers too large to hold.
pub fn parse(text: &str, origin: &dyn Fn(usize) -> Origin) -> Result<Table, Vec<Problem>> {
    let (document, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let mut parsing = Parsing { text, origin, problems: Vec::new() };
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        let complaint = format!("not TOML: {}", error.message());
        parsing.problems.push(Problem::new("", Some(parsing.origin_at(at)), complaint));
    }
    let table = parsing.table(document.get_ref());
    if parsing.problems.is_empty() { Ok(table) } else { Err(parsing.problems) }
}

struct Parsing<'a> {
    text: &'a str,
    origin: &'a dyn Fn(usize) -> Origin,
    problems: Vec<Problem>,
}

impl Parsing<'_> {
    fn origin_at(&self, byte: usize) -> Origin {
        let before = &self.text.as_bytes()[..byte.min(self.text.len())];
        let line = 1 + before.iter().filter(|letter| **letter == b'\n').count();
        (self.origin)(line)
    }

    fn table(&mut self, table: &DeTable<'_>) -> Table {
        let mut nodes = Vec::with_capacity(table.len());
        for (key, value) in table {
            // A table's own place in the text is where its header stands; that is where its key is.
            let origin = self.origin_at(key.span().start);
            nodes.push((key.get_ref().to_string(), self.node(value.get_ref(), origin)));
        }
        Table(nodes)
    }

    fn node(&mut self, value: &DeValue<'_>, origin: Origin) -> Node {
        let value = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => self.too_large(&number.to_string(), &origin),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => self.too_large(number.as_str(), &origin),
            },
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Array(list) => {
                Value::List(list.iter().map(|item| self.node(item.get_ref(), origin.clone())).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { value, origin }
    }

    fn too_large(&mut self, number: &str, origin: &Origin) -> Value {
        let complaint = format!("the number {number} is too large; the largest is {}", i64::MAX);
        self.problems.push(Problem::new("", Some(origin.clone()), complaint));
        Value::Integer(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        parse(text, &|line| Origin::File { path: Path::new("a.toml").into(), line }).expect("it is TOML")
    }

    #[test]
    fn every_value_knows_its_line() {
        let mut root = table("[http]\nlisten = \"x\"\n\nworkers = 1_000\n");
        let Some(Node { value: Value::Table(mut http), origin }) = root.remove("http") else { panic!("no table") };
        assert_eq!(origin.to_string(), "a.toml:1");
        assert_eq!(http.remove("listen").unwrap().origin.to_string(), "a.toml:2");
        let workers = http.remove("workers").unwrap();
        assert_eq!((workers.value, workers.origin.to_string()), (Value::Integer(1000), "a.toml:4".to_owned()));
    }

    #[test]
    fn a_layer_replaces_values_and_merges_tables() {
        let mut under = table("[a]\nx = 1\ny = 2\n[b]\nz = 3");
        under.merge(table("[a]\ny = 5\n[b]\nz = {}\n"));
        let expected = table("[a]\nx = 1\ny = 5\n[b]\nz = {}");
        assert_eq!(shape(&under), shape(&expected));
    }

    fn shape(table: &Table) -> String {
        let shown = table.iter().map(|(key, node)| match &node.value {
            Value::Table(inner) => format!("{key}={{{}}}", shape(inner)),
            other => format!("{key}={other}"),
        });
        shown.collect::<Vec<_>>().join(",")
    }

    #[test]
    fn all_that_is_not_toml_is_reported_with_its_line() {
        let problems = parse("a = \nb = 1\nc = = 2\n", &|line| Origin::File { path: Path::new("a.toml").into(), line })
            .unwrap_err();
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(shown[0].starts_with("a.toml:1: not TOML: "), "{shown:?}");
        assert!(shown.iter().any(|line| line.starts_with("a.toml:3: not TOML: ")), "{shown:?}");
    }

    #[test]
    fn order_is_kept() {
        let keys = table("zebra = 1\napple = 2\nmango = 3");
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["zebra", "apple", "mango"]);
    }
}
