//! Logs: to standard error, as text for people or as JSON for machines.
//!
//! Must not write to standard output, which is for results.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::{EnvFilter, LevelFilter, ParseError};
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// They warn at every failed try of a watch; whoever watches says it once. May be overridden by name.
const LIBRARIES: &str = "kube_runtime=error,kube_client=error";

/// Begins to log. `filter` is a level (`info`) or directives (`info,chathooks::dispatcher=debug`); without one,
/// `RUST_LOG` decides, else `info`.
pub fn start(format: Format, filter: Option<&str>) -> Result<(), ParseError> {
    let from_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let directives = filter.or(from_environment.as_deref()).filter(|text| !text.trim().is_empty());
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(format!("{LIBRARIES},{}", directives.unwrap_or("info")))?;
    let terminal = io::stderr().is_terminal();
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        Format::Text => builder.with_ansi(terminal).with_target(false).finish().try_init(),
        Format::Auto if terminal => builder.with_target(false).finish().try_init(),
        Format::Json | Format::Auto => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .try_init(),
    };
    // A second start changes nothing: the first one stays.
    drop(started);
    Ok(())
}
