//! What `chathooks standalone` says once it serves: what was read, where events go in, what to try.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::cli::arguments::{StandaloneArguments, VERSION};
use crate::plan::Verdict;
use crate::standalone::folder::{Fate, Folder};
use crate::standalone::manifest::Kind;
use crate::standalone::serve::Started;

/// Lines of one sort before the rest is counted only.
const SHOWN: usize = 10;

/// The text.
pub(super) fn render(arguments: &StandaloneArguments, started: &Started) -> String {
    let mut text = format!("chathooks {VERSION} serves {}\n\n", arguments.directory.display());
    // Writing to a String cannot fail; so below.
    let _ = writeln!(text, "  read     {}", read(&started.folder));
    section(&mut text, "paused", started.outcome.verdicts.iter().filter_map(paused));
    section(
        &mut text,
        "files",
        started.folder.files().into_iter().map(|file| format!("{}: {}", file.path, file.error)),
    );
    section(
        &mut text,
        "intake",
        intake(started).map(|(instance, url)| format!("{url}   for ChatInstance {instance}")),
    );
    section(
        &mut text,
        "secrets",
        secrets(&arguments.data_dir)
            .into_iter()
            .map(|path| format!("{path}   made by chathooks, not printed")),
    );
    let admin = reachable(started.admin);
    let _ = writeln!(text, "  admin    http://{admin}/v1/status   also /metrics, /readyz, /livez");
    let _ = writeln!(text, "  data     {}", arguments.data_dir.display());
    if let Some((instance, url)) = intake(started).next() {
        let _ = write!(text, "\nSend an event:\n{}", curl(arguments, instance, &url));
    } else {
        text.push_str("\nThere is no ChatInstance yet; add one, it is served within a second.\n");
    }
    text
}

fn read(folder: &Folder) -> String {
    let taken = |kind: Kind| {
        let entries = folder.entries.iter().filter(|entry| !matches!(entry.fate, Fate::Duplicate(_)));
        entries.filter(|entry| entry.object.as_ref().is_some_and(|(known, _)| *known == kind)).count()
    };
    let parts = Kind::ALL.map(|kind| (taken(kind), kind.name()));
    let parts = parts.into_iter().filter(|(count, kind)| *count > 0 || *kind == Kind::ChatInstance.name());
    parts
        .map(|(count, kind)| format!("{count} {kind}{}", if count == 1 { "" } else { "s" }))
        .collect::<Vec<_>>()
        .join(", ")
}

fn section(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    for (index, line) in lines.iter().take(SHOWN).enumerate() {
        let title = if index == 0 { title } else { "" };
        let _ = writeln!(text, "  {title:<8} {}", line.replace('\n', "\n           "));
    }
    if lines.len() > SHOWN {
        let _ = writeln!(text, "           and {} more, see /v1/status", lines.len() - SHOWN);
    }
}

fn paused(verdict: &Verdict) -> Option<String> {
    let finding = [&verdict.accepted, &verdict.resolved_refs].into_iter().find(|finding| !finding.status)?;
    Some(format!("{} {}/{}: {}", verdict.kind, verdict.namespace, verdict.name, finding.message))
}

/// Each instance that takes events, and the address to post them to.
fn intake(started: &Started) -> impl Iterator<Item = (String, String)> + '_ {
    let instances = &started.outcome.plan.instances;
    let several = instances.len() > 1;
    let address = reachable(started.intake);
    instances.iter().filter(|instance| instance.paused.is_none()).map(move |instance| {
        let (namespace, name) = (&instance.namespace, &instance.name);
        let path = if several {
            format!("/v1/instances/{namespace}/{name}/events")
        } else {
            "/v1/events".to_owned()
        };
        (format!("{namespace}/{name}"), format!("http://{address}{path}"))
    })
}

/// Folders of generated Secrets, in order.
fn secrets(data_dir: &Path) -> Vec<String> {
    let root = data_dir.join("secrets");
    let folders = |path: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    folders(&root)
        .iter()
        .flat_map(|namespace| folders(namespace))
        .map(|path| path.display().to_string())
        .collect()
}

fn curl(arguments: &StandaloneArguments, instance: String, url: &str) -> String {
    let token = arguments.data_dir.join("secrets").join(format!("{instance}-intake")).join("token");
    let token = if token.is_file() { format!("$(cat {})", token.display()) } else { "$TOKEN".to_owned() };
    format!(
        "  curl -H \"Authorization: Bearer {token}\" -H 'Content-Type: application/json' \\\n    \
         -d '{{\"id\": \"try-1\", \"event\": \"user.created\", \"created_at\": '$(date +%s)'}}' {url}\n"
    )
}

/// An address that a browser on this machine can open.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}
