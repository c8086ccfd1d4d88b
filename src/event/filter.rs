//! stub
/// An event's JSON, parsed at most once, whatever number of filters look at it.
pub struct Document<'a> {
    json: &'a [u8],
}

impl<'a> Document<'a> {
    /// Nothing is parsed yet.
    pub fn new(json: &'a [u8]) -> Self {
        Self { json }
    }
}

/// Compiled `filter.match` and `filter.expression` of one subscription.
#[derive(Debug)]
pub struct Filter {}

impl Filter {
    /// Compiles; `equals` are (path, value). The error is a sentence that says what to write instead.
    pub fn compile(equals: &[(&str, &str)], expression: Option<&str>) -> Result<Self, String> {
        let _ = (equals, expression);
        todo!()
    }

    /// Whether nothing is asked, so that the JSON need not be parsed.
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// Whether the event passes. The error (a sentence) is a filter that fails on this event: not delivered, counted.
    pub fn matches(&self, document: &Document<'_>) -> Result<bool, String> {
        let _ = document.json;
        todo!()
    }
}
