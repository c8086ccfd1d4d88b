//! The server below intake and admin: connections, idleness, shutdown; and the admin port.

use std::sync::Arc;
use std::time::Duration;

use chathooks::dispatcher::admin::{Access, AdminState, router};
use chathooks::dispatcher::http_server::{ServerLimits, serve};
use chathooks::dispatcher::intake::IntakeLimits;
use chathooks::dispatcher::observed::Observer;
use chathooks::dispatcher::{Dispatcher, Options};
use chathooks::metrics::Metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Intake, NOW, Request, envelope, read_response};

async fn with(server: ServerLimits) -> Intake {
    Intake::with(NOW, IntakeLimits::default(), server).await
}

#[tokio::test]
async fn a_slow_head_ends_the_connection() {
    let limits = ServerLimits { header_read: Duration::from_millis(50), ..ServerLimits::default() };
    let intake = with(limits).await;
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    stream.write_all(b"POST /v1/events HTTP/1.1\r\nx: ").await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    // Also without a word, and after a request.
    let mut silent = TcpStream::connect(intake.address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    stream.write_all(&Request::post("/v1/events").bearer("right").body("[]").bytes()).await.unwrap();
    assert_eq!(read_response(&mut stream).await.unwrap().status, 202);
    stream.write_all(b"P").await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_timeout_but_not_the_idle_one() {
    let limits = ServerLimits {
        header_read: Duration::from_millis(200),
        idle: Duration::from_secs(1),
        ..ServerLimits::default()
    };
    let intake = with(limits).await;
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    let request = Request::post("/v1/events").bearer("right").body("[]").bytes();
    for pause in [Duration::ZERO, Duration::from_millis(300)] {
        tokio::time::sleep(pause).await;
        stream.write_all(&request).await.unwrap();
        assert_eq!(read_response(&mut stream).await.unwrap().status, 202);
    }
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let intake = with(ServerLimits { max_connections: 1, ..ServerLimits::default() }).await;
    let mut first = TcpStream::connect(intake.address).await.unwrap();
    let request = Request::post("/v1/events").bearer("right").body("[]").bytes();
    first.write_all(&request).await.unwrap();
    assert_eq!(read_response(&mut first).await.unwrap().status, 202);

    let mut second = TcpStream::connect(intake.address).await.unwrap();
    second.write_all(&request).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(100), read_response(&mut second)).await;
    assert!(waiting.is_err());
    drop(first);
    assert_eq!(read_response(&mut second).await.unwrap().status, 202);
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_finishes_requests() {
    let mut intake = Intake::start().await;
    let mut idle = TcpStream::connect(intake.address).await.unwrap();
    let mut busy = TcpStream::connect(intake.address).await.unwrap();
    let request = Request::post("/v1/events").bearer("right").body(envelope("1")).bytes();
    let (begin, end) = request.split_at(request.len() - 5);
    busy.write_all(begin).await.unwrap();
    let active = r#"http_server_active_requests{http_request_method="POST"} 1"#;
    while !intake.metrics.encode().unwrap().contains(active) {
        tokio::task::yield_now().await;
    }
    intake.stop.take().unwrap().send(()).unwrap();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(TcpStream::connect(intake.address).await.is_err());

    busy.write_all(end).await.unwrap();
    let response = read_response(&mut busy).await.unwrap();
    assert_eq!((response.status, response.headers["connection"].as_str()), (202, "close"));
    assert_eq!(intake.server.await.unwrap(), 0);
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_finish() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(tokio::sync::Notify::new());
    let handler = {
        let seen = Arc::clone(&seen);
        async move || {
            seen.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let stuck = axum::Router::new().route("/", axum::routing::get(handler));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let server =
        tokio::spawn(serve(listener, stuck, ServerLimits::default(), stopped, Duration::from_millis(50)));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET").await.unwrap();
    seen.notified().await;
    stop.send(()).unwrap();
    assert_eq!(server.await.unwrap(), 1);
}

#[tokio::test]
async fn the_admin_port() {
    let waiting = Arc::new(std::sync::Mutex::new(vec!["the event log of ai/chat".to_owned()]));
    let state = AdminState {
        waiting_for: {
            let waiting = Arc::clone(&waiting);
            Arc::new(move || waiting.lock().unwrap().clone())
        },
        access: Arc::new(|| Access::Open),
        observer: Arc::new(Observer::new(Arc::new(Dispatcher::new(Options {
            data_dir: "/nowhere".into(),
            metrics: Arc::new(Metrics::new("")),
        })))),
        status: Arc::new(|| serde_json::json!({"objects": [], "files": []})),
        metrics: Arc::new(Metrics::new("abc")),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(serve(
        listener,
        router(state),
        ServerLimits::default(),
        std::future::pending(),
        Duration::ZERO,
    ));
    let mut ask = async |method: &'static str, target: &str| {
        stream.write_all(&Request::new(method, target).bytes()).await.unwrap();
        read_response(&mut stream).await.unwrap()
    };

    assert_eq!(ask("GET", "/livez").await.status, 200);
    let not_ready = ask("GET", "/readyz").await;
    assert_eq!((not_ready.status, &*not_ready.body), (503, &b"waiting for the event log of ai/chat\n"[..]));
    waiting.lock().unwrap().clear();
    assert_eq!(ask("GET", "/readyz").await.status, 200);
    let metrics = ask("GET", "/metrics").await;
    assert_eq!(metrics.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.body.ends_with(b"# EOF\n"));
    assert_eq!(ask("GET", "/v1/status").await.json(), serde_json::json!({"objects": [], "files": []}));
    let unknown = ask("GET", "/nothing").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.detail().contains("/readyz"));
    let posted = ask("POST", "/livez").await;
    assert_eq!((posted.status, posted.headers["allow"].as_str()), (405, "GET,HEAD"));
    posted.detail();
}
