//! The front end of a dispatcher in a cluster: its plan comes in 16 pieces, mounted and watched.
//!
//! Reads its plan Secrets and writes nothing to Kubernetes. Has no rules of its own.

mod mounted;
mod pieces;
pub mod serve;
mod status;
mod watched;
