//! The schema of an endpoint, made from what its model takes and gives.
//!
//! In BentoML's words, so that its clients take and give NumPy arrays: a tensor is `{"type": "tensor", "format":
//! "numpy-array", "dtype": …, "shape": …}`, see `TensorSchema` in its `_bentoml_sdk/validators.py`. The shape is there
//! where all of it is fixed, for the clients reshape to it; `description` tells it in any case.

use serde_json::{Map, Value, json};

use super::OutputForm;
use super::signature::{Port, Signature};

/// An object with a property for every input, in the model's order, all of them required.
pub fn input(signature: &Signature) -> Value {
    let required: Vec<_> = signature.inputs.iter().map(|input| input.name.as_str()).collect();
    json!({ "type": "object", "properties": properties(&signature.inputs), "required": required })
}

/// An object with a property for every output, in the model's order; or the one output as a file.
pub fn output(signature: &Signature, form: OutputForm) -> Value {
    match form {
        OutputForm::Json => json!({ "type": "object", "properties": properties(&signature.outputs) }),
        OutputForm::Npy => json!({ "type": "file", "format": "binary", "media_type": "application/x-npy" }),
    }
}

fn properties(ports: &[Port]) -> Map<String, Value> {
    ports.iter().map(|port| (port.name.clone(), tensor(port))).collect()
}

fn tensor(port: &Port) -> Value {
    let mut schema = json!({ "type": "tensor", "format": "numpy-array", "dtype": port.element.name() });
    if let Some(shape) = port.fixed_shape() {
        schema["shape"] = shape.into();
    }
    schema["description"] = port.told().into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::onnx::element::Element;
    use crate::executor::onnx::signature::Dimension;

    fn port(name: &str, shape: Option<Vec<Dimension>>) -> Port {
        Port { name: name.to_owned(), element: Element::Int64, shape }
    }

    #[test]
    fn properties_stand_in_the_models_order() {
        let open = vec![Dimension::Open(Some("batch".to_owned())), Dimension::Fixed(2)];
        let inputs = vec![port("z", Some(open)), port("a", Some(vec![Dimension::Fixed(2)])), port("m", None)];
        let signature = Signature { inputs, outputs: vec![port("y", None)] };
        let expected = r#"{"type":"object","properties":{"#.to_owned()
            + r#""z":{"type":"tensor","format":"numpy-array","dtype":"int64","description":"int64 [batch, 2]"},"#
            + r#""a":{"type":"tensor","format":"numpy-array","dtype":"int64","shape":[2],"description":"int64 [2]"},"#
            + r#""m":{"type":"tensor","format":"numpy-array","dtype":"int64","description":"int64 of any shape"}},"#
            + r#""required":["z","a","m"]}"#;
        assert_eq!(input(&signature).to_string(), expected);
        assert_eq!(output(&signature, OutputForm::Json)["properties"]["y"]["type"], "tensor");
        assert_eq!(output(&signature, OutputForm::Npy)["type"], "file");
    }
}
