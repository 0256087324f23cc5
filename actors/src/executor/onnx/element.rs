//! The element types that are exchanged with clients, and how the runtime holds each.
//!
//! The runtime knows `f32`, `i32`, `i8` and `u8` only. It holds `int64` and `bool` as `i32`, and `float64` as `f32`:
//! what does not fit is refused, not wrapped.

use std::fmt;

use rten::Value;
use rten_onnx::onnx::DataType;
use rten_tensor::{Layout, Tensor};

/// The type of a tensor's elements, by its name in ONNX and NumPy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Float32,
    Float64,
    Int64,
    Int32,
    Int8,
    UInt8,
    Bool,
}

impl Element {
    pub const ALL: [Element; 7] = [
        Element::Float32,
        Element::Float64,
        Element::Int64,
        Element::Int32,
        Element::Int8,
        Element::UInt8,
        Element::Bool,
    ];

    /// `None` for a type that the runtime cannot hold.
    pub fn of(onnx: DataType) -> Option<Self> {
        match onnx {
            DataType::FLOAT => Some(Element::Float32),
            DataType::DOUBLE => Some(Element::Float64),
            DataType::INT64 => Some(Element::Int64),
            DataType::INT32 => Some(Element::Int32),
            DataType::INT8 => Some(Element::Int8),
            DataType::UINT8 => Some(Element::UInt8),
            DataType::BOOL => Some(Element::Bool),
            _ => None,
        }
    }

    /// NumPy's name, which is ONNX's in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Element::Float32 => "float32",
            Element::Float64 => "float64",
            Element::Int64 => "int64",
            Element::Int32 => "int32",
            Element::Int8 => "int8",
            Element::UInt8 => "uint8",
            Element::Bool => "bool",
        }
    }

    /// The bytes of one element on the wire.
    pub fn size(self) -> usize {
        match self {
            Element::Float64 | Element::Int64 => 8,
            Element::Float32 | Element::Int32 => 4,
            Element::Int8 | Element::UInt8 | Element::Bool => 1,
        }
    }

    /// Whether a number can be an element; the error says why not.
    pub fn accept(self, number: f64) -> Result<(), &'static str> {
        let (least, most, whole) = match self {
            // Whatever the model says, the runtime holds it in 32 bits; NaN and the infinities are there, too.
            Element::Float32 | Element::Float64 => (f64::from(f32::MIN), f64::from(f32::MAX), false),
            Element::Int64 | Element::Int32 => (f64::from(i32::MIN), f64::from(i32::MAX), true),
            Element::Int8 => (f64::from(i8::MIN), f64::from(i8::MAX), true),
            Element::UInt8 => (f64::from(u8::MIN), f64::from(u8::MAX), true),
            Element::Bool => (0.0, 1.0, true),
        };
        if whole && (!number.is_finite() || number.fract() != 0.0) {
            return Err("a number is not whole");
        }
        if number.is_finite() && !(least..=most).contains(&number) {
            return Err(match self {
                Element::Int64 => "a number is outside of what 32 bits hold; the runtime holds int64 in them",
                Element::Float64 => "a number is outside of what 32 bits hold; the runtime holds float64 in them",
                Element::Float32 | Element::Int32 | Element::Int8 | Element::UInt8 | Element::Bool => {
                    "a number is outside of what the type holds"
                }
            });
        }
        Ok(())
    }

    /// A tensor of accepted numbers, as many as the shape says.
    pub fn tensor_of_numbers(self, shape: &[usize], numbers: &[f64]) -> Value {
        let numbers = numbers.iter().copied();
        match self {
            Element::Float32 | Element::Float64 => tensor(shape, numbers.map(|number| number as f32)),
            Element::Int64 | Element::Int32 | Element::Bool => tensor(shape, numbers.map(|number| number as i32)),
            Element::Int8 => tensor(shape, numbers.map(|number| number as i8)),
            Element::UInt8 => tensor(shape, numbers.map(|number| number as u8)),
        }
    }

    /// A tensor of little-endian bytes, as many as the shape and the size say; the error says what does not fit.
    pub fn tensor_of_bytes(self, shape: &[usize], bytes: &[u8]) -> Result<Value, &'static str> {
        Ok(match self {
            Element::Float32 => tensor(shape, chunks(bytes).map(f32::from_le_bytes)),
            Element::Int32 => tensor(shape, chunks(bytes).map(i32::from_le_bytes)),
            Element::Int8 => tensor(shape, chunks(bytes).map(i8::from_le_bytes)),
            Element::UInt8 => tensor(shape, bytes.iter().copied()),
            Element::Bool => tensor(shape, bytes.iter().map(|byte| i32::from(*byte != 0))),
            // Through the same door as numbers of JSON: every i32, and every f32, is an f64 exactly.
            Element::Float64 => self.checked(shape, chunks(bytes).map(f64::from_le_bytes))?,
            Element::Int64 => self.checked(shape, chunks(bytes).map(|bytes| i64::from_le_bytes(bytes) as f64))?,
        })
    }

    fn checked(self, shape: &[usize], numbers: impl Iterator<Item = f64>) -> Result<Value, &'static str> {
        let accepted = numbers.map(|number| self.accept(number).map(|()| number));
        Ok(self.tensor_of_numbers(shape, &accepted.collect::<Result<Vec<_>, _>>()?))
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn tensor<T>(shape: &[usize], elements: impl Iterator<Item = T>) -> Value
where
    Value: From<Tensor<T>>,
{
    Tensor::from_data(shape, elements.collect::<Vec<T>>()).into()
}

fn chunks<const SIZE: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; SIZE]> {
    bytes.chunks_exact(SIZE).map(|chunk| chunk.try_into().expect("every chunk has the size"))
}

/// What the runtime gave, in one piece, to be written as the type that the model tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    pub element: Element,
    pub shape: Vec<usize>,
    pub data: Data,
}

/// Elements as the runtime holds them, the last dimension's side by side.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Float(Vec<f32>),
    Int(Vec<i32>),
    Int8(Vec<i8>),
    UInt8(Vec<u8>),
}

impl Given {
    /// Takes the value apart. Where it is held otherwise than the model's type would be, it is given as it is held.
    /// `None` for a sequence, which no output here is told to be.
    pub fn of(value: Value, told: Element) -> Option<Self> {
        let (held, shape, data) = match value {
            Value::FloatTensor(tensor) => (Element::Float32, tensor.shape().to_vec(), Data::Float(tensor.into_data())),
            Value::Int32Tensor(tensor) => (Element::Int32, tensor.shape().to_vec(), Data::Int(tensor.into_data())),
            Value::Int8Tensor(tensor) => (Element::Int8, tensor.shape().to_vec(), Data::Int8(tensor.into_data())),
            Value::UInt8Tensor(tensor) => (Element::UInt8, tensor.shape().to_vec(), Data::UInt8(tensor.into_data())),
            // A sequence, or what a later version of the runtime may have.
            _ => return None,
        };
        let element = match (held, told) {
            (Element::Float32, Element::Float64) | (Element::Int32, Element::Int64 | Element::Bool) => told,
            (held, _) => held,
        };
        Some(Self { element, shape, data })
    }

    /// The elements as little-endian bytes of the type.
    pub fn bytes(&self) -> Vec<u8> {
        match (&self.data, self.element) {
            (Data::Float(data), Element::Float64) => joined(data, |number| f64::from(number).to_le_bytes()),
            (Data::Float(data), _) => joined(data, f32::to_le_bytes),
            (Data::Int(data), Element::Int64) => joined(data, |number| i64::from(number).to_le_bytes()),
            (Data::Int(data), Element::Bool) => joined(data, |number| [u8::from(number != 0)]),
            (Data::Int(data), _) => joined(data, i32::to_le_bytes),
            (Data::Int8(data), _) => joined(data, i8::to_le_bytes),
            (Data::UInt8(data), _) => data.clone(),
        }
    }
}

fn joined<T: Copy, const SIZE: usize>(data: &[T], bytes: impl Fn(T) -> [u8; SIZE]) -> Vec<u8> {
    data.iter().flat_map(|element| bytes(*element)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_a_tensor_and_the_same_bytes_again() {
        for element in Element::ALL {
            let bytes = Element::UInt8.tensor_of_bytes(&[2], &[1, 0]).unwrap();
            let bytes: Vec<u8> = match Given::of(bytes, Element::UInt8).unwrap().data {
                Data::UInt8(data) => data.iter().flat_map(|byte| one(element, *byte)).collect(),
                other => panic!("{other:?}"),
            };
            let value = element.tensor_of_bytes(&[2, 1], &bytes).unwrap();
            let given = Given::of(value, element).unwrap();
            assert_eq!((given.element, &given.shape[..]), (element, &[2, 1][..]));
            assert_eq!(given.bytes(), bytes, "{element}");
        }
    }

    /// A small number as an element's bytes.
    fn one(element: Element, number: u8) -> Vec<u8> {
        match element {
            Element::Float32 => f32::from(number).to_le_bytes().to_vec(),
            Element::Float64 => f64::from(number).to_le_bytes().to_vec(),
            Element::Int64 | Element::Int32 | Element::Int8 | Element::UInt8 | Element::Bool => {
                let mut bytes = vec![0; element.size()];
                bytes[0] = number;
                bytes
            }
        }
    }

    #[test]
    fn what_the_runtime_cannot_hold_is_refused() {
        let beyond = (i64::from(i32::MAX) + 1).to_le_bytes();
        assert!(Element::Int64.tensor_of_bytes(&[1], &beyond).is_err());
        assert!(Element::Int64.tensor_of_bytes(&[1], &i64::from(i32::MIN).to_le_bytes()).is_ok());
        assert!(Element::Float64.tensor_of_bytes(&[1], &1e300_f64.to_le_bytes()).is_err());
        assert!(Element::Float64.tensor_of_bytes(&[1], &f64::INFINITY.to_le_bytes()).is_ok());
        assert!(Element::UInt8.accept(256.0).is_err() && Element::UInt8.accept(-1.0).is_err());
        assert!(Element::Int8.accept(-128.0).is_ok() && Element::Int8.accept(0.5).is_err());
        assert!(Element::Bool.accept(1.0).is_ok() && Element::Bool.accept(2.0).is_err());
        assert!(Element::Int32.accept(f64::NAN).is_err() && Element::Float32.accept(f64::NAN).is_ok());
    }
}
