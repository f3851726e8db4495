//! Floor 2: the access log: one entry of the journal for each request, by fields.
//!
//! ```text
//! a request ends ─► offer ─► queue (8,192) ─► thread ─► /run/systemd/journal/socket
//!                     └ full: dropped, counted
//! ```
//! A journal that is slow or away stops the thread and nothing else. The entries are the agent's, under an identifier
//! of their own and without the mark by which the index of logs knows the lines of instances. Values are written with
//! their length before them, so that no text of a client's can end a field and begin another.

mod line;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use log::{Level, Record};
use systemd_journal_logger::JournalLog;
use tokio::sync::watch;

pub use line::{Line, Wake, protocol};

/// `SYSLOG_IDENTIFIER` of all entries.
pub const IDENTIFIER: &str = "tenement-access";
/// Lines that wait, at most.
const QUEUE: usize = 8_192;
/// How often the thread looks whether lines were dropped, or whether it shall end.
const LOOK: Duration = Duration::from_secs(1);
/// Drops that go on are said again so rarely.
const SAY: Duration = Duration::from_secs(60);

/// What became of lines. Relaxed atomics: they order nothing.
#[derive(Debug, Default)]
pub struct Counts {
    /// Handed to the journal.
    pub written: AtomicU64,
    /// Not written: the queue was full, or the journal did not take them.
    pub dropped: AtomicU64,
}

/// The way to the journal.
#[derive(Debug)]
pub struct AccessLog {
    queue: SyncSender<Line>,
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Shared {
    closing: AtomicBool,
    counts: Arc<Counts>,
}

impl AccessLog {
    /// Begins to write to the journal.
    ///
    /// # Errors
    /// If there is no journal, or no thread to be had.
    pub fn start(counts: Arc<Counts>) -> Result<Self, String> {
        let journal = JournalLog::empty().map_err(|error| format!("no journal: {error}"))?;
        let journal = journal.with_syslog_identifier(IDENTIFIER.to_owned());
        Self::with(counts, move |line| {
            line.tell(|message, fields| {
                let mut record = Record::builder();
                // This is the journal's `info`; log's own is its `notice`.
                record.level(Level::Debug).target("access").key_values(&fields);
                journal.journal_send(&record.args(format_args!("{message}")).build()).is_ok()
            })
        })
    }

    /// Begins to hand lines to `write`, which says whether it took them.
    fn with(
        counts: Arc<Counts>,
        write: impl FnMut(&Line) -> bool + Send + 'static,
    ) -> Result<Self, String> {
        let (queue, lines) = sync_channel(QUEUE);
        let shared = Arc::new(Shared { closing: AtomicBool::new(false), counts });
        let (end, ended) = watch::channel(false);
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            work(&theirs, &lines, write);
            let _ = end.send(true);
        });
        thread.map_err(|error| format!("no thread: {error}"))?;
        Ok(Self { queue, shared, ended })
    }

    /// Hands over a line. It never waits: if too many do, this one is dropped and counted.
    pub fn offer(&self, line: Line) {
        if self.queue.try_send(line).is_err() {
            self.shared.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits, and returns when that is done or `bound` has passed.
    pub async fn close(&self, bound: Duration) {
        self.shared.closing.store(true, Ordering::Release);
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(bound, ended.wait_for(|ended| *ended)).await;
    }
}

fn work(shared: &Shared, lines: &Receiver<Line>, mut write: impl FnMut(&Line) -> bool) {
    let counts = &shared.counts;
    let (mut said, mut known) = (None::<Instant>, counts.dropped.load(Ordering::Relaxed));
    loop {
        // Nobody waits long for an end: lines that wait are read without a pause.
        let look = if shared.closing.load(Ordering::Acquire) { Duration::ZERO } else { LOOK };
        match lines.recv_timeout(look) {
            Ok(line) => {
                let count = if write(&line) { &counts.written } else { &counts.dropped };
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) if !shared.closing.load(Ordering::Acquire) => {}
            Err(_) => return,
        }
        let dropped = counts.dropped.load(Ordering::Relaxed);
        if dropped > known && said.is_none_or(|said| said.elapsed() >= SAY) {
            log::warn!("{} lines of the access log were dropped", dropped - known);
            (said, known) = (Some(Instant::now()), dropped);
        }
    }
}
