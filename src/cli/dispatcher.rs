//! `chathooks dispatcher`: what runs in a ChatInstance's pod.

use std::process::ExitCode;

use super::arguments::{DispatcherArguments, REVISION};
use super::output::print_error;
use super::signals;
use crate::pod::serve::{Options, serve};

/// Serves until SIGTERM or Ctrl-C.
pub(super) async fn run(arguments: DispatcherArguments) -> ExitCode {
    let stop = match signals::stop() {
        Ok(stop) => stop,
        Err(error) => {
            print_error(&error);
            return ExitCode::FAILURE;
        }
    };
    let options = Options {
        namespace: arguments.namespace,
        instance: arguments.instance,
        plan_dir: arguments.plan_dir,
        data_dir: arguments.data_dir,
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        grace: arguments.grace,
        revision: REVISION.to_owned(),
    };
    match serve(options, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}
