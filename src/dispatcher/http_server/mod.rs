//! Serves an [`axum::Router`] over HTTP/1.1 with every wait and size bounded.
//!
//! Must not know what is served. Bodies are bounded by whoever reads them; this module bounds connections, heads
//! and idleness, and ends in bounded time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

mod activity;
mod connection;

/// First pause after a failed `accept`; doubles up to [`ACCEPT_PAUSE_MAX`].
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);

/// Longest pause after a failed `accept` (out of file descriptors, mostly).
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at once; more wait in the kernel's accept queue.
    pub max_connections: usize,
    /// From the connect to the first byte, and from the first byte of a request head to its last.
    pub header_read: Duration,
    /// Between the end of a response and the next request.
    pub idle: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { max_connections: 4096, header_read: Duration::from_secs(10), idle: Duration::from_secs(75) }
    }
}

/// Serves until `shutdown` resolves; then stops accepting, closes idle connections, and gives requests in flight
/// `drain` to finish. Returns how many connections had to be cut.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> usize {
    let slots = Arc::new(Semaphore::new(limits.max_connections));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);

    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let Some((stream, slot)) = accepted else { break };
        let connection = connection::run(stream, router.clone(), limits, stopping.clone());
        connections.spawn(async move {
            connection.await;
            drop(slot);
        });
    }

    drop(listener);
    stop.send_replace(());
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(drain, drained).await.is_ok() {
        return 0;
    }
    let cut = connections.len();
    connections.shutdown().await;
    cut
}

/// The next connection and its slot; `None` never happens while `slots` is open.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    let mut pause = ACCEPT_PAUSE_MIN;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small: do not wait to fill a segment. A failure means the peer has gone already.
                let _ = stream.set_nodelay(true);
                return Some((stream, slot));
            }
            // The peer's doing, and only that peer's.
            Err(error) if is_peer_error(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
            }
        }
    }
}

/// Whether `accept` failed because of the connection it would have returned.
fn is_peer_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
