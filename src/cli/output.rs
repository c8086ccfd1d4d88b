//! Results, on standard output.
//!
//! A reader who went away (`chathooks check dir | head`) is no failure: the exit code still tells.

use std::io::{self, Write as _};

/// Writes text to standard output.
pub(super) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes an error to standard error, as clap writes its own.
pub(super) fn print_error(error: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "error: {error}");
}
