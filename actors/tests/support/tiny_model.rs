//! Small ONNX models, written by hand in their file format: Protocol Buffers messages with the fields of
//! <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>.

use std::path::{Path, PathBuf};

/// One of ONNX's element types, `TensorProto.DataType`.
pub const FLOAT: u64 = 1;
pub const UINT8: u64 = 2;
pub const INT32: u64 = 6;
pub const INT64: u64 = 7;
pub const STRING: u64 = 8;
pub const BOOL: u64 = 9;

/// A model of one operator.
#[derive(Clone, Debug)]
pub struct TinyModel {
    pub operator: &'static str,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Inputs of the operator that have a value in the file: a name and floats of one dimension.
    pub weights: Vec<(&'static str, Vec<f32>)>,
}

/// A name, an element type, and lengths, of which `Err` is the name of one that is open.
pub type Port = (&'static str, u64, Vec<Result<u64, &'static str>>);

impl TinyModel {
    /// `y` is `x`, whatever its type and shape.
    pub fn identity(element: u64, shape: &[Result<u64, &'static str>]) -> Self {
        let port = |name| (name, element, shape.to_vec());
        Self { operator: "Identity", inputs: vec![port("x")], outputs: vec![port("y")], weights: Vec::new() }
    }

    /// Writes the model into a folder, and answers with its path.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("tiny.onnx");
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }

    fn bytes(&self) -> Vec<u8> {
        const IR_VERSION: u64 = 8;
        const OPERATOR_SET: u64 = 17;
        let operators = [text(1, ""), number(2, OPERATOR_SET)].concat();
        [number(1, IR_VERSION), message(7, &self.graph()), message(8, &operators)].concat()
    }

    fn graph(&self) -> Vec<u8> {
        let mut node: Vec<u8> = self.inputs.iter().flat_map(|(name, ..)| text(1, name)).collect();
        let weights = self.weights.iter().filter(|(name, _)| self.inputs.iter().all(|(input, ..)| input != name));
        node.extend(weights.flat_map(|(name, _)| text(1, name)));
        node.extend(self.outputs.iter().flat_map(|(name, ..)| text(2, name)));
        node.extend([text(3, "the_operator"), text(4, self.operator)].concat());

        let mut graph = [message(1, &node), text(2, "tiny")].concat();
        graph.extend(self.weights.iter().flat_map(|(name, floats)| message(5, &weight(name, floats))));
        graph.extend(self.inputs.iter().flat_map(|input| message(11, &value(input))));
        graph.extend(self.outputs.iter().flat_map(|output| message(12, &value(output))));
        graph
    }
}

fn weight(name: &str, floats: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
    [number(1, floats.len() as u64), number(2, FLOAT), text(8, name), message(9, &bytes)].concat()
}

fn value((name, element, shape): &Port) -> Vec<u8> {
    let dimension = |length: &Result<u64, &str>| match length {
        Ok(length) => message(1, &number(1, *length)),
        Err(name) => message(1, &text(2, name)),
    };
    let shape: Vec<u8> = shape.iter().flat_map(dimension).collect();
    let tensor = [number(1, *element), message(2, &shape)].concat();
    [text(1, name), message(2, &message(1, &tensor))].concat()
}

// ---- the wire format ----

fn text(field: u64, text: &str) -> Vec<u8> {
    message(field, text.as_bytes())
}

fn message(field: u64, bytes: &[u8]) -> Vec<u8> {
    const LENGTH_DELIMITED: u64 = 2;
    [varint(field << 3 | LENGTH_DELIMITED), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn number(field: u64, number: u64) -> Vec<u8> {
    [varint(field << 3), varint(number)].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
