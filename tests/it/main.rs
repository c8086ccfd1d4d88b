//! Integration tests, one binary: every further one would cost a link of the whole tree.

// Helpers of tests may fail loudly too; clippy.toml allows that only inside #[test] functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub)]

mod admission;
mod architecture;
mod chart;
mod check;
mod cli;
mod cluster_harness;
mod crd_admission;
mod crds;
mod delivery;
mod durability;
mod examples;
mod filter_golden;
mod intake;
mod log_contract;
mod log_faults;
mod log_model;
mod log_sim_disk;
mod log_state_contract;
mod open_webui;
mod operator;
mod operator_faults;
mod plan_golden;
mod pod;
mod relay_end_to_end;
mod standalone_folder;
mod standard_webhooks_python;
mod support;
