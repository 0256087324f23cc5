//! Tensors as JSON: nested lists, or an object with `dtype`, `shape` and a flat list `data`.
//!
//! ```text
//! {"image": [[0.1, 0.2], [0.3, 0.4]], "scale": 2}             an object of inputs by name; a number has no dimensions
//! {"image": {"dtype": "float32", "shape": [2, 2], "data": [0.1, 0.2, 0.3, 0.4]}, "scale": 2}
//! [[0.1, 0.2], [0.3, 0.4]]                                    where there is one input, also without its name
//! ```
//!
//! JSON has no NaN and no infinities: in outputs they are `null`, and `null` in an input is NaN. No error here quotes
//! what came, for errors go to the log.

use std::fmt;
use std::io::{self, Write};

use rten::Value;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::element::{Data, Element, Given};
use super::signature::Port;

/// Reads a value for every input, in the order of the inputs.
///
/// # Errors
/// A sentence on what is not JSON, what is missing, or what an input expected and what came.
pub fn read(bytes: &[u8], inputs: &[Port]) -> Result<Vec<Value>, String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = Inputs(inputs).deserialize(&mut json).and_then(|values| json.end().map(|()| values));
    let values = read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => error.to_string(),
        _ => format!("the input is not JSON: {error}"),
    })?;
    let named = |(value, input): (Option<Value>, &Port)| {
        value.ok_or_else(|| format!("input \"{}\" is missing: {} is expected", input.name, input.told()))
    };
    values.into_iter().zip(inputs).map(named).collect()
}

/// Reads the whole document.
struct Inputs<'a>(&'a [Port]);

impl<'a> Inputs<'a> {
    /// The input that a body without names is for.
    fn only<E: Error>(&self) -> Result<&'a Port, E> {
        match self.0 {
            [input] => Ok(input),
            inputs => Err(E::custom(format!("an object with the inputs by name is expected: {}", names(inputs)))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Inputs<'_> {
    type Value = Vec<Option<Value>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inputs<'_> {
    type Value = Vec<Option<Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values: Vec<Option<Value>> = self.0.iter().map(|_| None).collect();
        while let Some(name) = map.next_key::<String>()? {
            let Some(at) = self.0.iter().position(|input| input.name == name) else {
                let told = format!("a name is none of the model's inputs, which are {}", names(self.0));
                return Err(A::Error::custom(told));
            };
            if values[at].is_some() {
                return Err(A::Error::custom(format!("input \"{name}\" is there twice")));
            }
            values[at] = Some(map.next_value_seed(TensorOf(&self.0[at]))?);
        }
        Ok(values)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        let input = self.only()?;
        let mut tensor = Reading::new(input);
        Nested { tensor: &mut tensor, depth: 0 }.visit_seq(list)?;
        Ok(vec![Some(tensor.finish()?)])
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        let mut tensor = Reading::new(self.only()?);
        tensor.number(0, number)?;
        Ok(vec![Some(tensor.finish()?)])
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_f64(number as f64)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Err(E::custom("an object of tensors is expected"))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Err(E::custom("an object of tensors is expected"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom("an object of tensors is expected, a text came"))
    }
}

/// Reads the tensor of one input.
struct TensorOf<'a>(&'a Port);

impl<'de> DeserializeSeed<'de> for TensorOf<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let mut tensor = Reading::new(self.0);
        deserializer.deserialize_any(Nested { tensor: &mut tensor, depth: 0 })?;
        tensor.finish()
    }
}

/// A tensor of which a part was read.
struct Reading<'a> {
    input: &'a Port,
    numbers: Vec<f64>,
    /// The length of the lists at each depth, once the first has ended.
    lengths: Vec<Option<usize>>,
    /// At which depth the numbers stand, once there was one.
    numbers_at: Option<usize>,
    /// Of the form with `shape` and `data`.
    shape: Option<Vec<usize>>,
    in_object: bool,
}

impl<'a> Reading<'a> {
    fn new(input: &'a Port) -> Self {
        Self { input, numbers: Vec::new(), lengths: Vec::new(), numbers_at: None, shape: None, in_object: false }
    }

    fn error<E: Error>(&self, why: impl fmt::Display) -> E {
        E::custom(format!("input \"{}\": {why}", self.input.name))
    }

    fn number<E: Error>(&mut self, depth: usize, number: f64) -> Result<(), E> {
        let beside_a_list = self.lengths.len() > depth;
        if beside_a_list || *self.numbers_at.get_or_insert(depth) != depth {
            return Err(self.error("lists and numbers stand side by side"));
        }
        self.input.element.accept(number).map_err(|why| self.error(why))?;
        self.numbers.push(number);
        Ok(())
    }

    fn list_begins<E: Error>(&mut self, depth: usize) -> Result<(), E> {
        if self.numbers_at.is_some_and(|numbers_at| depth >= numbers_at) {
            return Err(self.error("lists and numbers stand side by side"));
        }
        if self.lengths.len() == depth {
            self.lengths.push(None);
        }
        Ok(())
    }

    fn list_ends<E: Error>(&mut self, depth: usize, length: usize) -> Result<(), E> {
        let known = *self.lengths[depth].get_or_insert(length);
        if known == length {
            Ok(())
        } else {
            Err(self.error(format!("a list of {known} and one of {length} stand side by side")))
        }
    }

    /// The tensor, when all was read and fits the model.
    fn finish<E: Error>(self) -> Result<Value, E> {
        let lists: Vec<usize> = self.lengths.iter().map(|length| length.unwrap_or(0)).collect();
        let shape = match &self.shape {
            None => lists,
            Some(shape) => {
                let size = shape.iter().try_fold(1_usize, |size, length| size.checked_mul(*length));
                if lists.len() != 1 || size != Some(self.numbers.len()) {
                    let count = self.numbers.len();
                    return Err(
                        self.error(format!("data is not the flat list of shape {shape:?}, it has {count} numbers"))
                    );
                }
                shape.clone()
            }
        };
        self.input.accept(&shape).map_err(|why| self.error(why))?;
        Ok(self.input.element.tensor_of_numbers(&shape, &self.numbers))
    }
}

/// Reads what stands at a depth of a tensor: a number, a list, or at the top the object with the data.
struct Nested<'r, 'a> {
    tensor: &'r mut Reading<'a>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Nested<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, in lists")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.tensor.list_begins(self.depth)?;
        let mut length = 0;
        while list.next_element_seed(Nested { tensor: self.tensor, depth: self.depth + 1 })?.is_some() {
            length += 1;
        }
        self.tensor.list_ends(self.depth, length)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.depth > 0 || std::mem::replace(&mut self.tensor.in_object, true) {
            return Err(self.tensor.error("an object stands where numbers are expected"));
        }
        let mut data = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "dtype" => self.dtype(&mut map)?,
                "shape" => {
                    let lengths = map.next_value();
                    let lengths = lengths.map_err(|_| self.tensor.error("its shape is not a list of lengths"))?;
                    self.tensor.shape = Some(lengths);
                }
                "data" if !data => {
                    data = true;
                    map.next_value_seed(Nested { tensor: self.tensor, depth: 0 })?;
                }
                _ => return Err(self.tensor.error("an object here has dtype, shape and data, each once")),
            }
        }
        let whole = data && self.tensor.shape.is_some();
        if whole { Ok(()) } else { Err(self.tensor.error("an object here has dtype, shape and data")) }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.tensor.number(self.depth, number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        match self.tensor.input.element {
            Element::Bool => self.tensor.number(self.depth, f64::from(truth)),
            other => Err(self.tensor.error(format!("a truth value came, {other} is expected"))),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.tensor.input.element {
            Element::Float32 | Element::Float64 => self.tensor.number(self.depth, f64::NAN),
            other => Err(self.tensor.error(format!("null came, {other} is expected"))),
        }
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(self.tensor.error(format!("a text came, {} is expected", self.tensor.input.element)))
    }
}

impl Nested<'_, '_> {
    fn dtype<'de, A: MapAccess<'de>>(&self, map: &mut A) -> Result<(), A::Error> {
        let expected = self.tensor.input.element;
        let came: String = map.next_value().map_err(|_| self.tensor.error("its dtype is not a text"))?;
        if came == expected.name() {
            return Ok(());
        }
        let known = Element::ALL.iter().find(|element| element.name() == came);
        let came = known.map_or("another", |element| element.name());
        Err(self.tensor.error(format!("dtype {expected} is expected, {came} came")))
    }
}

/// The names in a row, each in quotes.
pub fn names(ports: &[Port]) -> String {
    ports.iter().map(|port| format!("\"{}\"", port.name)).collect::<Vec<_>>().join(", ")
}

/// Writes outputs as one object of nested lists by name.
///
/// # Errors
/// Those of the writer.
pub fn write(outputs: &[(&str, &Given)], writer: impl Write) -> io::Result<()> {
    serde_json::to_writer(writer, &ByName(outputs)).map_err(io::Error::from)
}

struct ByName<'a>(&'a [(&'a str, &'a Given)]);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, given) in self.0 {
            match &given.data {
                Data::Float(data) => map.serialize_entry(name, &Lists { data, shape: &given.shape, show: |x| x })?,
                Data::Int(data) if given.element == Element::Bool => {
                    map.serialize_entry(name, &Lists { data, shape: &given.shape, show: |x| x != 0 })?;
                }
                Data::Int(data) => map.serialize_entry(name, &Lists { data, shape: &given.shape, show: |x| x })?,
                Data::Int8(data) => map.serialize_entry(name, &Lists { data, shape: &given.shape, show: |x| x })?,
                Data::UInt8(data) => map.serialize_entry(name, &Lists { data, shape: &given.shape, show: |x| x })?,
            }
        }
        map.end()
    }
}

/// A part of a tensor, as lists of lists; `show` makes of an element what JSON shows.
struct Lists<'a, T, Shown> {
    data: &'a [T],
    shape: &'a [usize],
    show: fn(T) -> Shown,
}

impl<T: Copy, Shown: Serialize> Serialize for Lists<'_, T, Shown> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((length, shape)) = self.shape.split_first() else {
            return (self.show)(self.data[0]).serialize(serializer);
        };
        let size: usize = shape.iter().product();
        let part = |at: usize| Lists { data: &self.data[at * size..(at + 1) * size], shape, show: self.show };
        serializer.collect_seq((0..*length).map(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::onnx::signature::Dimension;

    fn port(name: &str, element: Element, shape: Option<&[usize]>) -> Port {
        let shape = shape.map(|shape| shape.iter().copied().map(Dimension::Fixed).collect());
        Port { name: name.to_owned(), element, shape }
    }

    /// Reads for one input `x` of any shape, and shows what was read.
    fn read_one(json: &str, element: Element) -> Result<(Vec<usize>, Data), String> {
        let mut values = read(json.as_bytes(), &[port("x", element, None)])?;
        let given = Given::of(values.remove(0), element).expect("it is a tensor");
        Ok((given.shape, given.data))
    }

    #[test]
    fn nested_lists_have_the_shape_they_are_nested_in() {
        let ints = |json: &str| read_one(json, Element::Int32).unwrap();
        assert_eq!(ints("{\"x\": [[1, 2, 3], [4, 5, 6]]}"), (vec![2, 3], Data::Int(vec![1, 2, 3, 4, 5, 6])));
        assert_eq!(ints("[[1], [2]]"), (vec![2, 1], Data::Int(vec![1, 2])));
        assert_eq!(ints("{\"x\": 7}"), (vec![], Data::Int(vec![7])));
        assert_eq!(ints("-7"), (vec![], Data::Int(vec![-7])));
        assert_eq!(ints("[]"), (vec![0], Data::Int(vec![])));
        assert_eq!(ints("[[], []]"), (vec![2, 0], Data::Int(vec![])));
    }

    #[test]
    fn an_object_gives_its_shape_and_a_flat_list() {
        let json = r#"{"x": {"data": [1, 2, 3, 4], "shape": [2, 2], "dtype": "float32"}}"#;
        assert_eq!(read_one(json, Element::Float32).unwrap(), (vec![2, 2], Data::Float(vec![1.0, 2.0, 3.0, 4.0])));
        let scalar = r#"{"x": {"shape": [], "data": [1]}}"#;
        assert_eq!(read_one(scalar, Element::Bool).unwrap(), (vec![], Data::Int(vec![1])));
    }

    #[test]
    fn truth_values_and_nulls_are_read_where_they_mean_something() {
        assert_eq!(read_one("[true, false, 1]", Element::Bool).unwrap().1, Data::Int(vec![1, 0, 1]));
        let Data::Float(floats) = read_one("[null]", Element::Float32).unwrap().1 else { panic!("no floats") };
        assert!(floats[0].is_nan());
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_input_and_its_expectation() {
        let cases = [
            ("[[1], 2]", "input \"x\": lists and numbers stand side by side"),
            ("[1, [2]]", "input \"x\": lists and numbers stand side by side"),
            ("[[1], [[2]]]", "input \"x\": lists and numbers stand side by side"),
            ("[[1, 2], [3]]", "input \"x\": a list of 2 and one of 1 stand side by side"),
            ("[0.5]", "input \"x\": a number is not whole"),
            ("[4294967296]", "input \"x\": a number is outside of what the type holds"),
            ("[\"secret\"]", "input \"x\": a text came, int32 is expected"),
            ("[null]", "input \"x\": null came, int32 is expected"),
            ("[true]", "input \"x\": a truth value came, int32 is expected"),
            ("[{}]", "input \"x\": an object stands where numbers are expected"),
            (r#"{"x": {"shape": [2]}}"#, "input \"x\": an object here has dtype, shape and data"),
            (r#"{"x": {"shape": ["secret"], "data": [1]}}"#, "input \"x\": its shape is not a list of lengths"),
            (r#"{"x": {"shape": [2], "data": [1]}}"#, "input \"x\": data is not the flat list of shape [2]"),
            (
                r#"{"x": {"dtype": "int64", "shape": [1], "data": [1]}}"#,
                "input \"x\": dtype int32 is expected, int64 came",
            ),
            (r#"{"x": {"data": {"data": [1]}}}"#, "input \"x\": an object stands where numbers are expected"),
            (r#"{"secret": [1]}"#, "a name is none of the model's inputs, which are \"x\""),
            (r#"{"x": [1], "x": [1]}"#, "input \"x\" is there twice"),
            ("{}", "input \"x\" is missing: int32 of any shape is expected"),
            ("\"secret\"", "an object of tensors is expected"),
            ("", "the input is not JSON"),
            ("[1] secret", "the input is not JSON"),
        ];
        for (json, told) in cases {
            let error = read_one(json, Element::Int32).unwrap_err();
            assert!(error.starts_with(told) && !error.contains("secret"), "{json}: {error}");
        }
    }

    #[test]
    fn the_shape_is_held_to_the_models() {
        let inputs = [port("x", Element::UInt8, Some(&[1, 2])), port("y", Element::UInt8, Some(&[]))];
        assert!(read(br#"{"y": 1, "x": [[1, 2]]}"#, &inputs).is_ok());
        let error = read(br#"{"y": 1, "x": [1, 2]}"#, &inputs).unwrap_err();
        assert!(error.starts_with("input \"x\": uint8 [1, 2] is expected, shape [2] came"), "{error}");
        let error = read(b"[[1, 2]]", &inputs).unwrap_err();
        assert!(error.starts_with("an object with the inputs by name is expected: \"x\", \"y\""), "{error}");
    }

    #[test]
    fn outputs_are_nested_lists_by_name() {
        let given = |element, shape: &[usize], data| Given { element, shape: shape.to_vec(), data };
        let outputs = [
            ("z", given(Element::Float32, &[2, 2], Data::Float(vec![0.1, f32::NAN, 3.0, f32::INFINITY]))),
            ("b", given(Element::Bool, &[2], Data::Int(vec![0, 1]))),
            ("a", given(Element::Int64, &[], Data::Int(vec![-5]))),
            ("e", given(Element::Int8, &[2, 0], Data::Int8(vec![]))),
        ];
        let outputs: Vec<_> = outputs.iter().map(|(name, given)| (*name, given)).collect();
        let mut written = Vec::new();
        write(&outputs, &mut written).unwrap();
        let expected = r#"{"z":[[0.1,null],[3.0,null]],"b":[false,true],"a":-5,"e":[[],[]]}"#;
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
