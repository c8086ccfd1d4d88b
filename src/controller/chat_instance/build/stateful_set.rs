//! The dispatcher's StatefulSet: one pod, restricted, that starts from its mounted plan.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, ContainerPort, HTTPGetAction, KeyToPath, LocalObjectReference,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretProjection, SecurityContext,
    Toleration, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;

use super::Owner;
use super::service::{ADMIN, ADMIN_PORT, INTAKE, INTAKE_PORT};
use super::volume_claim::claim_name;
use crate::api::chat_instance::{PodTemplate, Resources};
use crate::controller::error::Error;
use crate::plan::shards::{SECRET_KEY, SHARDS, secret_name};

/// Where the pieces of the plan are mounted: `<n>/plan`.
const PLAN_DIR: &str = "/etc/chathooks/plan";

/// Where the volume is mounted.
const DATA_DIR: &str = "/var/lib/chathooks";

/// The user and group that everything runs as.
const USER: i64 = 65532;

/// Seconds that a pod has to end; the process itself takes 20 at most.
const GRACE_SECONDS: i64 = 30;

/// The dispatcher.
pub fn stateful_set(owner: &Owner<'_>, image: &str) -> Result<StatefulSet, Error> {
    let spec = &owner.instance.spec.dispatcher;
    Ok(StatefulSet {
        metadata: owner.metadata(owner.dispatcher()),
        spec: StatefulSetSpec {
            replicas: Some(spec.replicas),
            service_name: Some(owner.dispatcher()),
            selector: LabelSelector { match_labels: Some(owner.selector()), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(pod_metadata(owner, &spec.pod_template)),
                spec: Some(pod(owner, image)?),
            },
            ..StatefulSetSpec::default()
        },
        ..StatefulSet::default()
    })
}

fn pod_metadata(owner: &Owner<'_>, template: &PodTemplate) -> ObjectMeta {
    let mut labels = template.labels.clone();
    labels.extend(owner.labels());
    ObjectMeta {
        labels: Some(labels),
        annotations: (!template.annotations.is_empty()).then(|| template.annotations.clone()),
        ..ObjectMeta::default()
    }
}

fn pod(owner: &Owner<'_>, image: &str) -> Result<PodSpec, Error> {
    let spec = &owner.instance.spec.dispatcher;
    let template = &spec.pod_template;
    let pull_secrets: Vec<_> = template
        .image_pull_secrets
        .iter()
        .map(|one| LocalObjectReference { name: one.name.clone() })
        .collect();
    Ok(PodSpec {
        service_account_name: Some(owner.dispatcher()),
        // The dispatcher follows its plan Secrets by name.
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(owner, image)],
        volumes: Some(volumes(owner)),
        node_selector: (!template.node_selector.is_empty()).then(|| template.node_selector.clone()),
        tolerations: some(tolerations(template)?),
        affinity: affinity(template)?,
        image_pull_secrets: some(pull_secrets),
        ..PodSpec::default()
    })
}

fn container(owner: &Owner<'_>, image: &str) -> Container {
    let args = [
        "dispatcher",
        "--namespace",
        &owner.key.0,
        "--instance",
        &owner.key.1,
        "--plan-dir",
        PLAN_DIR,
        "--data-dir",
        DATA_DIR,
        "--listen",
        &format!("0.0.0.0:{INTAKE_PORT}"),
        "--admin-listen",
        &format!("0.0.0.0:{ADMIN_PORT}"),
    ];
    let port = |name: &str, port: i32| ContainerPort {
        name: Some(name.into()),
        container_port: port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    };
    let mount = |name: &str, path: &str, read_only: Option<bool>| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only,
        ..VolumeMount::default()
    };
    Container {
        name: "dispatcher".into(),
        image: Some(image.into()),
        args: Some(args.map(str::to_owned).to_vec()),
        ports: Some(vec![port(INTAKE, INTAKE_PORT), port(ADMIN, ADMIN_PORT)]),
        volume_mounts: Some(vec![mount("data", DATA_DIR, None), mount("plan", PLAN_DIR, Some(true))]),
        resources: resources(&owner.instance.spec.dispatcher.resources),
        // Reading the log back after a crash may take a while; nobody may be shot for it.
        startup_probe: Some(Probe { failure_threshold: Some(120), ..probe("/livez", 5) }),
        liveness_probe: Some(probe("/livez", 10)),
        readiness_probe: Some(probe("/readyz", 2)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String(ADMIN.into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

fn volumes(owner: &Owner<'_>) -> Vec<Volume> {
    // Optional: the pod starts with what there is, and waits for the rest by watching.
    let piece = |index: u8| VolumeProjection {
        secret: Some(SecretProjection {
            name: secret_name(&owner.key.1, index),
            optional: Some(true),
            items: Some(vec![KeyToPath {
                key: SECRET_KEY.into(),
                path: format!("{index}/{SECRET_KEY}"),
                ..KeyToPath::default()
            }]),
        }),
        ..VolumeProjection::default()
    };
    vec![
        Volume {
            name: "data".into(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(owner),
                read_only: None,
            }),
            ..Volume::default()
        },
        Volume {
            name: "plan".into(),
            projected: Some(ProjectedVolumeSource {
                default_mode: Some(0o440),
                sources: Some((0..SHARDS).map(piece).collect()),
                ..ProjectedVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]
}

fn resources(wanted: &Resources) -> Option<ResourceRequirements> {
    let amounts = |map: &BTreeMap<String, crate::api::chat_instance::Amount>| {
        (!map.is_empty())
            .then(|| map.iter().map(|(name, amount)| (name.clone(), Amount(amount.0.clone()))).collect())
    };
    (!wanted.is_empty()).then(|| ResourceRequirements {
        requests: amounts(&wanted.requests),
        limits: amounts(&wanted.limits),
        ..ResourceRequirements::default()
    })
}

fn tolerations(template: &PodTemplate) -> Result<Vec<Toleration>, Error> {
    convert("spec.dispatcher.podTemplate.tolerations", &template.tolerations)
}

fn affinity(template: &PodTemplate) -> Result<Option<Affinity>, Error> {
    template
        .affinity
        .as_ref()
        .map(|wanted| convert("spec.dispatcher.podTemplate.affinity", wanted))
        .transpose()
}

/// What is written as in a pod's spec, as that type.
fn convert<T: serde::de::DeserializeOwned>(field: &str, wanted: &impl serde::Serialize) -> Result<T, Error> {
    let value = serde_json::to_value(wanted).map_err(|error| Error::Build(format!("{field}: {error}.")))?;
    serde_json::from_value(value)
        .map_err(|error| Error::Build(format!("{field}: {error}; write it as in a pod's spec.")))
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
