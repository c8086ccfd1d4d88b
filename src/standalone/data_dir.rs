//! The data folder and the Secrets that chathooks makes in it.
//!
//! Values are written once, readable by the owner alone, and never printed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::manifest::is_dns_name;
use super::secret::{MAX_BYTES, is_key};
use crate::dispatcher::data_folder::{DataFolder, DataFolderError};
use crate::generated::random_value;
use crate::hex::hex;
use crate::plan::platform::IntakeAddresses;
use crate::plan::{Inputs, Key, Outcome, SecretInput, WantedSecret, compile};

/// Rounds of compiling and making Secrets; one is enough unless a plan asks for more because of what was made.
const ROUNDS: usize = 3;

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be had as a whole.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// The file system says no.
    #[error("{path} cannot be used as it is needed below --data-dir: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The data folder, held by this process until dropped.
#[derive(Debug)]
pub struct DataDir(DataFolder);

impl DataDir {
    /// Makes it if it is not there, and takes hold of it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        Ok(Self(DataFolder::open(path)?))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// What tells this folder from others: random, made once, and as lasting as what is kept here.
    pub fn identity(&self) -> Result<String, DataDirError> {
        let path = self.path().join("identity");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
            Ok(_) | Err(_) => {}
        }
        let id: [u8; 16] = rand::random();
        let id = hex(&id);
        write_private(&path, id.as_bytes()).map_err(at(&path))?;
        Ok(id)
    }

    /// Where the keys of a generated Secret are.
    pub fn secret_path(&self, namespace: &str, name: &str) -> PathBuf {
        self.path().join("secrets").join(namespace).join(name)
    }

    /// Compiles; makes the Secrets that the plan wants, and compiles again.
    pub fn compile(&self, inputs: &Inputs, intake: &IntakeAddresses) -> Result<Outcome, DataDirError> {
        let mut inputs = Inputs { intake: intake.clone(), ..inputs.clone() };
        for (key, secret) in self.load()? {
            inputs.secrets.entry(key).or_insert(secret);
        }
        let mut outcome = compile(&inputs);
        for _ in 0..ROUNDS {
            if outcome.wanted_secrets.is_empty() {
                break;
            }
            for wanted in &outcome.wanted_secrets {
                let made = self.make(wanted)?;
                let key = (wanted.namespace.clone(), wanted.name.clone());
                let secret = inputs
                    .secrets
                    .entry(key)
                    .or_insert(SecretInput { generated: true, ..Default::default() });
                secret.data.extend(made);
            }
            outcome = compile(&inputs);
        }
        Ok(outcome)
    }

    /// Every Secret that was made.
    fn load(&self) -> Result<BTreeMap<Key, SecretInput>, DataDirError> {
        let root = self.path().join("secrets");
        let mut secrets = BTreeMap::new();
        for namespace in names(&root, |name| is_dns_name(name, 63))? {
            for name in names(&root.join(&namespace), |name| is_dns_name(name, 253))? {
                let folder = root.join(&namespace).join(&name);
                let mut data = BTreeMap::new();
                for key in names(&folder, is_key)? {
                    let path = folder.join(&key);
                    let value = fs::read(&path).map_err(at(&path))?;
                    if value.len() <= MAX_BYTES {
                        data.insert(key, value);
                    }
                }
                secrets.insert((namespace.clone(), name), SecretInput { data, generated: true });
            }
        }
        Ok(secrets)
    }

    fn make(&self, wanted: &WantedSecret) -> Result<BTreeMap<String, Vec<u8>>, DataDirError> {
        let folder = self.secret_path(&wanted.namespace, &wanted.name);
        make_folder(&folder)?;
        let mut made = BTreeMap::new();
        for key in wanted.keys.iter().filter(|key| is_key(key)) {
            let path = folder.join(key);
            let value = random_value(key);
            // Under a hidden name until it is whole, so that no half of a secret is ever read back.
            let temporary = folder.join(format!(".{key}"));
            write_private(&temporary, &value).map_err(at(&temporary))?;
            fs::rename(&temporary, &path).map_err(at(&path))?;
            made.insert(key.clone(), value);
        }
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(at(&folder))?;
        tracing::info!(
            namespace = wanted.namespace,
            secret = wanted.name,
            path = %folder.display(),
            "a Secret was made"
        );
        Ok(made)
    }
}

fn write_private(path: &Path, value: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(value)?;
    file.sync_all()
}

fn make_folder(path: &Path) -> Result<(), DataDirError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// Names in a folder that fit, in order; none if it is not there.
fn names(folder: &Path, fits: impl Fn(&str) -> bool) -> Result<Vec<String>, DataDirError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(at(folder))?.file_name();
        names.extend(name.to_str().filter(|name| fits(name) && !name.starts_with('.')).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn at(path: &Path) -> impl Fn(io::Error) -> DataDirError + '_ {
    move |source| DataDirError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_made_is_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let data = DataDir::open(&path).unwrap();
        let wanted = WantedSecret {
            namespace: "ai".to_owned(),
            name: "chat-intake".to_owned(),
            keys: vec!["token".to_owned(), "signing-secret".to_owned()],
        };
        let made = data.make(&wanted).unwrap();
        assert_eq!(made["token"].len(), 43);
        assert!(made["signing-secret"].starts_with(b"whsec_"));

        let file = path.join("secrets/ai/chat-intake/token");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let loaded = data.load().unwrap();
        let secret = &loaded[&("ai".to_owned(), "chat-intake".to_owned())];
        assert!(secret.generated);
        assert_eq!(secret.data, made);
    }

    #[test]
    fn a_second_process_is_refused_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(error.to_string().starts_with("another chathooks works on "), "{error}");
        drop(held);
        DataDir::open(dir.path()).unwrap();
    }
}
