//! The front end that serves a directory of manifests.
//!
//! Reads, watches and reports; has no rules of its own: what a manifest means is said by
//! [`admission`](crate::admission) and [`plan`](crate::plan).

mod admissions;
mod changes;
pub mod data_dir;
pub mod directory;
pub mod folder;
mod generations;
pub mod manifest;
mod platforms;
pub mod secret;
pub mod serve;
pub mod store;
pub mod walk;
pub mod watch;
