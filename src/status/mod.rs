//! From what was found and what was observed to the conditions that people read. Pure: no IO, no clock.
//!
//! The operator and `standalone` both report through this, so that the same state reads the same everywhere.

pub mod observed;
