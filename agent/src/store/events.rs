//! Events, in a database of their own.
//!
//! ```text
//!   flows ── record ──────► bounded queue ──► writer thread ── a transaction, fsync ──► events.db
//!   API   ── record_now ──►                        │ then: waiters are told, followers get them
//!   readers ── a read-only connection each ────────┴──────────────────────────────────► events.db
//! ```
//!
//! What somebody waits for is committed at once, together with all that is in the queue; the rest within
//! [`EVERY`]. A commit is on the disk (`synchronous=FULL`). An event that can't be written is still given to those
//! who follow and counted as dropped; nothing depends on this file, and a damaged one is moved aside.

mod file;
mod filter;
mod reader;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tenement_wire::events::Event;
use tokio::sync::{Semaphore, broadcast, oneshot};

use super::StoreError;
pub use filter::{Filter, Who};
use writer::Message;

/// The longest that an event waits for its commit if nobody waits for it.
pub const EVERY: Duration = Duration::from_millis(200);
/// Events that wait for the writer at most; more are dropped and counted.
const QUEUE: usize = 8192;
/// Events kept for a follower who is slow; after that it reads the file.
const FOLLOW: usize = 1024;
/// Reads at once.
const READS: usize = 4;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Events older than this go; zero: none by their age.
    pub age: Duration,
    /// Events kept at most; the oldest go first.
    pub count: u64,
    /// Events kept at most of the kinds that come all the time.
    pub routine: u64,
}

/// A handle to the events; clones share the writer, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct EventStore {
    path: Arc<PathBuf>,
    queue: mpsc::SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    newest: Arc<AtomicU64>,
    live: broadcast::Sender<Arc<Event>>,
    keep: Arc<Mutex<Keep>>,
    reads: Arc<Semaphore>,
}

impl EventStore {
    /// Opens the events at `path`, or begins anew. It never fails: an agent that can't keep events works,
    /// and counts what it could not keep.
    #[must_use]
    pub fn open(path: &Path, keep: Keep) -> Self {
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let newest = Arc::new(AtomicU64::new(0));
        let (live, _) = broadcast::channel(FOLLOW);
        let keep = Arc::new(Mutex::new(keep));
        let (shared, counts) = (keep.clone(), dropped.clone());
        let writer = writer::Writer::new(path, shared, counts, newest.clone(), live.clone());
        let thread = std::thread::Builder::new().name("events".into());
        if let Err(error) = thread.spawn(move || writer.run(&messages)) {
            log::error!("no thread for events, none is kept: {error}");
        }
        let reads = Arc::new(Semaphore::new(READS));
        Self { path: Arc::new(path.to_owned()), queue, dropped, newest, live, keep, reads }
    }

    /// Keeps an event. It never waits. Says whether there was room for it.
    pub fn record(&self, event: Event) -> bool {
        self.send(Message::Record(Box::new(event), None))
    }

    /// Keeps an event and waits until it is on the disk.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be written.
    pub async fn record_now(&self, event: Event) -> Result<u64, StoreError> {
        let (answer, written) = oneshot::channel();
        if !self.send(Message::Record(Box::new(event), Some(answer))) {
            return Err(StoreError::Other("too many events wait to be written".into()));
        }
        written.await.map_err(|_| StoreError::closed())?
    }

    fn send(&self, message: Message) -> bool {
        let sent = self.queue.try_send(message).is_ok();
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// Events as they come, after their commit.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<Event>> {
        self.live.subscribe()
    }

    /// A page of what matches, with all that was recorded before the call.
    ///
    /// # Errors
    /// [`StoreError`] when the file can't be read.
    pub async fn read(&self, filter: Filter) -> Result<Vec<Event>, StoreError> {
        self.flush().await;
        let turn = self.reads.clone().acquire_owned().await.map_err(|_| StoreError::closed())?;
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            reader::read(&path, &filter)
        });
        read.await.map_err(|_| StoreError::closed())?
    }

    async fn flush(&self) {
        let (answer, flushed) = oneshot::channel();
        if self.queue.try_send(Message::Flush(answer)).is_ok() {
            let _ = flushed.await;
        }
    }

    /// The highest id of all that was recorded before the call.
    pub async fn newest(&self) -> u64 {
        self.flush().await;
        self.newest.load(Ordering::Acquire)
    }

    /// Keeps so much from now on.
    pub fn keep(&self, keep: Keep) {
        *self.keep.lock().expect("no panic while held") = keep;
        let _ = self.queue.try_send(Message::Prune);
    }

    /// Writes what waits and closes the file.
    pub async fn close(&self) {
        let (answer, done) = oneshot::channel();
        if self.queue.try_send(Message::Close(answer)).is_ok() {
            let _ = done.await;
        }
    }

    /// Events that could not be kept since the agent started.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
