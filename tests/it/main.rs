//! Integration tests, one binary.

mod intake;
