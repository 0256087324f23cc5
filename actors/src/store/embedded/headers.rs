//! Headers as bytes in a row: each name and each value behind its length, nothing else.
//!
//! A length is written seven bits a byte, the low ones first; a byte under 128 ends it.

use crate::task::Headers;

/// `None` where there are no headers, which takes no room in the row.
pub(super) fn encode(headers: &Headers) -> Option<Vec<u8>> {
    if headers.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(64);
    for (name, value) in headers.iter() {
        put_text(&mut bytes, name);
        put_text(&mut bytes, value);
    }
    Some(bytes)
}

/// `None` for bytes that [`encode`] did not write.
pub(super) fn decode(bytes: Option<&[u8]>) -> Option<Headers> {
    let mut headers = Headers::new();
    let mut rest = bytes.unwrap_or_default();
    while !rest.is_empty() {
        let name = take_text(&mut rest)?;
        let value = take_text(&mut rest)?;
        headers.add(name, value);
    }
    Some(headers)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(text.as_bytes());
}

fn take_text<'b>(rest: &mut &'b [u8]) -> Option<&'b str> {
    let mut length = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let (text, after) = rest.split_at_checked(length)?;
            *rest = after;
            return std::str::from_utf8(text).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_as_they_were_in_their_order() {
        let mut headers = Headers::of_type("text/plain");
        headers.add("x-long", &"é".repeat(10_000));
        headers.add("x-empty", "");
        headers.add("x-long", "a\nsecond: one");
        assert_eq!(decode(encode(&headers).as_deref()), Some(headers));
        assert_eq!(encode(&Headers::new()), None);
        assert_eq!(decode(None), Some(Headers::new()));
    }

    #[test]
    fn bytes_that_are_no_headers_are_refused() {
        for bytes in [&[5][..], &[1, b'a'], &[1, 0xff, 0], &[0x80; 12]] {
            assert_eq!(decode(Some(bytes)), None, "{bytes:?}");
        }
    }
}
