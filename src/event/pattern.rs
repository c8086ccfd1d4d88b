//! stub
/// `*`, an exact name, or `prefix.*` (any depth below).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Every name.
    Any,
    /// Names that begin with this prefix, its final dot included.
    Prefix(String),
    /// This name.
    Exact(String),
}

impl Pattern {
    /// Parses a pattern; the error is a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let _ = text;
        todo!()
    }

    /// Whether the name is covered.
    pub fn matches(&self, name: &str) -> bool {
        let _ = name;
        todo!()
    }
}
