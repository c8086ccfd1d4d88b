//! From a planned target and an event to a request: one file per kind of target. No retry and no state in here.

pub mod http;
