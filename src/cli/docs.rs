//! `chathooks docs PAGE`, for `make generate`.

use std::process::ExitCode;

use super::arguments::Page;
use super::output::print;
use crate::api::crds;
use crate::docs::{api_reference, conditions};

/// Prints one generated page of `docs/`.
pub(super) fn run(page: Page) -> ExitCode {
    print(&match page {
        Page::Api => api_reference::print(&crds::all()),
        Page::Conditions => conditions::print(conditions::SOURCE),
    });
    ExitCode::SUCCESS
}
