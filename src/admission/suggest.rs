//! "Did you mean": which known name is like a given one.

/// The candidate that differs by case or separators alone, or by a slip in three characters.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = plain(given);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&plain, &self::plain(candidate)), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count() / 3).max(1) && *distance < plain.len()
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Without case and separators.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// `a`, `b` and `c`, each in backquotes.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_other_spellings() {
        let near = |given: &str| nearest(given, ["timeout", "retry", "secretRef", "url"]);
        assert_eq!(near("timeuot"), Some("timeout"));
        assert_eq!(near("retries"), None);
        assert_eq!(near("secret_ref"), Some("secretRef"));
        assert_eq!(near("URL"), Some("url"));
        assert_eq!(near("x"), None);
        assert_eq!(near(""), None);
    }

    #[test]
    fn writes_lists() {
        assert_eq!(list(["a"], "and"), "`a`");
        assert_eq!(list(["a", "b", "c"], "or"), "`a`, `b` or `c`");
    }
}
