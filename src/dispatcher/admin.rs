//! The administrator's port: probes, metrics, status, and what the operator asks.
//!
//! Must not decide anything: what it shows is handed in.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};

use super::bearer;
use super::observed::{After, Observer, TooManyWaiters};
use super::problem::Problem;
use crate::metrics::{Metrics, OPEN_METRICS};
use crate::plan::model::Sensitive;

/// Seconds after which to ask again while there is no plan, or too many ask.
const RETRY: u32 = 1;

/// Who may read what is more than a probe or a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever reaches the port (standalone).
    Open,
    /// Who has one of these tokens; nobody if there are none.
    Tokens(Vec<Sensitive>),
    /// Nobody yet: the tokens stand in the plan, and there is none.
    NotYet,
}

/// What the port shows.
#[derive(Clone)]
pub struct AdminState {
    /// What is being waited for, one line each; empty once ready.
    pub waiting_for: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Who may read `/v1/status` and `/v1/observed`.
    pub access: Arc<dyn Fn() -> Access + Send + Sync>,
    /// `/v1/status`.
    pub status: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// `/v1/observed`.
    pub observer: Arc<Observer>,
    /// `/metrics`.
    pub metrics: Arc<Metrics>,
}

/// `/livez`, `/readyz`, `/metrics`, `/v1/status`, `/v1/observed`.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/observed", get(observed))
        .fallback(|| async { not_found() })
        .method_not_allowed_fallback(|| async { method_not_allowed() })
        .with_state(state)
}

fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "There is nothing here; this port serves /livez, /readyz, /metrics, /v1/status and /v1/observed.",
    )
}

fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Use GET.")
}

/// Lets only those pass who may read.
fn admit(state: &AdminState, headers: &HeaderMap) -> Result<(), Problem> {
    let tokens = match (state.access)() {
        Access::Open => return Ok(()),
        Access::NotYet => {
            return Err(Problem::unavailable(
                RETRY,
                "The token for this is in the plan, and there is no plan yet; /readyz says what is waited for.",
            ));
        }
        Access::Tokens(tokens) => tokens,
    };
    match bearer::given(headers) {
        Some(given) if bearer::is_right(&tokens, given) => Ok(()),
        Some(_) => Err(bearer::unauthorized("The bearer token is wrong.")),
        None => Err(bearer::unauthorized(
            "Send `Authorization: Bearer <token>` with the token of the Secret <ChatInstance>-admin.",
        )),
    }
}

async fn ready(State(state): State<AdminState>) -> Response {
    let waiting = (state.waiting_for)();
    if waiting.is_empty() {
        return "ok\n".into_response();
    }
    let list = format!("waiting for {}\n", waiting.join("\nwaiting for "));
    (StatusCode::SERVICE_UNAVAILABLE, list).into_response()
}

async fn metrics(State(state): State<AdminState>) -> Response {
    match state.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be written; report a bug.")
                .into_response()
        }
    }
}

async fn status(State(state): State<AdminState>, headers: HeaderMap) -> Result<Response, Problem> {
    admit(&state, &headers)?;
    Ok(axum::Json((state.status)()).into_response())
}

async fn observed(
    State(state): State<AdminState>,
    headers: HeaderMap,
    query: Result<Query<After>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    admit(&state, &headers)?;
    let Query(known) = query.map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "The query may hold process, after (the sequence that is known) and wait (seconds, at most 55).",
        )
    })?;
    match state.observer.wait(&known).await {
        Ok(observed) => Ok(axum::Json(observed).into_response()),
        Err(TooManyWaiters) => {
            Err(Problem::unavailable(RETRY, "Sixteen requests wait here already; try again."))
        }
    }
}
