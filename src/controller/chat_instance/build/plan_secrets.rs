//! The Secrets from which dispatchers read their plan.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::Owner;
use crate::plan::shards::{SECRET_KEY, Shard, secret_name};

/// One piece of the plan.
pub fn plan_secret(owner: &Owner<'_>, shard: &Shard) -> Secret {
    Secret {
        metadata: owner.metadata(secret_name(&owner.key.1, shard.index)),
        type_: Some("chathooks.dev/plan".into()),
        data: Some([(SECRET_KEY.to_owned(), ByteString(shard.bytes.clone()))].into()),
        ..Secret::default()
    }
}
