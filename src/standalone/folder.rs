//! A directory's documents made into what `plan` compiles, and what is to be said of each.
//!
//! Pure: what is read comes in. Has no rules of its own about specs.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;

use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::admissions::Admissions;
use super::generations::Generations;
use super::manifest::{self, Kind, Manifest};
use super::secret;
use crate::admission::Problem;
use crate::plan::{Inputs, Key, Rejected, SecretInput};
use crate::yaml;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Path below the directory.
    pub path: String,
    /// Line on which the document begins, from 1; 0 for a whole file.
    pub line: u64,
    /// Which document of the file, from 1; 0 for a whole file.
    pub document: usize,
    /// Which item of a `List`, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<usize>,
}

impl Place {
    /// A whole file.
    pub fn file(path: impl Into<String>) -> Self {
        Self { path: path.into(), line: 0, document: 0, item: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        match (self.document, self.item) {
            (0, _) | (1, None) => Ok(()),
            (document, None) => write!(f, " (document {document})"),
            (document, Some(item)) => write!(f, " (document {document}, item {item})"),
        }
    }
}

/// What became of something that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It counts; for objects of ours the plan has the last word.
    Taken,
    /// Admission refuses it: paused.
    Refused(Vec<Problem>),
    /// The same object stands there, and that one counts.
    Duplicate(Place),
    /// Not ours; the note says whose.
    Ignored(String),
    /// Nothing that can be named; each problem says why.
    Mistake(Vec<Problem>),
    /// The file cannot be used; the sentence says why.
    Unreadable(String),
}

/// One thing that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where.
    pub place: Place,
    /// Kind, namespace and name, if it can be named.
    pub object: Option<(Kind, Key)>,
    /// What became of it.
    pub fate: Fate,
}

/// A line of `files` in `/v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Path below the directory; the directory itself is `.`.
    pub path: String,
    /// A sentence.
    pub error: String,
}

/// A directory.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// What the plan is compiled from.
    pub inputs: Inputs,
    /// Everything that was read, in path order.
    pub entries: Vec<Entry>,
}

impl Folder {
    /// What is wrong with files: everything that is no verdict on an object of ours.
    pub fn files(&self) -> Vec<FileReport> {
        self.entries.iter().filter_map(report).collect()
    }
}

fn report(entry: &Entry) -> Option<FileReport> {
    let subject = match &entry.object {
        Some((kind, (namespace, name))) => format!("{} {namespace}/{name}", kind.name()),
        None => String::new(),
    };
    let what = match &entry.fate {
        Fate::Taken | Fate::Ignored(_) => return None,
        Fate::Refused(_) if entry.object.as_ref().is_some_and(|(kind, _)| kind.is_ours()) => return None,
        Fate::Refused(problems) => format!("{subject}: {}", sentences(problems)),
        Fate::Mistake(problems) => sentences(problems),
        Fate::Duplicate(first) => {
            format!("{subject} is also in {first}, which counts; remove one of the two")
        }
        Fate::Unreadable(sentence) => sentence.clone(),
    };
    let place = &entry.place;
    let error = match (place.document, place.line) {
        (0, _) => what,
        (document, line) => format!("document {document} (line {line}): {what}"),
    };
    Some(FileReport { path: place.path.clone(), error })
}

fn sentences(problems: &[Problem]) -> String {
    problems.iter().map(sentence).collect::<Vec<_>>().join("; ")
}

/// A problem as one sentence.
pub fn sentence(problem: &Problem) -> String {
    if problem.field.is_empty() {
        problem.detail.clone()
    } else {
        format!("{}: {}", problem.field, problem.detail)
    }
}

/// A key of a Secret from `--secrets-dir`.
#[derive(Clone, Debug)]
pub struct SecretFile<'a> {
    /// Path below that directory: `<namespace>/<name>/<key>`.
    pub path: String,
    /// The value.
    pub value: &'a [u8],
}

/// Everything that was read, by path.
#[derive(Clone, Debug, Default)]
pub struct Read<'a> {
    /// Documents of each file that can be used, in path order.
    pub documents: Vec<(String, &'a [yaml::Document])>,
    /// Files and folders that cannot, with a sentence each.
    pub unreadable: Vec<(String, String)>,
    /// Files of `--secrets-dir`, in path order.
    pub secret_files: Vec<SecretFile<'a>>,
    /// Those that cannot be used, with a sentence each.
    pub unreadable_secrets: Vec<(String, String)>,
}

/// What is kept from one reading to the next.
#[derive(Debug, Default)]
pub struct Memory {
    generations: Generations,
    admissions: Admissions,
}

/// Makes a folder of what was read.
pub fn compose(read: &Read<'_>, memory: &mut Memory) -> Folder {
    let mut composer = Composer { folder: Folder::default(), first: HashMap::new(), memory };
    for (path, documents) in &read.documents {
        for document in *documents {
            for (item, value) in manifest::unpack(&document.value) {
                let place =
                    Place { path: path.clone(), line: document.line, document: document.number, item };
                composer.document(place, value);
            }
        }
    }
    composer.secret_files(&read.secret_files);
    composer.memory.generations.end_round();
    composer.memory.admissions.end_round();
    let mut folder = composer.folder;
    folder.entries.extend(read.unreadable.iter().chain(&read.unreadable_secrets).map(|(path, error)| {
        Entry {
            place: Place::file(if path.is_empty() { "." } else { path }),
            object: None,
            fate: Fate::Unreadable(error.clone()),
        }
    }));
    // A file may now hold what another has lost, also one whose last good content is in force.
    folder.inputs.unreadable = !read.unreadable.is_empty() || folder.entries.iter().any(hides_one_of_ours);
    // Stable, so that documents of one file keep their order.
    folder.entries.sort_by_cached_key(|entry| (PathBuf::from(&entry.place.path), entry.place.document));
    folder
}

/// Whether an object of ours may stand there under a name that nobody can tell.
fn hides_one_of_ours(entry: &Entry) -> bool {
    match &entry.fate {
        Fate::Mistake(_) => true,
        Fate::Duplicate(_) => entry.object.as_ref().is_some_and(|(kind, _)| kind.is_ours()),
        // Files are judged by themselves: only manifests hold objects of ours.
        Fate::Taken | Fate::Refused(_) | Fate::Ignored(_) | Fate::Unreadable(_) => false,
    }
}

struct Composer<'a> {
    folder: Folder,
    first: HashMap<(Kind, Key), Place>,
    memory: &'a mut Memory,
}

impl Composer<'_> {
    fn document(&mut self, place: Place, value: Value) {
        let manifest = match manifest::read(value) {
            manifest::Document::Manifest(manifest) => manifest,
            manifest::Document::Foreign(note) => return self.entry(place, None, Fate::Ignored(note)),
            manifest::Document::Mistake(problems) => return self.entry(place, None, Fate::Mistake(problems)),
        };
        let object = (manifest.kind, (manifest.namespace.clone(), manifest.name.clone()));
        if let Some(first) = self.first.get(&object) {
            let fate = Fate::Duplicate(first.clone());
            return self.entry(place, Some(object), fate);
        }
        self.first.insert(object.clone(), place.clone());
        let fate = self.take(manifest).map_or_else(Fate::Refused, |()| Fate::Taken);
        self.entry(place, Some(object), fate);
    }

    fn entry(&mut self, place: Place, object: Option<(Kind, Key)>, fate: Fate) {
        self.folder.entries.push(Entry { place, object, fate });
    }

    fn take(&mut self, manifest: Manifest) -> Result<(), Vec<Problem>> {
        let key = (manifest.namespace.clone(), manifest.name.clone());
        match manifest.kind {
            Kind::ChatInstance => {
                let instance = self.admit(manifest)?;
                self.folder.inputs.instances.push(instance);
            }
            Kind::WebhookSubscription => {
                let subscription = self.admit(manifest)?;
                self.folder.inputs.subscriptions.push(subscription);
            }
            Kind::Secret => {
                let data = secret::secret(&manifest.object)?;
                self.folder.inputs.secrets.insert(key, SecretInput { data, generated: false });
            }
            Kind::ConfigMap => {
                let data = secret::config_map(&manifest.object)?;
                self.folder.inputs.config_maps.insert(key, data);
            }
        }
        Ok(())
    }

    /// An object of ours as its type, with defaults; otherwise it is noted as rejected.
    fn admit<T>(&mut self, manifest: Manifest) -> Result<T, Vec<Problem>>
    where
        T: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let Manifest { kind, namespace, name, object } = manifest;
        let given = object.pointer("/metadata/generation").and_then(Value::as_i64);
        let generation = self.memory.generations.of(kind, &namespace, &name, object.get("spec"), given);
        let admitted = self.memory.admissions.admit(kind, &object).and_then(|admitted| {
            serde_json::from_value::<T>(admitted).map_err(|error| {
                vec![Problem { field: String::new(), detail: format!("the object cannot be read: {error}") }]
            })
        });
        match admitted {
            Ok(mut object) => {
                object.meta_mut().generation = Some(generation);
                Ok(object)
            }
            Err(problems) => {
                let at = |field: &str| object.pointer(field).and_then(Value::as_str).map(str::to_owned);
                let instance = at("/spec/instanceRef/name").map(|name| {
                    (at("/spec/instanceRef/namespace").unwrap_or_else(|| namespace.clone()), name)
                });
                self.folder.inputs.rejected.push(Rejected {
                    kind: kind.name().to_owned(),
                    key: (namespace, name),
                    generation,
                    instance,
                    problems: problems.iter().map(sentence).collect(),
                });
                Err(problems)
            }
        }
    }

    fn secret_files(&mut self, files: &[SecretFile<'_>]) {
        let mut secrets: BTreeMap<Key, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        for file in files {
            let mut parts = file.path.split('/');
            let (Some(namespace), Some(name), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if manifest::is_dns_name(namespace, 63) && manifest::is_dns_name(name, 253) && secret::is_key(key)
            {
                let secret = secrets.entry((namespace.to_owned(), name.to_owned())).or_default();
                secret.insert(key.to_owned(), file.value.to_vec());
            }
        }
        for (key, data) in secrets {
            let object = (Kind::Secret, key.clone());
            let place = Place::file(format!("--secrets-dir {}/{}", key.0, key.1));
            if let Some(first) = self.first.get(&object) {
                let fate = Fate::Duplicate(first.clone());
                self.entry(place, Some(object), fate);
            } else {
                self.entry(place, Some(object), Fate::Taken);
                self.folder.inputs.secrets.insert(key, SecretInput { data, generated: false });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> Folder {
        let parsed: Vec<(String, Vec<yaml::Document>)> =
            files.iter().map(|(path, text)| ((*path).to_owned(), yaml::documents(text).unwrap())).collect();
        let documents = parsed.iter().map(|(path, documents)| (path.clone(), documents.as_slice())).collect();
        compose(&Read { documents, ..Read::default() }, &mut Memory::default())
    }

    fn secret(name: &str, value: &str) -> String {
        format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{k: {value}}}\n")
    }

    #[test]
    fn the_first_of_two_counts_and_the_second_names_both_places() {
        let folder = folder(&[
            ("a.yaml", &secret("s", "one")),
            ("b/c.yaml", &(secret("t", "x") + &secret("s", "two"))),
        ]);
        let key = ("default".to_owned(), "s".to_owned());
        assert_eq!(folder.inputs.secrets[&key].data["k"], b"one");
        assert_eq!(
            folder.files(),
            [FileReport {
                path: "b/c.yaml".to_owned(),
                error: "document 2 (line 7): Secret default/s is also in a.yaml:2, which counts; remove one of the two"
                    .to_owned(),
            }]
        );
    }

    #[test]
    fn mistakes_are_reported_with_their_place_and_others_are_ignored() {
        let folder = folder(&[(
            "a.yaml",
            "kind: Secret\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: '!'}\n",
        )]);
        let errors: Vec<String> = folder.files().into_iter().map(|file| file.error).collect();
        assert_eq!(
            errors,
            [
                "document 1 (line 1): apiVersion: is missing; write `v1`",
                "document 3 (line 7): Secret default/s: data.k: is not base64; write plain text under `stringData` instead",
            ]
        );
        assert_eq!(folder.entries[1].fate, Fate::Ignored("Pod p (v1) is not read by chathooks".to_owned()));
        assert!(folder.inputs.secrets.is_empty());
    }

    #[test]
    fn a_folder_with_a_slip_may_hide_an_object() {
        let ours = |kind: &str, name: &str| {
            format!("---\napiVersion: chathooks.dev/v1alpha1\nkind: {kind}\nmetadata: {{{name}}}\n")
        };
        for (text, expected) in [
            (ours("WebhookSubscription", "name: a"), false),
            (ours("WebhookSubscripton", "name: a"), true),
            (ours("WebhookSubscription", "nam: a"), true),
            (ours("WebhookSubscription", "name: A b"), true),
            (ours("ChatInstance", "name: a") + &ours("ChatInstance", "name: a"), true),
            (ours("ChatInstance", "name: a").replace("chathooks", "chathook"), true),
            ("kind: WebhookSubscription\n".to_owned(), true),
            (secret("s", "one") + &secret("s", "two"), false),
            ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n".to_owned(), false),
        ] {
            assert_eq!(folder(&[("a.yaml", &text)]).inputs.unreadable, expected, "{text}");
        }
        let trouble = vec![("a.yaml".to_owned(), "this file is not YAML".to_owned())];
        let compose = |read: &Read<'_>| compose(read, &mut Memory::default()).inputs.unreadable;
        assert!(compose(&Read { unreadable: trouble.clone(), ..Read::default() }));
        assert!(!compose(&Read { unreadable_secrets: trouble, ..Read::default() }));
    }

    #[test]
    fn mounted_secrets_are_read_below_the_manifests() {
        let text = secret("s", "one");
        let documents = yaml::documents(&text).unwrap();
        let read = Read {
            documents: vec![("a.yaml".to_owned(), &documents)],
            secret_files: ["default/s/k", "default/t/k", "default/t/Bad key", "loose"]
                .map(|path| SecretFile { path: path.to_owned(), value: b"mounted" })
                .to_vec(),
            ..Read::default()
        };
        let folder = compose(&read, &mut Memory::default());
        let value =
            |name: &str| folder.inputs.secrets[&("default".to_owned(), name.to_owned())].data["k"].clone();
        assert_eq!((value("s"), value("t")), (b"one".to_vec(), b"mounted".to_vec()));
        assert_eq!(
            folder.files()[0].error,
            "Secret default/s is also in a.yaml:2, which counts; remove one of the two"
        );
    }
}
