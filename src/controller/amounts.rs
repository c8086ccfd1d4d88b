//! Whether two amounts of a resource are the same: the API server writes `0.1` as `100m` and `1024Mi` as `1Gi`.

use serde_json::Value;

/// Suffixes of quantities in billionths
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).
const UNITS: [(&str, i128); 16] = [
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("", 1_000_000_000),
    ("k", 1_000_000_000_000),
    ("M", 1_000_000_000_000_000),
    ("G", 1_000_000_000_000_000_000),
    ("T", 1_000_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000_000_000),
    ("Ki", 1_000_000_000 << 10),
    ("Mi", 1_000_000_000 << 20),
    ("Gi", 1_000_000_000 << 30),
    ("Ti", 1_000_000_000 << 40),
    ("Pi", 1_000_000_000 << 50),
    ("Ei", 1_000_000_000 << 60),
];

/// Whether every amount of `wanted` (`requests` or `limits`) is that of `live`.
pub fn holds(live: &Value, wanted: &Value) -> bool {
    let same = |live: &Value, wanted: &Value| {
        live == wanted
            || matches!((live.as_str().and_then(billionths), wanted.as_str().and_then(billionths)),
                (Some(live), Some(wanted)) if live == wanted)
    };
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| live.get(name).is_some_and(|live| same(live, wanted)))
        }
        _ => live == wanted,
    }
}

/// An amount in billionths; `None` where that is no whole number, or too large a one.
fn billionths(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let unit = UNITS.iter().find(|(name, _)| *name == suffix)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let product = digits.checked_mul(unit)?;
    (product % scale == 0).then(|| product / scale)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_compared_by_what_they_mean() {
        for (one, other) in
            [("0.1", "100m"), ("1024Mi", "1Gi"), ("500000000", "500M"), ("1.5Gi", "1536Mi"), ("2", "2")]
        {
            assert!(holds(&json!({"cpu": one, "more": "1"}), &json!({"cpu": other})), "{one} {other}");
        }
        for (one, other) in [("0.1", "10m"), ("1G", "1Gi"), ("", "0"), ("x", "y")] {
            assert!(!holds(&json!({"cpu": one}), &json!({"cpu": other})), "{one} {other}");
        }
        assert!(!holds(&json!({}), &json!({"cpu": "1"})));
        assert!(!holds(&Value::Null, &json!({"cpu": "1"})));
    }
}
