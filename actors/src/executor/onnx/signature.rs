//! What a model takes and gives: the names, element types and shapes that its file tells.
//!
//! Read from the file itself and not asked of the runtime, which holds `int64` and `bool` as `int32`, and `float64`
//! as `float32`, and tells only what it holds.

use std::collections::HashSet;
use std::fmt;

use rten_onnx::onnx::{DataType, GraphProto, ValueInfoProto};

use super::element::Element;

/// What a model takes and gives, each in the order of the model.
#[derive(Clone, Debug)]
pub struct Signature {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

/// One input or output.
#[derive(Clone, Debug)]
pub struct Port {
    pub name: String,
    pub element: Element,
    /// `None` where the model does not even tell how many dimensions there are.
    pub shape: Option<Vec<Dimension>>,
}

/// One length of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    Fixed(usize),
    /// Any length; with the model's word for it, if it has one.
    Open(Option<String>),
}

impl Signature {
    /// Takes the graph's inputs, without those that have a value in the file, and its outputs.
    ///
    /// # Errors
    /// A sentence on the input or output that is no tensor of a type known here.
    pub fn of(graph: &GraphProto) -> Result<Self, String> {
        // Files of before 2019 (IR version 3) list every weight as an input, too.
        let given: HashSet<_> = graph.initializer.iter().filter_map(|weight| weight.name.as_deref()).collect();
        let asked = graph.input.iter().filter(|input| !given.contains(name(input)));
        Ok(Self {
            inputs: asked.map(|input| Port::of("input", input)).collect::<Result<_, _>>()?,
            outputs: graph.output.iter().map(|output| Port::of("output", output)).collect::<Result<_, _>>()?,
        })
    }
}

impl Port {
    fn of(which: &str, value: &ValueInfoProto) -> Result<Self, String> {
        let name = name(value).to_owned();
        let Some(tensor) = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()) else {
            return Err(format!("its {which} \"{name}\" is not a tensor"));
        };
        let elem_type = tensor.elem_type.unwrap_or(DataType(0));
        let Some(element) = Element::of(elem_type) else {
            return Err(format!("its {which} \"{name}\" has elements of type {elem_type}, which cannot be exchanged"));
        };
        let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(Dimension::of).collect());
        Ok(Self { name, element, shape })
    }

    /// Whether a tensor of this shape fits; the error says what was expected and what came.
    pub fn accept(&self, came: &[usize]) -> Result<(), String> {
        let Some(expected) = &self.shape else { return Ok(()) };
        let fits =
            expected.len() == came.len() && expected.iter().zip(came).all(|(length, came)| length.accepts(*came));
        if fits { Ok(()) } else { Err(format!("{} is expected, shape {came:?} came", self.told())) }
    }

    /// The element type and the shape, for people: `int32 [batch, 2048]`.
    pub fn told(&self) -> String {
        let Some(shape) = &self.shape else { return format!("{} of any shape", self.element) };
        let lengths: Vec<_> = shape.iter().map(Dimension::to_string).collect();
        format!("{} [{}]", self.element, lengths.join(", "))
    }

    /// The shape where every length of it is fixed.
    pub fn fixed_shape(&self) -> Option<Vec<usize>> {
        let fixed = |dimension: &Dimension| match dimension {
            Dimension::Fixed(length) => Some(*length),
            Dimension::Open(_) => None,
        };
        self.shape.as_ref()?.iter().map(fixed).collect()
    }
}

impl Dimension {
    fn of(dimension: &rten_onnx::onnx::Dimension) -> Self {
        match dimension.dim_value.map(usize::try_from) {
            Some(Ok(length)) => Dimension::Fixed(length),
            Some(Err(_)) | None => Dimension::Open(dimension.dim_param.clone().filter(|name| !name.is_empty())),
        }
    }

    fn accepts(&self, came: usize) -> bool {
        match self {
            Dimension::Fixed(length) => *length == came,
            Dimension::Open(_) => true,
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dimension::Fixed(length) => length.fmt(f),
            Dimension::Open(Some(name)) => f.write_str(name),
            Dimension::Open(None) => f.write_str("any"),
        }
    }
}

fn name(value: &ValueInfoProto) -> &str {
    value.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Port {
        let shape = vec![Dimension::Open(Some("batch".to_owned())), Dimension::Fixed(3), Dimension::Open(None)];
        Port { name: "image".to_owned(), element: Element::Float32, shape: Some(shape) }
    }

    #[test]
    fn a_shape_fits_with_any_length_where_the_model_leaves_it_open() {
        assert_eq!(image().accept(&[1, 3, 7]), Ok(()));
        assert_eq!(image().accept(&[0, 3, 0]), Ok(()));
        assert_eq!(Port { shape: None, ..image() }.accept(&[1, 2, 3, 4]), Ok(()));
    }

    #[test]
    fn a_shape_that_does_not_fit_is_told_with_the_one_expected() {
        let told = |came: &[usize]| image().accept(came).unwrap_err();
        assert_eq!(told(&[1, 4, 7]), "float32 [batch, 3, any] is expected, shape [1, 4, 7] came");
        assert_eq!(told(&[1, 3]), "float32 [batch, 3, any] is expected, shape [1, 3] came");
    }
}
