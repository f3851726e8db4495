//! The thread that writes the history.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tenement_wire::status::HistoryEntry;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::file::{self, File};
use crate::store::StoreError;

/// Entries are written together: after this time, or when there are this many.
const EVERY: Duration = Duration::from_secs(1);
const BATCH: usize = 256;

pub(super) enum Message {
    Record(Uuid, HistoryEntry),
    Forget(Uuid),
    Read(Uuid, u32, oneshot::Sender<Result<Vec<HistoryEntry>, StoreError>>),
    Close(oneshot::Sender<()>),
}

struct Writer<'a> {
    path: &'a Path,
    file: Result<File, StoreError>,
    batch: Vec<(Uuid, Option<HistoryEntry>)>,
    due: Option<Instant>,
    dropped: &'a AtomicU64,
    failing: bool,
}

/// Serves until the last handle is gone.
pub(super) fn run(
    path: &Path,
    opened: Result<File, StoreError>,
    messages: &Receiver<Message>,
    dropped: &AtomicU64,
) {
    let batch = Vec::with_capacity(BATCH);
    let mut writer = Writer { path, file: opened, batch, due: None, dropped, failing: false };
    loop {
        let wait =
            writer.due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
        match messages.recv_timeout(wait) {
            Ok(Message::Record(uuid, entry)) => writer.add(uuid, Some(entry)),
            Ok(Message::Forget(uuid)) => writer.add(uuid, None),
            Ok(Message::Read(uuid, limit, answer)) => {
                writer.flush();
                // A caller that gave up needs no answer.
                let _ = answer.send(writer.read(uuid, limit));
            }
            Ok(Message::Close(answer)) => {
                writer.flush();
                drop(writer);
                let _ = answer.send(());
                return;
            }
            Err(RecvTimeoutError::Timeout) => writer.flush(),
            Err(RecvTimeoutError::Disconnected) => return writer.flush(),
        }
    }
}

impl Writer<'_> {
    fn add(&mut self, uuid: Uuid, entry: Option<HistoryEntry>) {
        self.batch.push((uuid, entry));
        self.due.get_or_insert_with(|| Instant::now() + EVERY);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// The file, opened again if it was deleted or could not be used.
    fn file(&mut self) -> Result<&mut File, StoreError> {
        if !self.file.as_ref().is_ok_and(|file| file.is_there(self.path)) {
            self.file = Err(StoreError::closed());
            self.file = file::open(self.path);
        }
        self.file.as_mut().map_err(|error| error.clone())
    }

    fn flush(&mut self) {
        self.due = None;
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let mut written = self.file().and_then(|file| file.write(&batch));
        if matches!(written, Err(StoreError::Corrupt(_))) {
            self.file = Err(StoreError::closed());
            written = self.file().and_then(|file| file.write(&batch));
        }
        match written {
            Ok(()) if self.failing => {
                self.failing = false;
                log::info!("the history of instances can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                let lost = batch.iter().filter(|(_, entry)| entry.is_some()).count();
                self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
                if !self.failing {
                    log::error!(
                        "the history of instances {} is not kept: {error}",
                        self.path.display()
                    );
                }
                self.failing = true;
            }
        }
    }

    fn read(&mut self, uuid: Uuid, limit: u32) -> Result<Vec<HistoryEntry>, StoreError> {
        self.file()?.read(uuid, limit)
    }
}
