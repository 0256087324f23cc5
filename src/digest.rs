//! The digest of an input: SHA-256 over its content type, a zero byte, and its bytes as they are kept.

use ekiben_actors::task::InputDigest;
use sha2::{Digest, Sha256};

/// A digest in the making.
pub struct Digester(Sha256);

impl Digester {
    pub fn new(content_type: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(content_type.as_bytes());
        hash.update([0]);
        Self(hash)
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> InputDigest {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_and_bytes_both_count() {
        let digest = |content_type, parts: &[&str]| {
            let mut digester = Digester::new(content_type);
            parts.iter().for_each(|part| digester.add(part.as_bytes()));
            digester.finish()
        };
        assert_eq!(digest("text/plain", &["ri", "ce"]), digest("text/plain", &["rice"]));
        assert_ne!(digest("text/plain", &["rice"]), digest("text/html", &["rice"]));
        assert_ne!(digest("text/plain", &["rice"]), digest("text/plainr", &["ice"]));
    }
}
