//! Bearer tokens (RFC 6750): found in a request's head, compared in constant time.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::problem::Problem;
use crate::plan::model::Sensitive;

/// 401 with the scheme to use (RFC 9110, section 11.6.1).
pub(super) fn unauthorized(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"chathooks\""))
}

/// The token of the only `Authorization` header, if its scheme is Bearer in any case (RFC 9110, section 11.1).
pub(super) fn given(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = single(headers, &header::AUTHORIZATION)?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Whether the token is one of these. Digests are compared, so that lengths do not show either.
pub(super) fn is_right(tokens: &[Sensitive], given: &[u8]) -> bool {
    let given_digest = Sha256::digest(given);
    let right = tokens.iter().fold(Choice::from(0), |right, token| {
        right | Sha256::digest(&token.0).as_slice().ct_eq(given_digest.as_slice())
    });
    bool::from(right) && !given.is_empty()
}

/// The value of a header that must not be repeated.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}
