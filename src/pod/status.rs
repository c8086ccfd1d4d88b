//! `/v1/status` of a pod: the objects of the plan it has, judged as far as a dispatcher can.
//!
//! A plan says why an object is paused, not by which of its conditions: the objects themselves say that.

use kube::Resource as _;

use crate::api::conditions::reason;
use crate::api::{ChatInstance, WebhookSubscription};
use crate::plan::{Finding, Outcome, Plan, Verdict};

/// What is known of the objects of a plan.
pub(super) fn outcome(plan: Plan) -> Outcome {
    let mut verdicts = Vec::new();
    for one in &plan.instances {
        let kind = ChatInstance::kind(&());
        verdicts.push(verdict(
            &kind,
            &one.namespace,
            &one.name,
            one.generation,
            one.rejected,
            one.paused.as_deref(),
        ));
        verdicts.extend(one.subscriptions.iter().map(|one| {
            let kind = WebhookSubscription::kind(&());
            verdict(&kind, &one.namespace, &one.name, one.generation, one.rejected, one.paused.as_deref())
        }));
    }
    Outcome { plan, verdicts, platforms: Vec::new(), wanted_secrets: Vec::new() }
}

fn verdict(
    kind: &str,
    namespace: &str,
    name: &str,
    generation: i64,
    rejected: bool,
    paused: Option<&str>,
) -> Verdict {
    let fine = |reason: &str| finding(true, reason, "");
    let message = paused.unwrap_or_default();
    Verdict {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        generation,
        accepted: if rejected { finding(false, reason::INVALID, message) } else { fine(reason::ACCEPTED) },
        resolved_refs: match paused {
            Some(_) if !rejected => finding(false, reason::PAUSED, message),
            _ => fine(reason::RESOLVED_REFS),
        },
        warnings: Vec::new(),
    }
}

fn finding(status: bool, reason: &str, message: &str) -> Finding {
    Finding { status, reason: reason.to_owned(), message: message.to_owned(), problems: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_says_why() {
        let lines = |rejected, paused| {
            let verdict = verdict("ChatInstance", "ai", "chat", 1, rejected, paused);
            [verdict.accepted, verdict.resolved_refs]
                .map(|one| format!("{} {} {}", one.status, one.reason, one.message))
        };
        assert_eq!(lines(false, None), ["true Accepted ", "true ResolvedRefs "]);
        assert_eq!(lines(false, Some("No Secret.")), ["true Accepted ", "false Paused No Secret."]);
        assert_eq!(lines(true, Some("No url.")), ["false Invalid No url.", "true ResolvedRefs "]);
    }
}
