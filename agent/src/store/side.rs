//! Opening a database beside the state, such as the history: what can't be read is moved aside and a new
//! one begun, since nothing depends on it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;
use super::copy::beside;

/// What is kept in such a file.
pub(super) struct Side {
    /// In words that follow "the", such as `history of instances`.
    pub what: &'static str,
    /// `user_version` of the schema; a file of another one is begun anew.
    pub version: i64,
    /// Makes the tables and sets `user_version`.
    pub schema: &'static str,
    /// SQLite's `synchronous`.
    pub synchronous: &'static str,
}

impl Side {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// See [`StoreError`]; damage alone is none.
    pub fn open(&self, path: &Path) -> Result<Connection, StoreError> {
        match self.try_open(path) {
            Err(StoreError::Corrupt(why)) => {
                log::error!(
                    "the {} {} can't be read ({why}): a new file is begun, the old one lies beside it as {}",
                    self.what,
                    path.display(),
                    beside(path, ".corrupt").display()
                );
                for part in ["", "-wal", "-shm"] {
                    // The one that was moved aside before gives way, so that they don't fill the disk.
                    let aside = beside(path, &format!(".corrupt{part}"));
                    let _ = fs::rename(beside(path, part), aside);
                }
                self.try_open(path)
            }
            other => other,
        }
    }

    fn try_open(&self, path: &Path) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(1))?;
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
        if verdict != "ok" {
            return Err(StoreError::Corrupt(verdict));
        }
        connection.query_row("PRAGMA journal_mode = WAL", (), |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", self.synchronous)?;
        match connection.query_row("PRAGMA user_version", (), |row| row.get::<_, i64>(0))? {
            0 => connection.execute_batch(self.schema)?,
            version if version == self.version => {}
            other => return Err(StoreError::Corrupt(format!("it is of version {other}"))),
        }
        Ok(connection)
    }
}

/// Device and inode of the file at `path`, to tell whether it is still the one that was opened.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}
