//! The embedded engine on a disk with one fault at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chathooks::log::segment::disk::Disk;
use chathooks::log::segment::{self, Embedded, Limits, OpenError, Options};
use chathooks::log::{Appended, BatchMode, EventLog, LogError, State, StateError};
use futures::FutureExt;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::log_contract::{clock, options, payload, record, runs};
use crate::log_sim_disk::{Happened, SimDisk};
use crate::log_state_contract::{pairs, put};

struct Setup {
    disk: SimDisk,
    engine: Embedded,
    options: Options,
    now: Arc<AtomicU64>,
}

fn try_open(disk: &SimDisk, options: &Options) -> Result<Embedded, OpenError> {
    segment::open_on(Arc::new(disk.clone()), Path::new("/data"), options.clone())
}

fn setup() -> Setup {
    let disk = SimDisk::new();
    let (clock, now) = clock();
    let options = options(clock);
    let engine = try_open(&disk, &options).unwrap();
    Setup { disk, engine, options, now }
}

impl Setup {
    async fn append(&self, id: u64, size: usize) -> Result<Vec<Appended>, LogError> {
        self.engine.events.append(vec![record(id, id, size)], BatchMode::Whole).await
    }

    /// Stops cleanly and starts again.
    fn restart(self) -> Self {
        let Self { disk, engine, options, now } = self;
        drop(engine);
        let engine = try_open(&disk, &options).unwrap();
        Self { disk, engine, options, now }
    }

    async fn readable(&self) -> Vec<u64> {
        let page = self.engine.events.read_from(1, 10_000, usize::MAX).await.unwrap();
        page.entries.iter().map(|entry| entry.seq).collect()
    }

    /// The file and offset of the payload of a record.
    fn find(&self, id: u64, size: usize) -> (PathBuf, usize) {
        let bytes = payload(id, size);
        let paths = self.disk.paths(".seg").into_iter().filter(|path| path.starts_with("/data/events"));
        let mut found = paths.filter_map(|path| self.disk.find(&path, &bytes).map(|at| (path, at)));
        found.next().unwrap()
    }
}

#[tokio::test]
async fn an_append_is_answered_after_its_fdatasync() {
    let s = setup();
    s.append(1, 700).await.unwrap();
    s.disk.happened();
    s.disk.hold_sync(Some(".seg"));
    let mut append = s.engine.events.append(vec![record(2, 2, 700)], BatchMode::Whole);
    let mut repeat = s.engine.events.append(vec![record(2, 2, 700)], BatchMode::Whole);
    assert!(append.as_mut().now_or_never().is_none());
    assert!(repeat.as_mut().now_or_never().is_none());
    s.disk.await_held();
    assert!(append.as_mut().now_or_never().is_none(), "answered before the sync");
    assert!(
        repeat.as_mut().now_or_never().is_none(),
        "a repeat is answered before its first copy is durable"
    );
    assert_eq!(*s.engine.events.end().borrow(), 2, "published before the sync");
    s.disk.hold_sync(None);
    assert_eq!(append.await.unwrap(), [Appended::Accepted(2)]);
    assert_eq!(repeat.await.unwrap(), [Appended::Duplicate]);
    let file = s.find(2, 700).0;
    let happened: Vec<Happened> =
        s.disk.happened().into_iter().filter(|h| *h != Happened::Write(PathBuf::new())).collect();
    let of_file: Vec<&Happened> = happened
        .iter()
        .filter(|h| matches!(h, Happened::Write(path) | Happened::Sync(path) if *path == file))
        .collect();
    assert_eq!(of_file, [&Happened::Write(file.clone()), &Happened::Sync(file.clone())]);
    assert_eq!(s.disk.unsynced("events/000000000001.seg"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_failed_fdatasync_is_final_and_told() {
    let s = setup();
    s.append(1, 10).await.unwrap();
    s.disk.fail_sync(".seg");
    let refused = s.append(2, 10).await;
    assert!(matches!(&refused, Err(LogError::Fatal(reason)) if reason.contains("fdatasync")), "{refused:?}");
    s.disk.fail_sync("nothing");
    assert!(matches!(s.append(3, 10).await, Err(LogError::Fatal(_))));
    assert!(matches!(s.engine.state.acquire(1).await, Err(StateError::Fatal(_))));
    assert!(s.engine.failed().await.contains("the disk said no"));
    assert_eq!(s.readable().await, [1]);
    // After a restart it may be there or not; what was promised is.
    let s = s.restart();
    assert_eq!(s.readable().await[0], 1);
}

#[tokio::test]
async fn a_flipped_byte_in_a_payload_is_named_and_skipped() {
    let s = setup();
    for id in 1..=4 {
        s.append(id, 700).await.unwrap();
    }
    let (path, at) = s.find(2, 700);
    s.disk.flip(&path, at + 300);
    let s = s.restart();
    assert_eq!(s.readable().await, [1, 3, 4]);
    let error = s.engine.events.get(2).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!("record 2 in {} at byte {} is damaged and was skipped", path.display(), at - 88)
    );
    assert_eq!(s.engine.events.usage().corrupt_records, 1);
    assert_eq!(s.append(5, 10).await.unwrap(), [Appended::Accepted(5)]);
}

#[tokio::test]
async fn a_flipped_byte_in_a_header_is_named_and_skipped() {
    let s = setup();
    for id in 1..=4 {
        s.append(id, 700).await.unwrap();
    }
    for id in [2, 4] {
        let (path, at) = s.find(id, 700);
        s.disk.flip(&path, at - 70);
    }
    let s = s.restart();
    assert_eq!(s.readable().await, [1, 3]);
    for seq in [2, 4] {
        assert!(matches!(s.engine.events.get(seq).await, Err(LogError::Corrupt { .. })), "{seq}");
    }
    assert_eq!(s.engine.events.usage().corrupt_records, 2);
    assert_eq!(s.append(5, 10).await.unwrap(), [Appended::Accepted(5)]);
}

#[tokio::test]
async fn a_byte_that_flips_while_running_is_named_and_skipped() {
    let s = setup();
    for id in 1..=80 {
        s.append(id, 1000).await.unwrap();
    }
    let (path, at) = s.find(2, 1000);
    s.disk.flip(&path, at);
    assert!(matches!(s.engine.events.get(2).await, Err(LogError::Corrupt { seq: 2, .. })));
    let readable = s.readable().await;
    assert_eq!((readable.len(), readable[1]), (79, 3));
    assert_eq!(s.engine.events.usage().corrupt_records, 1);
}

#[tokio::test]
async fn a_read_that_fails_for_now_is_no_damage() {
    let s = setup();
    for id in 1..=80 {
        s.append(id, 1000).await.unwrap();
    }
    s.disk.fail_reads(true);
    let refused = s.engine.events.get(2).await.unwrap_err().to_string();
    assert_eq!(refused, "record 2 cannot be read now (the disk said no); try again");
    let refused = s.engine.events.read_from(2, 10, 10_000).await;
    assert!(matches!(refused, Err(LogError::Unreadable { seq: 2, .. })), "{refused:?}");
    s.disk.fail_reads(false);
    assert_eq!(s.readable().await.len(), 80);
    assert_eq!(s.engine.events.usage().corrupt_records, 0);
}

#[tokio::test]
async fn one_damaged_copy_of_a_segment_header_does_no_harm() {
    let s = setup();
    s.append(1, 700).await.unwrap();
    let path = s.find(1, 700).0;
    s.disk.flip(&path, 20);
    let s = s.restart();
    assert_eq!(s.readable().await, [1]);
    s.disk.flip(&path, 4096 + 20);
    let s = s.restart();
    assert_eq!(s.readable().await, Vec::<u64>::new());
    assert_eq!(s.engine.events.usage().corrupt_records, 1);
    assert_eq!(s.disk.paths(".damaged").len(), 1);
}

/// Takes everything, then says that positions up to 100 are known.
async fn positions_go_on_at_100(s: Setup) {
    let at_most = s.readable().await.last().copied().unwrap_or(0);
    assert!(at_most < 30, "{at_most}");
    s.engine.events.continue_from(100);
    assert_eq!(*s.engine.events.end().borrow(), 100);
    let s = s.restart();
    s.engine.events.continue_from(100);
    s.engine.events.continue_from(7);
    let corrupt = s.engine.events.usage().corrupt_records;
    let before = s.readable().await;
    assert_eq!(s.append(901, 700).await.unwrap(), [Appended::Accepted(100)]);
    assert_eq!(s.append(902, 700).await.unwrap(), [Appended::Accepted(101)]);
    assert_eq!(s.readable().await, [before.clone(), vec![100, 101]].concat());
    assert_eq!(s.engine.events.read_from(100, 10, 10_000).await.unwrap().entries.len(), 2);
    let s = s.restart();
    assert_eq!(*s.engine.events.end().borrow(), 102);
    assert_eq!(s.readable().await, [before, vec![100, 101]].concat());
    assert!(s.engine.events.usage().corrupt_records <= corrupt, "the gap is taken for damage");
    assert_eq!(s.append(903, 700).await.unwrap(), [Appended::Accepted(102)]);
}

fn without(s: Setup, paths: &[PathBuf]) -> Setup {
    let Setup { disk, engine, options, now } = s;
    drop(engine);
    for path in paths {
        disk.remove(path).unwrap();
    }
    let engine = try_open(&disk, &options).unwrap();
    Setup { disk, engine, options, now }
}

#[tokio::test]
async fn positions_are_not_used_again_when_the_newest_segment_is_lost() {
    let s = setup();
    for id in 1..=30 {
        s.append(id, 5000).await.unwrap();
    }
    let newest = s.find(30, 5000).0;
    positions_go_on_at_100(without(s, &[newest])).await;
}

#[tokio::test]
async fn positions_are_not_used_again_when_all_events_are_lost() {
    let s = setup();
    for id in 1..=30 {
        s.append(id, 5000).await.unwrap();
    }
    let files: Vec<PathBuf> =
        s.disk.paths(".seg").into_iter().filter(|p| p.starts_with("/data/events")).collect();
    positions_go_on_at_100(without(s, &files)).await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_when_there_is_space() {
    let s = setup();
    s.append(1, 10).await.unwrap();
    let held = s.engine.state.acquire(1).await.unwrap();
    s.disk.leave_room(Some(0));
    let mut id = 2;
    let refused = loop {
        match s.append(id, 8000).await {
            Ok(_) => id += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(
        refused.to_string(),
        "the disk below /data/events is full; free some space and the log goes on by itself"
    );
    // What was accepted is delivered and recorded meanwhile.
    for _ in 0..200 {
        s.engine.state.commit(held, vec![put("cursor", &"x".repeat(500))]).await.unwrap();
    }
    s.disk.leave_room(None);
    let accepted = loop {
        match s.append(id, 8000).await {
            Err(LogError::DiskFull { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => break other.unwrap(),
        }
    };
    assert_eq!(accepted, [Appended::Accepted(id)]);
    assert_eq!(s.readable().await.len() as u64, id);
}

#[tokio::test]
async fn a_full_disk_is_drained_by_release() {
    let s = setup();
    for id in 1..=20 {
        s.append(id, 8000).await.unwrap();
    }
    s.disk.leave_room(Some(0));
    let mut id = 21;
    while s.append(id, 8000).await.is_ok() {
        id += 1;
    }
    s.engine.events.release(id, Vec::new());
    for id in id..id + 30 {
        assert_eq!(s.append(id, 8000).await.unwrap(), [Appended::Accepted(id)]);
        s.engine.events.release(id, Vec::new());
    }
}

#[tokio::test]
async fn repeats_are_recognised_after_their_segment_was_recycled_and_a_restart() {
    let s = setup();
    for id in 1..=200 {
        s.append(id, 5000).await.unwrap();
        s.engine.events.release(id, Vec::new());
    }
    let s = s.restart();
    assert!(s.readable().await[0] > 100, "nothing was recycled");
    for id in [1, 100, 200] {
        assert_eq!(s.append(id, 5000).await.unwrap(), [Appended::Duplicate]);
    }
    let conflict = s.engine.events.append(vec![record(1, 9, 10)], BatchMode::Whole).await.unwrap();
    assert_eq!(conflict, [Appended::Conflict]);
    assert_eq!(s.engine.events.usage().known_ids, 200);
}

#[tokio::test]
async fn survivors_outlive_their_segments_and_a_restart() {
    let s = setup();
    let mut kept = Vec::new();
    for id in 1..=300 {
        s.append(id, 5000).await.unwrap();
        if id % 20 == 0 {
            kept.push(id);
        }
        s.engine.events.release(id, runs(&kept));
    }
    let s = s.restart();
    let readable = s.readable().await;
    assert!(readable.len() < 120, "nothing was recycled");
    for seq in kept {
        assert_eq!(s.engine.events.get(seq).await.unwrap().unwrap().payload, payload(seq, 5000));
    }
}

#[tokio::test]
async fn released_segments_go_after_retention() {
    let s = setup();
    for id in 1..=60 {
        s.append(id, 5000).await.unwrap();
    }
    s.engine.events.release(61, Vec::new());
    s.now.fetch_add(59_999, Ordering::SeqCst);
    s.engine.events.release(61, Vec::new());
    s.append(61, 10).await.unwrap();
    assert_eq!(s.engine.events.get(1).await.unwrap().unwrap().payload, payload(1, 5000));
    s.now.fetch_add(1, Ordering::SeqCst);
    s.engine.events.release(61, Vec::new());
    // What is left: the one that is written to, and the one prepared.
    let mut files = 0;
    for _ in 0..10_000 {
        let paths = s.disk.paths(".seg");
        files = paths.iter().filter(|path| path.starts_with("/data/events")).count();
        if files <= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(files <= 2, "{files}");
    assert!(s.engine.events.get(1).await.unwrap().is_none());
    assert_eq!(s.readable().await.last(), Some(&61));
}

#[tokio::test]
async fn dead_letters_give_up_the_oldest() {
    let s = setup();
    let log = &s.engine.dead_letters;
    for id in 1..=200 {
        let verdict = log.append(vec![record(id, id, 5000)], BatchMode::Whole).await.unwrap();
        assert_eq!(verdict, [Appended::Accepted(id)]);
    }
    let page = log.read_from(1, 1000, usize::MAX).await.unwrap();
    let first = page.entries[0].seq;
    assert_eq!(log.usage().dropped_records, first - 1);
    assert_eq!(page.entries.len() as u64, 201 - first);
    assert!((50..=100).contains(&page.entries.len()), "{}", page.entries.len());
}

#[tokio::test]
async fn a_larger_capacity_takes_more_and_a_smaller_one_less() {
    let s = setup();
    let mut id = 1;
    while s.append(id, 8000).await.is_ok() {
        id += 1;
    }
    let limits = s.options.events.limits;
    s.engine.events.set_limits(Limits { capacity_bytes: 2 * limits.capacity_bytes, ..limits });
    let first_full = id;
    while s.append(id, 8000).await.is_ok() {
        id += 1;
    }
    assert!(id >= 2 * first_full, "{first_full} and then {id}");
    s.engine.events.release(id, Vec::new());
    s.engine.events.set_limits(limits);
    let start = id;
    while s.append(id, 8000).await.is_ok() {
        id += 1;
    }
    assert!(id - start <= first_full + 14, "{}", id - start);
}

#[tokio::test]
async fn a_batch_larger_than_a_segment_is_taken() {
    let s = setup();
    let batch = (1..=30).map(|id| record(id, id, 5000)).collect();
    let verdicts = s.engine.events.append(batch, BatchMode::Whole).await.unwrap();
    assert_eq!(verdicts.len(), 30);
    assert_eq!(verdicts[29], Appended::Accepted(30));
    assert_eq!(s.restart().readable().await.len(), 30);
}

#[tokio::test]
async fn closing_writes_what_waits() {
    let s = setup();
    let log = s.engine.events.clone();
    let mut append = log.append(vec![record(1, 1, 10)], BatchMode::Whole);
    let early = append.as_mut().now_or_never();
    s.engine.close();
    let verdicts = match early {
        Some(verdicts) => verdicts,
        None => append.await,
    };
    assert_eq!(verdicts.unwrap(), [Appended::Accepted(1)]);
    assert!(matches!(s.append(2, 10).await, Err(LogError::Fatal(_))));
    let s = s.restart();
    assert_eq!(s.readable().await, [1]);
}

#[tokio::test]
async fn a_folder_of_another_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("format"), "chathooks data 9\n").unwrap();
    let refused = segment::open(folder.path(), options(clock().0)).err().unwrap();
    assert_eq!(
        refused.to_string(),
        format!(
            "the data folder {} has the format \"chathooks data 9\", this chathooks reads \"chathooks data 1\"; \
             use the chathooks that wrote it, or an empty folder",
            folder.path().display()
        )
    );
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = segment::open(folder.path(), options(clock().0)).unwrap();
    // flock holds per open file, so a second one in this process stands for another process.
    let refused = segment::open(folder.path(), options(clock().0)).err().unwrap();
    assert_eq!(
        refused.to_string(),
        format!(
            "the data folder {} is in use by another chathooks; stop that one, or give this one a folder of its own",
            folder.path().display()
        )
    );
    drop(first);
    segment::open(folder.path(), options(clock().0)).unwrap();
}

#[tokio::test]
async fn state_survives_many_rotations_and_a_crash() {
    let s = setup();
    let held = s.engine.state.acquire(7).await.unwrap();
    for n in 0..500 {
        let key = format!("k{}", n % 10);
        s.engine.state.commit(held, vec![put(&key, &n.to_string().repeat(100))]).await.unwrap();
    }
    // Larger than a whole journal.
    s.engine.state.commit(held, vec![put("large", &"x".repeat(60_000))]).await.unwrap();
    let disk = s.disk.crash(&mut StdRng::seed_from_u64(5));
    drop(s.engine);
    let engine = try_open(&disk, &s.options).unwrap();
    let again = engine.state.acquire(7).await.unwrap();
    assert_eq!(again.epoch, held.epoch + 1);
    let pairs = pairs(&*engine.state, again).await;
    assert_eq!(pairs.len(), 11);
    assert_eq!(pairs[3], ("k3".to_owned(), "493".repeat(100)));
    assert!(disk.paths(".snapshot").len() <= 2);
}

#[tokio::test]
async fn a_damaged_snapshot_falls_back_to_the_one_before() {
    let s = setup();
    let held = s.engine.state.acquire(7).await.unwrap();
    for n in 0..200 {
        s.engine.state.commit(held, vec![put("k", &n.to_string().repeat(200))]).await.unwrap();
    }
    let snapshots = s.disk.paths(".snapshot");
    s.disk.flip(&snapshots[snapshots.len() - 1], 30);
    let s = s.restart();
    let held = s.engine.state.acquire(7).await.unwrap();
    assert_eq!(pairs(&*s.engine.state, held).await, [("k".to_owned(), "199".repeat(200))]);
}

#[tokio::test]
async fn a_damaged_frame_ends_the_replay_but_not_the_service() {
    let s = setup();
    let held = s.engine.state.acquire(7).await.unwrap();
    for n in 100..110 {
        s.engine.state.commit(held, vec![put("k", &format!("value-{n}-"))]).await.unwrap();
    }
    let (path, at) = s
        .disk
        .paths(".seg")
        .into_iter()
        .find_map(|path| s.disk.find(&path, b"value-105-").map(|at| (path, at)))
        .unwrap();
    s.disk.flip(&path, at);
    let mut s = s.restart();
    let held = s.engine.state.acquire(7).await.unwrap();
    assert_eq!(pairs(&*s.engine.state, held).await, [("k".to_owned(), "value-104-".to_owned())]);
    s.engine.state.commit(held, vec![put("k", "new")]).await.unwrap();
    s = s.restart();
    let held = s.engine.state.acquire(7).await.unwrap();
    assert_eq!(pairs(&*s.engine.state, held).await, [("k".to_owned(), "new".to_owned())]);
}
