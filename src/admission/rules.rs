//! The CRD's CEL rules, evaluated only on what fits the structural schema.

use kube_cel::{CompiledSchema, ErrorKind, Validator};
use serde_json::Value;

use super::Problem;

/// Adds a problem for every rule that does not hold, with the rule's own message. Transition rules (`oldSelf`) do not
/// apply: an offline object has no past.
pub(super) fn check(rules: &CompiledSchema, object: &Value, problems: &mut Vec<Problem>) {
    let Err(errors) = Validator::new().validate_compiled(rules, object, None) else {
        return;
    };
    for error in errors {
        let field = error.field_path.trim_start_matches('.');
        problems.push(match error.kind {
            ErrorKind::ValidationFailure => Problem::new(field, error.message),
            // The rule stands in the CRD, not in the manifest; its own test finds this first.
            _ => Problem::new(field, format!("the rule `{}` cannot be evaluated on this value", error.rule)),
        });
    }
}
