//! What an event is: the envelope, names and patterns, the platforms' catalogues, filters.
//!
//! Pure: no IO, no clock, and no knowledge of targets or subscriptions.

pub mod catalogue;
pub mod cloud_events;
pub mod envelope;
pub mod filter;
pub mod pattern;

pub use envelope::{EnvelopeError, Event};
