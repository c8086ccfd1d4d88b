//! `chathooks operator`: what runs in the operator's Deployment.

use std::process::ExitCode;

use super::arguments::{OperatorArguments, REVISION};
use super::output::print_error;
use super::signals;
use crate::controller::{Options, serve};

/// Runs until SIGTERM or Ctrl-C.
pub(super) async fn run(arguments: OperatorArguments) -> ExitCode {
    let stop = match signals::stop() {
        Ok(stop) => stop,
        Err(error) => {
            print_error(&error);
            return ExitCode::FAILURE;
        }
    };
    let options = Options {
        namespace: arguments.namespace,
        watch_namespaces: arguments.watch_namespace,
        lease_name: arguments.lease_name,
        identity: arguments.identity,
        admin_listen: arguments.admin_listen,
        image: arguments.image,
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
