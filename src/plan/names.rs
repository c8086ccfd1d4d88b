//! "Did you mean": the nearest of the names that exist.

/// The name nearest to `wanted`, if one is near enough to be a slip of the pen.
pub(super) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + wanted.chars().count() / 4;
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_leaves_strangers() {
        let names = ["siem-key", "team-chat", "token"];
        for (wanted, found) in [
            ("siem-kye", Some("siem-key")),
            ("siemkey", Some("siem-key")),
            ("teamchat", Some("team-chat")),
            ("Token", Some("token")),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(nearest(wanted, names), found, "{wanted}");
        }
    }
}
