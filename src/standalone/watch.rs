//! Notices changes of the directory.
//!
//! Polls instead of asking the kernel for events: network file systems send none, a mounted ConfigMap changes by one
//! link far from the files, and a look at a thousand files takes a few milliseconds.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::directory::Directory;
use super::folder::Folder;
use super::store::Patience;

/// Between two looks. A change is taken at the second look that sees it, so after at most twice this.
pub const EVERY: Duration = Duration::from_millis(250);

/// Watches a directory that was read once already, for as long as somebody receives. A slow receiver skips to the
/// newest.
pub fn spawn(directory: Directory, first: Folder) -> watch::Receiver<Folder> {
    let (sender, receiver) = watch::channel(first);
    tokio::spawn(async move {
        let mut directory = directory;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = sender.closed() => return,
            }
            let looked = tokio::task::spawn_blocking(move || {
                let changed = directory.look(Patience::Settled).then(|| directory.folder());
                (directory, changed)
            });
            let Ok((back, changed)) = looked.await else {
                tracing::error!(
                    "the directory is no longer watched: reading it failed unexpectedly; restart chathooks"
                );
                return;
            };
            directory = back;
            if let Some(folder) = changed {
                sender.send_replace(folder);
            }
        }
    });
    receiver
}
