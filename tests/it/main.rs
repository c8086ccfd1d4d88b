//! Integration tests, one binary.

mod log_contract;
mod log_faults;
mod log_model;
mod log_sim_disk;
mod log_state_contract;
