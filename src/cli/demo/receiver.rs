//! The demo's receiver: verifies every signature by itself, and fails when told to.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::dispatcher::signing;
use crate::plan::model::Sensitive;

/// What one path has received.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Ids accepted with a good signature.
    pub(super) verified: HashSet<String>,
    /// Requests accepted again for an id that was there already.
    pub(super) repeated: u64,
    /// Requests with a signature that does not hold.
    pub(super) unverified: u64,
    /// Requests turned away with 503.
    pub(super) turned_away: u64,
}

#[derive(Default)]
struct Shared {
    keys: BTreeMap<&'static str, Sensitive>,
    failing: bool,
    seen: BTreeMap<String, Seen>,
}

type SharedState = Arc<Mutex<Shared>>;

/// A running receiver.
pub(super) struct Receiver {
    address: SocketAddr,
    shared: SharedState,
}

impl Receiver {
    pub(super) async fn start() -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = SharedState::default();
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, shared })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the secrets by path.
    pub(super) fn trust(&self, secrets: BTreeMap<&'static str, String>) {
        let decode =
            |secret: String| STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap_or_default();
        lock(&self.shared).keys =
            secrets.into_iter().map(|(path, secret)| (path, Sensitive(decode(secret)))).collect();
    }

    /// Whether everything is answered 503 from now on.
    pub(super) fn fail(&self, failing: bool) {
        lock(&self.shared).failing = failing;
    }

    /// What a path has received.
    pub(super) fn seen(&self, path: &str) -> Seen {
        lock(&self.shared).seen.get(path).cloned().unwrap_or_default()
    }
}

fn lock(shared: &SharedState) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(State(shared): State<SharedState>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut shared = lock(&shared);
    let failing = shared.failing;
    let id = verified_id(shared.keys.get(uri.path()), &headers, &body);
    let seen = shared.seen.entry(uri.path().to_owned()).or_default();
    match id {
        None => {
            seen.unverified += 1;
            StatusCode::UNAUTHORIZED
        }
        Some(_) if failing => {
            seen.turned_away += 1;
            StatusCode::SERVICE_UNAVAILABLE
        }
        Some(id) => {
            if !seen.verified.insert(id) {
                seen.repeated += 1;
            }
            StatusCode::NO_CONTENT
        }
    }
}

/// The `webhook-id`, if the signature over it holds.
fn verified_id(key: Option<&Sensitive>, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let header = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let id = header("webhook-id")?;
    let timestamp = header("webhook-timestamp")?.parse().ok()?;
    let expected = signing::signature(std::slice::from_ref(key?), id, timestamp, body)?;
    header("webhook-signature")?.split(' ').any(|given| given == expected).then(|| id.to_owned())
}
