//! JSON schemas in the settings: of what an endpoint takes and gives.
//!
//! A schema is written as a TOML table, as a text that holds JSON, or as `{ file = "schema.json" }`. It is
//! not judged as a schema; clients must be able to read it, and that is what is asked of it.

use std::fs;

use serde_json::{Map, Value as Json};

use super::tree::{Table, Value};

/// Reads the schema of an input.
///
/// BentoML's client takes the names and the order of a call's arguments from `properties`, and fails without,
/// unless the schema says with `root_input` that the body is the one argument.
pub fn input(value: &Value) -> Result<Json, String> {
    let schema = read(value)?;
    let Json::Object(object) = &schema else { return Err(not_an_object(&schema)) };
    match object.get("properties") {
        Some(Json::Object(_)) => Ok(schema),
        Some(_) => Err("the \"properties\" of the schema are not an object; write properties = {}".to_owned()),
        None if object.get("root_input") == Some(&Json::Bool(true)) => Ok(schema),
        None => Err("the schema has no \"properties\"; write properties = {}, \
                     or root_input = true where the whole body is the input"
            .to_owned()),
    }
}

/// Reads the schema of an output.
pub fn output(value: &Value) -> Result<Json, String> {
    let schema = read(value)?;
    if schema.is_object() { Ok(schema) } else { Err(not_an_object(&schema)) }
}

fn not_an_object(schema: &Json) -> String {
    let kind = match schema {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    };
    format!("the schema is {kind}; write a JSON object such as {{\"type\": \"object\", \"properties\": {{}}}}")
}

fn read(value: &Value) -> Result<Json, String> {
    match value {
        Value::Text(text) => serde_json::from_str(text).map_err(|error| format!("the text is not JSON: {error}")),
        Value::Table(table) => match table.get("file").map(|node| &node.value) {
            Some(Value::Text(path)) => from_file(path, table),
            _ => json(value),
        },
        other => {
            Err(format!("{other} is not a schema; write a table, a text holding JSON, or {{ file = \"schema.json\" }}"))
        }
    }
}

fn from_file(path: &str, table: &Table) -> Result<Json, String> {
    if let Some(other) = table.keys().find(|key| *key != "file") {
        return Err(format!("\"file\" and \"{other}\" stand side by side; write the file alone, or the schema alone"));
    }
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", shown.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is not JSON: {error}", shown.display()))
}

/// The same as JSON.
fn json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => {
            let number = serde_json::Number::from_f64(*number);
            Json::Number(number.ok_or_else(|| format!("{value} cannot be written in JSON"))?)
        }
        Value::Boolean(truth) => Json::from(*truth),
        Value::List(items) => Json::Array(items.iter().map(|item| json(&item.value)).collect::<Result<_, _>>()?),
        Value::Table(table) => {
            let mut object = Map::new();
            for (key, node) in table.iter() {
                object.insert(key.to_owned(), json(&node.value)?);
            }
            Json::Object(object)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::tree::{self, Origin};

    fn value(toml: &str) -> Value {
        let mut table = tree::parse(toml, &|_| Origin::Default).expect("it is TOML");
        table.remove("schema").expect("it has a schema").value
    }

    #[test]
    fn a_schema_may_be_a_table_a_text_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("schema.json");
        std::fs::write(&path, r#"{"type":"object","properties":{"text":{"type":"string"}}}"#).unwrap();
        let in_file = |path: &Path| format!("schema = {{ file = '{}' }}", path.display());

        let expected: Json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let table = "[schema]\ntype = 'object'\n[schema.properties.text]\ntype = 'string'";
        let text = r#"schema = '{"type":"object","properties":{"text":{"type":"string"}}}'"#;
        for written in [table, text, &in_file(&path)] {
            assert_eq!(input(&value(written)), Ok(expected.clone()), "{written}");
        }
    }

    #[test]
    fn the_order_of_properties_is_kept_as_it_is_that_of_arguments() {
        let toml = input(&value("schema = { properties = { zebra = {}, apple = {}, mango = {} } }")).unwrap();
        let text = input(&value(r#"schema = '{"properties":{"zebra":{},"apple":{},"mango":{}}}'"#)).unwrap();
        for schema in [toml, text] {
            assert_eq!(schema.to_string(), r#"{"properties":{"zebra":{},"apple":{},"mango":{}}}"#);
        }
    }

    #[test]
    fn an_input_has_properties_or_is_the_whole_body() {
        assert!(input(&value("schema = { type = 'object' }")).unwrap_err().contains("root_input"));
        assert!(input(&value("schema = { properties = 3 }")).unwrap_err().contains("not an object"));
        assert!(input(&value("schema = '[]'")).unwrap_err().contains("the schema is a list"));
        assert!(input(&value("schema = '{'")).unwrap_err().contains("not JSON"));
        assert!(input(&value("schema = { type = 'string', root_input = true }")).is_ok());
        assert!(output(&value("schema = { type = 'string' }")).is_ok());
    }

    #[test]
    fn a_file_that_is_not_there_is_named_whole() {
        let complaint = output(&value("schema = { file = 'no/such.json' }")).unwrap_err();
        assert!(complaint.contains("/no/such.json: "), "{complaint}");
        let complaint = output(&value("schema = { file = 'a.json', type = 'string' }")).unwrap_err();
        assert!(complaint.contains("\"type\""), "{complaint}");
    }
}
