//! Texts with places for what differs from attempt to attempt, and for what must not stand in a file of settings.
//!
//! `{task_id}`, `{attempt}` and `{endpoint}` are filled in at each attempt; `{env:NAME}` and `{file:PATH}` once, when
//! the template is read, the file's without the white space at its ends. `{{` and `}}` stand for a brace.

use std::fmt::Write;

use crate::executor::Attempt;

/// See the module's own words. It has no `Debug`, as it may hold a secret.
#[derive(Clone)]
pub struct Template(Vec<Part>);

#[derive(Clone)]
enum Part {
    Text(String),
    TaskId,
    Attempt,
    Endpoint,
}

impl Template {
    /// Reads a template, and what it names of the environment and of files.
    ///
    /// # Errors
    /// Why it cannot be filled in, in words that show no secret.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            push_text(&mut parts, &rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                push_text(&mut parts, brace);
                rest = after;
                continue;
            }
            let end = after.find('}').filter(|_| brace == "{");
            let end = end.ok_or("a brace has no partner; write {{ or }} for a brace itself")?;
            parts.push(part(&after[..end])?);
            rest = &after[end + 1..];
        }
        push_text(&mut parts, rest);
        Ok(Self(parts))
    }

    /// The text for an attempt.
    pub fn fill(&self, attempt: &Attempt) -> String {
        let mut filled = String::new();
        for part in &self.0 {
            let written = match part {
                Part::Text(text) => filled.write_str(text),
                Part::TaskId => write!(filled, "{}", attempt.task),
                Part::Attempt => write!(filled, "{}", attempt.number),
                Part::Endpoint => filled.write_str(attempt.endpoint.as_str()),
            };
            written.expect("text can be written to");
        }
        filled
    }

    /// The text for some attempt, to judge its form by.
    pub fn sample(&self) -> String {
        let texts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::TaskId | Part::Attempt | Part::Endpoint => "1",
        });
        texts.collect()
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(before)) => before.push_str(text),
        _ if text.is_empty() => {}
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

fn part(name: &str) -> Result<Part, String> {
    if let Some(variable) = name.strip_prefix("env:") {
        let value = std::env::var(variable);
        return value.map(Part::Text).map_err(|_| format!("the environment has no variable {variable} that is text"));
    }
    if let Some(path) = name.strip_prefix("file:") {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
        return Ok(Part::Text(text.trim().to_owned()));
    }
    match name {
        "task_id" => Ok(Part::TaskId),
        "attempt" => Ok(Part::Attempt),
        "endpoint" => Ok(Part::Endpoint),
        _ => Err(format!(
            "{{{name}}} is nothing that can be filled in; there are {{task_id}}, {{attempt}}, {{endpoint}}, \
             {{env:NAME}} and {{file:PATH}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Template::read(text).err().expect("it cannot be read")
    }

    #[test]
    fn doubled_braces_stand_for_one() {
        assert_eq!(Template::read("a {{b}} }}{{").unwrap().sample(), "a {b} }{");
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused_with_the_way_out() {
        assert!(refusal("{task}").contains("there are {task_id}, {attempt}"));
        assert!(refusal("{").contains("write {{ or }}") && refusal("}").contains("write {{ or }}"));
        assert_eq!(refusal("{env:EKIBEN_NO_SUCH}"), "the environment has no variable EKIBEN_NO_SUCH that is text");
        assert!(refusal("{file:/no/such}").starts_with("/no/such cannot be read: "));
    }

    #[test]
    fn a_secret_in_a_file_is_read_without_the_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s{cret}\n").unwrap();
        let template = Template::read(&format!("Bearer {{file:{}}}", file.path().display())).unwrap();
        assert_eq!(template.sample(), "Bearer s{cret}");
    }
}
