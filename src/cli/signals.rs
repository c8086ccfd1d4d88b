//! What SIGTERM and Ctrl-C mean: the first ends in order, the second at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code after a second signal, as shells report an interrupt.
const INTERRUPTED: i32 = 130;

/// Resolves with the first signal; the error is a sentence.
pub(super) fn stop() -> Result<impl Future<Output = ()>, String> {
    let waited = |kind| signal(kind).map_err(|error| format!("signals cannot be waited for: {error}"));
    let (mut terminate, mut interrupt) = (waited(SignalKind::terminate())?, waited(SignalKind::interrupt())?);
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        // Whoever asks twice does not want to wait; what is under way is delivered again after the next start.
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            std::process::exit(INTERRUPTED);
        });
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
