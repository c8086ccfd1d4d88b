//! Patterns over event names.

use super::name::{self, MAX_NAME};

mod index;

pub use index::PatternIndex;

/// `*`, an exact name, or `prefix.*` (any depth below).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Every name.
    Any,
    /// Names that begin with this prefix, its final dot included.
    Prefix(String),
    /// This name.
    Exact(String),
}

impl Pattern {
    /// Parses a pattern of at most 128 characters; the error is a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORMS: &str = "write `*`, a name such as `auth.login`, or a prefix such as `auth.*`";
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.chars().count() > MAX_NAME {
            return Err(format!("a pattern has at most {MAX_NAME} characters; {FORMS}"));
        }
        let (stem, is_prefix) = text.strip_suffix(".*").map_or((text, false), |stem| (stem, true));
        if stem.contains('*') {
            return Err(format!(
                "the pattern `{text}` has `*` in another place than alone or as its last part; {FORMS}"
            ));
        }
        if let Some(bare) = stem.strip_suffix('.').filter(|bare| name::check(bare).is_ok()) {
            return Err(format!("the pattern `{text}` ends in a dot; did you mean `{bare}.*`?"));
        }
        name::check(stem).map_err(|problem| match stem {
            "" => format!("the pattern is empty; {FORMS}"),
            _ => format!("the pattern `{text}` {problem}; {FORMS}"),
        })?;
        Ok(if is_prefix { Self::Prefix(format!("{stem}.")) } else { Self::Exact(stem.to_owned()) })
    }

    /// Whether the name is covered. `auth.*` covers `auth.api_key.created` and not `auth` itself.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix(prefix) => name.len() > prefix.len() && name.starts_with(prefix.as_str()),
            Self::Exact(exact) => exact == name,
        }
    }

    /// Whether every name that `other` matches is matched by this one too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Prefix(own), Self::Prefix(other)) => other.starts_with(own.as_str()),
            (_, Self::Exact(name)) => self.matches(name),
            (_, Self::Any) | (Self::Exact(_), Self::Prefix(_)) => false,
        }
    }
}

/// Whether `exclude` takes away everything that `events` asks for.
pub fn leaves_nothing(events: &[Pattern], exclude: &[Pattern]) -> bool {
    events.iter().all(|pattern| exclude.iter().any(|without| without.covers(pattern)))
}

/// Back to what people write.
impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Exact(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_documented() {
        let matches = |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().matches(name);
        assert!(matches("*", "ping"));
        assert!(matches("auth.*", "auth.login"));
        assert!(matches("auth.*", "auth.api_key.created"));
        assert!(!matches("auth.*", "auth"));
        assert!(!matches("auth.*", "authentication.login"));
        assert!(matches("auth.login", "auth.login"));
        assert!(!matches("auth.login", "auth.login.failed"));
        assert!(!matches("auth.login", "Auth.login"));
        assert!(matches("auth.api_key.*", "auth.api_key.created"));
        assert!(!matches("auth.api_key.*", "auth.login"));
    }

    #[test]
    fn refuses_other_forms_with_a_sentence() {
        let error = |pattern: &str| Pattern::parse(pattern).unwrap_err();
        assert_eq!(error("auth."), "the pattern `auth.` ends in a dot; did you mean `auth.*`?");
        assert!(error("").starts_with("the pattern is empty; write `*`"));
        for pattern in ["auth*", "*.created", "**", "auth.**", "auth.*.created", "*.*"] {
            assert!(error(pattern).contains("alone or as its last part"), "{pattern}");
        }
        for pattern in [".*", "a..*", "a b.*", "auth/login", " auth.login", "!auth.login"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::parse(&"a".repeat(129)).is_err());
        assert_eq!(Pattern::parse("auth.*").unwrap().to_string(), "auth.*");
    }

    #[test]
    fn knows_when_nothing_is_left() {
        let parse = |list: &[&str]| list.iter().map(|p| Pattern::parse(p).unwrap()).collect::<Vec<_>>();
        let nothing = |events: &[&str], exclude: &[&str]| leaves_nothing(&parse(events), &parse(exclude));
        assert!(nothing(&["auth.login"], &["auth.*"]));
        assert!(nothing(&["auth.api_key.*", "auth.login"], &["auth.*"]));
        assert!(nothing(&["user.created"], &["user.created"]));
        assert!(nothing(&["auth.*"], &["*"]));
        assert!(!nothing(&["auth.*"], &["auth.api_key.*"]));
        assert!(!nothing(&["*"], &["auth.*"]));
        assert!(!nothing(&["auth.*"], &["auth.login"]));
        assert!(!nothing(&["auth.login", "user.created"], &["auth.*"]));
    }
}
