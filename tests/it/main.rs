//! Integration tests, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail"
)]

mod log_contract;
mod log_faults;
mod log_model;
mod log_sim_disk;
mod log_state_contract;
