//! `chathooks standalone`: signals, and what is said at the start.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::{REVISION, StandaloneArguments};
use super::output::{print, print_error};
use crate::standalone::serve::{Options, serve};

mod banner;

/// Exit code after a second signal, as shells report an interrupt.
const INTERRUPTED: i32 = 130;

/// Serves until SIGTERM or Ctrl-C.
pub(super) async fn run(arguments: StandaloneArguments) -> ExitCode {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                print_error(&format!("signals cannot be waited for: {error}"));
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
    let stop = async move {
        either(&mut terminate, &mut interrupt).await;
        // Whoever asks twice does not want to wait; what is under way is delivered again after the next start.
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            std::process::exit(INTERRUPTED);
        });
    };
    match serve(options, stop, |started| print(&banner::render(&arguments, started))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
