//! The files of the index as a whole: which there are, which are sound, where the newest one stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use super::day::{APPLICATION_ID, Day, Extent, VERSION, format, parse_name, state};
use super::error::{Error, Result};
use super::{Resume, Shared};

/// A file with the connection that writes to it.
pub type Opened = (Arc<Day>, Connection);

/// Writes where the journal stands. Only the newest file's cursor counts.
pub fn write_cursor(conn: &Connection, cursor: &str, next_seq: u64) -> rusqlite::Result<()> {
    let mut put = conn.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
    put.execute(("cursor", cursor))?;
    put.execute(("next_seq", next_seq.cast_signed()))?;
    Ok(())
}

/// The files in `dir`, oldest lines first. Those that are damaged are set aside.
pub fn find(shared: &Shared) -> Result<()> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&shared.dir).map_err(Error::io("list", &shared.dir))? {
        let name = entry.map_err(Error::io("list", &shared.dir))?.file_name();
        if let Some((day, seq)) = name.to_str().and_then(parse_name) {
            found.push((seq, day));
        }
    }
    found.sort_unstable();
    for (seq, day) in found {
        let extent = Extent { min_time: u64::MAX, max_time: 0, next_seq: seq };
        let day = Arc::new(Day::new(&shared.dir, day, seq, extent));
        match look(&day) {
            Ok(extent) => {
                day.set_extent(extent.unwrap_or(extent_of_nothing(seq)));
                shared.add(day);
            }
            Err(error) if error.is_damage() => {
                let aside = shared.set_aside(&day.path)?;
                log::error!(file:% = day.path.display(), aside:% = aside.display(), reason:% = error; "a damaged file of the log index was moved aside");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn extent_of_nothing(seq: u64) -> Extent {
    Extent { min_time: u64::MAX, max_time: 0, next_seq: seq }
}

/// Opens a file for the first time and reads what it spans.
fn look(day: &Day) -> Result<Option<Extent>> {
    day.read(|conn| {
        let (id, version) = format(conn).map_err(Error::sqlite(&day.path))?;
        if version > VERSION {
            return Err(Error::Newer { path: day.path.clone(), version });
        }
        if version == 0 {
            // Created, but the agent died before its schema was there: it holds nothing.
            return Ok(None);
        }
        if id != APPLICATION_ID || version != VERSION {
            return Err(Error::Block {
                path: day.path.clone(),
                id: 0,
                what: "it is no file of this index",
            });
        }
        Ok(state(conn).map_err(Error::sqlite(&day.path))?.extent)
    })
}

/// The newest file that has a cursor, opened for writing, and where it stands. Files after it hold lines
/// that were never confirmed by a cursor and go, as do such lines in the file itself.
pub fn newest_sound(shared: &Shared) -> Result<(Option<Opened>, Resume)> {
    while let Some(day) = shared.days().last().cloned() {
        match open_newest(&day) {
            Ok(Some((conn, resume))) => return Ok((Some((day, conn)), resume)),
            Ok(None) => shared.unlink(&day)?,
            Err(error) if error.is_damage() => {
                let aside = shared.set_aside(&day.path)?;
                log::error!(file:% = day.path.display(), aside:% = aside.display(), reason:% = error; "a damaged file of the log index was moved aside");
            }
            Err(error) => return Err(error),
        }
    }
    Ok((None, Resume { cursor: None, next_seq: 1 }))
}

fn open_newest(day: &Day) -> Result<Option<(Connection, Resume)>> {
    let conn = day.open_writer()?;
    let check = || {
        let state = state(&conn)?;
        let (Some(cursor), Some(next_seq)) = (state.cursor, state.next_seq) else {
            return Ok(None);
        };
        if state.extent.is_some_and(|extent| extent.next_seq > next_seq) {
            forget_from(&conn, next_seq)?;
        }
        let mut extent = state_extent(&conn, day.first_seq)?;
        extent.next_seq = next_seq;
        day.set_extent(extent);
        Ok(Some(Resume { cursor: Some(cursor), next_seq }))
    };
    let resume = check().map_err(Error::sqlite(&day.path))?;
    Ok(resume.map(|resume| (conn, resume)))
}

fn state_extent(conn: &Connection, seq: u64) -> rusqlite::Result<Extent> {
    Ok(state(conn)?.extent.unwrap_or(extent_of_nothing(seq)))
}

/// Removes the blocks from `seq` on.
fn forget_from(conn: &Connection, seq: u64) -> rusqlite::Result<()> {
    let seq = seq.cast_signed();
    let transaction = conn.unchecked_transaction()?;
    for table in ["words WHERE rowid", "texts WHERE id", "blocks WHERE id"] {
        transaction.execute(&format!("DELETE FROM {table} >= ?1"), [seq])?;
    }
    transaction.commit()
}

/// The files that SQLite keeps beside `path`.
pub fn companions(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        name.into()
    })
}
