//! `chathooks check`: every manifest of a folder with its verdict, offline.

use std::process::ExitCode;

use super::arguments::{CheckArguments, CheckOutput};
use super::output::{print, print_error};
use crate::generated::random_value;
use crate::plan::{Inputs, Outcome, SecretInput, compile};
use crate::standalone::directory::Directory;
use crate::standalone::store::Patience;

mod report;
mod text;

use report::Report;

/// Exit code of wrong use.
const WRONG_USE: u8 = 2;

/// Checks and prints.
pub(super) fn run(arguments: &CheckArguments) -> ExitCode {
    for directory in [Some(&arguments.directory), arguments.secrets_dir.as_ref()].into_iter().flatten() {
        if !directory.is_dir() {
            print_error(&format!("{} is not a folder that can be read", directory.display()));
            return ExitCode::from(WRONG_USE);
        }
    }
    let mut directory = Directory::new(arguments.directory.clone(), arguments.secrets_dir.clone());
    directory.look(Patience::AtOnce);
    let folder = directory.folder();
    let outcome = compile_with_placeholders(&folder.inputs);
    let report = Report::new(&folder, &outcome, arguments.allow_missing_refs);
    match arguments.output {
        CheckOutput::Text => print(&text::render(&report, &arguments.directory.display().to_string())),
        CheckOutput::Json => print(&format!("{:#}\n", report.to_json())),
    }
    if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Secrets that chathooks would make count as there.
fn compile_with_placeholders(inputs: &Inputs) -> Outcome {
    let mut outcome = compile(inputs);
    if !outcome.wanted_secrets.is_empty() {
        let mut inputs = inputs.clone();
        for wanted in &outcome.wanted_secrets {
            let key = (wanted.namespace.clone(), wanted.name.clone());
            let secret =
                inputs.secrets.entry(key).or_insert(SecretInput { generated: true, ..Default::default() });
            secret.data.extend(wanted.keys.iter().map(|key| (key.clone(), random_value(key))));
        }
        outcome = compile(&inputs);
    }
    outcome
}
