//! Signs deliveries as Standard Webhooks asks (`v1`, symmetric).
//!
//! Spec: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>. It must not
//! know where keys come from; they arrive decoded.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::plan::model::Sensitive;

/// The `webhook-signature` value: one `v1,<base64>` per key, separated by spaces, so that a receiver holding any
/// of the keys accepts it (rotation without a gap). `None` without keys.
pub fn signature(keys: &[Sensitive], id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    if keys.is_empty() {
        return None;
    }
    let signatures: Vec<String> = keys
        .iter()
        .filter_map(|key| Hmac::<Sha256>::new_from_slice(&key.0).ok())
        .map(|mut mac| {
            mac.update(id.as_bytes());
            mac.update(b".");
            mac.update(timestamp.to_string().as_bytes());
            mac.update(b".");
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        })
        .collect();
    Some(signatures.join(" "))
}

/// The `webhook-id` of an event: its id, with every byte that a header cannot carry percent-encoded.
pub fn webhook_id(event_id: &str) -> String {
    let mut id = String::with_capacity(event_id.len());
    for byte in event_id.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            id.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(id, "%{byte:02X}");
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(base64: &str) -> Sensitive {
        Sensitive(STANDARD.decode(base64).unwrap())
    }

    /// Vectors published with the Standard Webhooks libraries.
    #[test]
    fn published_vectors() {
        assert_eq!(
            signature(
                &[key("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            )
            .unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert_eq!(
            signature(
                &[key("C2FVsBQIhrscChlQIMV+b5sSYspob7oD")],
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                br#"{"email":"test@example.com","username":"test_user"}"#
            )
            .unwrap(),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
    }

    #[test]
    fn every_key_signs() {
        let two = [key("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), key("C2FVsBQIhrscChlQIMV+b5sSYspob7oD")];
        let both = signature(&two, "id", 1, b"{}").unwrap();
        let first = signature(&two[..1], "id", 1, b"{}").unwrap();
        let second = signature(&two[1..], "id", 1, b"{}").unwrap();
        assert_eq!(both, format!("{first} {second}"));
        assert_eq!(signature(&[], "id", 1, b"{}"), None);
    }

    #[test]
    fn ids_fit_into_a_header() {
        assert_eq!(webhook_id("0a1b-2c"), "0a1b-2c");
        assert_eq!(webhook_id("a b\r\nü%"), "a%20b%0D%0A%C3%BC%25");
    }
}
