//! Whether a file is one whole ONNX model, judged by its outermost message alone.
//!
//! The parser believes the lengths in a file: one that is cut, or no model at all, may have it loop or ask for more
//! memory than there is. So the lengths are checked first. The format is that of Protocol Buffers, and the message
//! `ModelProto` of <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>, whose fields are all numbers or have a
//! length.

use std::io::{self, BufRead, Seek};

/// The field of the message that holds the graph.
const GRAPH: u64 = 7;

const NUMBER: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;

/// Whether the fields of the message fill `length` bytes exactly, and the graph is one of them.
///
/// # Errors
/// Those of the reader.
pub fn is_whole(mut reader: impl BufRead + Seek, length: u64) -> io::Result<bool> {
    let mut at = 0;
    let mut has_graph = false;
    while at < length {
        let Some((key, value)) = varint(&mut reader, &mut at)?.zip(varint(&mut reader, &mut at)?) else {
            return Ok(false);
        };
        match key & 0b111 {
            NUMBER => (),
            LENGTH_DELIMITED if value <= length.saturating_sub(at) => {
                has_graph |= key >> 3 == GRAPH;
                at += value;
                reader.seek_relative(i64::try_from(value).map_err(io::Error::other)?)?;
            }
            _ => return Ok(false),
        }
    }
    Ok(has_graph && at == length)
}

/// Seven bits a byte, the lowest first; the top bit says that there is more. `None` at the end, or over 64 bits.
fn varint(reader: &mut impl BufRead, at: &mut u64) -> io::Result<Option<u64>> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some(&byte) = reader.fill_buf()?.first() else { return Ok(None) };
        reader.consume(1);
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn whole(bytes: &[u8]) -> bool {
        is_whole(Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    #[test]
    fn a_model_is_whole_and_a_part_of_it_is_not() {
        let model = [&[0x08, 0x0a, 0x12, 0x02, b'm', b'e', 0x3a, 0x85, 0x01][..], &[0; 0x85]].concat();
        assert!(whole(&model));
        for length in 0..model.len() {
            assert!(!whole(&model[..length]), "{length}");
        }
    }

    #[test]
    fn what_is_something_else_is_not_whole() {
        let huge = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let no_graph = [0x08, 0x0a];
        for bytes in [&b"bento"[..], b"<html>404</html>", b"version https://git-lfs", &[0xff; 100], &huge, &no_graph] {
            assert!(!whole(bytes), "{bytes:?}");
        }
    }
}
