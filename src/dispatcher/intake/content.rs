//! Of what kind a body is, read from the headers alone.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::dispatcher::problem::Problem;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// How events lie in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An envelope or an array of envelopes; each may be a CloudEvent in disguise.
    Json,
    /// One CloudEvent in JSON.
    CloudEvent,
    /// An array of CloudEvents in JSON.
    CloudEventBatch,
    /// A CloudEvent whose attributes are headers.
    CloudEventBinary,
}

/// Reads `Content-Encoding` (RFC 9110, section 8.4).
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let value = values.next().map_or(&b""[..], HeaderValue::as_bytes).trim_ascii();
    let is = |name: &[u8]| value.eq_ignore_ascii_case(name);
    match values.next() {
        None if is(b"") || is(b"identity") => Ok(Encoding::Identity),
        None if is(b"gzip") || is(b"x-gzip") => Ok(Encoding::Gzip),
        None if is(b"zstd") => Ok(Encoding::Zstd),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding may be gzip, zstd or identity, and only one of them.",
        )
        .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"))),
    }
}

/// Reads `Content-Type`, and in the case of binary mode the presence of `ce-` headers
/// (CloudEvents HTTP binding 1.0, section 3: a `application/cloudevents` type decides first).
pub(super) fn shape(headers: &HeaderMap) -> Result<Shape, Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let value = values.next().map_or(&b""[..], HeaderValue::as_bytes);
    let (Ok(value), None) = (std::str::from_utf8(value), values.next()) else {
        return Err(unsupported());
    };
    let mut parts = value.split(';');
    let essence = parts.next().unwrap_or_default().trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    let shape = if is("application/cloudevents+json") {
        Shape::CloudEvent
    } else if is("application/cloudevents-batch+json") {
        Shape::CloudEventBatch
    } else if headers.contains_key("ce-specversion") || headers.contains_key("ce-id") {
        // The type is that of `data`, whatever it is.
        return Ok(Shape::CloudEventBinary);
    } else if is("application/json") || value.trim().is_empty() {
        Shape::Json
    } else {
        return Err(unsupported());
    };
    if parts.all(is_utf8) { Ok(shape) } else { Err(unsupported()) }
}

/// Whether a media type parameter is anything but another charset: JSON is UTF-8 (RFC 8259, section 8.1).
fn is_utf8(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return true };
    let value = value.trim().trim_matches('"');
    !name.trim().eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8")
}

fn unsupported() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "Content-Type may be application/json, application/cloudevents+json or application/cloudevents-batch+json, \
         in UTF-8; a CloudEvent in binary mode (ce- headers) may have any.",
    )
    .with_header(
        header::ACCEPT,
        HeaderValue::from_static(
            "application/json, application/cloudevents+json, application/cloudevents-batch+json",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn content_type_decides_the_shape() {
        let of =
            |value| shape(&headers(&[("content-type", value)])).map_err(|problem| problem.status.as_u16());
        for json in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json; charset=\"utf-8\"; profile=x",
            "application/json;",
            "",
        ] {
            assert_eq!(of(json), Ok(Shape::Json), "{json}");
        }
        assert_eq!(shape(&HeaderMap::new()).unwrap(), Shape::Json);
        assert_eq!(of("application/cloudevents+json; charset=utf-8"), Ok(Shape::CloudEvent));
        assert_eq!(of("application/cloudevents-batch+json"), Ok(Shape::CloudEventBatch));
        for other in [
            "text/plain",
            "application/json; charset=latin1",
            "application/cloudevents+json; charset=utf-16",
            "application/cloudevents+xml",
            "application/jsonx",
            "*/*",
            "application/json, text/plain",
        ] {
            assert_eq!(of(other), Err(415), "{other}");
        }
    }

    #[test]
    fn binary_mode_takes_any_type_but_structured_wins() {
        let binary = shape(&headers(&[("content-type", "text/xml"), ("ce-id", "1")])).unwrap();
        assert_eq!(binary, Shape::CloudEventBinary);
        let structured =
            shape(&headers(&[("content-type", "application/cloudevents+json"), ("ce-id", "1")])).unwrap();
        assert_eq!(structured, Shape::CloudEvent);
    }

    #[test]
    fn one_encoding_at_most() {
        let of = |value| encoding(&headers(&[("content-encoding", value)])).map_err(|p| p.status.as_u16());
        assert_eq!(of("GZIP"), Ok(Encoding::Gzip));
        assert_eq!(of("x-gzip"), Ok(Encoding::Gzip));
        assert_eq!(of(" zstd "), Ok(Encoding::Zstd));
        assert_eq!(of("identity"), Ok(Encoding::Identity));
        for other in ["br", "deflate", "gzip, gzip", "gzip,zstd"] {
            assert_eq!(of(other), Err(415), "{other}");
        }
        let twice = headers(&[("content-encoding", "gzip"), ("content-encoding", "gzip")]);
        assert_eq!(encoding(&twice).map_err(|p| p.status.as_u16()), Err(415));
    }
}
