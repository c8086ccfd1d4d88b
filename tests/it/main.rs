//! Integration tests, one binary.

mod crds;
