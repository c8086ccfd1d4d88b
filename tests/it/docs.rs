//! The generated pages of `docs/` are what the code says, and no page leads to a file that is not there.

use std::path::{Path, PathBuf};

use chathooks::api::crds;
use chathooks::docs::{api_reference, conditions};
use regex::Regex;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_committed_pages_are_what_the_code_prints() {
    for (name, printed) in [
        ("api.md", api_reference::print(&crds::all())),
        ("conditions.md", conditions::print(conditions::SOURCE)),
    ] {
        let path = root().join("docs").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &printed).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == printed, "docs/{name} is out of date: run `make generate`");
    }
}

#[test]
fn every_reason_is_in_the_page() {
    let page = conditions::print(conditions::SOURCE);
    for reason in ["Accepted", "SecretPending", "VolumeCannotChange", "RelaySilent", "NotProbed", "Gone"] {
        assert!(page.contains(&format!("| `{reason}` |")), "{reason} is missing");
    }
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)#\s]+)(?:#[^)]*)?\)").unwrap();
    let mut pages = Vec::new();
    for folder in [root(), root().join("docs"), root().join("docs/decisions")] {
        pages.extend(
            std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|ending| ending == "md")),
        );
    }
    assert!(pages.len() >= 10, "{pages:?}");
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for found in link.captures_iter(&text) {
            let target = &found[1];
            if !target.contains("://") {
                let path = page.parent().unwrap_or(Path::new("")).join(target);
                assert!(path.exists(), "{} links to {target}, which is not there", page.display());
            }
        }
    }
}
