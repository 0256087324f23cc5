//! Shows settings: as TOML that can be read back, each with the place it came from, secrets masked.

use std::borrow::Cow;
use std::fmt::Write;

use super::section::Setting;
use super::tree::{Table, Value};
use super::webhooks::stands_elsewhere;

/// A setting of ours that is about keys and is none.
const BOUND_OF_KEYS: &str = "tag_key";

/// What stands where a secret was.
const MASK: &str = "***";

/// The settings in effect as a file of settings.
pub fn as_toml(settings: &[Setting]) -> String {
    let mut shown = String::new();
    for section in settings.chunk_by(|one, next| one.section == next.section) {
        if !shown.is_empty() {
            shown.push('\n');
        }
        let _ = writeln!(shown, "[{}]", section[0].section); // Writing to a String cannot fail.
        let lines: Vec<(String, String)> = section.iter().map(line).collect();
        let width = lines.iter().map(|(assignment, _)| assignment.chars().count()).max().unwrap_or(0).min(60);
        for (assignment, comment) in lines {
            let _ = writeln!(shown, "{assignment:width$}  # {comment}"); // As above.
        }
    }
    shown
}

fn line(setting: &Setting) -> (String, String) {
    let (value, masked) = match masked(setting.key, &setting.value) {
        Some(value) => (value, ", secrets masked"),
        None => (setting.value.clone(), ""),
    };
    // An origin can hold any character a file's name can; a comment ends with its line.
    let origin = setting.origin.to_string().replace(char::is_control, "?");
    (format!("{} = {}", setting.key, toml(&value)), format!("{origin}{masked}"))
}

fn toml(value: &Value) -> toml::Value {
    match value {
        Value::Text(text) => toml::Value::String(text.clone()),
        Value::Integer(number) => toml::Value::Integer(*number),
        Value::Float(number) => toml::Value::Float(*number),
        Value::Boolean(truth) => toml::Value::Boolean(*truth),
        Value::List(items) => toml::Value::Array(items.iter().map(|item| toml(&item.value)).collect()),
        Value::Table(table) => {
            toml::Value::Table(table.iter().map(|(key, node)| (key.to_owned(), toml(&node.value))).collect())
        }
    }
}

/// The value to show instead; `None` where there is nothing to hide.
fn masked(key: &str, value: &Value) -> Option<Value> {
    if key == "secrets" {
        return masked_secrets(value);
    }
    if names_a_secret(key) && key != BOUND_OF_KEYS {
        return Some(Value::Text(MASK.to_owned()));
    }
    match value {
        Value::Text(text) => match without_secrets(text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(masked) => Some(Value::Text(masked)),
        },
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => None,
        // Lists name headers, and the other tables are schemas, which `schema.json` shows to everybody.
        Value::Table(pairs) if key == "headers" || key == "env" => masked_pairs(pairs),
        Value::List(_) | Value::Table(_) => None,
    }
}

/// A list of secrets without those that stand in it themselves.
fn masked_secrets(value: &Value) -> Option<Value> {
    let Value::List(items) = value else { return Some(Value::Text(MASK.to_owned())) };
    let mut masked = items.clone();
    let mut hidden = false;
    for item in &mut masked {
        if !matches!(&item.value, Value::Text(text) if stands_elsewhere(text)) {
            (item.value, hidden) = (Value::Text(MASK.to_owned()), true);
        }
    }
    hidden.then_some(Value::List(masked))
}

/// Headers or variables without the values of those that hold credentials, unless these stand elsewhere.
fn masked_pairs(pairs: &Table) -> Option<Value> {
    let is_secret = |name: &str, value: &Value| {
        let stands_elsewhere = matches!(value, Value::Text(text) if stands_elsewhere(text));
        (names_a_secret(name) || name.eq_ignore_ascii_case("cookie")) && !stands_elsewhere
    };
    let mut masked = Table::default();
    let mut hidden = false;
    for (name, node) in pairs.iter() {
        let mut node = node.clone();
        if is_secret(name, &node.value) {
            (node.value, hidden) = (Value::Text(MASK.to_owned()), true);
        }
        masked.insert(name, node);
    }
    hidden.then_some(Value::Table(masked))
}

fn names_a_secret(key: &str) -> bool {
    const SECRETS: [&str; 5] = ["token", "secret", "password", "key", "authorization"];
    key.split(['_', '-']).any(|word| SECRETS.contains(&word.to_ascii_lowercase().as_str()))
}

/// A URL without its user, password and the values of its query; any other text as it is.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let is_scheme =
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme {
        return Cow::Borrowed(text);
    }
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_end);
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let host = authority.rsplit_once('@').map(|(_, host)| host);
    if host.is_none() && query.is_none() {
        return Cow::Borrowed(text);
    }
    let authority = host.map_or(Cow::Borrowed(authority), |host| Cow::Owned(format!("{MASK}@{host}")));
    let query = query.map_or(String::new(), |query| format!("?{}", masked_query(query)));
    Cow::Owned(format!("{scheme}://{authority}{path}{query}"))
}

fn masked_query(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={MASK}"),
        None => MASK.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    #[test]
    fn a_url_is_shown_without_user_password_and_query_values() {
        let shown = [
            ("http://user:pass@host:8000/a?token=abc&x=1", "http://***@host:8000/a?token=***&x=***"),
            ("https://us@er:p@host", "https://***@host"),
            ("http://host/a?bare", "http://host/a?***"),
            ("http://host?q=1#part", "http://host?q=***"),
            ("http://host/a@b", "http://host/a@b"),
            ("http://127.0.0.1:8000/summarize", "http://127.0.0.1:8000/summarize"),
            ("see http://a@b", "see http://a@b"),
            ("plain text?", "plain text?"),
        ];
        for (url, expected) in shown {
            assert_eq!(without_secrets(url), expected);
        }
    }

    #[test]
    fn a_variable_that_names_a_secret_hides_its_value() {
        let table = tree::parse("HF_TOKEN = 'abc'\nMODE = 'fast'", &|_| tree::Origin::Default).unwrap();
        let Some(Value::Table(masked)) = masked("env", &Value::Table(table)) else { panic!("nothing is masked") };
        let shown: Vec<String> = masked.iter().map(|(name, node)| format!("{name}={}", node.value)).collect();
        assert_eq!(shown, ["HF_TOKEN=\"***\"", "MODE=\"fast\""]);
    }

    #[test]
    fn of_a_list_of_secrets_only_where_they_stand_is_shown() {
        let table = tree::parse("secrets = ['whsec_abc', '{env:HOOKS}']", &|_| tree::Origin::Default).unwrap();
        let (_, node) = table.iter().next().unwrap();
        let shown = toml(&masked("secrets", &node.value).unwrap()).to_string();
        assert_eq!(shown, r#"["***", "{env:HOOKS}"]"#);
        assert_eq!(masked("secrets", &Value::Text("whsec_abc".to_owned())), Some(Value::Text("***".to_owned())));
        assert_eq!(masked("secrets", &Value::List(Vec::new())), None);
    }

    #[test]
    fn a_key_that_names_a_secret_hides_its_value() {
        for key in ["token", "api_key", "client-secret", "Password", "authorization"] {
            assert_eq!(masked(key, &Value::Integer(7)), Some(Value::Text("***".to_owned())), "{key}");
        }
        for key in ["keep_alive", "keyboard", "url"] {
            assert_eq!(masked(key, &Value::Text("plain".to_owned())), None, "{key}");
        }
    }
}
