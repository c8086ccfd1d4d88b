//! Tells the binary what it was built from: the commit and its date, if this is a clone.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Only what exists: a path that does not would run this with every build.
    for path in [".git/HEAD", ".git/logs/HEAD"] {
        if std::path::Path::new(path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    println!("cargo:rerun-if-env-changed=CHATHOOKS_REVISION");
    // Builds from an archive say it themselves.
    let revision =
        std::env::var("CHATHOOKS_REVISION").ok().or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    let date = git(&["show", "--no-patch", "--format=%cs", "HEAD"]);
    println!("cargo:rustc-env=CHATHOOKS_REVISION={}", revision.unwrap_or_default());
    println!("cargo:rustc-env=CHATHOOKS_DATE={}", date.unwrap_or_default());
}

/// What git says, `None` without git or without a clone.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
