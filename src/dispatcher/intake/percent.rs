//! Percent-decoding (RFC 3986, section 2.1), of bytes and once only.

/// The decoded bytes; what is no `%` and two hexadecimal digits stays as it is.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        if let (b'%', Some((digits, after))) = (first, after.split_at_checked(2))
            && let Some(byte) = hex(digits)
        {
            out.push(byte);
            rest = after;
        } else {
            out.push(*first);
        }
    }
    out
}

fn hex(digits: &[u8]) -> Option<u8> {
    // `from_str_radix` would take a sign.
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_once_and_leaves_the_rest() {
        assert_eq!(decode(b"a%2Fb%20c"), b"a/b c");
        assert_eq!(decode(b"%2525"), b"%25");
        assert_eq!(decode(b"%ff%00"), b"\xff\0");
        for same in ["", "%", "%2", "%zz", "%+1", "100%"] {
            assert_eq!(decode(same.as_bytes()), same.as_bytes());
        }
    }
}
