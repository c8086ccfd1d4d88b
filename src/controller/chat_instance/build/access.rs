//! ServiceAccount, Role and RoleBinding of a dispatcher: it may read its plan Secrets and nothing else.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::Owner;
use crate::plan::shards::{SHARDS, secret_name};

/// Its token is mounted by the pod that needs it.
pub fn service_account(owner: &Owner<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: owner.metadata(owner.dispatcher()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// By name: a list or watch is allowed only with the field selector that names one of them.
pub fn role(owner: &Owner<'_>) -> Role {
    let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Role {
        metadata: owner.metadata(owner.dispatcher()),
        rules: Some(vec![PolicyRule {
            api_groups: Some(text(&[""])),
            resources: Some(text(&["secrets"])),
            resource_names: Some((0..SHARDS).map(|index| secret_name(&owner.key.1, index)).collect()),
            verbs: text(&["get", "list", "watch"]),
            ..PolicyRule::default()
        }]),
    }
}

/// Gives the role to the account.
pub fn role_binding(owner: &Owner<'_>) -> RoleBinding {
    RoleBinding {
        metadata: owner.metadata(owner.dispatcher()),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: "Role".into(),
            name: owner.dispatcher(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: owner.dispatcher(),
            namespace: Some(owner.key.0.clone()),
            ..Subject::default()
        }]),
    }
}
