//! Integration tests, one binary: every further one would cost a link of the whole tree.

// Helpers outside `#[test]` functions may fail a test as the tests themselves do.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod crds;
mod examples;
mod intake;
mod log_contract;
mod log_state_contract;
mod plan_golden;
