//! The event names that a platform is known to send, for "did you mean". Never a reason to refuse: platforms grow.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::pattern::Pattern;

/// Sorted, one name a line, as `GET /api/events` of that version lists them.
static OPEN_WEBUI: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("catalogue/open_webui_0_12_4.txt").lines().collect());

/// Names that Open WebUI 0.12.4 sends, sorted.
pub fn open_webui() -> &'static [&'static str] {
    &OPEN_WEBUI
}

/// Whether the pattern matches at least one of the names.
pub fn pattern_matches_any(pattern: &Pattern, names: &[&str]) -> bool {
    names.iter().any(|name| pattern.matches(name))
}

/// The name most like this one, if any is alike enough to be meant.
pub fn nearest(name: &str, names: &[&'static str]) -> Option<&'static str> {
    let wanted = name.to_lowercase();
    names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&wanted, known), *known))
        .filter(|(distance, known)| *distance <= tolerance(known))
        .min()
        .map(|(_, known)| known)
}

/// What was probably meant by a pattern that matches none of the names, as people write it.
///
/// `auht.*` gives `auth.*`, `auth` gives `auth.*`, `auth.login.*` gives `auth.login`.
pub fn nearest_pattern(pattern: &Pattern, names: &[&'static str]) -> Option<String> {
    let prefixes: BTreeSet<&'static str> = names
        .iter()
        .flat_map(|name| name.match_indices('.').filter_map(|(dot, _)| name.get(..dot)))
        .collect();
    let prefixes: Vec<&'static str> = prefixes.into_iter().collect();
    match pattern {
        Pattern::Any => None,
        Pattern::Prefix(prefix) => {
            let stem = prefix.trim_end_matches('.');
            match names.iter().find(|name| **name == stem) {
                Some(name) => Some((*name).to_owned()),
                None => nearest(stem, &prefixes).map(|near| format!("{near}.*")),
            }
        }
        Pattern::Exact(name) if prefixes.contains(&name.as_str()) => Some(format!("{name}.*")),
        Pattern::Exact(name) => nearest(name, names).map(str::to_owned),
    }
}

/// One slip in four characters, at least one.
fn tolerance(name: &str) -> usize {
    (name.chars().count() / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_whole_catalogue_sorted() {
        assert_eq!(open_webui().len(), 191);
        assert!(open_webui().is_sorted());
        assert!(open_webui().contains(&"auth.api_key.created"));
        assert!(open_webui().iter().all(|name| crate::event::name::check(name).is_ok()));
    }

    #[test]
    fn finds_what_was_meant() {
        let near = |name| nearest(name, open_webui());
        assert_eq!(near("auth.singup"), Some("auth.signup"));
        assert_eq!(near("Auth.Signup"), Some("auth.signup"));
        assert_eq!(near("user_created"), Some("user.created"));
        assert_eq!(near("chat.finish"), Some("chat.finished"));
        assert_eq!(near("order.shipped"), None);
    }

    #[test]
    fn finds_what_pattern_was_meant() {
        let near = |text: &str| nearest_pattern(&Pattern::parse(text).unwrap(), open_webui());
        assert_eq!(near("auht.*").as_deref(), Some("auth.*"));
        assert_eq!(near("users.*").as_deref(), Some("user.*"));
        assert_eq!(near("auth.apikey.*").as_deref(), Some("auth.api_key.*"));
        assert_eq!(near("auth").as_deref(), Some("auth.*"));
        assert_eq!(near("auth.login.*").as_deref(), Some("auth.login"));
        assert_eq!(near("auth.sign_up").as_deref(), Some("auth.signup"));
        assert_eq!(near("shop.*"), None);
    }

    #[test]
    fn tells_whether_anything_matches() {
        let any = |text: &str| pattern_matches_any(&Pattern::parse(text).unwrap(), open_webui());
        assert!(any("*") && any("auth.*") && any("auth.login"));
        assert!(!any("auth") && !any("auth.login.*"));
    }
}
