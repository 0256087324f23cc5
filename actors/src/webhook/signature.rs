//! Signatures as *Standard Webhooks* 1.0 has them: HMAC-SHA256 over the id, the time and the body.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::task::Timestamp;

use super::DeliveryId;

const PREFIX: &str = "whsec_";

/// The bytes a secret may have.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that messages are signed with. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why a text is no secret. It does not show the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    #[error("a secret begins with {PREFIX}; make one with: echo \"whsec_$(openssl rand -base64 32)\"")]
    Prefix,
    #[error("what follows {PREFIX} is not base64; make a secret with: echo \"whsec_$(openssl rand -base64 32)\"")]
    Base64,
    #[error("a secret has 24 to 64 bytes, this one has {0}; make one with: echo \"whsec_$(openssl rand -base64 32)\"")]
    Length(usize),
}

impl Secret {
    /// Reads `whsec_` and the base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// The text is something else.
    pub fn read(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(BadSecret::Prefix)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| BadSecret::Base64)?;
        if !BYTES.contains(&bytes.len()) {
            return Err(BadSecret::Length(bytes.len()));
        }
        Ok(Self(bytes))
    }

    fn sign(&self, signed: &[&[u8]]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in signed {
            mac.update(part);
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The value of `webhook-signature`: a signature by each secret, the first one's first, so that receivers can change
/// over from one to the next.
pub fn signatures(secrets: &[Secret], id: DeliveryId, at: Timestamp, body: &str) -> String {
    let (id, at) = (id.to_string(), at.timestamp().to_string());
    let signed: [&[u8]; 5] = [id.as_bytes(), b".", at.as_bytes(), b".", body.as_bytes()];
    let signatures: Vec<String> = secrets.iter().map(|secret| secret.sign(&signed)).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification and of its libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_signature_is_that_of_the_published_example() {
        let secret = Secret::read(SECRET).unwrap();
        let signed: [&[u8]; 1] = [b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}"];
        assert_eq!(secret.sign(&signed), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        // Its test case 7: a key and data longer than a block.
        let secret = Secret(vec![0xaa; 131]);
        let data = b"This is a test using a larger than block-size key and a larger than block-size data. The key \
                     needs to be hashed before being used by the HMAC algorithm.";
        assert_eq!(secret.sign(&[data]), "v1,mwn/pxuUL8snY1+81bDpRL/cY2RPBxOTin9RU1w6NeI=");
    }

    #[test]
    fn every_secret_signs_the_first_one_first() {
        let (one, other) = (Secret(vec![1; 32]), Secret(vec![2; 32]));
        let (id, at) = (DeliveryId::from_bytes([7; 16]), Timestamp::UNIX_EPOCH);
        let alone = |secret: &Secret| signatures(std::slice::from_ref(secret), id, at, "{}");
        assert_eq!(
            signatures(&[one.clone(), other.clone()], id, at, "{}"),
            format!("{} {}", alone(&one), alone(&other))
        );
        assert_ne!(alone(&one), alone(&other));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_never_shown() {
        let refusals = [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", BadSecret::Prefix),
            ("whsec_not base64", BadSecret::Base64),
            ("whsec_c2hvcnQ=", BadSecret::Length(5)),
        ];
        for (text, expected) in refusals {
            assert_eq!(Secret::read(text), Err(expected));
            assert!(expected.to_string().contains("openssl rand"));
        }
        assert_eq!(format!("{:?}", Secret::read(SECRET).unwrap()), "Secret");
    }
}
