//! One connection: hyper, a watchdog over it, and the rules of HTTP that hyper leaves to its user.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::Service;

use super::ServerLimits;
use super::activity::{Activity, Watched};
use crate::dispatcher::problem::Problem;

/// Largest request head, and largest trailer section, in bytes; more is 431.
const MAX_HEAD: usize = 32 * 1024;

/// Read and write buffer of a connection, in bytes, at most.
const MAX_BUFFER: usize = 64 * 1024;

/// Serves one connection to its end. The number of header fields is bounded by hyper's default of 100 (a bound of
/// one's own costs an allocation per request).
pub(super) async fn run(
    stream: TcpStream,
    router: Router,
    limits: ServerLimits,
    mut stopping: watch::Receiver<()>,
) {
    let activity = Activity::new(limits);
    let service = {
        let activity = activity.clone();
        service_fn(move |request: Request<Incoming>| {
            activity.busy();
            let answering = answer(router.clone(), request);
            let activity = activity.clone();
            async move {
                let response = answering.await;
                activity.idle();
                response
            }
        })
    };
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(Watched::new(stream, activity.clone()), service);
    let mut connection = pin!(connection);
    let mut alarm = pin!(sleep_until(Instant::now() + limits.header_read));
    let mut draining = false;

    loop {
        // Both errors of the peer and the peer's silence end the connection, and neither is news.
        let ended = poll_fn(|cx| {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            poll_alarm(&activity, alarm.as_mut(), cx)
        });
        tokio::select! {
            biased;
            () = ended => return,
            _ = stopping.changed(), if !draining => {}
        }
        draining = true;
        connection.as_mut().graceful_shutdown();
    }
}

/// Ready once the activity's deadline has passed. The alarm is only moved when it would ring too late, so that a busy
/// keep-alive connection touches the timer wheel a few times a minute and not with every request.
fn poll_alarm(activity: &Activity, mut alarm: Pin<&mut Sleep>, cx: &mut std::task::Context<'_>) -> Poll<()> {
    loop {
        let deadline = activity.deadline();
        if let Some(deadline) = deadline
            && (deadline < alarm.deadline() || alarm.is_elapsed())
        {
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(deadline);
        }
        if deadline.is_none() && alarm.is_elapsed() {
            return Poll::Pending;
        }
        if alarm.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
    }
}

/// Hands the request to the router, unless its framing is not to be trusted.
async fn answer(mut router: Router, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if let Some(problem) = refuse(&request) {
        let close = (header::CONNECTION, HeaderValue::from_static("close"));
        return Ok(problem.with_header(close.0, close.1).into_response());
    }
    router.call(request).await
}

/// What RFC 9112 has a server refuse and hyper lets through: no single `Host` in HTTP/1.1 (section 3.2), and
/// transfer codings it cannot take off (section 6.1). Where both `Content-Length` and `Transfer-Encoding` are sent,
/// hyper obeys the latter and drops the former (section 6.3).
fn refuse(request: &Request<Incoming>) -> Option<Problem> {
    let headers = request.headers();
    if request.version() == Version::HTTP_11 {
        let mut hosts = headers.get_all(header::HOST).iter();
        if hosts.next().is_none() || hosts.next().is_some() {
            return Some(Problem::new(StatusCode::BAD_REQUEST, "Send exactly one Host header."));
        }
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Some(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "Transfer-Encoding may only be chunked; to compress a body use Content-Encoding.",
        ));
    }
    None
}
