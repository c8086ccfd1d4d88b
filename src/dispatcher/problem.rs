//! Errors over HTTP: `application/problem+json` (RFC 9457) with a sentence that says what to change.
//!
//! Must not carry secrets, nor text that came from the other side.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

/// Media type of every error (RFC 9457, section 3).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One event of a batch that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventError {
    /// Position in the batch, from 0.
    pub index: usize,
    /// JSON pointer (RFC 6901) below the event to what is wrong, empty for the whole event.
    pub pointer: String,
    /// A sentence that says what was expected.
    pub detail: Cow<'static, str>,
}

/// An answer that is not a success.
#[derive(Debug)]
pub struct Problem {
    /// Status of the answer.
    pub status: StatusCode,
    detail: Cow<'static, str>,
    errors: Vec<EventError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The wire form.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[EventError]>::is_empty")]
    errors: &'a [EventError],
}

impl Problem {
    /// A problem with its sentence.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), headers: Vec::new() }
    }

    /// 503 with `Retry-After`: the sender keeps the event and tries again.
    pub fn unavailable(retry_after_seconds: u32, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds))
    }

    /// Names the events that were not taken.
    pub fn with_errors(mut self, errors: Vec<EventError>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds a header to the answer.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        };
        // Strings and numbers only: this cannot fail, and if it did the status still says it.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response.headers_mut().extend(self.headers);
        response
    }
}
