//! The dispatcher's volume. The operator owns it, not the StatefulSet, so that it can grow.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;

use super::Owner;
use crate::api::Quantity;
use crate::api::chat_instance::{EmbeddedQueue, OnDelete, Queue};
use crate::api::conditions::{State, reason};
use crate::plan::children::child;

/// Longest name of an object.
const MAX_NAME: usize = 253;

/// Name of the claim.
pub fn claim_name(owner: &Owner<'_>) -> String {
    child(&owner.key.1, "-dispatcher-data", MAX_NAME)
}

/// The claim as it is wanted, given the one that is there; and what of the wish cannot be.
pub fn volume_claim(
    owner: &Owner<'_>,
    live: Option<&PersistentVolumeClaim>,
) -> (PersistentVolumeClaim, Option<State>) {
    let Queue::Embedded(queue) = &owner.instance.spec.dispatcher.queue;
    let live = live.and_then(|claim| claim.spec.as_ref());
    let (size, class, problem) = possible(queue, live);
    let metadata = match queue.on_delete {
        OnDelete::Retain => owner.kept(claim_name(owner)),
        OnDelete::Delete => owner.metadata(claim_name(owner)),
    };
    let claim = PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: class,
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Amount(size.to_string()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    };
    (claim, problem)
}

/// Size and class that can be asked for: a volume grows and never shrinks, and stays in its class.
fn possible(
    queue: &EmbeddedQueue,
    live: Option<&PersistentVolumeClaimSpec>,
) -> (Quantity, Option<String>, Option<State>) {
    let Some(live) = live else { return (queue.size, queue.storage_class_name.clone(), None) };
    let held = live
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref()?.get("storage"))
        .and_then(|amount| amount.0.parse::<Quantity>().ok());
    let mut problem = None;
    let mut size = queue.size;
    if let Some(held) = held.filter(|held| *held > queue.size) {
        size = held;
        problem = Some(format!(
            "spec.dispatcher.queue.embedded.size: the volume has {held} and volumes do not shrink; write {held} or more."
        ));
    }
    // The cluster's default class is written into a claim that names none.
    if queue.storage_class_name.is_some() && queue.storage_class_name != live.storage_class_name {
        problem = Some(format!(
            "spec.dispatcher.queue.embedded.storageClassName: the volume is of class {:?}, which cannot be changed; \
             write that, or move to a new ChatInstance.",
            live.storage_class_name.as_deref().unwrap_or("")
        ));
    }
    let class = live.storage_class_name.clone().or_else(|| queue.storage_class_name.clone());
    (size, class, problem.map(|sentence| State::no(reason::VOLUME_CANNOT_CHANGE, sentence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(size: &str, class: Option<&str>) -> PersistentVolumeClaimSpec {
        PersistentVolumeClaimSpec {
            storage_class_name: class.map(str::to_owned),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Amount(size.to_owned()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }
    }

    fn queue(size: &str, class: Option<&str>) -> EmbeddedQueue {
        EmbeddedQueue {
            size: size.parse().unwrap(),
            storage_class_name: class.map(str::to_owned),
            on_delete: OnDelete::Retain,
        }
    }

    #[test]
    fn a_volume_grows_and_never_shrinks() {
        let (size, _, problem) = possible(&queue("2Gi", None), Some(&spec("1Gi", Some("fast"))));
        assert_eq!((size.to_string().as_str(), problem), ("2Gi", None));
        let (size, class, problem) = possible(&queue("1Gi", None), Some(&spec("2Gi", Some("fast"))));
        assert_eq!((size.to_string().as_str(), class.as_deref()), ("2Gi", Some("fast")));
        let problem = problem.unwrap();
        assert_eq!(problem.reason, "VolumeCannotChange");
        assert!(problem.message.contains("write 2Gi or more"), "{}", problem.message);
    }

    #[test]
    fn a_volume_stays_in_its_class() {
        let live = spec("1Gi", Some("fast"));
        assert_eq!(possible(&queue("1Gi", Some("fast")), Some(&live)).2, None);
        let (_, class, problem) = possible(&queue("1Gi", Some("slow")), Some(&live));
        assert_eq!(class.as_deref(), Some("fast"));
        assert!(problem.unwrap().message.contains("\"fast\""));
    }
}
