//! The directory as it is read and read again: manifests, and mounted Secrets beside them.

use std::path::{Path, PathBuf};

use super::folder::{Folder, Memory, Read, SecretFile, compose};
use super::secret;
use super::store::{Patience, Reading, Store};
use crate::yaml::{self, Document};

/// A directory of manifests with what is remembered of it.
#[derive(Debug)]
pub struct Directory {
    manifests: Store<Vec<Document>>,
    secrets: Option<Store<Vec<u8>>>,
    memory: Memory,
}

impl Directory {
    /// Nothing is read before the first [`Directory::look`]. `secrets_dir` holds `<namespace>/<name>/<key>`.
    pub fn new(manifests: PathBuf, secrets_dir: Option<PathBuf>) -> Self {
        let secrets = secrets_dir.map(|dir| Store::new(dir, Reading { wanted: is_secret_key, parse: value }));
        Self {
            manifests: Store::new(manifests, Reading { wanted: is_manifest, parse: documents }),
            secrets,
            memory: Memory::default(),
        }
    }

    /// Reads what has changed; says whether anything has.
    pub fn look(&mut self, patience: Patience) -> bool {
        let manifests = self.manifests.look(patience);
        let secrets = self.secrets.as_mut().is_some_and(|secrets| secrets.look(patience));
        manifests || secrets
    }

    /// What was read last.
    pub fn folder(&mut self) -> Folder {
        let unreadable = self.manifests.errors().into_iter().map(|(path, error)| (text(&path), error));
        let unreadable = unreadable.collect();
        let mut unreadable_secrets = Vec::new();
        let mut secret_files = Vec::new();
        if let Some(secrets) = &self.secrets {
            unreadable_secrets.extend(
                secrets
                    .errors()
                    .into_iter()
                    .map(|(path, error)| (format!("--secrets-dir {}", text(&path)), error)),
            );
            secret_files =
                secrets.contents().map(|(path, value)| SecretFile { path: text(path), value }).collect();
        }
        let documents =
            self.manifests.contents().map(|(path, documents)| (text(path), documents.as_slice())).collect();
        compose(&Read { documents, unreadable, secret_files, unreadable_secrets }, &mut self.memory)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    // Kustomize's own file often has neither apiVersion nor kind.
    let kustomize = path.file_stem().is_some_and(|stem| stem == "kustomization");
    matches!(extension, Some("yaml" | "yml" | "json")) && !kustomize
}

fn is_secret_key(path: &Path) -> bool {
    path.components().count() == 3
}

fn documents(bytes: Vec<u8>) -> Result<Vec<Document>, String> {
    let text =
        String::from_utf8(bytes).map_err(|_| "this file is not UTF-8 text; save it as UTF-8".to_owned())?;
    yaml::documents(&text).map_err(|error| match error.line {
        0 => format!("this file is not YAML: {}", error.sentence),
        _ => format!("this file is not YAML: {error}"),
    })
}

fn value(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if bytes.len() > secret::MAX_BYTES {
        return Err("this key is larger than 1 MiB, the most a Secret holds".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::standalone::folder::FileReport;

    #[test]
    fn what_is_no_text_or_no_yaml_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), [0xff, 0xfe, b'a', 0]).unwrap();
        fs::write(dir.path().join("b.json"), "{\"a\": [1,\n").unwrap();
        fs::write(dir.path().join("kustomization.yaml"), "resources: [a.yaml]").unwrap();
        let mut directory = Directory::new(dir.path().to_owned(), None);
        directory.look(Patience::AtOnce);
        let files = directory.folder().files();
        let expected =
            |path: &str, error: &str| FileReport { path: path.to_owned(), error: error.to_owned() };
        assert_eq!(files[0], expected("a.yaml", "this file is not UTF-8 text; save it as UTF-8"));
        assert_eq!(files[1].path, "b.json");
        assert!(files[1].error.starts_with("this file is not YAML: line "), "{}", files[1].error);
        assert_eq!(files.len(), 2);
    }
}
