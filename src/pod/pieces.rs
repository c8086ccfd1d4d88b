//! The pieces of the plan that are at hand, and which of two readings of one counts.
//!
//! Pure. A mount lags behind by up to minutes, so what the API server said of a piece is never replaced by a mount.

use std::collections::BTreeMap;

use crate::plan::model::{Plan, Sensitive};
use crate::plan::shards::{Content, SHARDS, assemble, decode};

/// Where a piece was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In the mounted folder.
    Mounted,
    /// From the API server.
    Watched,
}

/// Which ChatInstance this dispatcher is for.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
}

/// Everything that is at hand.
#[derive(Debug)]
pub(super) struct Pieces {
    identity: Identity,
    /// The last good content of each.
    held: BTreeMap<u8, Piece>,
    /// Why the newest reading of a piece is not used.
    problems: BTreeMap<u8, String>,
}

#[derive(Debug)]
struct Piece {
    revision: String,
    content: Content,
    source: Source,
}

impl Pieces {
    /// None yet.
    pub(super) fn new(identity: Identity) -> Self {
        Self { identity, held: BTreeMap::new(), problems: BTreeMap::new() }
    }

    /// Takes a reading; says whether there is something new to serve or to tell.
    ///
    /// What cannot be read leaves the last good content in force.
    pub(super) fn offer(&mut self, index: u8, source: Source, bytes: &[u8]) -> bool {
        let held = self.held.get(&index);
        if source == Source::Mounted && held.is_some_and(|held| held.source == Source::Watched) {
            return false;
        }
        match decode(bytes).map_err(|error| error.to_string()).and_then(|read| self.ours(index, read)) {
            Ok((revision, content)) => {
                let told = self.problems.remove(&index).is_some();
                let news = held_differs(self.held.get(&index), &revision, source);
                self.held.insert(index, Piece { revision, content, source });
                news || told
            }
            Err(problem) => {
                let before = self.problems.insert(index, format!("piece {index}: {problem}"));
                before != self.problems.get(&index).cloned()
            }
        }
    }

    fn ours(&self, index: u8, read: (String, Content)) -> Result<(String, Content), String> {
        let Identity { namespace, name } = &self.identity;
        match &read.1.instance {
            Some(instance) if (&instance.namespace, &instance.name) != (namespace, name) => Err(format!(
                "it is of ChatInstance {}/{} and this dispatcher serves {namespace}/{name}; correct --namespace and \
                 --instance",
                instance.namespace, instance.name
            )),
            None if index == 0 => Err(
                "the ChatInstance is missing in it; the operator writes it again when its Secret is deleted"
                    .to_owned(),
            ),
            _ => Ok(read),
        }
    }

    /// The plan that they make; `None` while the first is missing.
    ///
    /// It is complete only when the API server has delivered every piece: a mount may be older than what was served
    /// before a restart, and what it does not know yet must not be forgotten.
    pub(super) fn plan(&self) -> Option<Plan> {
        let mut plan = assemble(self.held.iter().map(|(index, piece)| (*index, &piece.content)))?;
        plan.complete &= self.held.values().all(|piece| piece.source == Source::Watched);
        Some(plan)
    }

    /// Revision of each piece that is held.
    pub(super) fn revisions(&self) -> BTreeMap<u8, String> {
        self.held.iter().map(|(index, piece)| (*index, piece.revision.clone())).collect()
    }

    /// Tokens of the administrator's port; `None` while the first piece is missing.
    pub(super) fn admin_tokens(&self) -> Option<Vec<Sensitive>> {
        Some(self.held.get(&0)?.content.instance.as_ref()?.admin_tokens.clone())
    }

    /// Why the newest readings are not used, in one sentence.
    pub(super) fn problem(&self) -> Option<String> {
        let problems: Vec<&str> = self.problems.values().map(String::as_str).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// How many pieces are missing.
    pub(super) fn missing(&self) -> usize {
        usize::from(SHARDS).saturating_sub(self.held.len())
    }
}

/// Whether a good reading changes what is served: another content, or one that now counts for more.
fn held_differs(held: Option<&Piece>, revision: &str, source: Source) -> bool {
    held.is_none_or(|held| held.revision != revision || held.source != source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::model::InstancePlan;
    use crate::plan::shards::encode;
    use crate::plan::{Inputs, Rejected, compile};

    fn instance(name: &str, generation: i64) -> InstancePlan {
        let rejected = Rejected {
            kind: "ChatInstance".into(),
            key: ("ai".into(), name.into()),
            generation,
            instance: None,
            problems: Vec::new(),
        };
        let outcome = compile(&Inputs { rejected: vec![rejected], ..Inputs::default() });
        outcome.plan.instances.into_iter().next().unwrap()
    }

    fn pieces() -> Pieces {
        Pieces::new(Identity { namespace: "ai".to_owned(), name: "chat".to_owned() })
    }

    fn offer(pieces: &mut Pieces, source: Source, generation: i64) -> bool {
        let mut news = false;
        for shard in encode(&instance("chat", generation), true).into_iter().map(Result::unwrap) {
            news |= pieces.offer(shard.index, source, &shard.bytes);
        }
        news
    }

    fn served(pieces: &Pieces) -> (i64, bool) {
        let plan = pieces.plan().unwrap();
        (plan.instances[0].generation, plan.complete)
    }

    #[test]
    fn a_mount_serves_until_the_api_server_has_spoken() {
        let mut pieces = pieces();
        assert_eq!(pieces.plan(), None);
        assert!(offer(&mut pieces, Source::Mounted, 1));
        assert_eq!(served(&pieces), (1, false), "a mount may be old: nothing is forgotten by it");
        assert!(!offer(&mut pieces, Source::Mounted, 1));
        assert!(offer(&mut pieces, Source::Watched, 2));
        assert_eq!(served(&pieces), (2, true));
        assert!(!offer(&mut pieces, Source::Mounted, 1), "it lags");
        assert_eq!(served(&pieces), (2, true));
    }

    #[test]
    fn what_cannot_be_read_leaves_the_last_good_content() {
        let mut pieces = pieces();
        offer(&mut pieces, Source::Watched, 1);
        let revisions = pieces.revisions();
        assert!(pieces.offer(3, Source::Watched, b"no zstd"));
        assert!(!pieces.offer(3, Source::Watched, b"no zstd"), "told once");
        assert!(pieces.problem().unwrap().starts_with("piece 3: this piece of the plan cannot be read"));
        assert_eq!((pieces.revisions(), served(&pieces)), (revisions, (1, true)));
        assert!(offer(&mut pieces, Source::Watched, 1), "all is well again");
        assert_eq!(pieces.problem(), None);
    }

    #[test]
    fn a_plan_from_which_one_may_be_missing_makes_nothing_forgotten() {
        let mut pieces = pieces();
        for shard in encode(&instance("chat", 1), false).into_iter().map(Result::unwrap) {
            pieces.offer(shard.index, Source::Watched, &shard.bytes);
        }
        assert_eq!(served(&pieces), (1, false));
        assert!(offer(&mut pieces, Source::Watched, 1));
        assert_eq!(served(&pieces), (1, true));
    }

    #[test]
    fn the_plan_of_another_instance_is_not_served() {
        let mut pieces = pieces();
        let other: Vec<_> = encode(&instance("other", 1), true).into_iter().map(Result::unwrap).collect();
        assert!(pieces.offer(0, Source::Watched, &other[0].bytes));
        assert_eq!(pieces.plan(), None);
        assert!(pieces.problem().unwrap().contains("it is of ChatInstance ai/other"));
        assert!(pieces.offer(0, Source::Watched, &other[1].bytes), "a piece without the instance");
        assert_eq!((pieces.plan(), pieces.missing()), (None, 16));
    }
}
