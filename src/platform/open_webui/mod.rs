//! Open WebUI, 0.10.0 and later: its HTTP API, what it lets us do, and the relay that sends its events.
//!
//! Must not print what the platform says: its texts stay out of every message.

mod auth;
mod client;
mod functions;
mod keeper;
mod probe;
mod relay;

pub use keeper::{Keeper, PlatformReport, RelayState};
pub use relay::{DesiredRelay, RELAY_SOURCE};
