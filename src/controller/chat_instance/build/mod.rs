//! What a ChatInstance wants of the cluster. Pure: no client, no clock.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use kube::api::ObjectMeta;

use crate::api::ChatInstance;
use crate::controller::stores::INSTANCE;
use crate::plan::Key;
use crate::plan::children::{child, dispatcher_name};

pub mod access;
pub mod plan_secrets;
pub mod service;
pub mod stateful_set;
pub mod volume_claim;

/// Longest value of a label.
const MAX_LABEL: usize = 63;

/// What is made for an instance carries.
pub struct Owner<'a> {
    /// The instance.
    pub instance: &'a ChatInstance,
    /// Its namespace and name.
    pub key: &'a Key,
}

impl Owner<'_> {
    /// Name of the dispatcher and all that belongs to it.
    pub fn dispatcher(&self) -> String {
        dispatcher_name(&self.key.1)
    }

    /// Labels that select the dispatcher's pods; they never change.
    pub fn selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/name".to_owned(), "chathooks".to_owned()),
            ("app.kubernetes.io/instance".to_owned(), child(&self.key.1, "", MAX_LABEL)),
            ("app.kubernetes.io/component".to_owned(), "dispatcher".to_owned()),
        ])
    }

    /// Labels of everything.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/managed-by".into(), "chathooks-operator".into());
        labels.insert("app.kubernetes.io/part-of".into(), "chathooks".into());
        labels
    }

    /// Metadata of an object that goes with the instance.
    pub fn metadata(&self, name: String) -> ObjectMeta {
        ObjectMeta { owner_references: Some(vec![self.reference()]), ..self.kept(name) }
    }

    /// Metadata of an object that stays when the instance goes.
    pub fn kept(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.key.0.clone()),
            labels: Some(self.labels()),
            annotations: Some(BTreeMap::from([(INSTANCE.to_owned(), self.key.1.clone())])),
            ..ObjectMeta::default()
        }
    }

    fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: ChatInstance::api_version(&()).into_owned(),
            kind: ChatInstance::kind(&()).into_owned(),
            name: self.key.1.clone(),
            uid: self.instance.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}
