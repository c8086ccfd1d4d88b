//! The last good content of every file of a directory.
//!
//! Knows nothing of what is in the files. A file whose new content cannot be used, or a folder that cannot be
//! listed now, leaves what was there in force: only a file that is seen to be gone is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::walk::{Fingerprint, Trouble, walk};

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of all files together.
pub const MAX_TOTAL_BYTES: u64 = 256 * 1024 * 1024;

/// Whether a change counts at once or when two looks in a row have seen the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// At the start, and where nothing is written meanwhile.
    AtOnce,
    /// An editor truncates and fills, or removes and renames: what lies between is nobody's intent.
    Settled,
}

/// How files of one kind are recognised and read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<T> {
    /// Whether a file counts, by its path below the root.
    pub wanted: fn(&Path) -> bool,
    /// What its bytes say; the error is a sentence.
    pub parse: fn(Vec<u8>) -> Result<T, String>,
}

/// A directory's files.
#[derive(Debug)]
pub struct Store<T> {
    root: PathBuf,
    reading: Reading<T>,
    files: BTreeMap<PathBuf, Held<T>>,
    /// Bytes of all files that are held.
    bytes: u64,
    troubles: Vec<Trouble>,
    seen: BTreeMap<PathBuf, Fingerprint>,
}

#[derive(Debug)]
struct Held<T> {
    fingerprint: Fingerprint,
    bytes: u64,
    content: Option<T>,
    error: Option<String>,
}

impl<T> Store<T> {
    /// Nothing is read yet.
    pub fn new(root: PathBuf, reading: Reading<T>) -> Self {
        Self { root, reading, files: BTreeMap::new(), bytes: 0, troubles: Vec::new(), seen: BTreeMap::new() }
    }

    /// Looks at the directory and reads what has changed; says whether anything is different from before.
    pub fn look(&mut self, patience: Patience) -> bool {
        let walk = walk(&self.root, self.reading.wanted);
        let seen: BTreeMap<PathBuf, Fingerprint> =
            walk.files.into_iter().map(|file| (file.path, file.fingerprint)).collect();
        let before = std::mem::replace(&mut self.seen, seen);
        let mut changed = self.troubles != walk.troubles;
        self.troubles = walk.troubles;

        let paths: BTreeSet<PathBuf> = self.seen.keys().chain(self.files.keys()).cloned().collect();
        for path in paths {
            let now = self.seen.get(&path).copied();
            if self.files.get(&path).map(|held| held.fingerprint) == now {
                continue;
            }
            if patience == Patience::Settled && before.get(&path).copied() != now {
                continue;
            }
            match now {
                Some(fingerprint) => self.read(path, fingerprint),
                None if self.troubles.iter().any(|trouble| path.starts_with(&trouble.path)) => continue,
                None => self.bytes -= self.files.remove(&path).map_or(0, |held| held.bytes),
            }
            changed = true;
        }
        changed
    }

    fn read(&mut self, path: PathBuf, fingerprint: Fingerprint) {
        let others = self.bytes - self.files.get(&path).map_or(0, |held| held.bytes);
        let read = read_bounded(&self.root.join(&path), MAX_TOTAL_BYTES.saturating_sub(others))
            .and_then(|bytes| Ok((bytes.len() as u64, (self.reading.parse)(bytes)?)));
        let held =
            self.files.entry(path).or_insert(Held { fingerprint, bytes: 0, content: None, error: None });
        held.fingerprint = fingerprint;
        match read {
            Ok((bytes, content)) => {
                self.bytes = others + bytes;
                held.bytes = bytes;
                held.content = Some(content);
                held.error = None;
            }
            Err(error) => held.error = Some(error),
        }
    }

    /// Last good contents in path order.
    pub fn contents(&self) -> impl Iterator<Item = (&Path, &T)> {
        self.files
            .iter()
            .filter_map(|(path, held)| held.content.as_ref().map(|content| (path.as_path(), content)))
    }

    /// What cannot be read, in path order, with a sentence each that says what is served instead.
    pub fn errors(&self) -> Vec<(PathBuf, String)> {
        let files = self.files.iter().filter_map(|(path, held)| {
            let error = held.error.as_ref()?;
            let instead = if held.content.is_some() { "; its last good content stays in force" } else { "" };
            Some((path.clone(), format!("{error}{instead}")))
        });
        let troubles = self.troubles.iter().map(|trouble| (trouble.path.clone(), trouble.error.clone()));
        let mut errors: Vec<(PathBuf, String)> = files.chain(troubles).collect();
        errors.sort();
        errors
    }
}

fn read_bounded(path: &Path, room: u64) -> Result<Vec<u8>, String> {
    let limit = MAX_FILE_BYTES.min(room);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 <= limit => Ok(bytes),
        Ok(_) if limit < MAX_FILE_BYTES => Err(format!(
            "this file is left out: all files together are larger than {} MiB",
            MAX_TOTAL_BYTES / 1024 / 1024
        )),
        Ok(_) => Err(format!(
            "this file is larger than {} MiB; split it, or move it elsewhere",
            MAX_FILE_BYTES / 1024 / 1024
        )),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err("this file may not be read by the user chathooks runs as".to_owned())
        }
        Err(error) => Err(format!("this file cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn store(root: &Path) -> Store<String> {
        Store::new(
            root.to_owned(),
            Reading {
                wanted: |_| true,
                parse: |bytes| match String::from_utf8(bytes) {
                    Ok(text) if text.starts_with("bad") => Err("this is bad".to_owned()),
                    Ok(text) => Ok(text),
                    Err(_) => Err("this is not text".to_owned()),
                },
            },
        )
    }

    fn contents(store: &Store<String>) -> Vec<String> {
        store.contents().map(|(path, text)| format!("{}={text}", path.display())).collect()
    }

    #[test]
    fn a_change_counts_when_two_looks_have_seen_the_same() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        let mut store = store(dir.path());
        assert!(store.look(Patience::AtOnce));
        assert!(!store.look(Patience::Settled));

        fs::write(dir.path().join("a"), "22").unwrap();
        fs::write(dir.path().join("b"), "").unwrap();
        assert!(!store.look(Patience::Settled));
        fs::write(dir.path().join("b"), "filled").unwrap();
        assert!(store.look(Patience::Settled));
        assert_eq!(contents(&store), ["a=22"], "b was still being written");
        assert!(store.look(Patience::Settled));
        assert_eq!(contents(&store), ["a=22", "b=filled"]);

        fs::remove_file(dir.path().join("a")).unwrap();
        assert!(!store.look(Patience::Settled));
        fs::write(dir.path().join("a"), "back").unwrap();
        assert!(!store.look(Patience::Settled));
        assert!(store.look(Patience::Settled));
        assert_eq!(contents(&store), ["a=back", "b=filled"]);

        fs::remove_file(dir.path().join("a")).unwrap();
        store.look(Patience::Settled);
        assert!(store.look(Patience::Settled));
        assert_eq!(contents(&store), ["b=filled"]);
    }

    #[test]
    fn what_cannot_be_used_leaves_the_last_good_content_in_force() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "good").unwrap();
        fs::write(dir.path().join("b"), "bad").unwrap();
        let mut store = store(dir.path());
        store.look(Patience::AtOnce);
        assert_eq!(contents(&store), ["a=good"]);
        assert_eq!(store.errors(), [(PathBuf::from("b"), "this is bad".to_owned())]);

        fs::write(dir.path().join("a"), "bad now").unwrap();
        assert!(store.look(Patience::AtOnce));
        assert_eq!(contents(&store), ["a=good"]);
        assert_eq!(store.errors()[0].1, "this is bad; its last good content stays in force");
    }

    #[test]
    fn a_directory_that_is_gone_takes_nothing_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a"), "1").unwrap();
        let mut store = store(&root);
        store.look(Patience::AtOnce);
        fs::rename(&root, dir.path().join("elsewhere")).unwrap();
        assert!(store.look(Patience::AtOnce));
        assert_eq!(contents(&store), ["a=1"]);
        assert_eq!(store.errors().len(), 1);
        assert!(!store.look(Patience::AtOnce), "nothing new");
    }

    #[test]
    fn a_file_beyond_the_bound_is_told() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("a")).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        let mut store = store(dir.path());
        store.look(Patience::AtOnce);
        assert_eq!(store.errors()[0].1, "this file is larger than 16 MiB; split it, or move it elsewhere");
    }
}
