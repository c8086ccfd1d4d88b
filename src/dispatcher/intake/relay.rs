//! `/v1/relay`: a relay says hello. The sender proves who it is exactly as for events.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Request, StatusCode};
use tokio::time::Instant;

use super::auth::{self, Credential};
use super::body::{Incoming, Share};
use super::{IntakeState, content, inflate, instance};
use crate::dispatcher::problem::Problem;
use crate::dispatcher::relays::{ALIVE, Hello, TooManyWorkers};

/// Largest hello in bytes, on the wire and inflated.
const MAX_HELLO: usize = 64 * 1024;

/// Takes one hello.
pub(super) async fn hello(
    state: &IntakeState,
    route: &'static str,
    request: Request<axum::body::Body>,
) -> Response {
    let active = state.metrics.server_request(request.method(), route);
    let (parts, body) = request.into_parts();
    let mut incoming = Incoming::new(&parts.headers, body);
    let response = match take(state, parts, &mut incoming).await {
        Ok(()) => axum::Json(serde_json::json!({})).into_response(),
        Err(problem) => {
            incoming.discard();
            problem.into_response()
        }
    };
    active.answered(response.status());
    response
}

async fn take(state: &IntakeState, parts: Parts, incoming: &mut Incoming) -> Result<(), Problem> {
    let mut state = state.clone();
    state.limits.max_body = state.limits.max_body.min(MAX_HELLO);
    let instance = instance::find(&state.table.borrow(), instance::named_in(parts.uri.path()))?;
    let credential = auth::judge(&instance.auth, None, &parts.headers, state.now());
    if let Some(reason) = &instance.paused {
        return Err(instance::paused(&instance, reason, matches!(credential, Ok(Credential::Bearer))));
    }
    let credential = credential?;
    let encoding = content::encoding(&parts.headers)?;
    incoming.check_declared(&state.limits)?;
    let mut share = Share::new(&state.budget);
    let body = incoming.read(&state, &mut share).await?;
    if let Credential::Signed(signed) = credential {
        signed.verify(&instance.auth.signing_keys, &body)?;
    }
    let body = inflate::inflate(body, encoding, &state.limits, &mut share)?;
    let hello: Hello = serde_json::from_slice(&body).map_err(|_| malformed(SHAPE))?;
    hello.check().map_err(malformed)?;
    let relays = Arc::clone(&state.relays);
    relays.hear(&instance.namespace, &instance.name, hello, Instant::now()).map_err(|TooManyWorkers| {
        Problem::unavailable(
            u32::try_from(ALIVE.as_secs()).unwrap_or(u32::MAX),
            "256 workers have said hello within the last minute, which is all that are watched at once.",
        )
    })
}

/// What a hello looks like.
const SHAPE: &str = "A hello is a JSON object `relay` with worker, version, config and state (Active, Off, Replaced \
     or Stopping), and beside it `hints`, a list of {event, subject}.";

fn malformed(detail: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
