//! The routes, and the way of a request through intake.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};

use super::auth::{self, Credential};
use super::body::{Incoming, Share};
use super::content::{self, Encoding, Shape};
use super::events::{Decoded, Job};
use super::store::{self, Taken};
use super::{IntakeInstance, IntakeState, instance, percent, relay};
use crate::dispatcher::problem::Problem;
use crate::metrics::{ActiveRequest, EventResult};

const EVENTS: &str = "/v1/events";
const EVENTS_TOKEN: &str = "/v1/events/{token}";
const INSTANCE: &str = "/v1/instances/{namespace}/{name}/events";
const INSTANCE_TOKEN: &str = "/v1/instances/{namespace}/{name}/events/{token}";
const RELAY: &str = "/v1/relay";
const INSTANCE_RELAY: &str = "/v1/instances/{namespace}/{name}/relay";

/// Route label of requests that match none.
const NO_ROUTE: &str = "";

/// Largest body that is verified and parsed where it arrives; larger ones would hold up other requests of the same thread.
const PARSE_INLINE: usize = 64 * 1024;

/// The same for compressed bodies, which may grow a thousandfold.
const INFLATE_INLINE: usize = 4 * 1024;

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Intake's routes.
pub fn router(state: IntakeState) -> Router {
    let mut router = Router::new();
    for route in [EVENTS, EVENTS_TOKEN, INSTANCE, INSTANCE_TOKEN] {
        let take = move |State(state): State<IntakeState>, request: Request<axum::body::Body>| async move {
            events(&state, route, request).await
        };
        let shake_hands = move |State(state): State<IntakeState>, request: Request<axum::body::Body>| async move {
            handshake(&state, route, &request)
        };
        router = router.route(route, post(take).options(shake_hands));
    }
    for route in [RELAY, INSTANCE_RELAY] {
        let hello = move |State(state): State<IntakeState>, request: Request<axum::body::Body>| async move {
            relay::hello(&state, route, request).await
        };
        router = router.route(route, post(hello));
    }
    router
        .fallback(|State(state): State<IntakeState>, request: Request<axum::body::Body>| async move {
            refuse(&state, request, not_found())
        })
        .method_not_allowed_fallback(
            |State(state): State<IntakeState>, request: Request<axum::body::Body>| async move {
                let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Use POST to send events.");
                refuse(&state, request, problem)
            },
        )
        .with_state(state)
}

fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "There is nothing here; events are posted to /v1/events or /v1/instances/{namespace}/{name}/events.",
    )
}

/// Answers what no route takes.
fn refuse(state: &IntakeState, request: Request<axum::body::Body>, problem: Problem) -> Response {
    let active = state.metrics.server_request(request.method(), NO_ROUTE);
    let (parts, body) = request.into_parts();
    Incoming::new(&parts.headers, body).discard();
    active.answered(problem.status);
    problem.into_response()
}

/// The token in a path, if it holds one, still percent-encoded.
fn token_in(path: &str) -> Option<&str> {
    if let Some(path) = path.strip_prefix("/v1/instances/") {
        path.splitn(4, '/').nth(3)
    } else {
        path.strip_prefix("/v1/events/")
    }
}

fn find(state: &IntakeState, path: &str) -> Result<Arc<IntakeInstance>, Problem> {
    instance::find(&state.table.borrow(), instance::named_in(path))
}

async fn events(state: &IntakeState, route: &'static str, request: Request<axum::body::Body>) -> Response {
    let active = state.metrics.server_request(request.method(), route);
    let (parts, body) = request.into_parts();
    let mut incoming = Incoming::new(&parts.headers, body);
    let response = match take(state, &active, parts, &mut incoming).await {
        Ok(taken) => taken.into_response(),
        Err(problem) => {
            incoming.discard();
            problem.into_response()
        }
    };
    active.answered(response.status());
    response
}

/// From the head of a request to durable events.
async fn take(
    state: &IntakeState,
    active: &ActiveRequest<'_>,
    parts: Parts,
    incoming: &mut Incoming,
) -> Result<Taken, Problem> {
    let Parts { uri, headers, .. } = parts;
    let now = state.now();
    let path_token = token_in(uri.path()).map(|token| percent::decode(token.as_bytes()));
    let instance = find(state, uri.path())?;
    let credential = auth::judge(&instance.auth, path_token.as_deref(), &headers, now);
    if let Some(reason) = &instance.paused {
        // Before 401: a pause may well be for want of the token, and 4xx makes senders drop events.
        return Err(instance::paused(&instance, reason, matches!(credential, Ok(Credential::Bearer))));
    }
    let credential = credential?;
    let partial = partial(uri.query())?;
    let encoding = content::encoding(&headers)?;
    let shape = content::shape(&headers)?;
    incoming.check_declared(&state.limits)?;

    let mut share = Share::new(&state.budget);
    let body = incoming.read(state, &mut share).await?;
    active.body(body.len());
    let signed = match credential {
        Credential::Bearer => None,
        Credential::Signed(signed) => Some(signed),
    };
    let binary = (shape == Shape::CloudEventBinary).then(|| Box::new(headers));
    let limits = state.limits;
    let job =
        Job { body, signed, encoding, shape, binary, instance: Arc::clone(&instance), limits, now, share };
    let decoded = decode(state, job).await;
    if decoded.as_ref().is_err_and(|problem| matches!(problem.status.as_u16(), 400 | 413)) {
        state.metrics.intake_events(&instance.namespace, &instance.name, EventResult::Refused, 1);
    }
    let (decoded, share) = decoded?;
    let taken = store::store(decoded, partial, &instance, &state.metrics).await;
    drop(share);
    taken
}

/// Runs the job here if it is small, else on a thread that may block, a few at a time.
async fn decode(state: &IntakeState, job: Job) -> Result<(Decoded, Share), Problem> {
    let inline = if job.encoding == Encoding::Identity { PARSE_INLINE } else { INFLATE_INLINE };
    if job.body.len() <= inline {
        return job.run();
    }
    let broken =
        || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The body could not be read; report a bug.");
    let _turn = state.decoders.acquire().await.map_err(|_| broken())?;
    tokio::task::spawn_blocking(|| job.run()).await.map_err(|_| broken())?
}

/// Reads `?partial=`; other parameters are none of our business.
fn partial(query: Option<&str>) -> Result<bool, Problem> {
    let mut partial = false;
    for pair in query.unwrap_or_default().split('&') {
        partial = match pair.split_once('=').unwrap_or((pair, "")) {
            ("partial", "true") => true,
            ("partial", "false") => false,
            ("partial", _) => {
                return Err(Problem::new(StatusCode::BAD_REQUEST, "partial must be true or false."));
            }
            _ => partial,
        };
    }
    Ok(partial)
}

/// Permits a CloudEvents sender to post, at any rate.
/// <https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md#4-abuse-protection>
fn handshake(state: &IntakeState, route: &'static str, request: &Request<axum::body::Body>) -> Response {
    let active = state.metrics.server_request(request.method(), route);
    let response = match find(state, request.uri().path()) {
        Ok(_) => {
            let mut headers = HeaderMap::new();
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            if let Some(origin) = request.headers().get(REQUEST_ORIGIN) {
                headers.insert(ALLOWED_ORIGIN, origin.clone());
                headers.insert(ALLOWED_RATE, HeaderValue::from_static("*"));
            }
            headers.into_response()
        }
        Err(problem) => problem.into_response(),
    };
    active.answered(response.status());
    response
}
