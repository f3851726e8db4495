//! The thread that writes events.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tenement_wire::events::Event;
use tokio::sync::{broadcast, oneshot};

use super::file::{self, File};
use super::{EVERY, Keep};
use crate::store::StoreError;

/// Events in one transaction at most.
const BATCH: usize = 512;
/// How often what is too old is removed, and after how many events what is too much.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
const PRUNE_AFTER: usize = 2_000;

type Answer = oneshot::Sender<Result<u64, StoreError>>;

pub(super) enum Message {
    Record(Box<Event>, Option<Answer>),
    Flush(oneshot::Sender<()>),
    Prune,
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    path: PathBuf,
    file: Result<File, StoreError>,
    keep: Arc<Mutex<Keep>>,
    dropped: Arc<AtomicU64>,
    live: broadcast::Sender<Arc<Event>>,
    batch: Vec<(Event, Option<Answer>)>,
    due: Option<Instant>,
    prune: Instant,
    since_prune: usize,
    /// The highest id that was given to an event.
    newest: Arc<AtomicU64>,
    failing: bool,
}

impl Writer {
    pub(super) fn new(
        path: &Path,
        keep: Arc<Mutex<Keep>>,
        dropped: Arc<AtomicU64>,
        newest: Arc<AtomicU64>,
        live: broadcast::Sender<Arc<Event>>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            file: Err(StoreError::closed()),
            keep,
            dropped,
            live,
            batch: Vec::with_capacity(BATCH),
            due: None,
            prune: Instant::now(),
            since_prune: 0,
            newest,
            failing: false,
        }
    }

    /// Serves until the last handle is gone.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        if let Err(error) = self.file() {
            self.complain(&error);
        }
        loop {
            let due = self.due.unwrap_or(self.prune).min(self.prune);
            let mut waiting = Vec::new();
            let mut next =
                match messages.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return self.flush(),
                };
            // All that is in the queue goes into one transaction with it.
            while let Some(message) = next.take() {
                match message {
                    Message::Record(event, answer) => self.add(*event, answer),
                    Message::Flush(answer) => waiting.push(answer),
                    Message::Prune => self.prune = Instant::now(),
                    Message::Close(answer) => {
                        self.flush();
                        drop(self);
                        let _ = answer.send(());
                        return;
                    }
                }
                if self.batch.len() < BATCH {
                    next = messages.try_recv().ok();
                }
            }
            let asked = !waiting.is_empty() || self.batch.iter().any(|(_, who)| who.is_some());
            let now = Instant::now();
            if asked || self.batch.len() >= BATCH || self.due.is_some_and(|due| due <= now) {
                self.flush();
            }
            for answer in waiting {
                let _ = answer.send(());
            }
            if self.prune <= now || self.since_prune >= PRUNE_AFTER {
                self.tidy();
            }
        }
    }

    fn add(&mut self, mut event: Event, answer: Option<Answer>) {
        if event.time_ms == 0 {
            event.time_ms = now_ms();
        }
        self.batch.push((event.bounded(), answer));
        self.due.get_or_insert_with(|| Instant::now() + EVERY);
    }

    /// The file, opened again if it was deleted or could not be used.
    fn file(&mut self) -> Result<&mut File, StoreError> {
        if !self.file.as_ref().is_ok_and(|file| file.is_there(&self.path)) {
            self.file = Err(StoreError::closed());
            self.file = file::open(&self.path);
            if let Ok(file) = &self.file {
                self.newest.fetch_max(file.last(), Ordering::AcqRel);
            }
        }
        self.file.as_mut().map_err(|error| error.clone())
    }

    fn flush(&mut self) {
        self.due = None;
        if self.batch.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        self.since_prune += batch.len();
        let mut written = self.write(&mut batch);
        if matches!(written, Err(StoreError::Corrupt(_))) {
            self.file = Err(StoreError::closed());
            written = self.write(&mut batch);
        }
        match &written {
            Ok(()) if self.failing => {
                self.failing = false;
                log::info!("events can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                self.complain(error);
            }
        }
        for (event, answer) in batch {
            let id = event.id;
            // Nobody may be following.
            let _ = self.live.send(Arc::new(event));
            if let Some(answer) = answer {
                let _ = answer.send(written.clone().map(|()| id));
            }
        }
    }

    /// Gives them their ids, which they also have if they can't be written: those who follow get them.
    fn write(&mut self, batch: &mut [(Event, Option<Answer>)]) -> Result<(), StoreError> {
        let opened = self.file().map(|_| ());
        let last = self.newest.load(Ordering::Acquire);
        for ((event, _), id) in batch.iter_mut().zip(last + 1..) {
            event.id = id;
        }
        self.newest.store(last + batch.len() as u64, Ordering::Release);
        opened?;
        self.file()?.write(batch.iter().map(|(event, _)| event))
    }

    fn complain(&mut self, error: &StoreError) {
        if !self.failing {
            log::error!("events are not kept in {}: {error}", self.path.display());
        }
        self.failing = true;
    }

    fn tidy(&mut self) {
        let keep = *self.keep.lock().expect("no panic while held");
        self.since_prune = 0;
        let more = self.file().and_then(|file| file.prune(keep, now_ms()));
        let wait = if matches!(more, Ok(true)) { EVERY } else { PRUNE_EVERY };
        self.prune = Instant::now() + wait;
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
