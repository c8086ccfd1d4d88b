//! Integration tests, one binary.

mod intake;
mod log_contract;
mod log_state_contract;
