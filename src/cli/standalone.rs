//! `chathooks standalone`, and what is said at its start.

use std::process::ExitCode;

use super::arguments::{REVISION, StandaloneArguments};
use super::output::{print, print_error};
use super::signals;
use crate::standalone::serve::{Options, serve};

mod banner;

/// Serves until SIGTERM or Ctrl-C.
pub(super) async fn run(arguments: StandaloneArguments) -> ExitCode {
    let stop = match signals::stop() {
        Ok(stop) => stop,
        Err(error) => {
            print_error(&error);
            return ExitCode::FAILURE;
        }
    };
    let options = Options {
        directory: arguments.directory.clone(),
        secrets_dir: arguments.secrets_dir.clone(),
        data_dir: arguments.data_dir.clone(),
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        grace: arguments.grace,
        revision: REVISION.to_owned(),
    };
    match serve(options, stop, |started| print(&banner::render(&arguments, started))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}
