//! Durations as Go and Kubernetes write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time in whole milliseconds, written as numbers with units: `100ms`, `1m30s`, `72h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(u64);

/// Units, the largest first, with their milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Duration {
    /// What the schema demands of the text; bounds stand beside each field.
    pub const PATTERN: &str = r"^([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h)){1,4}$";
    /// Longest text, in characters.
    pub const MAX_LENGTH: u32 = 32;

    /// A duration of so many milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// A duration of so many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }

    /// A duration of so many hours.
    pub const fn from_hours(hours: u64) -> Self {
        Self(hours * 3_600_000)
    }

    /// So many minutes.
    pub const fn from_minutes(minutes: u64) -> Self {
        Self(minutes * 60_000)
    }

    /// In milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not a duration; write it as 500ms, 30s, 5m, 1h30m or 72h");
        let mut rest = text;
        let mut total = 0_f64;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let (number, tail) = rest.split_at(digits);
            let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            if number.starts_with('.') || number.ends_with('.') {
                return Err(wrong());
            }
            total += number.parse::<f64>().map_err(|_| wrong())? * (*ms as f64);
            rest = tail;
        }
        // Whole milliseconds below 2^53 are exact in an f64; that is 285,000 years.
        if total > 9_007_199_254_740_992.0 {
            return Err(wrong());
        }
        Ok(Self(total.round() as u64))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (name, ms) in UNITS {
            if rest >= ms {
                write!(f, "{}{name}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": Self::MAX_LENGTH, "pattern": Self::PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, ms) in [
            ("100ms", 100),
            ("1m30s", 90_000),
            ("72h", 259_200_000),
            ("1.5s", 1_500),
            ("0s", 0),
            ("1h2m3s4ms", 3_723_004),
            ("4.35s", 4_350),
            ("0.0004s", 0),
        ] {
            assert_eq!(text.parse(), Ok(Duration(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in
            ["", "5", "5 s", "5d", "-5s", "s", "1..5s", ".5s", "5.s", "5sec", "99999999999999h", "1m 30s"]
        {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
        assert_eq!(
            "7d".parse::<Duration>().unwrap_err(),
            "\"7d\" is not a duration; write it as 500ms, 30s, 5m, 1h30m or 72h"
        );
    }

    #[test]
    fn prints_the_shortest_form() {
        for (ms, text) in
            [(0, "0s"), (90_000, "1m30s"), (259_200_000, "72h"), (1_500, "1s500ms"), (60_000, "1m")]
        {
            assert_eq!(Duration(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Duration(ms)));
        }
    }
}
