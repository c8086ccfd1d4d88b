//! What the demo shows: a block that is redrawn on a terminal, a line a second elsewhere, and a summary.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::feed::Feed;
use super::receiver::{Receiver, Seen};
use super::scene::{SUBSCRIPTIONS, Scene};

/// Pause between lines where nothing can be redrawn.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Everything the view shows, at one moment.
pub(super) struct Figures {
    accepted: u64,
    recent: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    about: &'static str,
    matched: u64,
    delivered: u64,
    pending: u64,
    failed: u64,
    seen: Seen,
}

impl Figures {
    pub(super) fn new(feed: &Feed, receiver: &Receiver, status: &Value) -> Self {
        let objects = status["objects"].as_array().map(Vec::as_slice).unwrap_or_default();
        let rows = SUBSCRIPTIONS.iter().map(|(name, path, about)| {
            let counter = |counter: &str| {
                let object =
                    objects.iter().find(|o| o["kind"] == "WebhookSubscription" && o["name"] == *name);
                object.and_then(|object| object["counters"][counter].as_u64()).unwrap_or_default()
            };
            Row {
                name,
                about,
                matched: counter("matched"),
                delivered: counter("delivered"),
                pending: counter("pending"),
                failed: counter("failedAttempts"),
                seen: receiver.seen(path),
            }
        });
        Self { rows: rows.collect(), accepted: feed.accepted(), recent: feed.recent() }
    }

    /// Whether everything accepted so far is delivered and verified.
    pub(super) fn settled(&self) -> bool {
        let verified = |row: &Row| row.seen.verified.len() as u64;
        self.lost() == 0
            && self.rows.iter().all(|row| {
                row.pending == 0
                    && row.matched == verified(row)
                    && row.seen.unverified == 0
                    && row.matched > 0
            })
    }

    /// Accepted envelopes that the subscription to everything has not received.
    fn lost(&self) -> u64 {
        let everything = self.rows.last().map_or(0, |row| row.seen.verified.len() as u64);
        self.accepted.saturating_sub(everything)
    }

    fn sum(&self, of: impl Fn(&Row) -> u64) -> u64 {
        self.rows.iter().map(of).sum()
    }
}

/// The view on standard output.
pub(super) struct View {
    redraws: bool,
    drawn: usize,
    last_line: Option<Instant>,
}

impl View {
    pub(super) fn new(scene: &Scene) -> Self {
        print(&format!(
            "chathooks demo: envelopes recorded from a real Open WebUI 0.12.4, delivered by `chathooks standalone`\n\
             manifests {}\nlog       {}\n\n",
            scene.folder().display(),
            scene.log().display()
        ));
        Self { redraws: std::io::stdout().is_terminal(), drawn: 0, last_line: None }
    }

    pub(super) fn draw(&mut self, figures: &Figures, outage: bool) {
        if self.redraws {
            let block = block(figures, outage);
            // Up to the block's first line, then clear to the end of the screen.
            let up = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
            self.drawn = block.lines().count();
            print(&(up + &block));
        } else if self.last_line.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            print(&line(figures, outage));
        }
    }

    pub(super) fn summary(&self, figures: &Figures) {
        let verdict = if figures.settled() {
            "everything that was accepted arrived, every signature holds"
        } else {
            "NOT everything arrived and was verified"
        };
        print(&format!(
            "\n{verdict}\n  envelopes accepted    {}\n  deliveries            {}\n  verified              {}\n  \
             attempts that failed  {} (the receiver was down for 3 seconds)\n  lost                  {}\n\n{NEXT}",
            figures.accepted,
            figures.sum(|row| row.delivered),
            figures.sum(|row| row.seen.verified.len() as u64),
            figures.sum(|row| row.failed),
            figures.lost(),
        ));
    }
}

const NEXT: &str = "Three things to do next:
  1. write a folder of your own:     cp -r examples/quickstart my-hooks
  2. ask whether it is right:        chathooks check my-hooks
  3. serve it:                       chathooks standalone my-hooks
";

fn block(figures: &Figures, outage: bool) -> String {
    let mut text = format!(
        "{} envelopes accepted (each on disk before its 202)   receiver: {}\n  latest: {}\n\n  {:<12}{:>9}{:>11}{:>10}{:>9}{:>8}\n",
        figures.accepted,
        receiver_state(outage),
        figures.recent.join("  "),
        "subscription",
        "matched",
        "delivered",
        "verified",
        "waiting",
        "failed"
    );
    for row in &figures.rows {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {:<12}{:>9}{:>11}{:>10}{:>9}{:>8}   {}",
            row.name,
            row.matched,
            row.delivered,
            row.seen.verified.len(),
            row.pending,
            row.failed,
            row.about
        );
    }
    text
}

fn line(figures: &Figures, outage: bool) -> String {
    format!(
        "accepted {:>3}   delivered {:>3}   verified {:>3}   waiting {:>3}   failed attempts {:>3}   receiver: {}\n",
        figures.accepted,
        figures.sum(|row| row.delivered),
        figures.sum(|row| row.seen.verified.len() as u64),
        figures.sum(|row| row.pending),
        figures.sum(|row| row.failed),
        receiver_state(outage),
    )
}

fn receiver_state(outage: bool) -> &'static str {
    if outage { "DOWN, answers 503" } else { "up" }
}

/// A reader who went away is no reason to fail: the exit code still tells.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
