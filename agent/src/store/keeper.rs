//! The keeper of the connection: it sees to it that there is one to a sound file, and a verified copy.
//!
//! ```text
//!   writes ──► Keeper ──► state.db          damaged, gone ──► moved aside, restored from the copy
//!                 └─────► state.db.backup   read-only, full ──► served from a copy, writes refused
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tenement_wire::status::StateDatabase;
use uuid::Uuid;

use super::{StoreError, copy, schema};

/// How often the file is looked at while nobody writes.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often the whole file is checked: some milliseconds for 10,000 instances.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// The thread copies at most this share of its time: a copy that took 20 ms is not made again within
/// 400 ms.
const COPY_SHARE: u32 = 20;
const COPY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Where a database that can't be written is copied to in order to be read. The first is the disk's
/// own or memory, as the host has it; the second is always memory.
fn scratch_places() -> [PathBuf; 2] {
    [std::env::temp_dir(), PathBuf::from("/dev/shm")]
}

pub(super) struct Keeper {
    path: PathBuf,
    connection: Option<Connection>,
    /// Why nothing can be written.
    refusal: Option<StoreError>,
    scratch: Option<Scratch>,
    file: Option<(u64, u64)>,
    log: Option<(u64, u64)>,
    unsaved: bool,
    next_copy: Instant,
    next_check: Instant,
    copy_trouble: Option<String>,
}

/// A directory that goes with it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Keeper {
    /// Opens the database, whatever it takes.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let now = Instant::now();
        let mut keeper = Self {
            path: path.to_owned(),
            connection: None,
            refusal: None,
            scratch: None,
            file: None,
            log: None,
            unsaved: false,
            next_copy: now,
            next_check: now + CHECK_EVERY,
            copy_trouble: None,
        };
        match copy::open(path) {
            Ok(connection) => keeper.take(connection),
            Err(error @ (StoreError::Full(_) | StoreError::ReadOnly(_))) if path.exists() => {
                keeper.read_elsewhere(error)?;
            }
            Err(error) => return Err(error),
        }
        Ok(keeper)
    }

    fn take(&mut self, connection: Connection) {
        self.file = copy::identity(&self.path);
        self.log = copy::log_identity(&self.path);
        self.connection = Some(connection);
        self.refusal = None;
        self.scratch = None;
        // Whatever was open before, the copy may be older than this.
        self.unsaved = true;
    }

    /// Customers' requests need the registered instances, and not that anything can be written.
    fn read_elsewhere(&mut self, error: StoreError) -> Result<(), StoreError> {
        for place in scratch_places() {
            let dir = place.join(format!("tenement-state-{}", Uuid::new_v4()));
            let scratch = Scratch(dir.clone());
            if let Ok(connection) = copy::open_elsewhere(&self.path, &dir) {
                log::error!(
                    "{}: what is registered is served, and nothing can be changed",
                    error.clone().at(&self.path)
                );
                self.connection = Some(connection);
                self.refusal = Some(error);
                self.scratch = Some(scratch);
                return Ok(());
            }
        }
        Err(error)
    }

    /// The connection for a group of requests, after a look at the file; and why writes are refused.
    pub(super) fn connection(
        &mut self,
    ) -> Result<(&mut Connection, Option<StoreError>), StoreError> {
        self.look();
        let refusal = self.refusal.clone();
        match &mut self.connection {
            Some(connection) => Ok((connection, refusal)),
            None => Err(refusal.unwrap_or_else(StoreError::closed)),
        }
    }

    /// Notes how a group went.
    pub(super) fn ended(&mut self, wrote: bool, error: Option<&StoreError>) {
        self.unsaved |= wrote;
        if matches!(error, Some(StoreError::Corrupt(_))) {
            self.reopen();
        }
    }

    /// How long the thread may wait for requests.
    pub(super) fn patience(&self) -> Duration {
        let now = Instant::now();
        let next =
            if self.unsaved { self.next_copy.min(now + LOOK_EVERY) } else { now + LOOK_EVERY };
        next.saturating_duration_since(now)
    }

    /// What is due when no request waits.
    pub(super) fn tend(&mut self) {
        self.look();
        let now = Instant::now();
        if now >= self.next_check && self.refusal.is_none() {
            self.next_check = now + CHECK_EVERY;
            if let Err(error @ StoreError::Corrupt(_)) = schema::check(&self.path) {
                log::error!("{}", error.at(&self.path));
                self.reopen();
            }
        }
        if self.unsaved && now >= self.next_copy {
            self.save();
        }
    }

    /// Makes the verified copy, if anything was written since the last one.
    pub(super) fn save(&mut self) {
        let Some(connection) = self.connection.as_ref().filter(|_| self.unsaved) else { return };
        if self.refusal.is_some() {
            return;
        }
        let begin = Instant::now();
        let made = copy::make(connection, &self.path);
        let pause = (begin.elapsed() * COPY_SHARE).min(COPY_PAUSE_MAX);
        match made {
            Ok(()) => {
                self.unsaved = false;
                self.next_copy = Instant::now() + pause;
                self.copy_trouble = None;
            }
            Err(error) => {
                self.next_copy = Instant::now() + COPY_PAUSE_MAX;
                let trouble = error.to_string();
                if self.copy_trouble.as_ref() != Some(&trouble) {
                    log::error!("no verified copy of the state database could be made: {trouble}");
                }
                self.copy_trouble = Some(trouble);
                if matches!(error, StoreError::Corrupt(_)) {
                    self.reopen();
                }
            }
        }
    }

    /// Sees whether the file is still the one that is open.
    fn look(&mut self) {
        if self.connection.is_none() || self.scratch.is_some() {
            // Tried again and again: a disk is mounted writable again, space is freed.
            return self.reopen_if_possible();
        }
        let now = copy::identity(&self.path);
        // SQLite makes the log when it first needs it.
        self.log = self.log.or_else(|| copy::log_identity(&self.path));
        if now == self.file && copy::log_identity(&self.path) == self.log {
            return;
        }
        match now {
            None => self.write_anew(),
            Some(_) if now == self.file => self.reopen_after_log_loss(),
            Some(_) => {
                let error = StoreError::Other(
                    "another file was put in its place while the agent runs: restart tenement to \
                     use that one, or delete it to have this one written again"
                        .into(),
                );
                if self.refusal.replace(error.clone()).is_none() {
                    log::error!("{}", error.at(&self.path));
                }
            }
        }
    }

    /// The file was deleted. All of it is still there for who has it open.
    fn write_anew(&mut self) {
        let Some(connection) = &self.connection else { return };
        let dir = self.path.parent().map_or(Ok(()), std::fs::create_dir_all);
        match dir.map_err(StoreError::from).and_then(|()| copy::make(connection, &self.path)) {
            Ok(()) => {
                log::error!(
                    "the state database {} was deleted: it is being written again",
                    self.path.display()
                );
                self.reopen();
            }
            Err(error) => {
                if self.refusal.replace(error.clone()).is_none() {
                    log::error!("the deleted state database can't be written again: {error}");
                }
            }
        }
    }

    /// The write-ahead log was deleted. What is in it goes into the database while it is still open.
    fn reopen_after_log_loss(&mut self) {
        if let Some(connection) = &self.connection {
            let done = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
            log::error!(
                "the write-ahead log of {} was deleted: {}",
                self.path.display(),
                done.map_or_else(|e| e.to_string(), |()| "nothing of it is lost".to_owned())
            );
        }
        self.reopen();
    }

    /// Closes it and opens it again, which restores it from its copy if need be.
    fn reopen(&mut self) {
        self.connection = None;
        match copy::open(&self.path) {
            Ok(connection) => self.take(connection),
            Err(error) => {
                log::error!("{}", error.clone().at(&self.path));
                self.refusal = Some(error);
            }
        }
    }

    fn reopen_if_possible(&mut self) {
        if let Ok(connection) = copy::open(&self.path) {
            log::info!("the state database {} can be written again", self.path.display());
            self.take(connection);
        }
    }

    /// Whether it can be written: one whose copy can't be made still can.
    pub(super) fn can_write(&self) -> bool {
        self.refusal.is_none()
    }

    /// For `ten doctor`.
    pub(super) fn report(&self) -> StateDatabase {
        let refusal = self.refusal.as_ref().map(ToString::to_string);
        StateDatabase {
            path: self.path.display().to_string(),
            copy: copy::copy_of(&self.path).display().to_string(),
            copied_ms: copy::made_ms(&self.path),
            set_aside: copy::set_aside(&self.path),
            trouble: refusal.or_else(|| self.copy_trouble.clone()),
        }
    }
}
