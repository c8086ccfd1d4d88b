//! `filter.match`: one scalar, found by path, equals a text.

use super::document::{Json, Node};

/// A compiled entry of `filter.match`.
#[derive(Debug)]
pub(super) struct PathEquals {
    path: Vec<String>,
    text: String,
    /// The text's value where it is a number.
    number: Option<Decimal>,
}

impl PathEquals {
    pub(super) fn compile(path: &str, value: &str) -> Result<Self, String> {
        Ok(Self { path: parse_path(path)?, text: value.to_owned(), number: Decimal::parse(value) })
    }

    /// Whether the path leads to a scalar that equals the value. Lists are not entered, and neither they nor objects
    /// equal anything.
    pub(super) fn holds(&self, root: &Node<'_>) -> bool {
        let Some(node) = self.path.iter().try_fold(root, |node, key| node.member(key)) else {
            return false;
        };
        match node.json() {
            Json::Null => self.text == "null",
            Json::Bool(value) => self.text == if *value { "true" } else { "false" },
            Json::Text(text) => *text == self.text,
            Json::Int(_) | Json::Double(_) => {
                self.number.is_some() && self.number == Decimal::parse(node.raw())
            }
            Json::List(_) | Json::Object(_) => false,
        }
    }
}

/// Dots separate, `\.` is a dot in a key, `\\` a backslash.
fn parse_path(path: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '.' => {
                parts.push(String::new());
                continue;
            }
            '\\' => match chars.next() {
                Some(escaped @ ('.' | '\\')) => escaped,
                _ => {
                    return Err(format!(
                        "the path `{path}` has a backslash before something else than a dot; write `\\.` for a dot in a \
                         key and `\\\\` for a backslash"
                    ));
                }
            },
            c => c,
        };
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    if parts.iter().any(String::is_empty) {
        return Err(format!(
            "the path `{path}` has an empty part; write keys joined by single dots, such as `data.role`"
        ));
    }
    if let Some((root, rest)) = path.split_once('.')
        && matches!(root, "event" | "$")
    {
        return Err(format!("the path `{path}` begins above the envelope's root; did you mean `{rest}`?"));
    }
    Ok(parts)
}

/// A JSON number by value, of any size: ± 0.digits × 10^exponent, digits without zeros at either end.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// `None` if the text is not a number as JSON writes it.
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty()
            || (whole.len() > 1 && whole.starts_with('0'))
            || !all_digits(whole)
            || !all_digits(fraction)
        {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0');
        if significant.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let leading = i64::try_from(digits.len() - significant.len()).ok()?;
        let whole = i64::try_from(whole.len()).ok()?;
        Some(Self {
            negative,
            digits: significant.trim_end_matches('0').to_owned(),
            exponent: exponent.checked_add(whole)?.checked_sub(leading)?,
        })
    }
}

fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compares_numbers_by_value() {
        let same = |a: &str, b: &str| Decimal::parse(a).unwrap() == Decimal::parse(b).unwrap();
        for (a, b) in [
            ("1000", "1e3"),
            ("1", "1.0"),
            ("0", "-0.00e9"),
            ("0.001", "1E-3"),
            ("12.50", "125e-1"),
            ("100000000000000000001", "100000000000000000001.0"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        assert!(!same("9007199254740993", "9007199254740992"));
        assert!(!same("1", "-1"));
        assert!(!same("10", "1"));
        for text in [
            "",
            "-",
            "+1",
            "01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "0x1",
            "1_0",
            " 1",
            "NaN",
            "1e99999999999999999999",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn reads_paths() {
        assert_eq!(parse_path(r"data.a\.b.c\\d").unwrap(), ["data", "a.b", r"c\d"]);
        assert_eq!(
            parse_path("event.data.role").unwrap_err(),
            "the path `event.data.role` begins above the envelope's root; did you mean `data.role`?"
        );
        for path in ["", ".", "a.", ".a", "a..b", r"a\b", r"a\", "$.a"] {
            assert!(parse_path(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn shifting_the_point_keeps_the_value(value in -1_000_000_i64..1_000_000, by in 0_usize..8) {
            let shifted = format!("{value}{}e-{by}", "0".repeat(by));
            prop_assert_eq!(Decimal::parse(&shifted), Decimal::parse(&value.to_string()), "{}", shifted);
        }

        #[test]
        fn never_panics(text in "[-+0-9.eE]{0,12}") {
            let _ = Decimal::parse(&text);
        }
    }
}
