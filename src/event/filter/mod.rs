//! Filters over an event's content: equality by path (`match`) and one CEL expression, compiled once.
//!
//! Both come from users, so both are bounded before they run. Neither puts content of an event into an error.

mod cel;
mod document;
mod equals;

pub use document::Document;

use cel::Expression;
use equals::PathEquals;

/// Compiled `filter.match` and `filter.expression` of one subscription.
#[derive(Debug)]
pub struct Filter {
    equals: Vec<PathEquals>,
    expression: Option<Expression>,
}

impl Filter {
    /// Compiles; `equals` are (path, value). The error is a sentence that says what to write instead.
    pub fn compile(equals: &[(&str, &str)], expression: Option<&str>) -> Result<Self, String> {
        let equals =
            equals.iter().map(|(path, value)| PathEquals::compile(path, value)).collect::<Result<_, _>>()?;
        Ok(Self { equals, expression: expression.map(Expression::compile).transpose()? })
    }

    /// Whether nothing is asked, so that the JSON need not be parsed.
    pub fn is_empty(&self) -> bool {
        self.equals.is_empty() && self.expression.is_none()
    }

    /// Whether the event passes. The error (a sentence) is a filter that fails on this event: not delivered, counted.
    pub fn matches(&self, document: &Document<'_>) -> Result<bool, String> {
        if !self.equals.iter().all(|equal| equal.holds(document.root())) {
            return Ok(false);
        }
        self.expression.as_ref().map_or(Ok(true), |expression| expression.holds(document))
    }
}

#[cfg(test)]
mod tests;
