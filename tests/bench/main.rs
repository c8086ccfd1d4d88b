//! `make bench`: how many events a second chathooks takes and delivers, beside nginx as a bare reverse proxy.
//!
//! Generator, receiver, product and reference share one machine, so a figure means something only next to the
//! reference of the same session: runs of both take turns, and a pair whose reference strayed is run again.
//! This is a measuring tool. It must not link anything of the product: it starts the binary that users start.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]
#![allow(clippy::indexing_slicing, reason = "stops at once where its own arithmetic is wrong")]

mod client;
mod compare;
mod envelope;
mod figures;
mod http;
mod ledger;
mod load;
mod machine;
mod receiver;
mod report;
mod run;
mod shape;
mod systems;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::compare::Comparison;
use crate::receiver::Receiver;
use crate::shape::Shape;
use crate::systems::Bench;

/// Whatever stops a measurement, as a sentence.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures chathooks against nginx as a bare reverse proxy, on this machine.
#[derive(Debug, Parser)]
#[command(name = "throughput", version)]
struct Options {
    /// Shapes to measure; all of them when none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    shape: Vec<shape::Name>,
    /// Seconds of load in each run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// Pairs of runs (reference, then chathooks) for each shape.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=25))]
    runs: u64,
    /// Replace the measured section of this Markdown file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// The binary to measure.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_chathooks"))]
    binary: PathBuf,
    /// Leave chathooks out: shows what the rig itself can do.
    #[arg(long)]
    reference_only: bool,
    /// Cargo passes this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // One thread: two would take a second core from what is measured, and both ends meet in one process anyway.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure(&options))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, prints and writes what was asked for; false when something accepted was lost.
async fn measure(options: &Options) -> Result<bool> {
    let receiver = Receiver::start().await?;
    let bench = Bench::prepare(&options.binary, receiver.address())?;
    let load = Duration::from_secs(options.seconds);
    let names = if options.shape.is_empty() { shape::Name::ALL.to_vec() } else { options.shape.clone() };

    eprintln!("rig alone: generator straight to the receiver");
    let rig = run::measure(&bench.direct(), &receiver, &Shape::of(shape::Name::Single), load).await?;
    eprintln!("  {rig}");

    let mut comparisons: Vec<Comparison> = Vec::new();
    for name in names {
        let shape = Shape::of(name);
        comparisons.push(compare::compare(&bench, &receiver, shape, load, options).await?);
    }

    let report = report::Report {
        machine: machine::describe(bench.work_dir())?,
        command: command_line(),
        rig,
        comparisons,
    };
    let text = report.to_markdown();
    println!("{text}");
    if let Some(path) = &options.write {
        report::replace_section(path, &text)?;
        eprintln!("wrote {}", path.display());
    }
    if let Some(line) = report.first_mark() {
        eprintln!("{line}");
    }
    let faults = report.faults();
    for fault in &faults {
        eprintln!("FAULT {fault}");
    }
    Ok(faults.is_empty())
}

/// The command as a reader would type it.
fn command_line() -> String {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    format!("cargo bench --bench throughput -- {}", args.join(" ")).trim_end_matches(" -- ").to_owned()
}
