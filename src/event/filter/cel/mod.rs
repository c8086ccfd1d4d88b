//! `filter.expression`: CEL, accepted by its syntax tree and evaluated under a budget.
//!
//! The `cel` crate parses. It does not evaluate: its interpreter cannot be stopped, copies the event at every `.`, and
//! takes a field of null for `false`. What is left of the language after `lower` is small enough to be evaluated here,
//! by the CEL specification, on the event's JSON as it lies there.

mod eval;
mod hints;
mod lower;
mod operate;
mod scan;
mod tree;
mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};

use kube_cel::cel::parser::Parser;

use super::Document;
use tree::{Kind, Tree};

/// Longest expression, in bytes.
pub(super) const MAX_EXPRESSION: usize = 4096;

/// A compiled expression that can be true or false.
#[derive(Debug)]
pub(super) struct Expression {
    tree: Tree,
}

impl Expression {
    /// Compiles; the error is a sentence that says what to write instead.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err(
                "the expression is empty; write one such as `event.actor.role == \"admin\"`, or leave it out"
                    .to_owned(),
            );
        }
        if text.len() > MAX_EXPRESSION {
            return Err(format!(
                "the expression has {} bytes, and at most {MAX_EXPRESSION} are taken; use `match` for plain equality, or \
                 several subscriptions",
                text.len()
            ));
        }
        scan::check(text)?;
        let parsed = catch_unwind(AssertUnwindSafe(|| Parser::default().parse(text)))
            .map_err(|_| "the expression is not valid CEL".to_owned())?
            .map_err(|errors| hints::syntax(&errors))?;
        let tree = lower::lower(&parsed)?;
        match tree.kind() {
            Kind::Bool | Kind::Unknown => Ok(Self { tree }),
            Kind::Other(what) => Err(format!(
                "the expression is {what}, and a filter must be true or false; compare it, as in \
                 `size(event.data.user_ids) > 1`"
            )),
        }
    }

    /// Whether the event passes; the error is a sentence without content of the event.
    pub(super) fn holds(&self, document: &Document<'_>) -> Result<bool, String> {
        eval::holds(&self.tree, document)
    }
}

#[cfg(test)]
mod tests;
