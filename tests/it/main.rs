//! Integration tests, one binary: every further one would cost a link of the whole tree.

mod crds;
mod log_contract;
