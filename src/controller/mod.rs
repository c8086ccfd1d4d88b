//! The operator: from objects in the Kubernetes API to dispatchers, platforms and status.
//!
//! Every replica watches; only the one that holds the Lease writes. Must not contain rules of its own about what a
//! manifest means: those are in [`plan`](crate::plan).

pub mod admin;
pub mod amounts;
pub mod chat_instance;
pub mod context;
pub mod dirty;
pub mod drive;
pub mod ensure;
pub mod error;
pub mod events;
pub mod families;
pub mod follow;
pub mod leader;
pub mod memory;
pub mod metrics;
pub mod observations;
pub mod observe;
pub mod rbac;
pub mod references;
pub mod report;
pub mod secrets;
pub mod serve;
pub mod start;
pub mod stores;
pub mod webhook_subscription;
pub mod write;

pub use serve::{OperatorError, Options, serve};
