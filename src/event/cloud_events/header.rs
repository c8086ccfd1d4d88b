//! Values of `ce-*` headers (HTTP protocol binding 1.0.2, section 3.1.3.2).

use crate::event::EnvelopeError;

/// Removes double quotes around the value, then decodes `%XX`.
pub(super) fn decode(value: &str) -> Result<String, EnvelopeError> {
    let value = value.trim();
    let unquoted = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => unescape(inner),
        None => value.to_owned(),
    };
    let mut bytes = Vec::with_capacity(unquoted.len());
    let mut rest = unquoted.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let decoded = if byte == b'%' { after.split_at_checked(2).and_then(hex) } else { None };
        let (byte, after) = decoded.unwrap_or((byte, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| {
        EnvelopeError::new(
            "",
            "a `ce-` header does not decode to UTF-8; percent-encode the UTF-8 bytes of its value",
        )
    })
}

/// The byte that two hexadecimal digits stand for, and what follows; a `%` before anything else stands for itself.
fn hex<'a>((digits, after): (&[u8], &'a [u8])) -> Option<(u8, &'a [u8])> {
    let digits =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok().map(|byte| (byte, after))
}

/// A quoted string's content (RFC 9110, section 5.6.4): a backslash keeps the next character.
fn unescape(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_as_the_binding_says() {
        let decoded = |value: &str| decode(value).unwrap();
        assert_eq!(decoded("Euro%20%E2%82%AC%20%F0%9F%98%80"), "Euro € 😀");
        assert_eq!(decoded("\"a \\\"b\\\" %41\""), "a \"b\" A");
        assert_eq!(decoded("100% sure %"), "100% sure %");
        assert_eq!(decoded("%+1"), "%+1");
        assert!(decode("%ff").is_err());
    }
}
