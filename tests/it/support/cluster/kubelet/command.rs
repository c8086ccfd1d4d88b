//! The command line and environment of a container, as they are outside of one.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// What replaces what a container sees.
pub struct Surroundings<'a> {
    pub address: Ipv4Addr,
    /// The real port of each port of the container.
    pub ports: &'a BTreeMap<u16, u16>,
    /// Mount path to folder.
    pub mounts: BTreeMap<String, PathBuf>,
    /// Values of `fieldRef` by path.
    pub fields: BTreeMap<&'static str, String>,
    /// Values of `secretKeyRef`.
    pub secret: &'a (dyn Fn(&str, &str) -> Option<String> + Sync),
}

/// The command of `container`, with nothing of this process's environment.
pub fn command(container: &Value, surroundings: &Surroundings<'_>) -> Result<Command, String> {
    let mut environment = BTreeMap::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap_or_default().to_owned();
        let value = value(variable, surroundings)?;
        environment.insert(name, surroundings.outside(&value));
    }
    let words = [&container["command"], &container["args"]];
    let mut words: Vec<String> = words
        .into_iter()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(Value::as_str)
        .map(|word| surroundings.outside(&expand(word, &environment)))
        .collect();
    if words.first().is_some_and(|word| word.rsplit('/').next() == Some("chathooks")) {
        words.remove(0);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_chathooks"));
    command.args(words).env_clear().envs(environment);
    Ok(command)
}

fn value(variable: &Value, surroundings: &Surroundings<'_>) -> Result<String, String> {
    let source = &variable["valueFrom"];
    if let Some(path) = source["fieldRef"]["fieldPath"].as_str() {
        return surroundings.fields.get(path).cloned().ok_or(format!("no value for the field {path}"));
    }
    if let Some(key) = source.get("secretKeyRef") {
        let (name, key) = (key["name"].as_str().unwrap_or_default(), key["key"].as_str().unwrap_or_default());
        return (surroundings.secret)(name, key).ok_or(format!("Secret {name} has no key {key}"));
    }
    Ok(variable["value"].as_str().unwrap_or_default().to_owned())
}

/// `$(NAME)` as Kubernetes expands it.
fn expand(word: &str, environment: &BTreeMap<String, String>) -> String {
    environment.iter().fold(word.to_owned(), |word, (name, value)| word.replace(&format!("$({name})"), value))
}

impl Surroundings<'_> {
    /// A word of the command line, or a value, with paths and listen addresses as they are outside.
    fn outside(&self, word: &str) -> String {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (format!("{flag}="), value),
            _ => (String::new(), word),
        };
        let listen = value.rsplit_once(':').and_then(|(host, port)| {
            let any = ["0.0.0.0", "[::]", ""].contains(&host);
            let port = self.ports.get(&port.parse().ok()?).filter(|_| any)?;
            Some(format!("{}:{port}", self.address))
        });
        // The deepest mount first.
        let path = self.mounts.iter().rev().find_map(|(mount, folder)| {
            let rest = value.strip_prefix(mount.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", folder.display()))
        });
        format!("{flag}{}", listen.or(path).unwrap_or_else(|| value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_and_ports_are_those_outside() {
        let ports = BTreeMap::from([(8080, 23_456)]);
        let surroundings = Surroundings {
            address: Ipv4Addr::new(192, 0, 2, 7),
            ports: &ports,
            mounts: BTreeMap::from([
                ("/var/lib".to_owned(), PathBuf::from("/tmp/a")),
                ("/var/lib/chathooks".to_owned(), PathBuf::from("/tmp/b")),
            ]),
            fields: BTreeMap::from([("metadata.name", "chat-0".to_owned())]),
            secret: &|_, _| None,
        };
        let container = json!({
            "command": ["/usr/bin/chathooks"],
            "args": ["dispatcher", "--data-dir", "/var/lib/chathooks/x", "--plan=/var/lib", "--listen=0.0.0.0:8080",
                     "/var/library", "$(ME)", "0.0.0.0:9090"],
            "env": [{"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        });
        let command = command(&container, &surroundings).unwrap();
        let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(
            words,
            [
                "dispatcher",
                "--data-dir",
                "/tmp/b/x",
                "--plan=/tmp/a",
                "--listen=192.0.2.7:23456",
                "/var/library",
                "chat-0",
                "0.0.0.0:9090"
            ]
        );
    }
}
