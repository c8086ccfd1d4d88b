//! Intake over real sockets: what it takes, what it refuses and how, and what a hostile sender gets.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use chathooks::dispatcher::http_server::{ServerLimits, serve};
use chathooks::dispatcher::intake::{IntakeInstance, IntakeLimits, IntakeState, IntakeTable, router};
use chathooks::event::Event;
use chathooks::log::memory::MemoryLog;
use chathooks::log::{
    Appended, BatchMode, DedupLimits, Entry, EventLog, LogError, NewRecord, Page, Seq, Usage,
};
use chathooks::metrics::Metrics;
use chathooks::plan::model::{IntakePlan, Sensitive};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

mod auth;
mod bodies;
mod cloud_events;
mod hostile;
mod instances;
mod server;
mod takes;

/// What intake's clock says, in Unix seconds.
pub(crate) const NOW: i64 = 1_795_000_000;

/// The log in memory, which can be told to refuse.
pub(crate) struct FakeLog {
    inner: MemoryLog,
    pub(crate) refuse: Mutex<Option<fn() -> LogError>>,
}

impl FakeLog {
    fn new() -> Self {
        let inner = MemoryLog::new(1 << 30, DedupLimits::default(), Arc::new(|| NOW as u64 * 1000));
        Self { inner, refuse: Mutex::default() }
    }

    /// The events appended, in order.
    pub(crate) fn events(&self) -> Vec<Event> {
        let page = self.inner.read_from(1, usize::MAX, usize::MAX).now_or_never().unwrap().unwrap();
        page.entries.into_iter().map(|entry| Event::from_record(entry.payload).unwrap()).collect()
    }
}

impl EventLog for FakeLog {
    fn append(
        &self,
        batch: Vec<NewRecord>,
        mode: BatchMode,
    ) -> BoxFuture<'_, Result<Vec<Appended>, LogError>> {
        match *self.refuse.lock().unwrap() {
            Some(error) => async move { Err(error()) }.boxed(),
            None => self.inner.append(batch, mode),
        }
    }

    fn read_from(&self, from: Seq, records: usize, bytes: usize) -> BoxFuture<'_, Result<Page, LogError>> {
        self.inner.read_from(from, records, bytes)
    }

    fn get(&self, seq: Seq) -> BoxFuture<'_, Result<Option<Entry>, LogError>> {
        self.inner.get(seq)
    }

    fn release(&self, below: Seq, keep: Vec<std::ops::Range<Seq>>) {
        self.inner.release(below, keep);
    }

    fn continue_from(&self, at_least: Seq) {
        self.inner.continue_from(at_least);
    }

    fn end(&self) -> watch::Receiver<Seq> {
        self.inner.end()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}

/// A running intake.
pub(crate) struct Intake {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<FakeLog>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) table: watch::Sender<IntakeTable>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) server: JoinHandle<usize>,
}

/// An instance with the token `right` and the key of the first published vector.
pub(crate) fn instance(namespace: &str, name: &str, log: &Arc<FakeLog>) -> IntakeInstance {
    let key = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    );
    IntakeInstance {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        paused: None,
        auth: IntakePlan {
            bearer_tokens: vec![Sensitive(b"right".to_vec()), Sensitive(b"also/right".to_vec())],
            signing_keys: vec![Sensitive(b"another key, tried first".to_vec()), Sensitive(key.unwrap())],
        },
        log: Arc::clone(log) as Arc<dyn EventLog>,
    }
}

impl Intake {
    /// Serves `ai/chat` with the usual bounds.
    pub(crate) async fn start() -> Self {
        Self::with(NOW, IntakeLimits::default(), ServerLimits::default()).await
    }

    pub(crate) async fn with(now: i64, limits: IntakeLimits, server: ServerLimits) -> Self {
        let log = Arc::new(FakeLog::new());
        let (table, receiver) = watch::channel(Arc::new(vec![Arc::new(instance("ai", "chat", &log))]));
        let metrics = Arc::new(Metrics::new(""));
        let clock = Arc::new(move || UNIX_EPOCH + Duration::from_secs(now as u64));
        let state = IntakeState::new(receiver, Arc::default(), clock, Arc::clone(&metrics), limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(
            listener,
            router(state),
            server,
            async {
                let _ = stopped.await;
            },
            Duration::from_secs(5),
        ));
        Self { address, log, metrics, table, stop: Some(stop), server }
    }

    /// Serves these instances from now on.
    pub(crate) fn serve(&self, instances: Vec<IntakeInstance>) {
        self.table.send_replace(Arc::new(instances.into_iter().map(Arc::new).collect()));
    }

    /// One request over a connection of its own.
    pub(crate) async fn send(&self, request: &Request) -> Response {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A refusal may close the connection while the rest of the body is on its way.
        let _ = stream.write_all(&request.bytes()).await;
        next_response(request.method, &mut stream, &mut Vec::new()).await.unwrap()
    }

    /// `POST /v1/events` with the right token.
    pub(crate) async fn post(&self, body: impl Into<Vec<u8>>) -> Response {
        self.send(&Request::post("/v1/events").bearer("right").body(body)).await
    }
}

/// A request, written as it is said.
#[derive(Clone)]
pub(crate) struct Request {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &'static str, target: &str) -> Self {
        Self { method, target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: chathooks\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !self
            .headers
            .iter()
            .any(|(name, _)| ["content-length", "transfer-encoding"].contains(&name.as_str()))
        {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A response, read off the wire.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The sentence of a problem, after a look at the rest of it.
    pub(crate) fn detail(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string());
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// Reads one response; `None` if the connection ends first. For one request at a time: what follows is lost.
pub(crate) async fn read_response(stream: &mut TcpStream) -> Option<Response> {
    next_response("POST", stream, &mut Vec::new()).await
}

/// Reads the next response; what is read beyond it stays in `buffer`.
pub(crate) async fn next_response(
    method: &str,
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> Option<Response> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..head_end).collect()).unwrap();
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let length = if method == "HEAD" { 0 } else { length };
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some(Response { status, headers, body: buffer.drain(..length).collect() })
}

/// An envelope with this id.
pub(crate) fn envelope(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","event":"chat.finished","created_at":1795000000,"source":"api","data":{{"n":1}}}}"#
    )
}

/// An envelope of exactly this many bytes.
pub(crate) fn sized(id: &str, bytes: usize) -> String {
    let bare = format!(r#"{{"id":"{id}","event":"a.b","created_at":1795000000,"pad":""}}"#);
    bare.replace(r#""pad":"""#, &format!(r#""pad":"{}""#, "x".repeat(bytes - bare.len())))
}
