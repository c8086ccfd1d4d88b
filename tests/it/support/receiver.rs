//! A receiver that keeps what it gets and answers as told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: std::time::Instant,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// What to answer; given the number of earlier requests with the same `webhook-id`.
type Answer = Box<dyn Fn(&Received, usize) -> (StatusCode, Duration) + Send + Sync>;

struct Shared {
    received: Mutex<Vec<Received>>,
    /// Requests by path and `webhook-id`.
    counts: Mutex<HashMap<(String, String), usize>>,
    answer: Mutex<Answer>,
}

/// A running receiver.
#[derive(Clone)]
pub struct Receiver {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            counts: Mutex::default(),
            answer: Mutex::new(Box::new(|_, _| (StatusCode::OK, Duration::ZERO))),
        });
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { addr, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn answer(
        &self,
        answer: impl Fn(&Received, usize) -> (StatusCode, Duration) + Send + Sync + 'static,
    ) {
        *self.shared.answer.lock().unwrap() = Box::new(answer);
    }

    /// Everything so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// How often each `webhook-id` came.
    pub fn ids(&self) -> HashMap<String, usize> {
        let mut ids = HashMap::new();
        for received in self.shared.received.lock().unwrap().iter() {
            *ids.entry(received.header("webhook-id").to_owned()).or_default() += 1;
        }
        ids
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at = std::time::Instant::now();
    let received = Received { method, path: uri.path().to_owned(), headers, body, at };
    let (status, pause) = {
        let key = (received.path.clone(), received.header("webhook-id").to_owned());
        let earlier = {
            let mut counts = shared.counts.lock().unwrap();
            let count = counts.entry(key).or_default();
            *count += 1;
            *count - 1
        };
        let answer = (shared.answer.lock().unwrap())(&received, earlier);
        shared.received.lock().unwrap().push(received);
        answer
    };
    tokio::time::sleep(pause).await;
    status.into_response()
}
