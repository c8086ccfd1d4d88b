//! Requests with Open WebUI envelopes of about 700 bytes, built once; only the digits of the ids change per request.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

/// Hexadecimal digits of an event's number, the last group of a UUID.
pub(crate) const NUMBER_DIGITS: usize = 12;

/// A whole HTTP/1.1 request and where the numbers of its events go.
#[derive(Clone, Debug)]
pub(crate) struct RequestTemplate {
    /// The request as it goes over the wire.
    pub(crate) bytes: Vec<u8>,
    /// For each event, the offsets of its number.
    numbers: Vec<Vec<usize>>,
}

impl RequestTemplate {
    /// A request to `path` with `batch` events whose ids start with `run` (24 characters of a UUID). One event is
    /// sent bare, more as an array.
    pub(crate) fn new(host: &str, path: &str, token: Option<&str>, run: &str, batch: usize) -> Self {
        let event = envelope(run);
        let body = if batch == 1 { event } else { format!("[{}]", vec![event; batch].join(",")) };
        let authorization =
            token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{authorization}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let request = head + &body;
        let offsets: Vec<usize> = request.match_indices(run).map(|(at, _)| at + run.len()).collect();
        let numbers = offsets.chunks(offsets.len() / batch).map(<[usize]>::to_vec).collect();
        Self { bytes: request.into_bytes(), numbers }
    }

    /// Gives the events the numbers from `first` on.
    pub(crate) fn number(&mut self, first: u64) {
        for (number, offsets) in (first..).zip(&self.numbers) {
            let digits = digits(number);
            for &at in offsets {
                self.bytes[at..at + NUMBER_DIGITS].copy_from_slice(&digits);
            }
        }
    }
}

/// The number whose digits follow the first `run` in `body`.
pub(crate) fn find_number(body: &[u8], run: &[u8]) -> Option<u64> {
    let at = body.windows(run.len()).position(|window| window == run)? + run.len();
    let digits = std::str::from_utf8(body.get(at..at + NUMBER_DIGITS)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

fn digits(number: u64) -> [u8; NUMBER_DIGITS] {
    let mut digits = [b'0'; NUMBER_DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
    digits
}

/// An envelope with the fields and sizes that Open WebUI 0.12.4 sends for a finished chat.
fn envelope(run: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let id = format!("{run}{}", "0".repeat(NUMBER_DIGITS));
    json!({
        "schema": "0.12.4",
        "id": id,
        "event": "chat.finished",
        "resource": "chat",
        "operation": "finished",
        "created_at": now,
        "instance_id": "open-webui-6c5f7d9b8d-x2v7q",
        "version": "0.12.4",
        "source": "api",
        "actor": {
            "id": "5b0c7f1e-9a64-4a39-8d0b-3c1f6f0e2a77",
            "name": "Ada Lovelace",
            "email": "ada.lovelace@example.com",
            "role": "user",
            "created_at": 1_763_000_000,
            "type": "user"
        },
        "subject": { "type": "chat", "id": id },
        "data": {
            "chat_id": id,
            "model": "llama-3.3-70b-instruct",
            "title": "Plan the release of the quarterly report",
            "message": "Collect on Monday, write on Tuesday."
        },
        "message": "Plan the release of the quarterly report"
    })
    .to_string()
}
