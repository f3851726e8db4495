//! A day file: its name, its schema, its connections.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::error::{Error, Result};

/// `PRAGMA application_id`: "tenl".
pub const APPLICATION_ID: i32 = 0x7465_6e6c;
/// `PRAGMA user_version`: the format this build writes. It reads this one and no other.
pub const VERSION: i32 = 1;
/// Microseconds of a day.
pub const DAY_US: u64 = 86_400_000_000;
/// Connections kept open per file for searches to come.
const IDLE_READERS: usize = 2;
/// How long a connection waits for another's lock.
const BUSY: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE instances (
    id INTEGER PRIMARY KEY, process TEXT NOT NULL, instance TEXT NOT NULL, UNIQUE (process, instance)
);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, instance INTEGER NOT NULL, min_seq INTEGER NOT NULL,
    min_time INTEGER NOT NULL, max_time INTEGER NOT NULL, levels INTEGER NOT NULL,
    lines INTEGER NOT NULL, bytes INTEGER NOT NULL, size INTEGER NOT NULL
);
CREATE INDEX blocks_of_instance ON blocks (instance, id);
CREATE INDEX small_blocks ON blocks (instance, id) WHERE lines < 32;
CREATE TABLE texts (id INTEGER PRIMARY KEY, raw INTEGER NOT NULL, data BLOB NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (
    tokens, content='', contentless_delete=1, detail=none, tokenize=\"ascii tokenchars '_:-'\"
);
";

/// What is known of a file without asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The earliest time in it.
    pub min_time: u64,
    /// The latest time in it.
    pub max_time: u64,
    /// All its lines are before this.
    pub next_seq: u64,
}

/// One file of the index. It holds the lines from `first_seq` to the next file's, all of them.
#[derive(Debug)]
pub struct Day {
    /// Where it is.
    pub path: PathBuf,
    /// Which day it is of, in days since 1970-01-01 UTC.
    pub day: u64,
    /// Its first line.
    pub first_seq: u64,
    extent: Mutex<Extent>,
    readers: Mutex<Vec<Connection>>,
    /// Set once a search met damage, for the writer to move it aside.
    damaged: AtomicBool,
    /// The instances whose small blocks stand apart, with how many they were when that was found.
    apart: Mutex<BTreeMap<i64, i64>>,
    /// Set once nothing is left to be merged in a file that gets no more lines.
    at_rest: AtomicBool,
}

impl Day {
    /// A file that is known to be there, or about to be created.
    pub fn new(dir: &Path, day: u64, first_seq: u64, extent: Extent) -> Self {
        let path = dir.join(file_name(day, first_seq));
        let readers = Mutex::default();
        Self {
            path,
            day,
            first_seq,
            extent: Mutex::new(extent),
            readers,
            damaged: AtomicBool::new(false),
            apart: Mutex::default(),
            at_rest: AtomicBool::new(false),
        }
    }

    /// What is known of it.
    pub fn extent(&self) -> Extent {
        *self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is known of it now.
    pub fn set_extent(&self, extent: Extent) {
        *self.extent.lock().unwrap_or_else(PoisonError::into_inner) = extent;
    }

    /// Marks it as damaged.
    pub fn set_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Whether someone met damage in it.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The instances whose small blocks cannot be merged for now, and how many they were then.
    pub fn apart(&self) -> MutexGuard<'_, BTreeMap<i64, i64>> {
        self.apart.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that nothing is left to be merged.
    pub fn set_at_rest(&self) {
        self.at_rest.store(true, Ordering::Relaxed);
    }

    /// Whether nothing is left to be merged.
    pub fn is_at_rest(&self) -> bool {
        self.at_rest.load(Ordering::Relaxed)
    }

    /// Whether the file still has its name. SQLite would go on with one that was unlinked.
    ///
    /// # Errors
    /// [`Error::Deleted`].
    pub fn is_there(&self) -> Result<()> {
        match self.path.try_exists() {
            Ok(false) => Err(Error::Deleted { path: self.path.clone() }),
            _ => Ok(()),
        }
    }

    /// Calls `work` with a read-only connection.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.open_reader()?,
        };
        let result = work(&conn);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < IDLE_READERS {
            readers.push(conn);
        }
        result
    }

    /// Closes the connections that wait for searches.
    pub fn close_readers(&self) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn open_reader(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn =
            Connection::open_with_flags(&self.path, flags).map_err(Error::sqlite(&self.path))?;
        let set = || {
            conn.busy_timeout(BUSY)?;
            conn.pragma_update(None, "cache_size", -4096)?;
            conn.set_prepared_statement_cache_capacity(32);
            Ok(())
        };
        set().map_err(Error::sqlite(&self.path))?;
        Ok(conn)
    }

    /// Opens it for writing and creates what is missing.
    pub fn open_writer(&self) -> Result<Connection> {
        let open = || {
            let conn = Connection::open(&self.path)?;
            conn.busy_timeout(BUSY)?;
            // A block takes whole pages beyond its first: the smaller they are, the less of the last one
            // stands empty (bytes per line, measured: 49.4 with 1 KiB, 53.1 with 4, 51.1 with 64).
            conn.pragma_update(None, "page_size", 1024)?;
            conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            let fresh =
                conn.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0))? == 0;
            conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
            conn.pragma_update(None, "synchronous", "NORMAL")?;
            conn.pragma_update(None, "journal_size_limit", 16 << 20)?;
            conn.pragma_update(None, "cache_size", -8_192)?;
            conn.pragma_update(None, "secure_delete", "FAST")?;
            conn.set_prepared_statement_cache_capacity(32);
            if fresh {
                let id = format!(
                    "PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION};"
                );
                conn.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} {id} COMMIT;"))?;
            }
            Ok(conn)
        };
        open().map_err(Error::sqlite(&self.path))
    }
}

/// What a file says of itself when it is opened.
#[derive(Debug)]
pub struct State {
    /// The journal cursor up to which it and all before it are complete, if it has one.
    pub cursor: Option<String>,
    /// The `seq` that goes with the cursor.
    pub next_seq: Option<u64>,
    /// What its blocks span.
    pub extent: Option<Extent>,
}

/// Reads a file's [`State`].
pub fn state(conn: &Connection) -> rusqlite::Result<State> {
    let cursor = meta(conn, "cursor")?;
    let next_seq = meta::<i64>(conn, "next_seq")?.map(i64::cast_unsigned);
    let extent =
        conn.query_row("SELECT min(min_time), max(max_time), max(id) FROM blocks", [], |row| {
            let Some(min_time) = row.get::<_, Option<i64>>(0)? else { return Ok(None) };
            let (max_time, last) =
                (row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, i64>(2)?.cast_unsigned());
            Ok(Some(Extent { min_time: min_time.cast_unsigned(), max_time, next_seq: last + 1 }))
        })?;
    Ok(State { cursor, next_seq, extent })
}

fn meta<T: rusqlite::types::FromSql>(conn: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// Which application and which version a file is of.
pub fn format(conn: &Connection) -> rusqlite::Result<(i32, i32)> {
    let id = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((id, version))
}

/// `2026-11-21-00000000000000000001.db`: the day (UTC) and the first `seq`.
pub fn file_name(day: u64, first_seq: u64) -> String {
    format!("{}-{first_seq:020}.db", date(day))
}

/// `2026-11-21`.
pub fn date(day: u64) -> String {
    let start = i64::try_from(day * (DAY_US / 1_000_000)).unwrap_or(i64::MAX);
    let start = jiff::Timestamp::from_second(start).unwrap_or(jiff::Timestamp::MAX);
    start.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

/// The day and first `seq` that a file's name says.
pub fn parse_name(name: &str) -> Option<(u64, u64)> {
    let stem = name.strip_suffix(".db")?;
    let (day, seq) = stem.rsplit_once('-')?;
    let day: jiff::civil::Date = day.parse().ok()?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    let day = u64::try_from(start).ok()? / (DAY_US / 1_000_000);
    let seq = seq.parse().ok()?;
    (file_name(day, seq) == name).then_some((day, seq))
}
