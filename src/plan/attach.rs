//! Who may hang what on a ChatInstance.

use std::collections::BTreeMap;

use super::Key;
use super::verdict::Judgement;
use crate::api::chat_instance::{AttachKind, AttachRule, Namespaces, NamespacesFrom};
use crate::api::conditions::reason;
use crate::api::{ChatInstance, WebhookSubscription};
use crate::event::pattern::Pattern;

/// The label that every namespace has: its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Whether an instance lets a subscription of these labels' namespace attach; of its own namespace all count.
pub fn admits(
    (at, instance): (&Key, &ChatInstance),
    (key, subscription): (&Key, &WebhookSubscription),
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    let (rules, events) = (&instance.spec.attach, &subscription.spec.events);
    at.0 == key.0 || webhook_subscription(at, rules, &key.0, labels, events, &mut Judgement::default())
}

/// Whether a WebhookSubscription of `namespace` may hang on the instance and ask for these events; if not, `found`
/// says what its owner, or the subscription's, has to change.
pub(super) fn webhook_subscription(
    instance: &Key,
    rules: &[AttachRule],
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
    events: &[String],
    found: &mut Judgement,
) -> bool {
    let same = instance.0 == namespace;
    if rules.is_empty() && same {
        return true;
    }
    let fitting: Vec<&AttachRule> = rules
        .iter()
        .filter(|rule| rule.kinds.contains(&AttachKind::WebhookSubscription))
        .filter(|rule| chosen(&rule.namespaces, same, namespace, labels))
        .collect();
    if fitting.is_empty() {
        let choice = if same {
            "{from: Same}".to_owned()
        } else {
            format!("{{from: Selector, selector: {{matchLabels: {{{NAME_LABEL}: {namespace}}}}}}}")
        };
        found.unresolved(
            reason::REF_NOT_PERMITTED,
            format!(
                "spec.instanceRef: ChatInstance {:?} in namespace {:?} does not let a WebhookSubscription of namespace \
                 {namespace:?} attach; its owner allows it by adding to its spec.attach: {{kinds: \
                 [WebhookSubscription], namespaces: {choice}}}",
                instance.1, instance.0
            ),
        );
        return false;
    }
    let allowed = |event: &str| {
        fitting
            .iter()
            .any(|rule| rule.events.is_empty() || rule.events.iter().any(|wide| covers(wide, event)))
    };
    let mut all = true;
    for (place, event) in events.iter().enumerate().filter(|(_, event)| !allowed(event)) {
        all = false;
        let list: Vec<&str> = fitting.iter().flat_map(|rule| &rule.events).map(String::as_str).collect();
        found.unresolved(
            reason::REF_NOT_PERMITTED,
            format!(
                "spec.events[{place}]: ChatInstance {:?} in namespace {:?} lets namespace {namespace:?} subscribe only \
                 to {}; narrow {event:?}, or ask its owner to add it to spec.attach.",
                instance.1,
                instance.0,
                list.join(", ")
            ),
        );
    }
    all
}

fn chosen(
    namespaces: &Namespaces,
    same: bool,
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    match namespaces.from {
        NamespacesFrom::Same => same,
        NamespacesFrom::All => true,
        NamespacesFrom::Selector => namespaces.selector.as_ref().is_some_and(|selector| {
            !selector.match_labels.is_empty()
                && selector.match_labels.iter().all(|(label, value)| {
                    let own = labels.and_then(|labels| labels.get(label)).map(String::as_str);
                    own.or((label == NAME_LABEL).then_some(namespace)) == Some(value.as_str())
                })
        }),
    }
}

/// Whether everything that `narrow` matches is matched by `wide` as well.
fn covers(wide: &str, narrow: &str) -> bool {
    match (Pattern::parse(wide), Pattern::parse(narrow)) {
        (Ok(wide), Ok(narrow)) => wide.covers(&narrow),
        // What cannot be read is told elsewhere.
        _ => false,
    }
}
