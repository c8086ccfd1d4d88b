//! What a connection is doing, seen from its bytes and its requests, and until when it may go on doing it.
//!
//! hyper's own head timeout also counts the idle time between requests, so that a keep-alive connection could not
//! outlive it; senders that pool connections would race with the close.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::ServerLimits;

/// Answering a request: whoever answers bounds it.
const BUSY: u64 = 0;
/// Nothing of a next request has come.
const IDLE: u64 = 1;
/// A request head has begun.
const HEAD: u64 = 2;
/// Connected, and nothing has come yet.
const NEW: u64 = 3;

/// Shared by the socket, the service and the watchdog of one connection, which all live in one task.
#[derive(Clone)]
pub(super) struct Activity {
    opened: Instant,
    limits: ServerLimits,
    /// Milliseconds after `opened` in the upper bits, the phase in the lowest two.
    state: Arc<AtomicU64>,
}

impl Activity {
    pub(super) fn new(limits: ServerLimits) -> Self {
        Self { opened: Instant::now(), limits, state: Arc::new(AtomicU64::new(NEW)) }
    }

    /// A request head is complete.
    pub(super) fn busy(&self) {
        self.state.store(BUSY, Ordering::Relaxed);
    }

    /// A response is ready.
    pub(super) fn idle(&self) {
        self.enter(IDLE);
    }

    /// Bytes have come.
    fn received(&self) {
        if matches!(self.state.load(Ordering::Relaxed) & 3, IDLE | NEW) {
            self.enter(HEAD);
        }
    }

    fn enter(&self, phase: u64) {
        let millis = self.opened.elapsed().as_millis() as u64;
        self.state.store(millis << 2 | phase, Ordering::Relaxed);
    }

    /// When the connection is to be closed if nothing changes before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.state.load(Ordering::Relaxed);
        let allowed = match state & 3 {
            IDLE => self.limits.idle,
            HEAD | NEW => self.limits.header_read,
            _ => return None,
        };
        Some(self.opened + std::time::Duration::from_millis(state >> 2) + allowed)
    }
}

/// A socket that tells its [`Activity`] when bytes come.
pub(super) struct Watched {
    io: TokioIo<TcpStream>,
    activity: Activity,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, activity: Activity) -> Self {
        Self { io: TokioIo::new(stream), activity }
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if result.is_ready() {
            self.activity.received();
        }
        result
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
