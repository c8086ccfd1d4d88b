//! chathooks: events of self-hosted chat platforms, declarative, durable and signed.
//!
//! `ARCHITECTURE.md` draws the modules and the rules between them; a test holds those rules.

pub mod admission;
pub mod api;
pub mod board;
pub mod cli;
pub mod controller;
pub mod dispatcher;
pub mod docs;
pub mod egress;
pub mod event;
pub mod generated;
pub mod hex;
pub mod log;
pub mod metrics;
pub mod plan;
pub mod platform;
pub mod pod;
pub mod standalone;
pub mod status;
pub mod telemetry;
pub mod watching;
pub mod yaml;
