//! `chathooks crds`.

use std::process::ExitCode;

use super::output::{print, print_error};
use crate::api::crds;

/// Prints every definition as one YAML stream.
pub(super) fn run() -> ExitCode {
    match crds::print() {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            print_error(&format!("the definitions cannot be written as YAML: {error}"));
            ExitCode::FAILURE
        }
    }
}
