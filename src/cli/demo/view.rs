//! What the demo shows: a block that is redrawn on a terminal, a line a second elsewhere, and a summary.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::feed::Feed;
use super::receiver::{Receiver, Seen};
use super::scene::{SUBSCRIPTIONS, Scene};
use crate::cli::output::print;

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
        let objects = status.get("objects").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let is = |object: &Value, field: &str, value: &str| object.get(field).is_some_and(|is| is == value);
        let rows = SUBSCRIPTIONS.iter().map(|(name, path, about)| {
            let mut subscriptions = objects.iter().filter(|object| is(object, "kind", "WebhookSubscription"));
            let counters =
                subscriptions.find(|object| is(object, "name", name)).and_then(|o| o.get("counters"));
            let counter =
                |counter: &str| counters.and_then(|all| all.get(counter)?.as_u64()).unwrap_or_default();
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

    /// Whether everything accepted so far is delivered and verified. All subscriptions are matched in one pass, so
    /// when the one to everything has it all, the counters of the others are complete.
    pub(super) fn settled(&self) -> bool {
        self.accepted > 0
            && self.lost() == 0
            && self.rows.iter().all(|row| {
                row.pending == 0 && row.matched == row.seen.verified.len() as u64 && row.seen.unverified == 0
            })
    }

    /// Accepted envelopes that the subscription to everything has neither received nor waits for.
    fn lost(&self) -> u64 {
        let there = |row: &Row| row.seen.verified.len() as u64 + row.pending;
        self.accepted.saturating_sub(self.rows.last().map_or(0, there))
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
}

/// What came of it, and what to do next.
pub(super) fn summary(figures: &Figures) {
    let verdict = if figures.settled() {
        "everything that was accepted arrived, every signature holds"
    } else {
        "NOT everything has arrived and was verified"
    };
    print(&format!(
        "\n{verdict}\n  envelopes accepted    {}\n  deliveries            {}\n  verified              {}\n  \
         waiting               {}\n  \
         attempts that failed  {} (the receiver was down for 3 seconds)\n  \
         lost                  {}\n\n{NEXT}",
        figures.accepted,
        figures.sum(|row| row.delivered),
        figures.sum(|row| row.seen.verified.len() as u64),
        figures.sum(|row| row.pending),
        figures.sum(|row| row.failed),
        figures.lost(),
    ));
}

const NEXT: &str = "Three things to do next:
  1. write a folder of your own:     cp -r examples/quickstart my-hooks
  2. ask whether it is right:        chathooks check my-hooks
  3. serve it:                       chathooks standalone my-hooks
";

/// Lines of a block are no wider than this, so that none wraps and the block can be redrawn.
const WIDTH: usize = 78;

fn block(figures: &Figures, outage: bool) -> String {
    let mut lines = vec![
        format!(
            "{} envelopes accepted, each on disk before its 202    receiver: {}",
            figures.accepted,
            receiver_state(outage)
        ),
        format!("  latest: {}", figures.recent.join("  ")),
        String::new(),
        "  subscription  matched  delivered  verified  waiting  failed".to_owned(),
    ];
    lines.extend(figures.rows.iter().map(|row| {
        format!(
            "  {:<12}{:>9}{:>11}{:>10}{:>9}{:>8}  {}",
            row.name,
            row.matched,
            row.delivered,
            row.seen.verified.len(),
            row.pending,
            row.failed,
            row.about
        )
    }));
    lines.iter().map(|line| line.chars().take(WIDTH).chain(['\n']).collect::<String>()).collect()
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
    if outage { "DOWN (503)" } else { "up" }
}
