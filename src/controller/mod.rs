//! The operator: from objects in the Kubernetes API to dispatchers, platforms and status.
pub mod leader;
pub mod rbac;
