//! Integration tests, one binary.

mod crds;
mod examples;
mod plan_golden;
