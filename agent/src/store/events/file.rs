//! The events' file: schema, batches, bounds.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};
use tenement_wire::events::{Event, EventKind};

use super::Keep;
use crate::store::StoreError;
use crate::store::side::{Side, identity};

const SIDE: Side = Side {
    what: "events",
    version: 1,
    schema: SCHEMA,
    // Who changed what must outlive a power cut once the change is answered.
    synchronous: "FULL",
};
const SCHEMA: &str = "CREATE TABLE events (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        time_ms    INTEGER NOT NULL,
        kind       TEXT NOT NULL,
        process    TEXT,
        instance   TEXT,
        actor      TEXT,
        actor_id   TEXT,
        actor_name TEXT,
        address    TEXT,
        request_id TEXT,
        action     TEXT,
        status     INTEGER,
        code       TEXT,
        message    TEXT NOT NULL,
        detail     TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_of ON events (process, instance, id);
    CREATE INDEX events_kind ON events (kind, id);
    PRAGMA user_version = 1;";

/// Rows that one transaction removes at most, so that a commit that somebody waits for does not.
const PRUNE_MAX: u64 = 5_000;

/// An open file.
pub(super) struct File {
    connection: Connection,
    identity: Option<(u64, u64)>,
    last: u64,
}

/// Opens it; what can't be read is moved aside and a new one begun.
pub(super) fn open(path: &Path) -> Result<File, StoreError> {
    let connection = SIDE.open(path)?;
    let sql = "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)";
    let last: i64 = connection.query_row(sql, (), |row| row.get(0))?;
    Ok(File { connection, identity: identity(path), last: u64::try_from(last).unwrap_or(0) })
}

impl File {
    /// Whether it is still the file at its path.
    pub(super) fn is_there(&self, path: &Path) -> bool {
        self.identity == identity(path)
    }

    /// The highest id that was ever in it.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Writes a batch, with its ids, in one transaction.
    pub(super) fn write<'a>(
        &mut self,
        batch: impl IntoIterator<Item = &'a Event>,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO events (id, time_ms, kind, process, instance, actor, actor_id, actor_name,
                     address, request_id, action, status, code, message, detail)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?;
            for event in batch {
                let actor = event.actor.as_ref();
                insert.execute(params![
                    number(event.id),
                    number(event.time_ms),
                    event.kind.as_str(),
                    event.process.as_ref().map(|name| name.as_str()),
                    event.instance_id.as_ref().map(|id| id.as_str()),
                    actor.map(|actor| actor.kind.as_str()),
                    actor.map(|actor| actor.id.as_str()),
                    actor.and_then(|actor| actor.name.as_deref()),
                    event.address,
                    event.request_id,
                    event.action,
                    event.status,
                    event.code,
                    event.message,
                    serde_json::to_string(&event.detail).unwrap_or_else(|_| "{}".into()),
                ])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Removes what is too old or too much, a bounded number of rows. Says whether there is more.
    pub(super) fn prune(&mut self, keep: Keep, now_ms: u64) -> Result<bool, StoreError> {
        let oldest = match keep.age {
            Duration::ZERO => 0,
            age => now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        };
        let routine: Vec<_> = EventKind::ALL
            .into_iter()
            .filter(|kind| kind.is_routine())
            .map(|kind| format!("'{kind}'"))
            .collect();
        let routine = routine.join(", ");
        let mut removed = 0;
        // The ids are in the order of time, but for clocks that were set back: then some stay longer.
        let old = "DELETE FROM events WHERE id IN (
                       SELECT id FROM events ORDER BY id LIMIT ?2) AND time_ms < ?1";
        removed += self.connection.execute(old, params![number(oldest), number(PRUNE_MAX)])?;
        let beyond = |whose: &str| {
            format!(
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE {whose} AND id <= COALESCE(
                     (SELECT id FROM events WHERE {whose} ORDER BY id DESC LIMIT 1 OFFSET ?1), 0)
                 ORDER BY id LIMIT ?2)"
            )
        };
        let routines = beyond(&format!("kind IN ({routine})"));
        let others = beyond(&format!("kind NOT IN ({routine})"));
        for (sql, count) in [(routines, keep.routine), (others, keep.count)] {
            removed += self.connection.execute(&sql, params![number(count), number(PRUNE_MAX)])?;
        }
        Ok(removed as u64 >= PRUNE_MAX)
    }
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
