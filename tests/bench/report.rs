//! The Markdown table, its place in a file, and the faults that make a measurement fail.

use std::fmt::Write as _;
use std::path::Path;

use crate::Result;
use crate::compare::Comparison;
use crate::figures::Figures;
use crate::machine::Machine;
use crate::shape::Name;

/// The measured section lies between these lines.
const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Share of the reference that single events should reach first.
const FIRST_MARK: f64 = 0.25;

/// Everything one invocation saw.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    /// The generator straight into the receiver.
    pub(crate) rig: Figures,
    pub(crate) comparisons: Vec<Comparison>,
}

impl Report {
    /// The measured section.
    pub(crate) fn to_markdown(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "Measured {} at commit `{}` with `{}`.\n\
             Machine: {}, {} GiB, Linux {}; an fdatasync of 11 KB takes {:.2} ms.\n\n",
            machine.date,
            machine.commit,
            self.command,
            machine.processor,
            machine.memory,
            machine.kernel,
            machine.sync_millis
        );
        text.push_str(
            "| shape | system | accepted/s | delivered/s | ratio | accept p50 / p99 ms | publish to receiver p50 / p99 ms \
             | CPU s per 1,000 events | peak memory MiB | lost | duplicates |\n\
             | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        );
        row(&mut text, "rig alone", "none", &self.rig, None);
        for comparison in &self.comparisons {
            let title = comparison.shape.title;
            row(&mut text, title, "nginx", &comparison.reference(), Some(1.0));
            if let Some(product) = comparison.product() {
                row(&mut text, title, "chathooks", &product, Some(comparison.ratio()));
            }
        }
        text.push('\n');
        for comparison in &self.comparisons {
            note(&mut text, comparison);
        }
        text
    }

    /// How single events stand to the first mark, where both were measured.
    pub(crate) fn first_mark(&self) -> Option<String> {
        let single = self.comparisons.iter().find(|comparison| comparison.shape.name == Name::Single)?;
        single.product()?;
        let ratio = single.ratio();
        let verdict = if ratio >= FIRST_MARK { "reached" } else { "not reached" };
        Some(format!("first mark, {FIRST_MARK} of the reference for single events: {ratio:.2}, {verdict}"))
    }

    /// What must not happen to an event that was accepted.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for comparison in &self.comparisons {
            let Some(product) = comparison.product() else { continue };
            let title = comparison.shape.title;
            if product.accepted == 0 {
                faults.push(format!("{title}: nothing was accepted"));
            }
            if product.lost > 0 {
                faults.push(format!("{title}: {} deliveries of accepted events never came", product.lost));
            }
            if product.bad_signatures > 0 {
                faults.push(format!("{title}: {} deliveries had no valid signature", product.bad_signatures));
            }
        }
        faults
    }
}

fn row(text: &mut String, shape: &str, system: &str, figures: &Figures, ratio: Option<f64>) {
    let dash = || "–".to_owned();
    let ratio = ratio.map_or_else(dash, |ratio| format!("{ratio:.2}"));
    // The rig alone has no process of its own.
    let (cpu, memory) = if figures.memory > 0.0 {
        (format!("{:.3}", figures.cpu_per_thousand), format!("{:.0}", figures.memory))
    } else {
        (dash(), dash())
    };
    let _ = writeln!(
        text,
        "| {shape} | {system} | {} | {} | {ratio} | {:.2} / {:.2} | {:.2} / {:.2} | {cpu} | {memory} | {} | {} |",
        thousands(figures.accepted_per_second),
        thousands(figures.delivered_per_second),
        figures.accept_p50,
        figures.accept_p99,
        figures.deliver_p50,
        figures.deliver_p99,
        figures.lost,
        figures.duplicates
    );
}

/// What the rows of a shape leave out.
fn note(text: &mut String, comparison: &Comparison) {
    let references = comparison.pairs.iter().map(|(reference, _)| thousands(reference.delivered_per_second));
    let references: Vec<String> = references.collect();
    let products = comparison.pairs.iter().filter_map(|(_, product)| product.as_ref());
    let products: Vec<String> = products.map(|product| thousands(product.delivered_per_second)).collect();
    let _ = write!(
        text,
        "- {}: deliveries a second by run: nginx {}",
        comparison.shape.title,
        references.join(", ")
    );
    if let Some(product) = comparison.product() {
        let _ = write!(text, "; chathooks {}", products.join(", "));
        let _ = write!(text, "; {} signatures checked, {} bad", product.signatures, product.bad_signatures);
        if product.refused + product.broken > 0 {
            let _ = write!(text, "; {} requests refused, {} unanswered", product.refused, product.broken);
        }
    }
    if comparison.discarded > 0 {
        let _ = write!(
            text,
            "; pairs measured again because nginx strayed by more than 10 %: {}",
            comparison.discarded
        );
    }
    if comparison.drifted {
        text.push_str(
            "; **the reference still drifts by more than 10 %: trust the ratio no further than that**",
        );
    }
    text.push_str(".\n");
}

/// A rate without decimals, with commas.
fn thousands(rate: f64) -> String {
    let digits = format!("{rate:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Puts `section` between the two marker lines of a file.
pub(crate) fn replace_section(path: &Path, section: &str) -> Result<()> {
    let text = std::fs::read_to_string(path)?;
    let missing = || format!("{} has no lines `{BEGIN}` and `{END}` in this order", path.display());
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    std::fs::write(path, format!("{before}{BEGIN}\n{section}{END}{after}"))?;
    Ok(())
}
