//! How instances changed their state, in a database of its own.
//!
//! ```text
//!   flows ── try_send, never waits ──► bounded queue ──► writer thread ── one transaction a second ──► history.db
//! ```
//!
//! Unlike the state database it may lose its last second (`synchronous=NORMAL`), and a damaged file is
//! moved aside and begun anew: nothing depends on it. It is bounded by [`PER_INSTANCE`] and [`TOTAL`].

mod file;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use tenement_wire::status::HistoryEntry;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::StoreError;
use writer::Message;

/// Entries kept of one instance.
pub const PER_INSTANCE: u32 = 100;
/// Entries kept of all instances together, some 30 MB; the oldest go first.
pub const TOTAL: u64 = 200_000;
/// Entries that wait for the writer at most; more are dropped and counted.
const QUEUE: usize = 4096;

/// A handle to the history; clones share the writer, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct History {
    queue: mpsc::SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    last: Arc<Mutex<HashMap<Uuid, String>>>,
}

impl History {
    /// Opens the history at `path`, or begins a new one. It never fails: an agent without a history
    /// works, and counts what it could not keep.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let (path, counter) = (path.to_owned(), dropped.clone());
        let opened = file::open(&path);
        let last = opened.as_ref().map(|file| file.last_states()).unwrap_or_default();
        let thread = std::thread::Builder::new().name("history".into());
        if let Err(error) = thread.spawn(move || writer::run(&path, opened, &messages, &counter)) {
            log::error!("no thread for the history of instances, none is kept: {error}");
        }
        Self { queue, dropped, last: Arc::new(Mutex::new(last)) }
    }

    /// Keeps an entry. It never waits.
    pub fn record(&self, uuid: Uuid, entry: HistoryEntry) {
        if self.queue.try_send(Message::Record(uuid, entry)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets an instance that was removed. It never waits; what is left of one goes by its age.
    pub fn forget(&self, uuid: Uuid) {
        let _ = self.queue.try_send(Message::Forget(uuid));
    }

    /// The newest entries of an instance, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the file can't be read or the writer is overwhelmed.
    pub async fn of(&self, uuid: Uuid, limit: u32) -> Result<Vec<HistoryEntry>, StoreError> {
        let (answer, entries) = oneshot::channel();
        let asked = self.queue.try_send(Message::Read(uuid, limit.min(PER_INSTANCE), answer));
        asked.map_err(|_| StoreError::Other("the history can't be read now".into()))?;
        entries.await.map_err(|_| StoreError::closed())?
    }

    /// Writes what waits and closes the file.
    pub async fn close(&self) {
        let (answer, done) = oneshot::channel();
        if self.queue.try_send(Message::Close(answer)).is_ok() {
            let _ = done.await;
        }
    }

    /// The state that an instance was last in, as an earlier agent saw it. Told once.
    pub fn take_last(&self, uuid: Uuid) -> Option<String> {
        self.last.lock().expect("no panic while held").remove(&uuid)
    }

    /// Entries that could not be kept since the agent started.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
