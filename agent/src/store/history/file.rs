//! The history's file: schema, entries, bounds.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use rusqlite::{Connection, params};
use tenement_wire::status::{Cause, HistoryEntry};
use uuid::Uuid;

use super::{PER_INSTANCE, TOTAL};
use crate::store::StoreError;
use crate::store::side::{Side, identity};

const SIDE: Side =
    Side { what: "history of instances", version: 1, schema: SCHEMA, synchronous: "NORMAL" };
const SCHEMA: &str = "CREATE TABLE changes (
        seq      INTEGER PRIMARY KEY AUTOINCREMENT,
        uuid     BLOB NOT NULL,
        time_ms  INTEGER NOT NULL,
        before   TEXT NOT NULL,
        after    TEXT NOT NULL,
        cause    TEXT NOT NULL
    ) STRICT;
    CREATE INDEX changes_of ON changes (uuid, seq);
    PRAGMA user_version = 1;";

/// An open history.
pub(super) struct File {
    connection: Connection,
    identity: Option<(u64, u64)>,
    rows: u64,
    total: u64,
}

/// Opens it; what can't be read is moved aside and a new one begun.
pub(super) fn open(path: &Path) -> Result<File, StoreError> {
    let connection = SIDE.open(path)?;
    let rows: i64 = connection.query_row("SELECT COUNT(*) FROM changes", (), |row| row.get(0))?;
    let rows = u64::try_from(rows).unwrap_or(0);
    Ok(File { connection, identity: identity(path), rows, total: TOTAL })
}

impl File {
    /// Whether it is still the file at its path.
    pub(super) fn is_there(&self, path: &Path) -> bool {
        self.identity == identity(path)
    }

    /// The newest state of every instance.
    pub(super) fn last_states(&self) -> HashMap<Uuid, String> {
        let read = || -> rusqlite::Result<HashMap<Uuid, String>> {
            let sql = "SELECT uuid, after FROM changes
                       WHERE seq IN (SELECT MAX(seq) FROM changes GROUP BY uuid)";
            let mut statement = self.connection.prepare(sql)?;
            let rows = statement.query_map((), |row| {
                let uuid: [u8; 16] = row.get(0)?;
                Ok((Uuid::from_bytes(uuid), row.get(1)?))
            })?;
            rows.collect()
        };
        read().unwrap_or_default()
    }

    /// Writes a batch in one transaction and keeps to the bounds.
    pub(super) fn write(
        &mut self,
        batch: &[(Uuid, Option<HistoryEntry>)],
    ) -> Result<(), StoreError> {
        let mut rows = self.rows;
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO changes (uuid, time_ms, before, after, cause)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            let mut forget = transaction.prepare_cached("DELETE FROM changes WHERE uuid = ?1")?;
            let mut trim = transaction.prepare_cached(
                "DELETE FROM changes WHERE uuid = ?1 AND seq <= (
                     SELECT seq FROM changes WHERE uuid = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
            )?;
            let mut touched = BTreeSet::new();
            for (uuid, entry) in batch {
                let key = uuid.as_bytes();
                let Some(entry) = entry else {
                    rows = rows.saturating_sub(forget.execute(params![key])? as u64);
                    continue;
                };
                let time = i64::try_from(entry.time_ms).unwrap_or(i64::MAX);
                insert.execute(params![key, time, entry.from, entry.to, entry.cause.as_str()])?;
                rows += 1;
                touched.insert(*uuid);
            }
            for uuid in touched {
                rows -= trim.execute(params![uuid.as_bytes(), PER_INSTANCE])? as u64;
            }
            if rows > self.total {
                let sql = "DELETE FROM changes WHERE seq IN (
                               SELECT seq FROM changes ORDER BY seq LIMIT ?1)";
                let surplus = i64::try_from(rows - self.total).unwrap_or(i64::MAX);
                rows -= transaction.execute(sql, params![surplus])? as u64;
            }
        }
        transaction.commit()?;
        self.rows = rows;
        Ok(())
    }

    /// The newest entries of one, newest first.
    pub(super) fn read(&self, uuid: Uuid, limit: u32) -> Result<Vec<HistoryEntry>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT time_ms, before, after, cause FROM changes
             WHERE uuid = ?1 ORDER BY seq DESC LIMIT ?2",
        )?;
        let rows = statement.query_map(params![uuid.as_bytes(), limit], |row| {
            let (time, cause): (i64, String) = (row.get(0)?, row.get(3)?);
            Ok(HistoryEntry {
                time_ms: u64::try_from(time).unwrap_or(0),
                from: row.get(1)?,
                to: row.get(2)?,
                // A word of a newer agent's.
                cause: Cause::parse(&cause).unwrap_or(Cause::ByHand),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    #[cfg(test)]
    pub(super) fn bound(&mut self, total: u64) {
        self.total = total;
    }
}
