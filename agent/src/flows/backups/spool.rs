//! Bytes that are ahead of whoever takes them: on disk, up to a bound.
//!
//! An instance that was stopped for its backup should wait for its disk alone, and not for a client behind a slow
//! line or for a bucket far away. The file has no name, so nothing of it is left whatever happens, and what was taken
//! is given back to the disk at once.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{CWD, FallocateFlags, Mode, OFlags, fallocate, openat};
use tokio::sync::{mpsc, watch};

/// Pieces between the two in memory: of a spool none are longer than [`PIECE`].
const PIECES: usize = 4;
/// Bytes that are taken at once.
const PIECE: usize = 256 * 1024;
/// Taken bytes are given back to the disk in steps of this size, a multiple of any block.
const STEP: u64 = 8 << 20;

/// Where bytes are put in.
pub(super) enum Feeder {
    Straight(mpsc::Sender<Bytes>),
    Spooled {
        file: Arc<File>,
        put: watch::Sender<(u64, bool)>,
        taken: watch::Receiver<u64>,
        max: u64,
    },
}

/// Where they come out.
pub(super) enum Taker {
    Straight(mpsc::Receiver<Bytes>),
    Spooled { file: Arc<File>, put: watch::Receiver<(u64, bool)>, taken: watch::Sender<u64> },
}

/// Both ends. `max` bytes may be between them on disk; with 0, or on a disk that has no room, few and in memory.
pub(super) fn pair(dir: &Path, max: u64) -> (Feeder, Taker) {
    match open(dir, max) {
        Some((file, max)) => {
            let file = Arc::new(file);
            let (put, putting) = watch::channel((0, false));
            let (taken, taking) = watch::channel(0);
            let feeder = Feeder::Spooled { file: file.clone(), put, taken: taking, max };
            (feeder, Taker::Spooled { file, put: putting, taken })
        }
        None => {
            let (put, taken) = mpsc::channel(PIECES);
            (Feeder::Straight(put), Taker::Straight(taken))
        }
    }
}

fn open(dir: &Path, max: u64) -> Option<(File, u64)> {
    // The state database lies on the same disk: at least half of what is free is left to it.
    let disk = rustix::fs::statvfs(dir).ok()?;
    let max = max.min(disk.f_bavail.saturating_mul(disk.f_frsize) / 2);
    if max < 4 * STEP {
        return None;
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR).ok()?;
    Some((file.into(), max))
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes it any more")
}

impl Feeder {
    /// Puts bytes in, once there is room.
    pub(super) async fn put(&mut self, bytes: Bytes) -> io::Result<()> {
        match self {
            Self::Straight(sender) => sender.send(bytes).await.map_err(|_| gone()),
            Self::Spooled { file, put, taken, max } => {
                let at = put.borrow().0;
                let room = taken.wait_for(|taken| at - *taken < *max).await;
                room.map_err(|_| gone())?;
                let (file, size) = (file.clone(), bytes.len() as u64);
                let write = move || file.write_all_at(&bytes, at);
                tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
                put.send((at + size, false)).map_err(|_| gone())
            }
        }
    }

    /// Nothing more comes. Dropped without it, the other end hears that it broke off.
    pub(super) fn end(self) {
        if let Self::Spooled { put, .. } = self {
            put.send_modify(|(_, ended)| *ended = true);
        }
    }
}

impl Taker {
    /// The next bytes; none at the end, or if the other end was dropped: whoever put them in knows which.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Straight(receiver) => Ok(receiver.recv().await),
            Self::Spooled { file, put, taken } => {
                let at = *taken.borrow();
                // One that is gone leaves what it has put.
                let _ = put.wait_for(|(end, ended)| *end > at || *ended).await;
                let left = put.borrow().0 - at;
                if left == 0 {
                    return Ok(None);
                }
                let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                let file = file.clone();
                let read = move || read(&file, at, size);
                let bytes = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
                taken.send_replace(at + bytes.len() as u64);
                Ok(Some(bytes))
            }
        }
    }
}

fn read(file: &File, at: u64, size: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; size];
    file.read_exact_at(&mut piece, at)?;
    let (before, after) = (at / STEP * STEP, (at + size as u64) / STEP * STEP);
    if after > before {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // Where the file system can't, the bytes stay until the end.
        let _ = fallocate(file.as_fd(), flags, before, after - before);
    }
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_in_comes_out_in_order_and_never_more_is_between_than_may_be() {
        for max in [0, 4 * STEP] {
            let dir = tempfile::tempdir().unwrap();
            let (mut feeder, mut taker) = pair(dir.path(), max);
            let pieces = 400_u32;
            let feeding = tokio::spawn(async move {
                for n in 0..pieces {
                    feeder.put(vec![n as u8; 150_000].into()).await.unwrap();
                }
                feeder.end();
            });
            let mut at = 0_usize;
            while let Some(bytes) = taker.next().await.unwrap() {
                for byte in bytes {
                    assert_eq!(byte, (at / 150_000) as u8);
                    at += 1;
                }
            }
            assert_eq!(at, pieces as usize * 150_000);
            feeding.await.unwrap();
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn the_producer_need_not_wait_for_a_consumer_until_the_bound_and_hears_that_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (mut feeder, taker) = pair(dir.path(), 4 * STEP);
        for _ in 0..4 {
            feeder.put(vec![1; STEP as usize].into()).await.unwrap();
        }
        let full = tokio::time::timeout(
            std::time::Duration::from_millis(50),
            feeder.put(Bytes::from_static(b"x")),
        );
        assert!(full.await.is_err(), "the bound does not hold");
        drop(taker);
        let error = feeder.put(Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
