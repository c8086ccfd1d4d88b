//! Values of the Secrets that chathooks makes. Must not keep or log them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Random bytes of a generated token or signing secret.
const RANDOM_BYTES: usize = 32;

/// Name of the key that holds a bearer token; every other generated key is a signing secret.
const TOKEN: &str = "token";

/// What a generated key holds: a token, or a signing secret as Standard Webhooks writes them.
pub fn random_value(key: &str) -> Vec<u8> {
    let bytes: [u8; RANDOM_BYTES] = rand::random();
    let text = if key == TOKEN {
        URL_SAFE_NO_PAD.encode(bytes)
    } else {
        format!("whsec_{}", STANDARD.encode(bytes))
    };
    text.into_bytes()
}
