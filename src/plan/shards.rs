//! A ChatInstance's plan as 16 pieces, each small enough for a Secret, so that one change rewrites one piece.
//!
//! Compressed JSON with a revision: the SHA-256 of the JSON. A dispatcher tells the revisions it serves.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hex::hex;

use super::model::{InstancePlan, PLAN_VERSION, Plan, SubscriptionPlan};

/// Pieces that every ChatInstance has, empty ones included: a missing one is late, never empty.
pub const SHARDS: u8 = 16;

/// Bytes that one compressed piece may have; Kubernetes bounds a Secret at 1 MiB, base64 and metadata included.
pub const MAX_SHARD_BYTES: usize = 700 << 10;

/// Bytes that one piece may unfold to.
const MAX_JSON_BYTES: usize = 32 << 20;

/// Bytes of one subscription's JSON: beyond them it is refused by itself, so that it takes no other along. More than all
/// bounds of the schema together need; values from Secrets could be larger.
pub const MAX_SUBSCRIPTION_BYTES: usize = 192 << 10;

/// zstd's own default: plans are small.
const LEVEL: i32 = 3;

/// What one piece holds. The first also holds the ChatInstance itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// [`PLAN_VERSION`] of the writer.
    pub version: u32,
    /// Without its subscriptions; in piece 0 alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<InstancePlan>,
    /// Whether what is absent may just be misspelt, see [`Plan::complete`]; in every piece, since the one from which
    /// something is absent may come before the others.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub incomplete: bool,
    /// Ascending by namespace and name.
    pub subscriptions: Vec<SubscriptionPlan>,
}

/// One piece, ready for its Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Shard {
    /// 0 to 15.
    pub index: u8,
    /// 32 hexadecimal digits: equal exactly when the content is.
    pub revision: String,
    /// Compressed JSON of a [`Content`].
    pub bytes: Vec<u8>,
}

/// Why a piece cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// More than fits.
    #[error(
        "piece {index} of the plan has {bytes} bytes and a Secret holds {MAX_SHARD_BYTES}: move some of the \
         subscriptions to another ChatInstance, or shorten their headers and filters"
    )]
    TooLarge {
        /// Which piece.
        index: u8,
        /// Its compressed size.
        bytes: usize,
    },
    /// Not what we write.
    #[error(
        "this piece of the plan cannot be read ({0}); the operator writes it again when its Secret is deleted"
    )]
    Unreadable(String),
    /// From a later version of chathooks.
    #[error(
        "the plan has version {0} and this dispatcher reads up to version {PLAN_VERSION}: upgrade the dispatcher"
    )]
    Newer(u32),
}

/// Which piece holds a subscription: by namespace and name, so that it stays where it is whatever else changes.
pub fn index_of(namespace: &str, name: &str) -> u8 {
    let digest = Sha256::digest(format!("{namespace}/{name}"));
    digest.first().map_or(0, |byte| byte % SHARDS)
}

/// Whether a subscription is small enough to be planned; if not, the sentence says what to shorten.
pub fn fits(plan: &SubscriptionPlan) -> Result<(), String> {
    let bytes = serde_json::to_vec(plan).map_or(usize::MAX, |json| json.len());
    if bytes <= MAX_SUBSCRIPTION_BYTES {
        return Ok(());
    }
    Err(format!(
        "spec.target.http.headers: with the values from its Secrets this subscription has {bytes} bytes, and a plan holds \
         {MAX_SUBSCRIPTION_BYTES} of each; shorten the headers."
    ))
}

/// The pieces of a plan, in their order; `complete` is [`Plan::complete`]. One that does not fit keeps no other from being
/// written.
pub fn encode(plan: &InstancePlan, complete: bool) -> Vec<Result<Shard, ShardError>> {
    let mut contents: Vec<Content> = (0..SHARDS)
        .map(|_| Content {
            version: PLAN_VERSION,
            instance: None,
            incomplete: !complete,
            subscriptions: Vec::new(),
        })
        .collect();
    for one in &plan.subscriptions {
        if let Some(content) = contents.get_mut(usize::from(index_of(&one.namespace, &one.name))) {
            content.subscriptions.push(one.clone());
        }
    }
    if let Some(first) = contents.first_mut() {
        first.instance = Some(InstancePlan { subscriptions: Vec::new(), ..plan.clone() });
    }
    (0..SHARDS).zip(&contents).map(|(index, content)| shard(index, content)).collect()
}

fn shard(index: u8, content: &Content) -> Result<Shard, ShardError> {
    let unreadable = |error: &dyn std::fmt::Display| ShardError::Unreadable(error.to_string());
    let json = serde_json::to_vec(content).map_err(|error| unreadable(&error))?;
    let bytes = zstd::bulk::compress(&json, LEVEL).map_err(|error| unreadable(&error))?;
    if bytes.len() > MAX_SHARD_BYTES || json.len() > MAX_JSON_BYTES {
        return Err(ShardError::TooLarge { index, bytes: bytes.len() });
    }
    Ok(Shard { index, revision: revision(&json), bytes })
}

fn revision(json: &[u8]) -> String {
    hex(Sha256::digest(json).get(..16).unwrap_or_default())
}

/// The content of a piece and its revision.
pub fn decode(bytes: &[u8]) -> Result<(String, Content), ShardError> {
    let unreadable = |error: &dyn std::fmt::Display| ShardError::Unreadable(error.to_string());
    let reader = zstd::stream::read::Decoder::new(bytes).map_err(|error| unreadable(&error))?;
    let mut json = Vec::new();
    let read =
        reader.take(MAX_JSON_BYTES as u64 + 1).read_to_end(&mut json).map_err(|error| unreadable(&error))?;
    if read > MAX_JSON_BYTES {
        return Err(ShardError::Unreadable(format!("it unfolds to more than {MAX_JSON_BYTES} bytes")));
    }
    let Version { version } = serde_json::from_slice(&json).map_err(|error| unreadable(&error))?;
    if version > PLAN_VERSION {
        return Err(ShardError::Newer(version));
    }
    let content = serde_json::from_slice(&json).map_err(|error| unreadable(&error))?;
    Ok((revision(&json), content))
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The plan that the pieces at hand make; `None` while the first, which holds the ChatInstance, is not there.
/// While any other is missing, or the operator could not read everything, the plan is not complete, and what is absent is
/// not forgotten.
pub fn assemble<'a>(pieces: impl IntoIterator<Item = (u8, &'a Content)>) -> Option<Plan> {
    let pieces: BTreeMap<u8, &Content> = pieces.into_iter().collect();
    let mut instance = pieces.get(&0)?.instance.clone()?;
    instance.subscriptions =
        pieces.values().flat_map(|content| content.subscriptions.iter().cloned()).collect();
    instance.subscriptions.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let complete = pieces.len() == usize::from(SHARDS) && !pieces.values().any(|content| content.incomplete);
    Some(Plan { version: PLAN_VERSION, complete, instances: vec![instance] })
}

/// Name of the Secret that holds a piece: `team-chat-plan-0`.
pub fn secret_name(instance: &str, index: u8) -> String {
    format!("{instance}-plan-{index}")
}

/// The Secret's key under which the compressed piece stands.
pub const SECRET_KEY: &str = "plan";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Inputs, Rejected, compile};

    fn plan(subscriptions: usize) -> InstancePlan {
        let rejected = |kind: &str, name: String| Rejected {
            kind: kind.into(),
            key: ("ai".into(), name),
            generation: 1,
            instance: Some(("ai".into(), "chat".into())),
            problems: Vec::new(),
        };
        let mut all = vec![rejected("ChatInstance", "chat".into())];
        all.extend((0..subscriptions).map(|n| rejected("WebhookSubscription", format!("s{n:03}"))));
        compile(&Inputs { rejected: all, ..Inputs::default() }).plan.instances.remove(0)
    }

    fn pieces(plan: &InstancePlan, complete: bool) -> Vec<(u8, String, Content)> {
        let decoded = encode(plan, complete).into_iter().map(|shard| {
            let shard = shard.unwrap();
            let (revision, content) = decode(&shard.bytes).unwrap();
            assert_eq!(revision, shard.revision);
            (shard.index, revision, content)
        });
        decoded.collect()
    }

    fn assembled(pieces: &[(u8, String, Content)]) -> Option<Plan> {
        assemble(pieces.iter().map(|(index, _, content)| (*index, content)))
    }

    #[test]
    fn the_pieces_make_the_plan_again() {
        let plan = plan(100);
        let whole = assembled(&pieces(&plan, true)).unwrap();
        assert!(whole.complete);
        assert_eq!(whole.instances, std::slice::from_ref(&plan));
        assert!(
            !assembled(&pieces(&plan, false)).unwrap().complete,
            "the operator could not read everything"
        );
    }

    #[test]
    fn a_missing_piece_is_late_and_nothing_begins_without_the_first() {
        let mut some = pieces(&plan(100), true);
        some.remove(7);
        assert!(!assembled(&some).unwrap().complete);
        some.remove(0);
        assert_eq!(assembled(&some), None);
    }

    #[test]
    fn one_change_rewrites_one_piece() {
        let before = plan(100);
        let mut after = before.clone();
        after.subscriptions[42].generation = 2;
        let revisions =
            |plan| pieces(plan, true).into_iter().map(|(_, revision, _)| revision).collect::<Vec<_>>();
        let changed: Vec<usize> = revisions(&before)
            .iter()
            .zip(revisions(&after))
            .enumerate()
            .filter(|(_, (before, after))| *before != after)
            .map(|(index, _)| index)
            .collect();
        assert_eq!(changed, [usize::from(index_of("ai", "s042"))]);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let json = |version: u32| {
            let json = format!("{{\"version\": {version}, \"subscriptions\": []}}");
            zstd::bulk::compress(json.as_bytes(), LEVEL).unwrap()
        };
        assert!(decode(&json(PLAN_VERSION)).is_ok());
        assert!(decode(&json(PLAN_VERSION + 1)).unwrap_err().to_string().contains("upgrade the dispatcher"));
        assert!(decode(b"no zstd").is_err());
        let bomb = zstd::bulk::compress(&vec![b' '; MAX_JSON_BYTES + 1], LEVEL).unwrap();
        assert!(decode(&bomb).unwrap_err().to_string().contains("unfolds to more"));
    }
}
