//! Inflates a body and stops at the bound, not after it.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::StatusCode;

use super::IntakeLimits;
use super::body::{Share, too_large};
use super::content::Encoding;
use crate::dispatcher::problem::Problem;

/// Largest zstd window, as a power of two: 8 MiB, what every decoder has to support (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Bytes inflated at a time.
const STEP: usize = 64 * 1024;

/// The inflated body, its bytes counted in `share`.
pub(super) fn inflate(
    body: Bytes,
    encoding: Encoding,
    limits: &IntakeLimits,
    share: &mut Share,
) -> Result<Bytes, Problem> {
    match encoding {
        Encoding::Identity => Ok(body),
        Encoding::Gzip => read(MultiGzDecoder::new(&*body), limits, share),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&*body).map_err(|_| broken())?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| broken())?;
            read(decoder, limits, share)
        }
    }
}

fn read(decoder: impl Read, limits: &IntakeLimits, share: &mut Share) -> Result<Bytes, Problem> {
    let mut out = Vec::new();
    // One byte more than allowed tells that there is more.
    let mut decoder = decoder.take(limits.max_body as u64 + 1);
    loop {
        let step = decoder.by_ref().take(STEP as u64).read_to_end(&mut out).map_err(|_| broken())?;
        if out.len() > limits.max_body {
            return Err(too_large(limits));
        }
        share.grow(step)?;
        if step < STEP {
            return Ok(out.into());
        }
    }
}

fn broken() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "The body does not inflate as its Content-Encoding says, or its window is larger than 8 MiB.",
    )
}
