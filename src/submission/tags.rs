//! Tags: `key=value` in headers, an object in an envelope, `key:value` in a query.

use std::collections::BTreeMap;

use crate::config::Submit;

/// Adds the tags of a list, `key=value, key2=value2`. Values may be percent-encoded, which a comma and what is not
/// ASCII must be.
pub fn add_list(tags: &mut BTreeMap<String, String>, text: &str, bounds: &Submit) -> Result<(), String> {
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((key, value)) = part.split_once('=') else {
            return Err(format!("{part:?} is no tag; write key=value"));
        };
        let value = percent_decoded(value.trim_start()).ok_or_else(|| {
            format!("the value of {part:?} is not percent-encoded as it should be; a % itself is %25")
        })?;
        add(tags, key.trim_end(), value, bounds)?;
    }
    Ok(())
}

/// Adds a tag, within bounds.
pub fn add(tags: &mut BTreeMap<String, String>, key: &str, value: String, bounds: &Submit) -> Result<(), String> {
    check_key(key, bounds.tag_key)?;
    if value.len() > bounds.tag_value {
        return Err(format!(
            "the value of the tag {key:?} has {} bytes; at most {} are taken",
            value.len(),
            bounds.tag_value
        ));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("the value of the tag {key:?} has control characters; leave them out"));
    }
    if tags.insert(key.to_owned(), value).is_some() {
        return Err(format!("the tag {key:?} stands there twice; give each key one value"));
    }
    if tags.len() > bounds.tags {
        return Err(format!("there are {} tags; at most {} are taken", tags.len(), bounds.tags));
    }
    Ok(())
}

/// Takes a tag of a query apart, `key:value`.
pub fn read(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once(':')?;
    (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
}

/// A key never needs escaping, wherever it stands.
fn check_key(key: &str, most: usize) -> Result<(), String> {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
    if plain && (1..=most).contains(&key.len()) {
        return Ok(());
    }
    Err(format!("{key:?} is no key of a tag: 1 to {most} letters, digits, _, -, . or /"))
}

/// `None` for a text with a `%` that begins no two hex digits, or that is no UTF-8 once decoded.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let digit = |place: usize| after.get(place).and_then(|byte| char::from(*byte).to_digit(16));
        let (high, low) = (digit(0)?, digit(1)?);
        bytes.push(u8::try_from(high * 16 + low).expect("two hex digits are a byte"));
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_codes_are_read_and_bad_ones_are_not() {
        for (text, expected) in [("a%2Cb", Some("a,b")), ("%c3%A9", Some("é")), ("50%25", Some("50%")), ("", Some(""))]
        {
            assert_eq!(percent_decoded(text).as_deref(), expected);
        }
        for text in ["%", "%4", "%gg", "%ff"] {
            assert_eq!(percent_decoded(text), None, "{text}");
        }
    }
}
