//! What an event is: the envelope, names and patterns, the platforms' catalogues, filters.
//!
//! Pure: no IO, no clock, and no knowledge of targets or subscriptions.

pub mod catalogue;
pub mod cloud_events;
pub mod digest;
pub mod envelope;
pub mod filter;
mod json_walk;
pub mod name;
pub mod pattern;
mod raw;
mod record;
pub mod split;

pub use digest::digest;
pub use envelope::{EnvelopeError, Event};
pub use split::split_batch;
