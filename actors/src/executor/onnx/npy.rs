//! Tensors in NumPy's file format `.npy`: read in versions 1, 2 and 3, written in version 1.
//!
//! The format is told in <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>: six bytes of magic,
//! two of version, the length of the header (two bytes, from version 2 on four), the header, which is a Python
//! dictionary with `descr`, `fortran_order` and `shape`, padded with spaces to a multiple of 64, and the elements.

use rten::Value;
use rten_tensor::AsView;

use super::element::{Element, Given};
use super::signature::Port;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Where the header and all before it must end, so that the elements are aligned.
const ALIGNMENT: usize = 64;

/// Reads the tensor of an input.
///
/// # Errors
/// A sentence on what is not `.npy`, or what the input expected and what came.
pub fn read(bytes: &[u8], input: &Port) -> Result<Value, String> {
    let (header, data) = split(bytes).ok_or("the input is not a whole .npy file")?;
    let header = Header::parse(header).ok_or("the header of the .npy file cannot be read")?;
    tensor(&header, data, input).map_err(|why| format!("input \"{}\": {why}", input.name))
}

fn tensor(header: &Header, data: &[u8], input: &Port) -> Result<Value, String> {
    let came = Element::ALL.into_iter().find(|element| descr(*element) == header.descr);
    if came != Some(input.element) {
        let came = came.map_or("another, or one of big-endian order,", Element::name);
        return Err(format!("dtype {} is expected, {came} came", input.element));
    }
    let size = header.shape.iter().try_fold(input.element.size(), |size, length| size.checked_mul(*length));
    if size != Some(data.len()) {
        return Err(format!("shape {:?} does not have the {} bytes that came", header.shape, data.len()));
    }
    input.accept(&header.shape)?;
    if !header.fortran_order {
        return Ok(input.element.tensor_of_bytes(&header.shape, data)?);
    }
    let reversed: Vec<usize> = header.shape.iter().rev().copied().collect();
    Ok(transposed(input.element.tensor_of_bytes(&reversed, data)?))
}

/// The header's text and the elements' bytes.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (version, rest) = bytes.strip_prefix(MAGIC)?.split_at_checked(2)?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk().map(|(length, rest)| (u32::from(u16::from_le_bytes(*length)), rest))?,
        2 | 3 => rest.split_first_chunk().map(|(length, rest)| (u32::from_le_bytes(*length), rest))?,
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(length as usize)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Looks for the three keys. Whatever is no plain array, such as one of records, has no `descr` that is a text.
    fn parse(text: &str) -> Option<Self> {
        let after = |key: &str| text.split_once(key)?.1.trim_start().strip_prefix(':').map(str::trim_start);
        let descr = after("'descr'")?.strip_prefix('\'')?.split_once('\'')?.0;
        let fortran_order = after("'fortran_order'")?.starts_with("True");
        let lengths = after("'shape'")?.strip_prefix('(')?.split_once(')')?.0;
        // A shape of one length is written with a comma behind it, one of none is empty.
        let lengths = lengths.split(',').map(str::trim).filter(|length| !length.is_empty());
        let shape = lengths.map(|length| length.parse().ok()).collect::<Option<_>>()?;
        Some(Self { descr: descr.to_owned(), fortran_order, shape })
    }
}

/// NumPy's word for a type with its byte order.
fn descr(element: Element) -> &'static str {
    match element {
        Element::Float32 => "<f4",
        Element::Float64 => "<f8",
        Element::Int64 => "<i8",
        Element::Int32 => "<i4",
        Element::Int8 => "|i1",
        Element::UInt8 => "|u1",
        Element::Bool => "|b1",
    }
}

fn transposed(value: Value) -> Value {
    match value {
        Value::FloatTensor(tensor) => tensor.transposed().to_tensor().into(),
        Value::Int32Tensor(tensor) => tensor.transposed().to_tensor().into(),
        Value::Int8Tensor(tensor) => tensor.transposed().to_tensor().into(),
        Value::UInt8Tensor(tensor) => tensor.transposed().to_tensor().into(),
        _ => unreachable!("no element is read as anything else"),
    }
}

/// Writes one output as a whole file.
pub fn write(given: &Given) -> Vec<u8> {
    let lengths: String = given.shape.iter().map(|length| format!("{length}, ")).collect();
    let shape = if given.shape.len() > 1 { lengths.trim_end_matches(", ") } else { lengths.trim_end() };
    let descr = descr(given.element);
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let before = MAGIC.len() + 4;
    let padded = (before + header.len() + 1).next_multiple_of(ALIGNMENT) - before;
    header.extend(std::iter::repeat_n(' ', padded - header.len() - 1));
    header.push('\n');

    let length = u16::try_from(header.len()).expect("a shape has few lengths");
    [MAGIC, &[1, 0], &length.to_le_bytes(), header.as_bytes(), &given.bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::onnx::element::Data;

    fn port(element: Element) -> Port {
        Port { name: "x".to_owned(), element, shape: None }
    }

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(header.len()).unwrap().to_le_bytes();
        let length = if version == 1 { &length[..2] } else { &length[..] };
        [MAGIC, &[version, 0], length, header.as_bytes(), data].concat()
    }

    fn read_given(bytes: &[u8], element: Element) -> Result<Given, String> {
        read(bytes, &port(element)).map(|value| Given::of(value, element).expect("it is a tensor"))
    }

    #[test]
    fn every_version_is_read() {
        let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }   \n";
        for version in [1, 2, 3] {
            let given = read_given(&file(version, header, &[1, 2, 3, 4, 5, 6]), Element::UInt8).unwrap();
            assert_eq!((given.shape, given.data), (vec![2, 3], Data::UInt8(vec![1, 2, 3, 4, 5, 6])));
        }
    }

    #[test]
    fn an_array_in_fortrans_order_is_turned() {
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n";
        let given = read_given(&file(1, header, &[1, 4, 2, 5, 3, 6]), Element::UInt8).unwrap();
        assert_eq!((given.shape, given.data), (vec![2, 3], Data::UInt8(vec![1, 2, 3, 4, 5, 6])));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for shape in [vec![], vec![4], vec![2, 2], vec![1, 4, 1]] {
            let count = shape.iter().product();
            let written = Given { element: Element::Int64, shape, data: Data::Int(vec![-3; count]) };
            let bytes = write(&written);
            let data_begins = bytes.len() - count * 8;
            assert_eq!((data_begins % ALIGNMENT, bytes[data_begins - 1]), (0, b'\n'));
            assert_eq!(read_given(&bytes, Element::Int64).unwrap(), written);
        }
    }

    #[test]
    fn the_header_is_written_as_numpy_writes_it() {
        let header = |shape: &[usize]| {
            let data = Data::Float(vec![0.0; shape.iter().product()]);
            let bytes = write(&Given { element: Element::Float32, shape: shape.to_vec(), data });
            split(&bytes).unwrap().0.trim_end().to_owned()
        };
        assert_eq!(header(&[2, 3]), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
        assert_eq!(header(&[2]), "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }");
        assert_eq!(header(&[]), "{'descr': '<f4', 'fortran_order': False, 'shape': (), }");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let header =
            |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
        let cases = [
            (b"secret".to_vec(), "the input is not a whole .npy file"),
            (file(1, "secret", &[])[..8].to_vec(), "the input is not a whole .npy file"),
            (file(9, "secret", &[]), "the input is not a whole .npy file"),
            (file(1, "secret", &[]), "the header of the .npy file cannot be read"),
            (file(1, &header("[('secret', '<f4')]", "(1,)"), &[0; 4]), "the header of the .npy file cannot be read"),
            (file(1, &header("'<f8'", "(1,)"), &[0; 8]), "input \"x\": dtype float32 is expected, float64 came"),
            (file(1, &header("'>f4'", "(1,)"), &[0; 4]), "input \"x\": dtype float32 is expected, another, or one of"),
            (file(1, &header("'<f4'", "(2,)"), &[0; 4]), "input \"x\": shape [2] does not have the 4 bytes that came"),
        ];
        for (bytes, told) in cases {
            let error = read_given(&bytes, Element::Float32).unwrap_err();
            assert!(error.starts_with(told) && !error.contains("secret"), "{error}");
        }
    }
}
