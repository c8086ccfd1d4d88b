//! Which manifests are ours, and which only look as if they were not because of a slip.

use serde_json::Value;

use super::{KINDS, Problem, suggest};
use crate::api::{GROUP, VERSION};

/// What a manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// An object of this kind of ours; [`super::admit`] says whether it is good.
    Ours(&'static str),
    /// An object of another group.
    Foreign,
    /// Meant to be ours, or no manifest at all.
    Problem(Problem),
}

/// Looks at `apiVersion` and `kind` alone.
pub fn recognise(object: &Value) -> Recognised {
    let problem = |field: &str, detail: String| Recognised::Problem(Problem::new(field, detail));
    let text =
        |name: &str| object.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    if !object.is_object() {
        return problem(
            "",
            "a manifest is a map with `apiVersion`, `kind`, `metadata` and `spec`".to_owned(),
        );
    }
    let ours = format!("{GROUP}/{VERSION}");
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let exact = kind.and_then(|kind| KINDS.keys().find(|known| *known == kind));
    let near = kind.and_then(|kind| suggest::nearest(kind, KINDS.keys().map(String::as_str)));
    match (api_version, kind) {
        (None, None) => problem(
            "apiVersion",
            format!("is missing, and so is `kind`; write `apiVersion: {ours}` and a kind"),
        ),
        (None, Some(_)) if near.is_some() => {
            problem("apiVersion", format!("is missing; write `apiVersion: {ours}`"))
        }
        (None, Some(_)) => {
            problem("apiVersion", "is missing; write the API group and version of this kind".to_owned())
        }
        (Some(version), None) if is_like_ours(version) => problem(
            "kind",
            format!("is missing; write {}", suggest::list(KINDS.keys().map(String::as_str), "or")),
        ),
        (Some(_), None) => problem("kind", "is missing; write it".to_owned()),
        (Some(version), Some(kind)) if version == ours => match exact {
            Some(kind) => Recognised::Ours(kind),
            None => problem("kind", unknown_kind(kind)),
        },
        (Some(version), Some(_)) if is_like_ours(version) => {
            problem("apiVersion", format!("is not one of ours; did you mean `{ours}`?"))
        }
        // `v1`, or no group at all, before a kind that can only be ours.
        (Some(version), Some(_)) if near.is_some() && !version.contains('.') => {
            problem("apiVersion", format!("has no such kind; did you mean `{ours}`?"))
        }
        _ => Recognised::Foreign,
    }
}

/// Our group with another version, or a group that differs from ours by a slip.
fn is_like_ours(api_version: &str) -> bool {
    let group = api_version.split('/').next().unwrap_or_default().to_lowercase();
    group.contains("chathook") || strsim::damerau_levenshtein(&group, GROUP) <= 3
}

/// The sentence about a kind that our group does not have.
pub(super) fn unknown_kind(kind: &str) -> String {
    let kinds = KINDS.keys().map(String::as_str);
    match suggest::nearest(kind, kinds.clone()) {
        Some(near) => format!("there is no kind `{kind}` in {GROUP}/{VERSION}; did you mean `{near}`?"),
        None => format!(
            "there is no kind `{kind}` in {GROUP}/{VERSION}; there are {}",
            suggest::list(kinds, "and")
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(api_version: &str, kind: &str) -> Recognised {
        recognise(&json!({"apiVersion": api_version, "kind": kind}))
    }

    #[test]
    fn knows_ours_and_others() {
        assert_eq!(of("chathooks.dev/v1alpha1", "ChatInstance"), Recognised::Ours("ChatInstance"));
        assert_eq!(
            of("chathooks.dev/v1alpha1", "WebhookSubscription"),
            Recognised::Ours("WebhookSubscription")
        );
        for (version, kind) in [
            ("v1", "Secret"),
            ("v1", "ConfigMap"),
            ("apps/v1", "Deployment"),
            ("v1", "List"),
            ("other.example.com/v1", "WebhookSubscription"),
            ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
        ] {
            assert_eq!(of(version, kind), Recognised::Foreign, "{version} {kind}");
        }
    }

    #[test]
    fn explains_slips() {
        for (version, kind, field, part) in [
            ("chathooks.dev/v1", "ChatInstance", "apiVersion", "did you mean `chathooks.dev/v1alpha1`?"),
            ("chathook.dev/v1alpha1", "ChatInstance", "apiVersion", "did you mean `chathooks.dev/v1alpha1`?"),
            ("chatooks.dev/v1alpha1", "Whatever", "apiVersion", "did you mean `chathooks.dev/v1alpha1`?"),
            (
                "Chathooks.dev/v1alpha1",
                "ChatInstance",
                "apiVersion",
                "did you mean `chathooks.dev/v1alpha1`?",
            ),
            ("chathooks.io/v1alpha1", "ChatInstance", "apiVersion", "did you mean `chathooks.dev/v1alpha1`?"),
            ("v1alpha1", "WebhookSubscription", "apiVersion", "did you mean `chathooks.dev/v1alpha1`?"),
            ("v1", "chatinstance", "apiVersion", "did you mean `chathooks.dev/v1alpha1`?"),
            ("chathooks.dev/v1alpha1", "WebhookSubscripton", "kind", "did you mean `WebhookSubscription`?"),
            ("chathooks.dev/v1alpha1", "chatInstance", "kind", "did you mean `ChatInstance`?"),
            (
                "chathooks.dev/v1alpha1",
                "EventFunction",
                "kind",
                "there are `ChatInstance` and `WebhookSubscription`",
            ),
            ("", "ChatInstance", "apiVersion", "write `apiVersion: chathooks.dev/v1alpha1`"),
            ("", "Pod", "apiVersion", "write the API group and version"),
            ("chathooks.dev/v1alpha1", "", "kind", "write `ChatInstance` or `WebhookSubscription`"),
            ("", "", "apiVersion", "is missing, and so is `kind`"),
        ] {
            let Recognised::Problem(problem) = of(version, kind) else { panic!("{version} {kind}") };
            assert_eq!(problem.field, field, "{version} {kind}");
            assert!(problem.detail.contains(part), "{version} {kind}: {}", problem.detail);
        }
        assert!(matches!(recognise(&json!("text")), Recognised::Problem(_)));
    }
}
