//! What the API server does with a manifest, offline: structural schema, defaults, CEL rules.
//!
//! Pure. It reads the same CRDs that `chathooks crds` prints, so the two cannot differ.

use serde_json::Value;

/// Something wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path as people write it: `spec.delivery.retry.schedule[2]`.
    pub field: String,
    /// A sentence that says what to write instead.
    pub detail: String,
}

/// Checks one object of a kind of ours and fills in defaults, as the API server would.
///
/// `object` is the whole manifest; `status` and server-written metadata are ignored.
pub fn admit(kind: &str, object: &Value) -> Result<Value, Vec<Problem>> {
    let _ = (kind, object);
    todo!()
}
