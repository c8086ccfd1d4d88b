//! How many events the embedded log takes in a second, and how long an append stalls at worst.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chathooks::log::segment::{self, Options};
use chathooks::log::{BatchMode, EventLog, NewRecord};

const BATCHES: u64 = 20_000;
const IN_BATCH: u64 = 16;
const PAYLOAD: usize = 700;

/// Appends batches of 16 events of 700 bytes, one sender after another and then 16 at once, and prints a line each.
pub fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    for senders in [1, 16] {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = segment::open(folder.path(), Options::default()).expect("an empty log");
        let start = Instant::now();
        let worst = runtime.block_on(async {
            let tasks = (0..senders).map(|sender| {
                let log = opened.events.clone();
                tokio::spawn(async move { send(&*log, sender, BATCHES / senders).await })
            });
            let stalls: Vec<_> = futures::future::join_all(tasks).await;
            stalls.into_iter().map(|stall| stall.expect("a sender")).max()
        });
        let rate = (BATCHES * IN_BATCH) as f64 / start.elapsed().as_secs_f64();
        println!("log: {senders} senders, {rate:.0} events/s, worst append {:?}", worst.unwrap_or_default());
    }
}

async fn send(log: &dyn EventLog, sender: u64, batches: u64) -> Duration {
    let mut worst = Duration::ZERO;
    for batch in 0..batches {
        let record = |n: u64| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&sender.to_le_bytes());
            key[8..].copy_from_slice(&(batch * IN_BATCH + n).to_le_bytes());
            NewRecord { key, body_hash: key, payload: Bytes::from(vec![7; PAYLOAD]) }
        };
        let start = Instant::now();
        log.append((0..IN_BATCH).map(record).collect(), BatchMode::Whole).await.expect("room");
        worst = worst.max(start.elapsed());
    }
    worst
}
