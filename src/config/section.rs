//! Takes typed values out of the tree, a section at a time, and notes all that is wrong with them.
//!
//! A reader goes on after a problem with a stand-in value, which nobody sees: where there is a problem there is
//! no [`Config`](super::Config). What was asked for is what is known; what is left over is unknown.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::{Problem, nearest};
use super::tree::{Node, Origin, Table, Value};
use super::units::{self, Size};

/// One setting in effect, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Dotted, e.g. `endpoints.summarize`.
    pub section: String,
    pub key: &'static str,
    pub value: Value,
    pub origin: Origin,
}

/// What a reading has brought to light so far.
#[derive(Debug, Default)]
pub struct Notes {
    pub problems: Vec<Problem>,
    /// In the order they were read.
    pub settings: Vec<Setting>,
    /// Each key that was asked for, whether it was there or not: its section and its name.
    known: Vec<(String, &'static str)>,
    unread: Vec<Unread>,
}

/// A key that nobody asked for.
#[derive(Debug)]
struct Unread {
    section: String,
    key: String,
    origin: Origin,
}

impl Notes {
    pub fn complain(&mut self, path: &str, origin: Option<Origin>, complaint: impl Into<String>) {
        self.problems.push(Problem::new(path, origin, complaint));
    }

    /// Everything in a table that is not there to be read any more is unknown.
    pub fn leave(&mut self, section: &str, rest: Table) {
        for (key, node) in rest {
            self.unread.push(Unread { section: section.to_owned(), key, origin: node.origin });
        }
    }

    /// Where a setting that was read was written.
    pub fn origin_of(&self, section: &str, key: &str) -> Option<Origin> {
        let setting = self.settings.iter().find(|setting| setting.section == section && setting.key == key);
        setting.map(|setting| setting.origin.clone())
    }

    /// Each key that was asked for, with its section.
    #[cfg(test)]
    pub fn known_keys(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.known.iter().map(|(section, key)| (section.as_str(), *key))
    }

    /// Turns what nobody asked for into problems, once everything has been asked for.
    pub fn complain_of_unknown_keys(&mut self, sections: &[&'static str]) {
        for unread in std::mem::take(&mut self.unread) {
            let way_out = self.way_out(&unread, sections);
            let path = dotted(&unread.section, &unread.key);
            self.complain(&path, Some(unread.origin), format!("no such setting; {way_out}"));
        }
    }

    fn way_out(&self, unread: &Unread, sections: &[&'static str]) -> String {
        let siblings: Vec<&str> = match unread.section.as_str() {
            "" => sections.to_vec(),
            section => self.known.iter().filter(|(of, _)| of == section).map(|(_, key)| *key).collect(),
        };
        if let Some(meant) = nearest(&unread.key, siblings.iter().copied()) {
            return format!("did you mean \"{}\"?", dotted(&unread.section, meant));
        }
        if let Some((section, key)) = self.known.iter().find(|(_, key)| *key == unread.key) {
            return format!("did you mean \"{}\"?", dotted(section, key));
        }
        format!("known here: {}", siblings.join(", "))
    }
}

/// The name of a key in a section, as messages write it.
pub fn dotted(section: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let key = if bare { key.to_owned() } else { format!("\"{}\"", key.escape_debug()) };
    if section.is_empty() { key } else { format!("{section}.{key}") }
}

/// A section that is being read.
pub struct Section<'a> {
    path: String,
    /// Where the section itself was written.
    origin: Origin,
    /// What has not been read yet; `None` where there was something else in the section's place.
    table: Option<Table>,
    notes: &'a mut Notes,
}

impl<'a> Section<'a> {
    /// Begins a section that stands at a path. Something else in its place is a problem, told once.
    pub fn begin(path: String, node: Node, notes: &'a mut Notes) -> Self {
        let table = match node.value {
            Value::Table(table) => Some(table),
            other => {
                let complaint =
                    format!("{other} stands where a section is expected; write [{path}] and its keys below");
                notes.complain(&path, Some(node.origin.clone()), complaint);
                None
            }
        };
        Self { path, origin: node.origin, table, notes }
    }

    /// Ends the section: what was not read is unknown.
    pub fn end(self) {
        self.notes.leave(&self.path, self.table.unwrap_or_default());
    }

    /// Takes keys out unread, where a problem that was told makes it moot what they hold.
    pub fn forget(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.table.as_mut().and_then(|table| table.remove(key));
        }
    }

    /// Says what a key holds where nobody wrote anything.
    pub fn otherwise(&mut self, key: &str, value: Value) {
        self.stand_in(key, Node { value, origin: Origin::Default });
    }

    /// Lets another setting, which was read before, stand in for a key where nobody wrote anything.
    pub fn inherit(&mut self, key: &str, from: &'static str) {
        let setting = self.notes.settings.iter().find(|setting| dotted(&setting.section, setting.key) == from);
        if let Some(setting) = setting {
            let node = Node { value: setting.value.clone(), origin: Origin::Inherited(from) };
            self.stand_in(key, node);
        }
    }

    fn stand_in(&mut self, key: &str, node: Node) {
        if let Some(table) = &mut self.table
            && table.get(key).is_none()
        {
            table.insert(key, node);
        }
    }

    /// Takes a key that may be absent.
    pub fn optional(&mut self, key: &'static str) -> Option<Node> {
        self.notes.known.push((self.path.clone(), key));
        let node = self.table.as_mut()?.remove(key)?;
        let setting =
            Setting { section: self.path.clone(), key, value: node.value.clone(), origin: node.origin.clone() };
        self.notes.settings.push(setting);
        Some(node)
    }

    /// Notes a problem with a key. What is wrong with an inherited value was told where it was written.
    pub fn complain(&mut self, key: &str, origin: Origin, complaint: impl Into<String>) {
        if !matches!(origin, Origin::Inherited(_)) {
            self.notes.complain(&dotted(&self.path, key), Some(origin), complaint);
        }
    }

    /// Takes a key that must be there and that `understand` must be able to make something of.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        stand_in: T,
        understand: impl FnOnce(&Value) -> Result<T, String>,
    ) -> T {
        let Some(node) = self.optional(key) else {
            if self.table.is_some() {
                self.complain(key, self.origin.clone(), format!("missing; write {key} = {example}"));
            }
            return stand_in;
        };
        understand(&node.value).unwrap_or_else(|complaint| {
            self.complain(key, node.origin, complaint);
            stand_in
        })
    }

    /// Takes a key that may be absent and that `understand` must be able to make something of.
    pub fn optional_of<T>(
        &mut self,
        key: &'static str,
        understand: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.optional(key)?;
        understand(&node.value).map_err(|complaint| self.complain(key, node.origin, complaint)).ok()
    }

    /// A time within bounds.
    pub fn time(&mut self, key: &'static str, bounds: RangeInclusive<Duration>) -> Duration {
        self.required(key, "\"30s\"", *bounds.start(), |value| {
            let time = match value {
                Value::Text(text) => units::parse_time(text),
                Value::Integer(number) => return Err(format!("{number} has no unit; write \"{number}s\" for seconds")),
                _ => None,
            };
            let time = time.ok_or_else(|| {
                format!(
                    "{value} is not a time; write numbers with units, such as \"500ms\", \"30s\", \"15m\" or \"24h\""
                )
            })?;
            within(time, &bounds, |bound| units::show_time(*bound))
        })
    }

    /// A number of bytes within bounds.
    pub fn size(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> u64 {
        self.required(key, "\"64KiB\"", *bounds.start(), |value| size_within(value, &bounds))
    }

    /// A whole number within bounds.
    pub fn count(&mut self, key: &'static str, bounds: RangeInclusive<usize>) -> usize {
        self.required(key, "1", *bounds.start(), |value| count_within(value, &bounds))
    }

    /// A text.
    pub fn text(&mut self, key: &'static str, example: &str) -> String {
        self.required(key, example, String::new(), text)
    }

    /// One word of a list.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> T {
        let example = format!("\"{}\"", choices[0].0);
        self.required(key, &example, choices[0].1, |value| chosen(value, choices))
    }

    /// Texts that `understand` takes: a list of them, or one text with commas between.
    pub fn texts(&mut self, key: &'static str, understand: impl Fn(&str) -> Result<String, String>) -> Vec<String> {
        self.required(key, "[]", Vec::new(), |value| match value {
            Value::Text(text) => {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(understand).collect()
            }
            Value::List(items) => items.iter().map(|item| understand(&text(&item.value)?)).collect(),
            other => Err(format!("{other} is not a list of texts; write [\"one\", \"two\"]")),
        })
    }

    /// Takes the `type` of a section that comes in several; `None` where it is not one of them.
    pub fn tag<T: Copy>(&mut self, choices: &[(&str, T)]) -> Option<(T, Origin)> {
        const KEY: &str = "type";
        let node = self.optional(KEY);
        let Some(node) = node else {
            if self.table.is_some() {
                let complaint = format!("missing; write type = {}", listed(choices));
                self.complain(KEY, self.origin.clone(), complaint);
            }
            return None;
        };
        match chosen(&node.value, choices) {
            Ok(tag) => Some((tag, node.origin)),
            Err(complaint) => {
                self.complain(KEY, node.origin, complaint);
                None
            }
        }
    }

    /// Takes out the keys that belong to another `type` than the one that was written at `tag`.
    ///
    /// Those from a layer under it are of no effect, as when a variable turns a file's endpoint into another
    /// kind; one from the same layer or above is a mistake.
    pub fn without(&mut self, keys: impl Iterator<Item = &'static str>, tag: &Origin, kind: &str) {
        for key in keys {
            let node = self.table.as_mut().and_then(|table| table.remove(key));
            let Some(node) = node.filter(|node| !node.origin.is_under(tag)) else { continue };
            let complaint = format!("of no use with type = \"{kind}\"; take it out, or choose another type");
            self.complain(key, node.origin, complaint);
        }
    }
}

/// A number of bytes within bounds.
pub fn size_within(value: &Value, bounds: &RangeInclusive<u64>) -> Result<u64, String> {
    let size = match value {
        Value::Text(text) => units::parse_size(text),
        Value::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let size = size.ok_or_else(|| {
        format!("{value} is not a size; write whole bytes, or a whole number and a unit: \"64KiB\", \"1GB\"")
    })?;
    within(size, bounds, |bound| Size(*bound).to_string())
}

/// A whole number within bounds.
pub fn count_within(value: &Value, bounds: &RangeInclusive<usize>) -> Result<usize, String> {
    let number = match value {
        Value::Text(text) => text.trim().parse().ok(),
        Value::Integer(number) => Some(*number),
        _ => None,
    };
    let number = number.ok_or_else(|| format!("{value} is not a whole number"))?;
    // What is under nothing is under every bound.
    let number = usize::try_from(number).map_err(|_| out_of(&number, bounds, |bound| bound.to_string()))?;
    within(number, bounds, |bound| bound.to_string())
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::List(_) | Value::Table(_) => Err(format!("{value} is not a text")),
        other => Err(format!("{other} is not a text; write \"{other}\"")),
    }
}

fn chosen<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, String> {
    let word = text(value)?;
    if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word) {
        return Ok(*choice);
    }
    match nearest(&word, choices.iter().map(|(name, _)| *name)) {
        Some(meant) => Err(format!("{value} is not one of {}; did you mean \"{meant}\"?", listed(choices))),
        None => Err(format!("{value} is not one of {}", listed(choices))),
    }
}

fn listed<T>(choices: &[(&str, T)]) -> String {
    let quoted: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} or {last}", before.join(", ")),
        None => String::new(),
    }
}

fn within<T: PartialOrd>(value: T, bounds: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> Result<T, String> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(out_of(&show(&value), bounds, show))
}

fn out_of<T>(value: &impl ToString, bounds: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> String {
    let (least, most) = (show(bounds.start()), show(bounds.end()));
    format!("{} is out of bounds; the least is {least}, the most {most}", value.to_string())
}
