//! A look at an expression's text before the parser sees it, so that no text can use up the parser's stack.

/// Deepest nesting of brackets, operators and `?:` together.
pub(super) const MAX_DEPTH: usize = 64;

/// Bounds how deep the expression nests, and refuses what the parser reads wrongly (`!!a` as `!a`, `--a` as `-a`).
///
/// Depth is counted generously: an operator counts one until the next `,`, `&&` or `||` of its bracket.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut levels = vec![Level::default()];
    let mut depth = 0_usize;
    let mut previous = b' ';
    let mut rest = text.as_bytes();
    while let Some((&byte, mut after)) = rest.split_first() {
        match byte {
            b'"' | b'\'' => after = after_string(rest, is_raw(text, rest.len())),
            b'/' if after.first() == Some(&b'/') => {
                after = after
                    .iter()
                    .position(|b| *b == b'\n')
                    .and_then(|end| after.get(end..))
                    .unwrap_or_default();
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                levels.push(Level::default());
            }
            b')' | b']' | b'}' => {
                let closed = levels.pop().unwrap_or_default();
                depth = depth.saturating_sub(closed.operators + closed.choices + 1);
            }
            b',' | b'&' | b'|' => {
                if let Some(level) = levels.last_mut() {
                    depth = depth.saturating_sub(std::mem::take(&mut level.operators));
                }
            }
            b'?' => {
                depth += 1;
                if let Some(level) = levels.last_mut() {
                    level.choices += 1;
                }
            }
            b'!' | b'-' if previous == byte => {
                return Err(format!(
                    "the expression has `{0}{0}`; write one `{0}`, none, or parentheses between the two",
                    char::from(byte)
                ));
            }
            b'=' if after.first() != Some(&b'=') && !b"=!<>".contains(&previous) => {
                return Err("the expression has a single `=`; write `==` to compare".to_owned());
            }
            b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' => {
                depth += 1;
                if let Some(level) = levels.last_mut() {
                    level.operators += 1;
                }
            }
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!(
                "the expression nests deeper than {MAX_DEPTH} levels; use fewer parentheses, operators in a row or `?:`"
            ));
        }
        if !byte.is_ascii_whitespace() {
            previous = byte;
        }
        rest = after;
    }
    Ok(())
}

/// What is open within one pair of brackets.
#[derive(Default)]
struct Level {
    operators: usize,
    /// `?`, which nests to the right up to the bracket's end.
    choices: usize,
}

/// Whether the quote that `left` bytes before the end begins a raw string (`r"…"`).
fn is_raw(text: &str, left: usize) -> bool {
    let before = text.len().checked_sub(left).and_then(|at| text.get(..at)).unwrap_or_default();
    let prefix = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    prefix.len() <= 2 && prefix.chars().all(|c| "rRbB".contains(c)) && prefix.contains(['r', 'R'])
}

/// What follows the string that `text` begins with; nothing if it does not end.
fn after_string(text: &[u8], raw: bool) -> &[u8] {
    let quote = text.first().copied().unwrap_or_default();
    let triple = [quote; 3];
    let end: &[u8] = if text.starts_with(&triple) { &triple } else { text.get(..1).unwrap_or_default() };
    let mut rest = text.get(end.len()..).unwrap_or_default();
    while let Some((&byte, after)) = rest.split_first() {
        if rest.starts_with(end) {
            return rest.get(end.len()..).unwrap_or_default();
        }
        rest = if byte == b'\\' && !raw { after.get(1..).unwrap_or_default() } else { after };
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_nesting_and_not_length() {
        assert_eq!(check(&"event.a.b == 1 && ".repeat(200)), Ok(()));
        assert_eq!(check(&format!("event.a in [{}]", "\"a.b\", 1.5, ".repeat(256))), Ok(()));
        assert_eq!(check(&format!("{}1{}", "(".repeat(64), ")".repeat(64))), Ok(()));
        for deep in ["(", "[", "{", "a.", "1+", "a?1:", "a[0].b(1).c", "!(", "-(", "a==", "a?b?"] {
            assert!(check(&deep.repeat(65)).is_err(), "{deep}");
        }
    }

    #[test]
    fn sees_where_strings_and_comments_end() {
        let deep = "(".repeat(65);
        for closed in [
            format!("\"{deep}\""),
            format!("'{deep}'"),
            format!("'\\'{deep}'"),
            format!("\"\"\"\"{deep}\"\"\""),
            format!("r'\\' + '{deep}'"),
            format!("1 // {deep}\n"),
        ] {
            assert_eq!(check(&closed), Ok(()), "{closed}");
        }
        for open in
            [format!("'a'{deep}"), format!("r'\\'{deep}"), format!("'''a'''{deep}"), format!("// a\n{deep}")]
        {
            assert!(check(&open).is_err(), "{open}");
        }
    }

    #[test]
    fn refuses_what_the_parser_reads_wrongly() {
        assert_eq!(check("a == 1 && a <= 1 && a>=1 && a!=1 && a == '='"), Ok(()));
        assert!(check("a=1").is_err() && check("a = = 1").is_err());
        assert_eq!(
            check("!! event.a").unwrap_err(),
            "the expression has `!!`; write one `!`, none, or parentheses between the two"
        );
        assert!(check("1 - - 1").is_err());
        assert_eq!(check("!(!a) && -(-1) != 1"), Ok(()));
    }
}
