//! What was measured, step by step, in a database of its own.
//!
//! ```text
//!   recorder ── once a minute, a batch ──► bounded queue ──► writer thread ──► metrics.db
//!                                minutes of a day ── every quarter of an hour ──► quarters of a month
//! ```
//!
//! Like the history of states it may lose its last second, and a damaged file is moved aside and begun anew.
//! It is bounded by age ([`DAY`], [`MONTH`]) and by [`ROWS`]; rows are few, since an instance that sleeps and
//! gets no requests has none.

mod blob;
mod file;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::StoreError;
use writer::Message;

/// The short step, in seconds.
pub const MINUTE: u64 = 60;
/// The long step.
pub const QUARTER: u64 = 900;
/// How long short steps are kept.
pub const DAY: u64 = 86_400;
/// How long long ones are.
pub const MONTH: u64 = 31 * DAY;
/// Rows of each step at most, some 100 MB; the oldest go first. A thousand instances that never sleep need
/// 1.4 million a day.
pub const ROWS: u64 = 1_600_000;
/// Batches and questions that wait for the writer at most; more are dropped and counted.
const QUEUE: usize = 64;

/// What was measured of one series in one step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// When the step began, in Unix seconds.
    pub at: u64,
    /// Requests.
    pub requests: u64,
    /// Those answered with a status of 500 or more.
    pub errors: u64,
    /// Wakes.
    pub wakes: u64,
    /// CPU time, in microseconds.
    pub cpu_us: Option<u64>,
    /// Memory at the end, in bytes.
    pub memory: Option<u64>,
    /// Time awake, in milliseconds.
    pub active_ms: u64,
    /// Bytes of requests' bodies.
    pub received: u64,
    /// Bytes of answers' bodies.
    pub sent: u64,
    /// Requests by how long they took, bucket by bucket; trailing zeros may be left out.
    pub latency: Vec<u64>,
    /// What is measured of all instances together alone, as the recorder writes it; empty of one instance.
    pub extra: String,
}

impl Row {
    /// Takes in a step that comes later, or another part of the same one.
    pub fn merge(&mut self, later: &Self) {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
        };
        self.requests += later.requests;
        self.errors += later.errors;
        self.wakes += later.wakes;
        self.cpu_us = sum(self.cpu_us, later.cpu_us);
        self.memory = later.memory.or(self.memory);
        self.active_ms += later.active_ms;
        self.received += later.received;
        self.sent += later.sent;
        if self.latency.len() < later.latency.len() {
            self.latency.resize(later.latency.len(), 0);
        }
        self.latency.iter_mut().zip(&later.latency).for_each(|(own, more)| *own += more);
        if !later.extra.is_empty() {
            self.extra.clone_from(&later.extra);
        }
    }
}

/// One step of all series. None is all instances together.
pub type Batch = Vec<(Option<Uuid>, Row)>;

/// A handle to the series; clones share the writer, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct Series {
    queue: mpsc::SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Series {
    /// Opens the file at `path`, or begins a new one, in a thread of its own. It never fails: an agent
    /// without it works, and counts what it could not keep.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let (path, counter) = (path.to_owned(), dropped.clone());
        let thread = std::thread::Builder::new().name("metrics".into());
        if let Err(error) = thread.spawn(move || writer::run(&path, &messages, &counter)) {
            log::error!("no thread for the history of metrics, none is kept: {error}");
        }
        Self { queue, dropped }
    }

    /// Keeps a step. It never waits.
    pub fn record(&self, batch: Batch) {
        let rows = batch.len() as u64;
        if self.queue.try_send(Message::Record(batch)).is_err() {
            self.dropped.fetch_add(rows, Ordering::Relaxed);
        }
    }

    /// Forgets an instance that was removed. It never waits; what is left of one goes by its age.
    pub fn forget(&self, uuid: Uuid) {
        let _ = self.queue.try_send(Message::Forget(uuid));
    }

    /// Rows of one series from `since` on and before `until` (Unix seconds), oldest first, of the short step
    /// or of the long one.
    ///
    /// # Errors
    /// [`StoreError`] when the file can't be read or the writer is overwhelmed.
    pub async fn read(
        &self,
        of: Option<Uuid>,
        step: u64,
        since: u64,
        until: u64,
    ) -> Result<Vec<Row>, StoreError> {
        let (answer, rows) = oneshot::channel();
        let asked = self.queue.try_send(Message::Read { of, step, since, until, answer });
        asked.map_err(|_| StoreError::Other("the history of metrics can't be read now".into()))?;
        rows.await.map_err(|_| StoreError::closed())?
    }

    /// Writes what waits and closes the file.
    pub async fn close(&self) {
        let (answer, done) = oneshot::channel();
        if self.queue.try_send(Message::Close(answer)).is_ok() {
            let _ = done.await;
        }
    }

    /// Rows that could not be kept since the agent started.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
