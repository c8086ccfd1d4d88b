//! Integration tests, one binary.

mod log_contract;
