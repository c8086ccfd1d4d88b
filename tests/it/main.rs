//! Integration tests, one binary: every further one would cost a link of the whole tree.

mod architecture;
mod crds;
mod delivery;
mod durability;
mod log_contract;
mod standard_webhooks_python;
mod support;
