//! The custom resources, as Rust types from which `crds/` is printed. No IO.

/// stub
#[derive(Clone, Debug)]
pub struct ChatInstance {}
/// stub
#[derive(Clone, Debug)]
pub struct WebhookSubscription {}
