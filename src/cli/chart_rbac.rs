//! `chathooks chart-rbac`, for `make generate`.

use std::process::ExitCode;

use super::output::{print, print_error};
use crate::controller::rbac;

/// Prints the operator's rules as the chart reads them.
pub(super) fn run() -> ExitCode {
    match rbac::print() {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            print_error(&format!("the rules cannot be written as YAML: {error}"));
            ExitCode::FAILURE
        }
    }
}
