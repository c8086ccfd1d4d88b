//! A disk that behaves as badly as disks may: what was not synced can be lost, kept or torn at every 512 bytes, in
//! any order, when the power goes; it can be full; a sync can fail or be held back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use chathooks::log::segment::disk::{Disk, DiskFile, LockGuard};
use rand::RngExt;
use rand::rngs::StdRng;

const SECTOR: usize = 512;

/// When a sync that a test waits for is not coming.
const HELD_AT_LAST: Duration = Duration::from_secs(20);

/// What happened to a file, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    Write(PathBuf),
    Sync(PathBuf),
}

#[derive(Default)]
struct Inode {
    /// As it is seen.
    seen: Vec<u8>,
    /// As it is after a power loss, if nothing of `unsynced` makes it.
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl Inode {
    fn write(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
        if into.len() < at + bytes.len() {
            into.resize(at + bytes.len(), 0);
        }
        into[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Keeps any subset of the unsynced sectors.
    fn crash(&mut self, rng: &mut StdRng) {
        // Of a file's writes often all or none survive; between those, anything.
        let odds = [0.0, 0.5, 0.9, 1.0][rng.random_range(0..4)];
        for (at, bytes) in std::mem::take(&mut self.unsynced) {
            let mut from = 0;
            while from < bytes.len() {
                let to = bytes.len().min(from + SECTOR - (at + from) % SECTOR);
                if rng.random_bool(odds) {
                    Self::write(&mut self.durable, at + from, &bytes[from..to]);
                }
                from = to;
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

#[derive(Clone)]
enum Change {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: Change) {
    match change {
        Change::Link(path, inode) => {
            names.insert(path, inode);
        }
        Change::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
        Change::Remove(path) => {
            names.remove(&path);
        }
    }
}

#[derive(Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<Change>,
    /// Grows with every crash; files opened before are dead.
    life: u64,
    /// Bytes that all files together may have.
    capacity: Option<usize>,
    /// Fails syncs of files whose name ends so.
    fail_sync: Option<String>,
    fail_reads: bool,
    /// Holds back syncs of files whose name ends so.
    hold_sync: Option<String>,
    held: usize,
    happened: Vec<Happened>,
    locked: bool,
}

impl World {
    fn check(&self, life: u64) -> io::Result<()> {
        if self.life == life { Ok(()) } else { Err(io::Error::other("the power went")) }
    }

    fn bytes(&self) -> usize {
        self.names.values().map(|inode| self.inodes[*inode].seen.len()).sum()
    }

    fn path_of(&self, inode: usize) -> PathBuf {
        let path = self.names.iter().find(|(_, named)| **named == inode).map(|(path, _)| path.clone());
        path.unwrap_or_default()
    }
}

#[derive(Default)]
struct Sim {
    world: Mutex<World>,
    changed: Condvar,
}

impl Sim {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

/// The disk, in one life between two power losses.
#[derive(Clone)]
pub(crate) struct SimDisk {
    sim: Arc<Sim>,
    life: u64,
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

struct Unlock(SimDisk);

impl Drop for Unlock {
    fn drop(&mut self) {
        let mut world = self.0.world();
        if world.life == self.0.life {
            world.locked = false;
        }
    }
}

fn ends_with(path: &Path, ending: Option<&String>) -> bool {
    ending.is_some_and(|ending| path.to_string_lossy().ends_with(ending.as_str()))
}

impl SimDisk {
    pub(crate) fn new() -> Self {
        Self { sim: Arc::default(), life: 0 }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.sim.world()
    }

    /// The power goes: every open file is dead, and what was not synced is lost, kept or torn. Returns the disk as
    /// the next life finds it.
    pub(crate) fn crash(&self, rng: &mut StdRng) -> Self {
        let mut world = self.world();
        world.life += 1;
        world.locked = false;
        world.hold_sync = None;
        world.fail_sync = None;
        for inode in &mut world.inodes {
            inode.crash(rng);
        }
        let survived = rng.random_range(0..=world.unsynced_names.len());
        let changes: Vec<Change> = world.unsynced_names.drain(..).take(survived).collect();
        for change in changes {
            apply(&mut world.durable_names, change);
        }
        world.names = world.durable_names.clone();
        let life = world.life;
        drop(world);
        self.sim.changed.notify_all();
        Self { sim: self.sim.clone(), life }
    }

    /// Lets all files together have so many bytes more than they have now.
    pub(crate) fn leave_room(&self, bytes: Option<usize>) {
        let mut world = self.world();
        world.capacity = bytes.map(|bytes| world.bytes() + bytes);
    }

    pub(crate) fn fail_sync(&self, ending: &str) {
        self.world().fail_sync = Some(ending.to_owned());
    }

    /// Lets reads fail, or no longer.
    pub(crate) fn fail_reads(&self, fail: bool) {
        self.world().fail_reads = fail;
    }

    pub(crate) fn hold_sync(&self, ending: Option<&str>) {
        self.world().hold_sync = ending.map(str::to_owned);
        self.sim.changed.notify_all();
    }

    /// Waits until a sync is held back.
    pub(crate) fn await_held(&self) {
        let mut world = self.world();
        while world.held == 0 {
            let (guard, timeout) = self.sim.changed.wait_timeout(world, HELD_AT_LAST).unwrap();
            assert!(!timeout.timed_out(), "nothing was synced");
            world = guard;
        }
    }

    /// Paths of files with writes that are not synced.
    pub(crate) fn unsynced(&self, ending: &str) -> Vec<PathBuf> {
        let world = self.world();
        let unsynced = world.names.iter().filter(|(_, inode)| !world.inodes[**inode].unsynced.is_empty());
        unsynced
            .map(|(path, _)| path.clone())
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .collect()
    }

    pub(crate) fn happened(&self) -> Vec<Happened> {
        std::mem::take(&mut self.world().happened)
    }

    pub(crate) fn paths(&self, ending: &str) -> Vec<PathBuf> {
        let world = self.world();
        world.names.keys().filter(|path| path.to_string_lossy().ends_with(ending)).cloned().collect()
    }

    /// Looks for bytes in a file.
    pub(crate) fn find(&self, path: &Path, bytes: &[u8]) -> Option<usize> {
        let world = self.world();
        let seen = &world.inodes[world.names[path]].seen;
        seen.windows(bytes.len()).position(|window| window == bytes)
    }

    /// Flips a bit, durably.
    pub(crate) fn flip(&self, path: &Path, at: usize) {
        let mut world = self.world();
        let inode = world.names[path];
        let inode = &mut world.inodes[inode];
        inode.seen[at] ^= 4;
        if let Some(byte) = inode.durable.get_mut(at) {
            *byte ^= 4;
        }
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.disk.world();
        world.check(self.disk.life)?;
        let at = offset as usize;
        let grows = (at + bytes.len()).saturating_sub(world.inodes[self.inode].seen.len());
        if world.capacity.is_some_and(|capacity| world.bytes() + grows > capacity) && grows > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let path = world.path_of(self.inode);
        world.happened.push(Happened::Write(path));
        let inode = &mut world.inodes[self.inode];
        Inode::write(&mut inode.seen, at, bytes);
        inode.unsynced.push((at, bytes.to_vec()));
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let world = self.disk.world();
        world.check(self.disk.life)?;
        if world.fail_reads {
            return Err(io::Error::other("the disk said no"));
        }
        let at = offset as usize;
        let seen = world.inodes[self.inode].seen.get(at..at + buffer.len());
        buffer.copy_from_slice(seen.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        let path = world.path_of(self.inode);
        while ends_with(&path, world.hold_sync.as_ref()) && world.life == self.disk.life {
            world.held += 1;
            self.disk.sim.changed.notify_all();
            world = self.disk.sim.changed.wait(world).unwrap();
            world.held -= 1;
        }
        world.check(self.disk.life)?;
        if ends_with(&path, world.fail_sync.as_ref()) {
            return Err(io::Error::other("the disk said no"));
        }
        world.happened.push(Happened::Sync(path));
        let inode = &mut world.inodes[self.inode];
        for (at, bytes) in std::mem::take(&mut inode.unsynced) {
            Inode::write(&mut inode.durable, at, &bytes);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let world = self.disk.world();
        world.check(self.disk.life)?;
        Ok(world.inodes[self.inode].seen.len() as u64)
    }
}

impl SimDisk {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut world = self.world();
        world.check(self.life)?;
        world.unsynced_names.push(change.clone());
        apply(&mut world.names, change);
        Ok(())
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = {
            let mut world = self.world();
            world.inodes.push(Inode::default());
            world.inodes.len() - 1
        };
        self.change(Change::Link(path.to_owned(), inode))?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let world = self.world();
        world.check(self.life)?;
        let inode = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.world().names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.world().names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(Change::Remove(path.to_owned()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        world.check(self.life)?;
        let names = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.world().check(self.life)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.check(self.life)?;
        let changes = std::mem::take(&mut world.unsynced_names);
        let (here, elsewhere): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| {
            let (Change::Link(path, _) | Change::Rename(path, _) | Change::Remove(path)) = change;
            path.parent() == Some(dir)
        });
        for change in here {
            apply(&mut world.durable_names, change);
        }
        world.unsynced_names = elsewhere;
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<LockGuard> {
        let mut world = self.world();
        world.check(self.life)?;
        if std::mem::replace(&mut world.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Unlock(self.clone())))
    }
}
