//! The custom resources as Rust types, from which `crds/` is printed.
//!
//! Everything admission can judge stands here, in the schema or as a CEL rule. No IO, and nothing of what a
//! resource means to a dispatcher: that is [`plan`](crate::plan).

// `KubeSchema` copies each struct, `pub` and all, into the function that makes its schema.
#![allow(unreachable_pub)]
// Printer columns repeat their types and priorities.
#![allow(clippy::duplicated_attributes)]

pub mod chat_instance;
pub mod common;
pub mod conditions;
pub mod crds;
mod rules;
pub mod webhook_subscription;

pub use chat_instance::{ChatInstance, ChatInstanceSpec, ChatInstanceStatus};
pub use common::{ConfigMapKeyRef, Duration, Quantity, SecretKeyRef, SecretSource};
pub use webhook_subscription::{WebhookSubscription, WebhookSubscriptionSpec, WebhookSubscriptionStatus};

/// API group of every kind.
pub const GROUP: &str = "chathooks.dev";

/// The version this crate reads and prints.
pub const VERSION: &str = "v1alpha1";
