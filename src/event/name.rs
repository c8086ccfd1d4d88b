//! What counts as an event name.

/// Longest event name, in characters.
pub const MAX_NAME: usize = 128;

/// Checks an event name: parts of ASCII letters, digits, `_` and `-`, joined by single dots.
///
/// A single part is a name too: `Push` intakes bring names of their own. The error completes a sentence that begins
/// with what was checked ("the name …").
pub fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.chars().count() > MAX_NAME {
        return Err("is longer than 128 characters");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
        return Err("holds a character other than letters a-z, digits, `_`, `-` and dots");
    }
    if name.split('.').any(str::is_empty) {
        return Err("has an empty part: dots stand between parts, never at an end or side by side");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_platforms_send() {
        for name in ["chat.finished", "auth.api_key.created", "ping", "com.example.Order-2.v1", "1.2"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        assert_eq!(check(&"a".repeat(128)), Ok(()));
    }

    #[test]
    fn refuses_what_no_pattern_could_name() {
        for name in ["", ".", "a.", ".a", "a..b", "a b", "a*", "ä", "a/b", "a\n"] {
            assert!(check(name).is_err(), "{name:?}");
        }
        assert_eq!(check(&"a".repeat(129)), Err("is longer than 128 characters"));
    }
}
