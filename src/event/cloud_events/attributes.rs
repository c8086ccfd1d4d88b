//! A CloudEvent's context attributes: which there are, which must be there, and what each may be.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Data, is_json};
use crate::event::envelope::{check_id, parse_time};
use crate::event::{EnvelopeError, Event, name};

/// The attributes as far as they have been read; null counts as absent (JSON format, section 2.2).
#[derive(Default)]
pub(super) struct Attributes {
    core: BTreeMap<&'static str, String>,
    extensions: BTreeMap<String, Value>,
}

/// The attributes that the specification names.
const CORE: [&str; 8] =
    ["specversion", "id", "source", "type", "time", "subject", "dataschema", "datacontenttype"];

impl Attributes {
    /// Takes one attribute; its name is that of the specification, without `ce-`.
    pub(super) fn take(&mut self, name: &str, value: Value) -> Result<(), EnvelopeError> {
        let refused = |detail: String| Err(EnvelopeError::new(format!("/{}", pointer(name)), detail));
        if let Some(core) = CORE.into_iter().find(|core| *core == name) {
            let Value::String(text) = value else {
                return if value.is_null() {
                    Ok(())
                } else {
                    refused(format!("the CloudEvent's `{name}` is a string"))
                };
            };
            if text.is_empty() {
                return refused(format!("the CloudEvent's `{name}` is empty"));
            }
            if self.core.insert(core, text).is_some() {
                return refused(format!("the CloudEvent has `{name}` twice"));
            }
            return Ok(());
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return refused(
                "this is no attribute of CloudEvents 1.0: names of extensions are lower-case letters a-z and digits; put \
                 everything else into `data`"
                    .to_owned(),
            );
        }
        match value {
            Value::Null => Ok(()),
            Value::Array(_) | Value::Object(_) => refused(format!(
                "the CloudEvent's extension `{name}` is a list or an object; extensions are strings, numbers, true or \
                 false: put it into `data`"
            )),
            value => match self.extensions.insert(name.to_owned(), value) {
                Some(_) => refused(format!("the CloudEvent has `{name}` twice")),
                None => Ok(()),
            },
        }
    }

    /// The content type of a binary-mode request.
    pub(super) fn set_content_type(&mut self, content_type: &str) {
        self.core.insert("datacontenttype", content_type.to_owned());
    }

    pub(super) fn content_type(&self) -> Option<&str> {
        self.core.get("datacontenttype").map(String::as_str)
    }

    fn required(&self, name: &'static str, what: &str) -> Result<&str, EnvelopeError> {
        self.core.get(name).map(String::as_str).ok_or_else(|| {
            EnvelopeError::new(format!("/{name}"), format!("a CloudEvent needs `{name}`: {what}"))
        })
    }

    /// Checks what must be there and makes the envelope.
    pub(super) fn into_event(self, data: Data, now: i64) -> Result<Event, EnvelopeError> {
        let version = self.required("specversion", "the string `1.0`")?;
        if version != "1.0" {
            return Err(EnvelopeError::new(
                "/specversion",
                "the CloudEvent's `specversion` is not `1.0`, the only version that is taken",
            ));
        }
        let id = self.required("id", "a string of 1 to 256 characters, unique per source")?;
        check_id(id)?;
        let source = self.required("source", "a URI reference that names the sender")?;
        let event = self.required("type", "a dotted name of at most 128 characters")?;
        name::check(event).map_err(|problem| {
            let detail = format!(
                "the CloudEvent's `type` {problem}; expected a dotted name of at most 128 characters such as \
                 `com.example.order.shipped`"
            );
            EnvelopeError::new("/type", detail)
        })?;
        let envelope = Envelope {
            id,
            event,
            source,
            created_at: self.core.get("time").map_or(Ok(now), |time| parse_time(time))?,
            subject: self.core.get("subject").map(|id| Subject { r#type: None, id }),
            data: data.json,
            data_base64: data.base64,
            datacontenttype: self.content_type().filter(|text| !is_json(text)),
            dataschema: self.core.get("dataschema").map(String::as_str),
            extensions: &self.extensions,
        };
        let json = serde_json::to_vec(&envelope)
            .map_err(|_| EnvelopeError::new("", "the CloudEvent cannot be written as JSON"))?;
        Event::parse(json.into())
    }
}

/// The envelope that a CloudEvent becomes.
#[derive(Serialize)]
struct Envelope<'a> {
    id: &'a str,
    event: &'a str,
    source: &'a str,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Subject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataschema: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: &'a BTreeMap<String, Value>,
}

#[derive(Serialize)]
struct Subject<'a> {
    r#type: Option<&'a str>,
    id: &'a str,
}

fn pointer(name: &str) -> String {
    crate::event::json_walk::escape(name)
}
