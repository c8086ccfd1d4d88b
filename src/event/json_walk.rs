//! One pass over a JSON text that builds nothing: it checks syntax and refuses duplicate keys at every depth.
//!
//! Two keys alike mean two readers who see two different events, so they are refused rather than resolved. Depth is
//! bounded by `serde_json` (128 levels).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::raw::Text;

/// Up to this many keys an object is checked by comparing each with each; beyond, with a set.
const LINEAR_KEYS: usize = 16;

/// What a value is; text is kept only where the caller asked for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar<'de> {
    Null,
    Bool,
    Int(i64),
    Float(f64),
    Text(Cow<'de, str>),
    List,
    Object,
}

impl Scalar<'_> {
    /// For sentences: `found …`.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// A member of the outermost object.
pub(super) type Wanted<'de> = Vec<(&'static str, Scalar<'de>)>;

/// What stops the walk.
#[derive(Debug)]
pub(super) enum Fault {
    /// Not JSON, or nested too deep.
    Syntax(serde_json::Error),
    /// The same key twice; the pointer names its second place.
    Duplicate {
        /// RFC 6901.
        pointer: String,
    },
    /// The outermost value is not an object, but this.
    NotAnObject(&'static str),
}

/// Walks an object and returns those of its own members that are named in `wanted`.
pub(super) fn object<'de>(json: &'de str, wanted: &'static [&'static str]) -> Result<Wanted<'de>, Fault> {
    match walk(json, wanted)? {
        (Scalar::Object, found) => Ok(found),
        (other, _) => Err(Fault::NotAnObject(other.what())),
    }
}

/// Walks any JSON value.
pub(super) fn check(json: &str) -> Result<(), Fault> {
    walk(json, &[]).map(|_| ())
}

fn walk<'de>(json: &'de str, wanted: &'static [&'static str]) -> Result<(Scalar<'de>, Wanted<'de>), Fault> {
    let mut state = State { wanted, found: Vec::with_capacity(wanted.len()), ..State::default() };
    let mut reader = serde_json::Deserializer::from_str(json);
    let result = Value { state: &mut state, depth: 0, keep: false }
        .deserialize(&mut reader)
        .and_then(|outer| reader.end().map(|()| outer));
    match result {
        Ok(outer) => Ok((outer, state.found)),
        Err(_) if state.duplicate => {
            let pointer = state.path.iter().rev().fold(String::new(), |text, part| text + "/" + part);
            Err(Fault::Duplicate { pointer })
        }
        Err(error) => Err(Fault::Syntax(error)),
    }
}

#[derive(Default)]
struct State<'de> {
    wanted: &'static [&'static str],
    found: Wanted<'de>,
    /// Keys of all open objects, innermost last: one allocation serves the whole walk.
    keys: Vec<Cow<'de, str>>,
    duplicate: bool,
    /// Where the duplicate is, innermost part first; filled while the error travels out.
    path: Vec<String>,
}

struct Value<'a, 'de> {
    state: &'a mut State<'de>,
    depth: usize,
    keep: bool,
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de> {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(if self.keep { Cow::Owned(value.to_owned()) } else { Cow::Borrowed("") }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut index = 0_usize;
        loop {
            let item = Value { state: &mut *self.state, depth: self.depth + 1, keep: false };
            match list.next_element_seed(item) {
                Ok(Some(_)) => index += 1,
                Ok(None) => return Ok(Scalar::List),
                Err(error) => {
                    self.state.passed(|| index.to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let state = self.state;
        let first = state.keys.len();
        let mut set: Option<HashSet<Cow<'de, str>>> = None;
        while let Some(Text(key)) = map.next_key()? {
            if state.is_known(&key, first, &mut set) {
                state.duplicate = true;
                state.passed(|| escape(&key));
                return Err(de::Error::custom("duplicate key"));
            }
            let wanted = if self.depth == 0 { state.wanted.iter().find(|w| **w == key) } else { None };
            let place = state.keys.len();
            if let Some(set) = &mut set {
                set.insert(key.clone());
            }
            state.keys.push(key);
            let value = Value { state: &mut *state, depth: self.depth + 1, keep: wanted.is_some() };
            match map.next_value_seed(value) {
                Ok(value) => state.found.extend(wanted.map(|name| (*name, value))),
                Err(error) => {
                    let key = state.keys.get(place).cloned().unwrap_or_default();
                    state.passed(|| escape(&key));
                    return Err(error);
                }
            }
        }
        state.keys.truncate(first);
        Ok(Scalar::Object)
    }
}

impl<'de> State<'de> {
    /// Whether the object whose keys begin at `first` already has this key.
    fn is_known(&self, key: &str, first: usize, set: &mut Option<HashSet<Cow<'de, str>>>) -> bool {
        let own = self.keys.get(first..).unwrap_or_default();
        if own.len() < LINEAR_KEYS {
            return own.iter().any(|known| known == key);
        }
        set.get_or_insert_with(|| own.iter().cloned().collect()).contains(key)
    }

    fn passed(&mut self, part: impl FnOnce() -> String) {
        if self.duplicate {
            self.path.push(part());
        }
    }
}

/// One part of a JSON pointer.
pub(super) fn escape(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}
