//! `chathooks demo`: the real thing on a temporary folder, with real envelopes and a receiver that fails for a while.
//!
//! It runs `chathooks standalone` as a child process, exactly as a user would, and looks at it only from outside.

mod feed;
mod receiver;
mod scene;
mod view;

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use self::feed::Feed;
use self::receiver::Receiver;
use self::scene::Scene;
use self::view::{Figures, View};

/// How often the view is drawn anew.
const REDRAW: Duration = Duration::from_millis(200);
/// When the receiver begins to fail, counted from the first envelope, and for how long.
const OUTAGE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));
/// Longest wait for the process to be ready.
const START_UP: Duration = Duration::from_secs(20);
/// Longest wait for the last deliveries after the last envelope.
const DRAIN: Duration = Duration::from_secs(30);

/// Why the demo could not be shown. A sentence each.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    /// Files or sockets.
    #[error("the demo needs a temporary folder and loopback ports: {0}")]
    Io(#[from] std::io::Error),
    /// Its own HTTP client.
    #[error("the demo could not speak to its own process: {0}")]
    Http(#[from] reqwest::Error),
    /// The dispatcher ended or did not become ready.
    #[error("chathooks standalone did not start; its log:\n{0}")]
    NotReady(String),
}

/// Shows it. With `once` it ends by itself, otherwise with Ctrl-C; a second Ctrl-C does not wait for the last
/// deliveries. Success if every envelope was delivered and verified.
pub(super) async fn run(once: bool) -> Result<ExitCode, DemoError> {
    let receiver = Receiver::start().await?;
    let scene = Scene::prepare(receiver.address())?;
    let mut dispatcher = start(&scene)?;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
    ready(&http, &scene, &mut dispatcher).await?;
    receiver.trust(scene.signing_secrets()?);

    let mut view = View::new(&scene);
    let feed = Feed::start(http.clone(), scene.intake_url(), scene.token()?, once);
    let begun = Instant::now();
    let mut ended = None;
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let figures = loop {
        let outage = (OUTAGE.0..OUTAGE.0 + OUTAGE.1).contains(&begun.elapsed());
        receiver.fail(outage);
        let figures = figures(&http, &scene, &feed, &receiver).await?;
        view.draw(&figures, outage);
        if feed.finished() {
            let since = *ended.get_or_insert_with(Instant::now);
            if figures.settled() || since.elapsed() > DRAIN {
                break figures;
            }
        }
        tokio::select! {
            () = sleep(REDRAW) => {}
            _ = interrupts.recv() => if feed.stop() { break figures },
            _ = terminations.recv() => break figures,
        }
    };
    view::summary(&figures);
    stop(dispatcher).await?;
    Ok(if figures.settled() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn start(scene: &Scene) -> Result<Child, DemoError> {
    let log = std::fs::File::create(scene.log())?;
    let child = Command::new(std::env::current_exe()?)
        .args(["--log-format", "text", "standalone"])
        .arg(scene.folder())
        .arg("--data-dir")
        .arg(scene.data())
        .args(["--listen", scene.intake(), "--admin-listen", scene.admin()])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for the demo, which ends the process itself once everything is delivered.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

async fn ready(http: &reqwest::Client, scene: &Scene, dispatcher: &mut Child) -> Result<(), DemoError> {
    let url = format!("http://{}/readyz", scene.admin());
    let begun = Instant::now();
    while begun.elapsed() < START_UP && dispatcher.try_wait()?.is_none() {
        if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(DemoError::NotReady(std::fs::read_to_string(scene.log()).unwrap_or_default()))
}

async fn figures(
    http: &reqwest::Client,
    scene: &Scene,
    feed: &Feed,
    receiver: &Receiver,
) -> Result<Figures, DemoError> {
    let answer = http.get(format!("http://{}/v1/status", scene.admin())).send().await?;
    let status = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
    Ok(Figures::new(feed, receiver, &status))
}

async fn stop(mut dispatcher: Child) -> Result<(), DemoError> {
    let pid = dispatcher.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(std::io::Error::from)?;
    }
    dispatcher.wait().await?;
    Ok(())
}
