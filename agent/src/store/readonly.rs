//! The database on a file system that went read-only: what is registered can still be read, so customers
//! are served, and nothing can be registered, removed or set until it is writable again.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;
use super::schema::{self, STEPS_COUNT};

/// Opens the database for reading only.
///
/// # Errors
/// `why` it could not be opened for writing, unless it is of this version and can be read.
pub(super) fn open(path: &Path, why: StoreError) -> Result<Connection, StoreError> {
    let Some(text) = path.to_str().filter(|text| !text.contains(['?', '#', '%'])) else {
        return Err(why);
    };
    let wal = path.with_extension("db-wal");
    // An agent that was stopped in peace left no log behind, and without one SQLite wants to make it.
    // Then the file is all there is, and on a read-only file system nothing changes it. An agent that
    // was killed left its log, which SQLite reads along with the file.
    let killed = std::fs::metadata(wal).is_ok_and(|wal| wal.len() > 0);
    let how = if killed { "mode=ro" } else { "immutable=1" };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let look = || -> rusqlite::Result<(Connection, isize, String)> {
        let connection = Connection::open_with_flags(format!("file:{text}?{how}"), flags)?;
        let version = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
        let verdict = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
        Ok((connection, version, verdict))
    };
    match look() {
        Ok((connection, version, verdict))
            if version == STEPS_COUNT as isize && verdict == "ok" =>
        {
            log::error!("{why}: it is read only, and nothing can be registered, removed or set");
            Ok(connection)
        }
        _ => Err(why),
    }
}

/// Opens the database for writing in place of `connection` if that is possible again; says whether it was.
///
/// # Errors
/// If it can't even be read any more; then there is nothing left to serve from.
pub(super) fn try_writing(connection: &mut Connection, path: &Path) -> Result<bool, StoreError> {
    if std::fs::OpenOptions::new().write(true).open(path).is_err() {
        return Ok(false);
    }
    // Closed first: connections of one process share their view of the log, and a reader's is read-only.
    *connection = Connection::open_in_memory()?;
    match schema::open(path) {
        Ok(writable) => *connection = writable,
        Err(error) => {
            *connection = open(path, error)?;
            return Ok(false);
        }
    }
    log::warn!("{} can be written again", path.display());
    Ok(true)
}
