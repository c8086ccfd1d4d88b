//! Which files of a directory count, and how each is told from an earlier self.
//!
//! Looks, but reads no file. Names that begin with a dot are skipped (in a mounted ConfigMap `..data` and what it
//! points to), links are followed, and everything is bounded.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Largest number of files that are read.
pub const MAX_FILES: usize = 10_000;

/// Deepest folder below the directory that is looked into.
pub const MAX_FOLDERS_DEEP: usize = 32;

/// What changes when a file's content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
    device: u64,
    inode: u64,
}

impl Fingerprint {
    fn of(metadata: &fs::Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            size: metadata.size(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Below the directory that was walked.
    pub path: PathBuf,
    /// What it looks like now.
    pub fingerprint: Fingerprint,
}

/// A place that could not be looked at; what was known of it and everything below stays true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Below the directory that was walked; empty for the directory itself.
    pub path: PathBuf,
    /// A sentence.
    pub error: String,
}

/// What a walk has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// In path order.
    pub files: Vec<Found>,
    /// In path order.
    pub troubles: Vec<Trouble>,
}

/// Walks a directory. `wanted` is asked with each file's path below the root.
pub fn walk(root: &Path, wanted: impl Fn(&Path) -> bool) -> Walk {
    let mut walker = Walker { root, wanted, walk: Walk::default(), full: false, above: Vec::new() };
    walker.folder(Path::new(""));
    walker.walk
}

struct Walker<'a, W> {
    root: &'a Path,
    wanted: W,
    walk: Walk,
    /// Whether files beyond the bound have been told of.
    full: bool,
    /// Device and inode of the folder that is looked into and of those above it, against links that lead back.
    above: Vec<(u64, u64)>,
}

impl<W: Fn(&Path) -> bool> Walker<'_, W> {
    fn folder(&mut self, path: &Path) {
        let names = fs::metadata(self.root.join(path))
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .and_then(|identity| Ok((identity, names(&self.root.join(path))?)));
        let (identity, names) = match names {
            Ok(found) => found,
            Err(error) => return self.trouble(path, format!("this folder cannot be read: {error}")),
        };
        if self.above.contains(&identity) {
            return self
                .trouble(path, "this link leads back to a folder above it and is not followed".to_owned());
        }
        if self.above.len() > MAX_FOLDERS_DEEP {
            return self.trouble(
                path,
                format!("folders more than {MAX_FOLDERS_DEEP} levels deep are not read; move its files up"),
            );
        }
        self.above.push(identity);
        for name in names {
            self.entry(&path.join(name));
        }
        self.above.pop();
    }

    fn entry(&mut self, path: &Path) {
        let full = self.root.join(path);
        match fs::metadata(&full) {
            Ok(metadata) if metadata.is_dir() => self.folder(path),
            Ok(metadata) if metadata.is_file() && (self.wanted)(path) => self.file(path, &metadata),
            Ok(_) => {}
            // Gone since the folder was listed, unless the link itself is still there.
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(&full).is_err() => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if (self.wanted)(path) {
                    self.trouble(path, "this link leads nowhere".to_owned());
                }
            }
            Err(error) => self.trouble(path, format!("this cannot be looked at: {error}")),
        }
    }

    fn file(&mut self, path: &Path, metadata: &fs::Metadata) {
        if self.walk.files.len() < MAX_FILES {
            self.walk.files.push(Found { path: path.to_owned(), fingerprint: Fingerprint::of(metadata) });
        } else if !self.full {
            self.full = true;
            self.trouble(
                path,
                format!(
                    "only the first {MAX_FILES} files are read; this one and those after it are left out"
                ),
            );
        }
    }

    fn trouble(&mut self, path: &Path, error: String) {
        self.walk.troubles.push(Trouble { path: path.to_owned(), error });
    }
}

/// Names in a folder that are not hidden, in order.
fn names(folder: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn paths(walk: &Walk) -> Vec<&str> {
        walk.files.iter().filter_map(|file| file.path.to_str()).collect()
    }

    #[test]
    fn finds_files_in_path_order_and_skips_hidden_ones() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b.yaml", "a/z.yml", "a-b.json", ".hidden.yaml", ".git/x.yaml", "notes.txt"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let walk = walk(dir.path(), |path| path.extension().is_some_and(|e| e != "txt"));
        assert_eq!(paths(&walk), ["a/z.yml", "a-b.json", "b.yaml"]);
        assert_eq!(walk.troubles, []);
    }

    #[test]
    fn follows_the_links_of_a_mounted_config_map_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("..2026_1")).unwrap();
        fs::write(dir.path().join("..2026_1/a.yaml"), "a: 1").unwrap();
        symlink("..2026_1", dir.path().join("..data")).unwrap();
        symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
        let before = walk(dir.path(), |_| true);
        assert_eq!(paths(&before), ["a.yaml"]);

        fs::create_dir(dir.path().join("..2026_2")).unwrap();
        fs::write(dir.path().join("..2026_2/a.yaml"), "a: 2").unwrap();
        symlink("..2026_2", dir.path().join("..new")).unwrap();
        fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
        assert_ne!(walk(dir.path(), |_| true).files, before.files);
    }

    #[test]
    fn a_link_that_leads_back_or_nowhere_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        symlink("..", dir.path().join("sub/up")).unwrap();
        symlink("missing.yaml", dir.path().join("x.yaml")).unwrap();
        let walk = walk(dir.path(), |_| true);
        let troubles: Vec<(&str, &str)> =
            walk.troubles.iter().map(|t| (t.path.to_str().unwrap(), t.error.as_str())).collect();
        assert_eq!(
            troubles,
            [
                ("sub/up", "this link leads back to a folder above it and is not followed"),
                ("x.yaml", "this link leads nowhere"),
            ]
        );
    }

    #[test]
    fn a_missing_directory_is_a_trouble_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let walk = walk(&dir.path().join("gone"), |_| true);
        assert_eq!(walk.troubles.len(), 1);
        assert_eq!(walk.troubles[0].path, Path::new(""));
    }
}
