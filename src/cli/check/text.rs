//! The report for people: one line an object, its sentences below it, a count at the end.

use super::report::{Level, Line, Report};

/// Longest place that others are aligned with, in characters.
const WIDEST_PLACE: usize = 40;

/// Before a sentence below its object.
const INDENT: &str = "           ";

/// The report as text; `directory` is what was asked for.
pub(super) fn render(report: &Report, directory: &str) -> String {
    let widths = report.lines.iter().map(|line| place(line).chars().count());
    let width = widths.filter(|width| *width <= WIDEST_PLACE).max().unwrap_or_default();
    let mut text = String::new();
    for line in &report.lines {
        text.push_str(&render_line(line, width));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&count(report, directory));
    text
}

fn place(line: &Line) -> String {
    line.place.to_string()
}

fn render_line(line: &Line, width: usize) -> String {
    let word = match line.verdict {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Error => "error",
        Level::Ignored => "ignored",
    };
    let what = match (line.kind, &line.namespace, &line.name) {
        (Some(kind), Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        // What cannot be named has one sentence, which stands here.
        _ => return format!("{word:<8} {:<width$}  {}\n", place(line), one_line(line)),
    };
    let mut text = format!("{word:<8} {:<width$}  {what}\n", place(line));
    for sentence in &line.problems {
        text.push_str(&indented("", sentence));
    }
    let mark = if line.verdict == Level::Error { "warning: " } else { "" };
    for sentence in &line.warnings {
        text.push_str(&indented(mark, sentence));
    }
    text
}

fn one_line(line: &Line) -> String {
    line.problems.iter().chain(&line.warnings).cloned().collect::<Vec<_>>().join("; ")
}

fn indented(mark: &str, sentence: &str) -> String {
    let mut text = String::new();
    for (index, part) in sentence.lines().enumerate() {
        text.push_str(INDENT);
        text.push_str(if index == 0 { mark } else { "" });
        text.push_str(part);
        text.push('\n');
    }
    text
}

fn count(report: &Report, directory: &str) -> String {
    let [ok, warnings, errors] = [Level::Ok, Level::Warning, Level::Error].map(|level| report.count(level));
    let objects = ok + warnings + errors;
    if objects == 0 && report.unreadable() == 0 {
        return format!("no objects: {directory} holds no manifests (*.yaml, *.yml, *.json) for chathooks\n");
    }
    let counts = [(ok, "ok"), (warnings, "with warnings"), (errors, "with errors")];
    let parts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let mut text = plural(objects, "object");
    for (index, part) in parts.enumerate() {
        text.push_str(if index == 0 { ": " } else { ", " });
        text.push_str(&part);
    }
    if report.unreadable() > 0 {
        text.push_str("; ");
        text.push_str(&plural(report.unreadable(), "file"));
        text.push_str(" cannot be read");
    }
    text.push('\n');
    text
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("{count} {noun}") } else { format!("{count} {noun}s") }
}
