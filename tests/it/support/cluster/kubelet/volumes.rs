//! Volumes as folders, laid out and renewed as the kubelet does it: all files of a volume change at once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kube::runtime::reflector::ObjectRef;
use serde_json::Value;

use super::state::State;

type Files = BTreeMap<String, Vec<u8>>;

/// Brings the volumes of a pod up to date below `folder`; gives back the folder of each, by name.
/// An error says what the pod waits for.
pub fn materialise(
    state: &State,
    namespace: &str,
    spec: &Value,
    folder: &Path,
) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut folders = BTreeMap::new();
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let name = volume["name"].as_str().unwrap_or_default();
        let place = folder.join("volumes").join(name);
        let place = if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
            claimed(state, namespace, claim)?
        } else if volume.get("emptyDir").is_some() {
            fs::create_dir_all(&place).unwrap();
            place
        } else {
            write(&place, &files(state, namespace, volume)?);
            place
        };
        folders.insert(name.to_owned(), place);
    }
    Ok(folders)
}

/// The folder of a claim, which stays as long as the claim.
fn claimed(state: &State, namespace: &str, name: &str) -> Result<PathBuf, String> {
    let claim = state.claims.get(&ObjectRef::new(name).within(namespace));
    let uid = claim.and_then(|claim| claim.metadata.uid.clone());
    let uid = uid.ok_or(format!("there is no PersistentVolumeClaim {name}"))?;
    let place = state.folder.join("claims").join(uid);
    fs::create_dir_all(&place).unwrap();
    Ok(place)
}

fn files(state: &State, namespace: &str, volume: &Value) -> Result<Files, String> {
    if let Some(sources) = volume["projected"]["sources"].as_array() {
        let mut all = Files::new();
        for source in sources {
            all.extend(source_files(state, namespace, source, "name")?);
        }
        return Ok(all);
    }
    source_files(state, namespace, volume, "secretName")
}

fn source_files(state: &State, namespace: &str, source: &Value, secret_name: &str) -> Result<Files, String> {
    if let Some(secret) = source.get("secret") {
        let name = secret[secret_name].as_str().unwrap_or_default();
        let found = state.secrets.get(&ObjectRef::new(name).within(namespace));
        let data = found.map(|found| {
            let data = found.data.clone().unwrap_or_default();
            data.into_iter().map(|(key, value)| (key, value.0)).collect()
        });
        return select(secret, &format!("Secret {name}"), data);
    }
    if let Some(map) = source.get("configMap") {
        let name = map["name"].as_str().unwrap_or_default();
        let found = state.config_maps.get(&ObjectRef::new(name).within(namespace));
        let data = found.map(|found| {
            let data = found.data.clone().unwrap_or_default();
            data.into_iter().map(|(key, value)| (key, value.into_bytes())).collect()
        });
        return select(map, &format!("ConfigMap {name}"), data);
    }
    // Tokens and the root certificate come through KUBECONFIG.
    if source.get("serviceAccountToken").is_some() || source.get("downwardAPI").is_some() {
        return Ok(Files::new());
    }
    Err("this kubelet knows the volumes secret, configMap, projected, emptyDir and persistentVolumeClaim only"
        .to_owned())
}

/// The files that `items` names, or one for each key.
fn select(source: &Value, what: &str, data: Option<Files>) -> Result<Files, String> {
    let optional = source["optional"].as_bool().unwrap_or(false);
    let Some(mut data) = data else {
        return if optional { Ok(Files::new()) } else { Err(format!("there is no {what}")) };
    };
    let Some(items) = source["items"].as_array() else { return Ok(data) };
    let mut files = Files::new();
    for item in items {
        let (key, path) =
            (item["key"].as_str().unwrap_or_default(), item["path"].as_str().unwrap_or_default());
        match data.remove(key) {
            Some(content) => {
                files.insert(path.to_owned(), content);
            }
            None if optional => {}
            None => return Err(format!("{what} has no key {key}")),
        }
    }
    Ok(files)
}

/// `..data` points to a folder with the files, and each name at the top points into it.
fn write(place: &Path, files: &Files) {
    let data = place.join("..data");
    if fs::symlink_metadata(&data).is_ok() && read(&data) == *files {
        return;
    }
    fs::create_dir_all(place).unwrap();
    let old = fs::read_link(&data).ok();
    let new = format!("..{:016x}", rand::random::<u64>());
    fs::create_dir(place.join(&new)).unwrap();
    for (path, content) in files {
        let file = place.join(&new).join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    symlink(&new, place.join("..data_tmp")).unwrap();
    fs::rename(place.join("..data_tmp"), &data).unwrap();
    for path in files.keys() {
        let top = path.split('/').next().unwrap_or(path);
        if fs::symlink_metadata(place.join(top)).is_err() {
            symlink(Path::new("..data").join(top), place.join(top)).unwrap();
        }
    }
    for entry in fs::read_dir(place).unwrap() {
        let entry = entry.unwrap().path();
        let name = entry.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("..") && !entry.exists() {
            fs::remove_file(&entry).unwrap();
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(place.join(old)).unwrap();
    }
}

fn read(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_change_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("plan");
        let files = |of: &[(&str, &str)]| -> Files {
            of.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
        };
        write(&place, &files(&[]));
        assert!(place.is_dir());
        write(&place, &files(&[("0/plan", "a"), ("1/plan", "b")]));
        assert_eq!(fs::read_to_string(place.join("0/plan")).unwrap(), "a");
        let first = fs::read_link(place.join("..data")).unwrap();
        write(&place, &files(&[("0/plan", "a"), ("1/plan", "b")]));
        assert_eq!(fs::read_link(place.join("..data")).unwrap(), first, "nothing changed");
        write(&place, &files(&[("1/plan", "c")]));
        assert_eq!(fs::read_to_string(place.join("1/plan")).unwrap(), "c");
        assert!(!place.join("0").exists());
        assert!(!place.join(first).exists());
    }
}
