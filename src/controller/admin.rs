//! The operator's port: probes and metrics. Followers are ready too.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

use super::metrics::Metrics;
use crate::metrics::OPEN_METRICS;

/// What is waited for; empty once ready.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<String>>>);

impl Readiness {
    /// Sets what is waited for, and logs it when it changes.
    pub fn waits_for(&self, things: Vec<String>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *waiting != things {
            match things.as_slice() {
                [] => tracing::info!("ready"),
                things => tracing::info!("waiting for {}", things.join("; ")),
            }
            *waiting = things;
        }
    }

    fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// `/livez`, `/readyz`, `/metrics`.
pub fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(readiness)
        .merge(Router::new().route("/metrics", get(show)).with_state(metrics))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let waiting = readiness.list();
    if waiting.is_empty() {
        return "ok\n".into_response();
    }
    let list = format!("waiting for {}\n", waiting.join("\nwaiting for "));
    (StatusCode::SERVICE_UNAVAILABLE, list).into_response()
}

async fn show(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
