//! The index itself: lines in compressed blocks, a SQLite file per day, and the words of each block in FTS5.
//!
//! ```text
//! append ─► tail (memory) ──► open block per instance ──512 lines──► sealed ──commit──► day file
//!             ▲                                                                            ▲
//!             └────────────── search: newest first, tail, then file by file ───────────────┘
//! ```
//!
//! A block is found by its words ([`need`]), by its instance, its times and levels; then it is unpacked and
//! every line verified with [`crate::query::Expr::matches`]. So FTS decides about speed, never about truth.
//! The format of the files is described in docs/LOGS.md.
//!
//! What it does not do: read the journal, or know the time. `seq` is given by who appends.

mod block;
mod day;
mod error;
mod files;
mod maintain;
mod need;
mod retain;
mod scan;
mod seal;
mod sieve;
mod sql;
mod table;
mod tail;
mod unpacker;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

pub use error::{Error, Result};
pub use retain::{DayUsage, Gone, Keep, Policy, Usage, day_of};
pub use sql::{Bounds, Rows};
pub use writer::{Resume, Writer};

use crate::search::{Counts, Found, Search};
use day::Day;
use tail::Tail;

/// Limits of the index.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Text that may wait for a commit, bytes.
    pub tail_bytes: usize,
    /// What one search may hold of found lines, bytes.
    pub found_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tail_bytes: 32 << 20, found_bytes: 16 << 20 }
    }
}

/// Reads the index. Clones are of the same one; every method blocks and may be called from any thread.
#[derive(Debug, Clone)]
pub struct Index {
    shared: Arc<Shared>,
}

impl Index {
    /// Opens the index in `dir`, which is created (mode 0700) if it is not there. Files that are damaged or
    /// of an unknown format are moved aside and reported ([`Self::set_aside`]).
    ///
    /// # Errors
    /// The directory or the newest file cannot be written.
    pub fn open(dir: &Path, settings: Settings) -> Result<(Writer, Self)> {
        let shared = Shared {
            dir: dir.to_owned(),
            settings,
            days: RwLock::default(),
            aside: RwLock::default(),
            tail: Tail::default(),
        };
        shared.make_dir()?;
        let shared = Arc::new(shared);
        files::find(&shared)?;
        let (current, resume) = files::newest_sound(&shared)?;
        let writer = Writer::new(Arc::clone(&shared), current, resume)?;
        Ok((writer, Self { shared }))
    }

    /// Finds lines. A damaged file is passed over and reported.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn search(&self, search: &Search) -> Result<Found> {
        scan::search(&self.shared, search)
    }

    /// Counts the lines that a search would find if it had no limit, into the buckets of `counts`.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn count(&self, search: &Search, counts: Counts) -> Result<Counts> {
        scan::count(&self.shared, search, counts)
    }

    /// The damaged files that were moved aside since the index was opened.
    #[must_use]
    pub fn set_aside(&self) -> Vec<PathBuf> {
        self.shared.aside.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the writer and the readers share.
#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    settings: Settings,
    /// By `first_seq`.
    days: RwLock<Arc<Vec<Arc<Day>>>>,
    aside: RwLock<Vec<PathBuf>>,
    tail: Tail,
}

impl Shared {
    fn make_dir(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.dir);
        made.map_err(Error::io("create", &self.dir))
    }

    /// The files, oldest lines first.
    fn days(&self) -> Arc<Vec<Arc<Day>>> {
        Arc::clone(&self.days.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_days(&self, change: impl FnOnce(&mut Vec<Arc<Day>>)) {
        let mut days = self.days.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = days.to_vec();
        change(&mut changed);
        *days = Arc::new(changed);
    }

    fn add(&self, day: Arc<Day>) {
        self.change_days(|days| days.push(day));
    }

    fn forget(&self, path: &Path) {
        self.change_days(|days| {
            days.retain(|day| {
                if day.path == path {
                    day.close_readers();
                }
                day.path != path
            });
        });
    }

    /// Deletes a file. Searches that are in it finish undisturbed.
    fn unlink(&self, day: &Day) -> Result<()> {
        self.forget(&day.path);
        let [wal, shm] = files::companions(&day.path);
        for path in [&wal, &shm, &day.path] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("delete", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Moves a damaged file out of the way; it keeps its name with `.damaged` and a number behind it.
    fn set_aside(&self, path: &Path) -> Result<PathBuf> {
        self.forget(path);
        let named = |number: u32| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".damaged{number}"));
            PathBuf::from(name)
        };
        let aside =
            (1..1000).map(named).find(|aside| !aside.exists()).unwrap_or_else(|| named(1000));
        std::fs::rename(path, &aside).map_err(Error::io("move aside", path))?;
        for companion in files::companions(path) {
            let _ = std::fs::remove_file(companion);
        }
        self.aside.write().unwrap_or_else(PoisonError::into_inner).push(aside.clone());
        Ok(aside)
    }
}
