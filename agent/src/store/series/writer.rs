//! The thread that writes the series.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::file::{self, File};
use super::{Batch, Row};
use crate::store::StoreError;

pub(super) enum Message {
    Record(Batch),
    Forget(Uuid),
    Read {
        of: Option<Uuid>,
        step: u64,
        since: u64,
        until: u64,
        answer: oneshot::Sender<Result<Vec<Row>, StoreError>>,
    },
    Close(oneshot::Sender<()>),
}

struct Writer<'a> {
    path: &'a Path,
    file: Result<File, StoreError>,
    dropped: &'a AtomicU64,
    failing: bool,
}

/// Serves until the last handle is gone.
pub(super) fn run(path: &Path, messages: &Receiver<Message>, dropped: &AtomicU64) {
    // Here and not in the caller's thread: a large file takes a while to be looked through.
    let mut writer = Writer { path, file: file::open(path), dropped, failing: false };
    while let Ok(message) = messages.recv() {
        match message {
            Message::Record(batch) => writer.write(&batch),
            Message::Forget(uuid) => {
                // What stays of it is found by nobody: another instance has another UUID.
                let _ = writer.file().and_then(|file| file.forget(uuid));
            }
            Message::Read { of, step, since, until, answer } => {
                // A caller that gave up needs no answer.
                let _ = answer.send(writer.file().and_then(|f| f.read(of, step, since, until)));
            }
            Message::Close(answer) => {
                drop(writer);
                let _ = answer.send(());
                return;
            }
        }
    }
}

impl Writer<'_> {
    /// The file, opened again if it was deleted or could not be used.
    fn file(&mut self) -> Result<&mut File, StoreError> {
        if !self.file.as_ref().is_ok_and(|file| file.is_there(self.path)) {
            self.file = Err(StoreError::closed());
            self.file = file::open(self.path);
        }
        self.file.as_mut().map_err(|error| error.clone())
    }

    fn write(&mut self, batch: &Batch) {
        let mut written = self.file().and_then(|file| file.write(batch));
        if matches!(written, Err(StoreError::Corrupt(_))) {
            self.file = Err(StoreError::closed());
            written = self.file().and_then(|file| file.write(batch));
        }
        match written {
            Ok(()) if self.failing => {
                self.failing = false;
                log::info!("the history of metrics can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if !self.failing {
                    log::error!(
                        "the history of metrics {} is not kept: {error}",
                        self.path.display()
                    );
                }
                self.failing = true;
            }
        }
    }
}
