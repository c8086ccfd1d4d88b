//! Posts the recorded session, each envelope under a fresh id.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

/// What a real Open WebUI 0.12.4 sent: see `tests/recording/`.
const SESSION: &str = include_str!("../../../tests/fixtures/open-webui-0.12.4/session.jsonl");
/// Pause between envelopes.
const PACE: Duration = Duration::from_millis(40);
/// Pause before an envelope that was not accepted is sent again.
const AGAIN: Duration = Duration::from_millis(250);
/// Lines of recent events that are kept for the view.
const RECENT: usize = 4;

/// What the feed has done so far.
#[derive(Default)]
struct Progress {
    accepted: AtomicU64,
    finished: AtomicBool,
    stopped: AtomicBool,
    recent: Mutex<Vec<String>>,
}

/// A feed under way.
pub(super) struct Feed {
    progress: Arc<Progress>,
}

impl Feed {
    /// Begins; with `once` the session is sent once, otherwise again and again until stopped.
    pub(super) fn start(http: reqwest::Client, url: String, token: String, once: bool) -> Self {
        let progress = Arc::new(Progress::default());
        let feed = Self { progress: Arc::clone(&progress) };
        tokio::spawn(async move {
            loop {
                for line in SESSION.lines() {
                    if progress.stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    if post(&http, &url, &token, line, &progress.stopped).await {
                        progress.accepted.fetch_add(1, Ordering::Relaxed);
                        progress.saw(line);
                    }
                    sleep(PACE).await;
                }
                if once || progress.stopped.load(Ordering::Relaxed) {
                    break;
                }
            }
            progress.finished.store(true, Ordering::Relaxed);
        });
        feed
    }

    /// Sends no more; says whether that was said before.
    pub(super) fn stop(&self) -> bool {
        self.progress.stopped.swap(true, Ordering::Relaxed)
    }

    pub(super) fn finished(&self) -> bool {
        self.progress.finished.load(Ordering::Relaxed)
    }

    /// Envelopes answered with 202.
    pub(super) fn accepted(&self) -> u64 {
        self.progress.accepted.load(Ordering::Relaxed)
    }

    /// Names of the latest events, newest last.
    pub(super) fn recent(&self) -> Vec<String> {
        self.progress.recent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Progress {
    fn saw(&self, line: &str) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push(text(&event, "event").unwrap_or_default().to_owned());
        if recent.len() > RECENT {
            recent.remove(0);
        }
    }
}

fn text<'a>(event: &'a serde_json::Value, field: &str) -> Option<&'a str> {
    event.get(field).and_then(serde_json::Value::as_str)
}

/// Posts one envelope until it is accepted, under one fresh id: sending the same again is always safe.
/// `false` if it was stopped before that.
async fn post(http: &reqwest::Client, url: &str, token: &str, line: &str, stopped: &AtomicBool) -> bool {
    let envelope: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let fresh = format!("{:032x}", rand::random::<u128>());
    let body = text(&envelope, "id").map_or_else(|| line.to_owned(), |id| line.replacen(id, &fresh, 1));
    loop {
        let request = http.post(url).bearer_auth(token).header("content-type", "application/json");
        if request.body(body.clone()).send().await.is_ok_and(|answer| answer.status().as_u16() == 202) {
            return true;
        }
        if stopped.load(Ordering::Relaxed) {
            return false;
        }
        sleep(AGAIN).await;
    }
}
