//! Sizes as Kubernetes writes them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A size in bytes, written as a Kubernetes quantity: `64Mi`, `1Gi`, `500M`, or plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(u64);

/// Binary suffixes, the largest first.
const BINARY: [(&str, u64); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

/// Decimal suffixes.
const DECIMAL: [(&str, u64); 6] = [
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl Quantity {
    /// What the schema demands of the text; bounds stand beside each field.
    pub const PATTERN: &str = r"^[0-9]{1,15}(\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$";

    /// A size of so many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of so many mebibytes.
    pub const fn from_mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    /// In bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not a size; write it as 64Mi, 1Gi or plain bytes");
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let unit = match suffix {
            "" => 1,
            _ => BINARY.iter().chain(&DECIMAL).find(|(name, _)| *name == suffix).ok_or_else(wrong)?.1,
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(unit).map(Self).ok_or_else(wrong);
        }
        if number.starts_with('.') || number.ends_with('.') {
            return Err(wrong());
        }
        // A fraction of a byte counts as a byte, as in Kubernetes.
        let bytes = (number.parse::<f64>().map_err(|_| wrong())? * unit as f64).ceil();
        if bytes > u64::MAX as f64 { Err(wrong()) } else { Ok(Self(bytes as u64)) }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match BINARY.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 64Mi, 1Gi or plain bytes")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Quantity, E> {
                Ok(Quantity(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Quantity, E> {
                u64::try_from(bytes).map(Quantity).map_err(|_| E::custom("a size is not negative"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "pattern": Self::PATTERN,
            "x-kubernetes-int-or-string": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubernetes_reads() {
        for (text, bytes) in [
            ("64Mi", 67_108_864),
            ("1Gi", 1_073_741_824),
            ("1.5Gi", 1_610_612_736),
            ("500M", 500_000_000),
            ("10k", 10_000),
            ("1024", 1_024),
            ("0.5", 1),
        ] {
            assert_eq!(text.parse(), Ok(Quantity(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in ["", "64MB", "64 Mi", "-1Gi", "Mi", "1mi", "1..5Gi", ".5Gi", "99999999Ei"] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
        assert_eq!(
            "64MB".parse::<Quantity>().unwrap_err(),
            "\"64MB\" is not a size; write it as 64Mi, 1Gi or plain bytes"
        );
    }

    #[test]
    fn reads_numbers_and_text_and_prints_text() {
        let both: Vec<Quantity> = serde_json::from_str(r#"[1048576, "1Mi"]"#).unwrap();
        assert_eq!(both, [Quantity(1 << 20), Quantity(1 << 20)]);
        assert_eq!(serde_json::to_string(&both).unwrap(), r#"["1Mi","1Mi"]"#);
        assert_eq!(Quantity(1_000).to_string(), "1000");
        assert_eq!(Quantity(0).to_string(), "0");
    }
}
