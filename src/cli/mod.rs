//! The command line: parses, wires, prints. Decides nothing about events or manifests.

use std::process::ExitCode;

use clap::Parser as _;

mod arguments;
mod chart_rbac;
mod check;
mod crds;
mod demo;
mod dispatcher;
mod docs;
mod operator;
mod output;
mod signals;
mod standalone;

use arguments::{Arguments, Command};

/// Exit code of wrong use, as clap has it.
const WRONG_USE: u8 = 2;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = crate::telemetry::start(arguments.log_format.into(), arguments.log_level.as_deref()) {
        output::print_error(&format!(
            "--log-level or RUST_LOG cannot be read: {error}; write error, warn, info, debug or trace"
        ));
        return ExitCode::from(WRONG_USE);
    }
    match arguments.command {
        Command::Check(check) => check::run(&check),
        Command::Crds => crds::run(),
        Command::ChartRbac => chart_rbac::run(),
        Command::Docs { page } => docs::run(page),
        Command::Standalone(options) => block_on(standalone::run(options)),
        Command::Operator(options) => block_on(operator::run(options)),
        Command::Dispatcher(options) => block_on(dispatcher::run(options)),
        Command::Demo(options) => block_on(async move {
            demo::run(options.once).await.unwrap_or_else(|error| {
                output::print_error(&error);
                ExitCode::FAILURE
            })
        }),
    }
}

fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            output::print_error(&format!("the process could not start its threads: {error}"));
            ExitCode::FAILURE
        }
    }
}
