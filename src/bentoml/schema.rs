//! Reads a service's `/schema.json`: its routes, with the schemas left as they are.

use serde_json::{Map, Value, json};

/// The most routes of one service: each is an endpoint, with a queue and connections of its own.
const ROUTES_MAX: usize = 1000;

/// A route of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub name: String,
    /// Where it stands in the service, with a slash at its beginning.
    pub path: String,
    pub input: Option<Value>,
    pub output: Option<Value>,
    pub description: Option<String>,
}

/// Why a document tells no routes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("/schema.json is not JSON: {0}")]
    NotJson(String),
    #[error("/schema.json has no \"routes\"; is that a BentoML service of version 1.2 or later?")]
    NoRoutes,
    #[error("/schema.json has more than {ROUTES_MAX} routes")]
    TooMany,
    #[error("a route of /schema.json has no \"name\", or no \"route\" that begins with a slash")]
    Nameless,
}

/// The routes a document tells, in its order.
///
/// # Errors
/// It is not such a document.
pub fn read(document: &[u8]) -> Result<Vec<Route>, SchemaError> {
    let document: Value = serde_json::from_slice(document).map_err(|error| SchemaError::NotJson(error.to_string()))?;
    let routes = document.get("routes").and_then(Value::as_array).ok_or(SchemaError::NoRoutes)?;
    if routes.len() > ROUTES_MAX {
        return Err(SchemaError::TooMany);
    }
    routes.iter().map(route).collect()
}

fn route(entry: &Value) -> Result<Route, SchemaError> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let name = text("name").filter(|name| !name.is_empty()).ok_or(SchemaError::Nameless)?;
    let path = text("route").filter(|path| path.starts_with('/')).ok_or(SchemaError::Nameless)?;
    let schema = |key: &str| entry.get(key).filter(|schema| schema.is_object()).cloned();
    // BentoML's servers send `description`, its clients read `doc`.
    let description = text("description").or_else(|| text("doc"));
    Ok(Route { name, path, input: schema("input"), output: schema("output"), description })
}

/// A document that [`read`] makes the same routes of.
pub fn write(routes: &[Route]) -> Value {
    let entries = routes.iter().map(|route| {
        let mut entry = Map::new();
        entry.insert("name".into(), route.name.clone().into());
        entry.insert("route".into(), route.path.clone().into());
        entry.extend(route.input.clone().map(|input| ("input".into(), input)));
        entry.extend(route.output.clone().map(|output| ("output".into(), output)));
        entry.extend(route.description.clone().map(|text| ("description".into(), text.into())));
        Value::Object(entry)
    });
    json!({ "routes": entries.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As bentoml 1.4.40 sends it.
    const DOCUMENT: &str = r#"{"name":"Demo","type":"service","routes":[
        {"name":"rotate","route":"/rotate","batchable":false,
         "input":{"properties":{"image":{"format":"image","pil":true,"title":"Image","type":"file"},
                                "angle":{"default":90,"title":"Angle","type":"integer"}},
                  "required":["image"],"title":"Input","type":"object"},
         "output":{"format":"image","pil":true,"type":"file"},"is_task":true,"description":"Turns an image."},
        {"name":"add","route":"/math/add","batchable":false,"input":{"properties":{}},"output":{}}
    ]}"#;

    #[test]
    fn the_routes_come_with_their_schemas_in_the_order_of_their_arguments() {
        let routes = read(DOCUMENT.as_bytes()).unwrap();
        let [rotate, add] = &routes[..] else { panic!("two routes: {routes:?}") };
        assert_eq!((rotate.name.as_str(), rotate.path.as_str()), ("rotate", "/rotate"));
        assert_eq!(rotate.description.as_deref(), Some("Turns an image."));
        let arguments: Vec<&String> =
            rotate.input.as_ref().unwrap()["properties"].as_object().unwrap().keys().collect();
        assert_eq!(arguments, ["image", "angle"]);
        assert_eq!((add.path.as_str(), &add.description), ("/math/add", &None));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let routes = read(DOCUMENT.as_bytes()).unwrap();
        assert_eq!(read(write(&routes).to_string().as_bytes()), Ok(routes));
    }

    #[test]
    fn what_is_no_such_document_is_refused() {
        assert!(matches!(read(b"<html>"), Err(SchemaError::NotJson(_))));
        assert_eq!(read(b"{}"), Err(SchemaError::NoRoutes));
        assert_eq!(read(br#"{"routes":[{"name":"a"}]}"#), Err(SchemaError::Nameless));
        assert_eq!(read(br#"{"routes":[{"name":"a","route":"a"}]}"#), Err(SchemaError::Nameless));
        assert_eq!(read(br#"{"routes":[]}"#), Ok(vec![]));
        let many = json!({ "routes": vec![json!({ "name": "a", "route": "/a" }); ROUTES_MAX + 1] });
        assert_eq!(read(many.to_string().as_bytes()), Err(SchemaError::TooMany));
    }
}
