//! The administrator's port: probes, metrics, status.
//!
//! Must not decide anything: what it shows is handed in.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

use super::problem::Problem;
use crate::metrics::{Metrics, OPEN_METRICS};

/// What the port shows.
#[derive(Clone)]
pub struct AdminState {
    /// What is being waited for, one line each; empty once ready.
    pub waiting_for: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// `/v1/status`.
    pub status: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// `/metrics`.
    pub metrics: Arc<Metrics>,
}

/// `/livez`, `/readyz`, `/metrics`, `/v1/status`.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .fallback(|| async { not_found() })
        .method_not_allowed_fallback(|| async { method_not_allowed() })
        .with_state(state)
}

fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "There is nothing here; this port serves /livez, /readyz, /metrics and /v1/status.",
    )
}

fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Use GET.")
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

async fn status(State(state): State<AdminState>) -> Response {
    axum::Json((state.status)()).into_response()
}
