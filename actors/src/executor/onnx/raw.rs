//! A tensor as its bare bytes, for a model with one input: elements in little-endian order, the last dimension's side
//! by side. The shape is the model's; where it leaves one length open, that follows from the number of bytes.

use rten::Value;

use super::signature::{Dimension, Port};

/// Reads the tensor.
///
/// # Errors
/// A sentence on what was expected and how many bytes came.
pub fn read(bytes: &[u8], input: &Port) -> Result<Value, String> {
    let shape = shape(bytes.len(), input).map_err(|why| format!("input \"{}\": {why}", input.name))?;
    let tensor = input.element.tensor_of_bytes(&shape, bytes);
    tensor.map_err(|why| format!("input \"{}\": {why}", input.name))
}

fn shape(bytes: usize, input: &Port) -> Result<Vec<usize>, String> {
    let misfit = || format!("{} is expected, {bytes} bytes came", input.told());
    let open = |dimension: &&Dimension| matches!(dimension, Dimension::Open(_));
    let dimensions = match &input.shape {
        Some(dimensions) if dimensions.iter().filter(open).count() <= 1 => dimensions,
        Some(_) | None => {
            return Err(format!("{} does not tell the shape of bare bytes; send .npy or JSON", input.told()));
        }
    };
    let fixed = dimensions.iter().try_fold(input.element.size(), |size, dimension| match dimension {
        Dimension::Fixed(length) => size.checked_mul(*length),
        Dimension::Open(_) => Some(size),
    });
    let fixed = fixed.ok_or_else(misfit)?;
    let length_of_the_open = bytes.checked_div(fixed).unwrap_or(0);
    let shape: Vec<usize> = dimensions
        .iter()
        .map(|dimension| match dimension {
            Dimension::Fixed(length) => *length,
            Dimension::Open(_) => length_of_the_open,
        })
        .collect();
    let told = shape.iter().product::<usize>() * input.element.size();
    if told == bytes { Ok(shape) } else { Err(misfit()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::onnx::element::{Data, Element, Given};

    fn port(dimensions: &[Option<usize>]) -> Port {
        let dimension = |length: &Option<usize>| length.map_or(Dimension::Open(None), Dimension::Fixed);
        let shape = Some(dimensions.iter().map(dimension).collect());
        Port { name: "x".to_owned(), element: Element::Int32, shape }
    }

    fn read_ints(ints: &[i32], input: &Port) -> Result<Given, String> {
        let bytes: Vec<u8> = ints.iter().flat_map(|int| int.to_le_bytes()).collect();
        read(&bytes, input).map(|value| Given::of(value, Element::Int32).expect("it is a tensor"))
    }

    #[test]
    fn an_open_length_follows_from_the_bytes() {
        let given = read_ints(&[1, 2, 3, 4], &port(&[None, Some(2)])).unwrap();
        assert_eq!((given.shape, given.data), (vec![2, 2], Data::Int(vec![1, 2, 3, 4])));
        assert_eq!(read_ints(&[], &port(&[None, Some(2)])).unwrap().shape, [0, 2]);
        assert_eq!(read_ints(&[1, -2], &port(&[Some(2)])).unwrap().data, Data::Int(vec![1, -2]));
        assert_eq!(read_ints(&[7], &port(&[])).unwrap().shape, [0; 0]);
        assert_eq!(read_ints(&[], &port(&[None, Some(0)])).unwrap().shape, [0, 0]);
    }

    #[test]
    fn bytes_that_fit_no_shape_are_refused() {
        let told = |ints: &[i32], dimensions: &[Option<usize>]| read_ints(ints, &port(dimensions)).unwrap_err();
        assert_eq!(told(&[1, 2, 3], &[None, Some(2)]), "input \"x\": int32 [any, 2] is expected, 12 bytes came");
        assert_eq!(told(&[1], &[Some(2)]), "input \"x\": int32 [2] is expected, 4 bytes came");
        assert_eq!(told(&[1], &[None, Some(0)]), "input \"x\": int32 [any, 0] is expected, 4 bytes came");
        assert!(told(&[1], &[Some(usize::MAX)]).ends_with("is expected, 4 bytes came"));
        let open = "input \"x\": int32 [any, any] does not tell the shape of bare bytes; send .npy or JSON";
        assert_eq!(told(&[1], &[None, None]), open);
    }
}
