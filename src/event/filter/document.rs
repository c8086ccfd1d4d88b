//! An event's JSON, read level by level and only where a filter looks, each level at most once.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde_json::value::RawValue;

use crate::event::raw::{Members, Text};

/// An event's JSON, parsed at most once, whatever number of filters look at it.
#[derive(Debug)]
pub struct Document<'a> {
    root: Node<'a>,
}

impl<'a> Document<'a> {
    /// Nothing is parsed yet. `json` is what [`crate::event::Event::parse`] accepted; anything else is as good as null.
    pub fn new(json: &'a [u8]) -> Self {
        Self { root: Node::new(std::str::from_utf8(json).unwrap_or_default().trim_ascii()) }
    }

    pub(super) fn root(&self) -> &Node<'a> {
        &self.root
    }
}

/// One JSON value; its own level is parsed on first sight.
#[derive(Debug)]
pub(super) struct Node<'a> {
    raw: &'a str,
    json: OnceLock<Json<'a>>,
}

/// One parsed level.
#[derive(Debug)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// An integral number that fits.
    Int(i64),
    /// Any other number.
    Double(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    fn new(raw: &'a str) -> Self {
        Self { raw, json: OnceLock::new() }
    }

    /// The value's own JSON text.
    pub(super) fn raw(&self) -> &'a str {
        self.raw
    }

    pub(super) fn json(&self) -> &Json<'a> {
        self.json.get_or_init(|| parse(self.raw))
    }

    /// Bytes that [`Node::json`] would still have to read.
    pub(super) fn unread(&self) -> usize {
        if self.json.get().is_some() { 0 } else { self.raw.len() }
    }

    /// The member of an object.
    pub(super) fn member(&self, key: &str) -> Option<&Self> {
        match self.json() {
            Json::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }
}

/// Reads one level. What cannot be read is null: the intake has refused it long before.
fn parse(raw: &str) -> Json<'_> {
    match raw.as_bytes().first() {
        Some(b'{') => serde_json::from_str(raw).map(|Members(members)| {
            Json::Object(members.into_iter().map(|(key, value)| (key, Node::new(value.get()))).collect())
        }),
        Some(b'[') => serde_json::from_str(raw).map(|items: Vec<&RawValue>| {
            Json::List(items.into_iter().map(|item| Node::new(item.get())).collect())
        }),
        Some(b'"') => serde_json::from_str(raw).map(|Text(text)| Json::Text(text)),
        Some(b't') => Ok(Json::Bool(true)),
        Some(b'f') => Ok(Json::Bool(false)),
        Some(b'-' | b'0'..=b'9') => Ok(number(raw)),
        _ => Ok(Json::Null),
    }
    .unwrap_or(Json::Null)
}

fn number(raw: &str) -> Json<'_> {
    match raw.parse() {
        Ok(int) => Json::Int(int),
        Err(_) => raw.parse().map_or(Json::Null, Json::Double),
    }
}
