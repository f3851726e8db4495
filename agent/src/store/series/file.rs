//! The file of the series: schema, steps, bounds.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Transaction, params};
use uuid::Uuid;

use super::blob::{pack, unpack};
use super::{Batch, DAY, MINUTE, MONTH, QUARTER, ROWS, Row};
use crate::store::StoreError;
use crate::store::side::{Side, identity};

const SIDE: Side =
    Side { what: "history of metrics", version: 1, schema: SCHEMA, synchronous: "NORMAL" };
/// The time comes first: new rows go to the end and old ones from the beginning, both without touching the
/// rest. One series is read by looking for each of its steps, 1 to 2 µs each.
const SCHEMA: &str = "CREATE TABLE series (
        id    INTEGER PRIMARY KEY AUTOINCREMENT,
        uuid  BLOB NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE minutes (
        at INTEGER NOT NULL, series INTEGER NOT NULL,
        requests INTEGER NOT NULL, errors INTEGER NOT NULL, wakes INTEGER NOT NULL,
        cpu_us INTEGER, memory INTEGER, active_ms INTEGER NOT NULL,
        received INTEGER NOT NULL, sent INTEGER NOT NULL, latency BLOB, extra TEXT,
        PRIMARY KEY (at, series)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE quarters (
        at INTEGER NOT NULL, series INTEGER NOT NULL,
        requests INTEGER NOT NULL, errors INTEGER NOT NULL, wakes INTEGER NOT NULL,
        cpu_us INTEGER, memory INTEGER, active_ms INTEGER NOT NULL,
        received INTEGER NOT NULL, sent INTEGER NOT NULL, latency BLOB, extra TEXT,
        PRIMARY KEY (at, series)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;";
const COLUMNS: &str =
    "at, requests, errors, wakes, cpu_us, memory, active_ms, received, sent, latency, extra";

/// The series of all instances together: no instance gets this id.
const ALL: i64 = 0;

/// An open file.
pub(super) struct File {
    connection: Connection,
    identity: Option<(u64, u64)>,
    /// In minutes and in quarters.
    rows: [u64; 2],
    bound: u64,
}

/// The table of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Minutes,
    Quarters,
}

impl Table {
    fn of(step: u64) -> Self {
        if step < QUARTER { Self::Minutes } else { Self::Quarters }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Minutes => "minutes",
            Self::Quarters => "quarters",
        }
    }

    fn step(self) -> u64 {
        match self {
            Self::Minutes => MINUTE,
            Self::Quarters => QUARTER,
        }
    }

    fn kept(self) -> u64 {
        match self {
            Self::Minutes => DAY,
            Self::Quarters => MONTH,
        }
    }
}

/// Opens it; what can't be read is moved aside and a new one begun.
pub(super) fn open(path: &Path) -> Result<File, StoreError> {
    let connection = SIDE.open(path)?;
    let count = |table: Table| -> rusqlite::Result<u64> {
        let sql = format!("SELECT COUNT(*) FROM {}", table.name());
        let rows: i64 = connection.query_row(&sql, (), |row| row.get(0))?;
        Ok(u64::try_from(rows).unwrap_or(0))
    };
    let rows = [count(Table::Minutes)?, count(Table::Quarters)?];
    Ok(File { connection, identity: identity(path), rows, bound: ROWS })
}

impl File {
    /// Whether it is still the file at its path.
    pub(super) fn is_there(&self, path: &Path) -> bool {
        self.identity == identity(path)
    }

    /// Writes one step, sums up the quarters that are over by then, and keeps to the bounds.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let Some(now) = batch.iter().map(|(_, row)| row.at).max() else { return Ok(()) };
        let mut rows = self.rows;
        let transaction = self.connection.transaction()?;
        {
            let mut insert = inserting(&transaction, Table::Minutes)?;
            for (uuid, row) in batch {
                let series = match uuid {
                    Some(uuid) => series_of(&transaction, *uuid)?,
                    None => ALL,
                };
                rows[0] += put(&mut insert, series, row)?;
            }
        }
        rows[1] += sum_up(&transaction, now)?;
        for (table, rows) in [Table::Minutes, Table::Quarters].into_iter().zip(&mut rows) {
            *rows = rows.saturating_sub(trim(&transaction, table, now, *rows, self.bound)?);
        }
        transaction.commit()?;
        self.rows = rows;
        Ok(())
    }

    /// Forgets a series: its rows go by their age, and nobody finds them until then.
    pub(super) fn forget(&self, uuid: Uuid) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM series WHERE uuid = ?1", params![uuid.as_bytes()])?;
        Ok(())
    }

    /// Rows of one series, oldest first.
    pub(super) fn read(
        &self,
        of: Option<Uuid>,
        step: u64,
        since: u64,
        until: u64,
    ) -> Result<Vec<Row>, StoreError> {
        let table = Table::of(step);
        let series = match of {
            None => ALL,
            Some(uuid) => {
                let sql = "SELECT id FROM series WHERE uuid = ?1";
                let found = self.connection.query_row(sql, params![uuid.as_bytes()], |r| r.get(0));
                let Some(id) = found.optional()? else { return Ok(Vec::new()) };
                id
            }
        };
        let (name, step) = (table.name(), table.step());
        let first = since.div_ceil(step) * step;
        // No more than are kept: a client may ask for all of time.
        let first = first.max((until / step * step).saturating_sub(table.kept() + step));
        let sql = format!(
            "WITH RECURSIVE steps(t) AS (SELECT ?1 UNION ALL SELECT t + ?3 FROM steps WHERE t + ?3 < ?2)
             SELECT {COLUMNS} FROM steps CROSS JOIN {name} ON at = t AND series = ?4"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement
            .query_map(params![signed(first), signed(until), signed(step), series], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    #[cfg(test)]
    pub(super) fn bound(&mut self, rows: u64) {
        self.bound = rows;
    }
}

fn number(value: Option<i64>) -> u64 {
    value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let optional = |at: usize| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(at)?.map(|value| number(Some(value))))
    };
    let required = |at: usize| -> rusqlite::Result<u64> { Ok(optional(at)?.unwrap_or(0)) };
    Ok(Row {
        at: required(0)?,
        requests: required(1)?,
        errors: required(2)?,
        wakes: required(3)?,
        cpu_us: optional(4)?,
        memory: optional(5)?,
        active_ms: required(6)?,
        received: required(7)?,
        sent: required(8)?,
        latency: row.get::<_, Option<Vec<u8>>>(9)?.map(|b| unpack(&b)).unwrap_or_default(),
        extra: row.get::<_, Option<String>>(10)?.unwrap_or_default(),
    })
}

fn series_of(transaction: &Transaction<'_>, uuid: Uuid) -> Result<i64, StoreError> {
    let mut find = transaction.prepare_cached("SELECT id FROM series WHERE uuid = ?1")?;
    if let Some(id) = find.query_row(params![uuid.as_bytes()], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    transaction.execute("INSERT INTO series (uuid) VALUES (?1)", params![uuid.as_bytes()])?;
    Ok(transaction.last_insert_rowid())
}

/// A row that is there already is another part of the same step: the agent was started anew in it, or the
/// clock was set back.
fn inserting<'a>(
    transaction: &'a Transaction<'_>,
    table: Table,
) -> Result<(CachedStatement<'a>, CachedStatement<'a>), StoreError> {
    let name = table.name();
    let find = format!("SELECT {COLUMNS} FROM {name} WHERE at = ?1 AND series = ?2");
    let insert = format!(
        "INSERT OR REPLACE INTO {name} (series, {COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    );
    Ok((transaction.prepare_cached(&find)?, transaction.prepare_cached(&insert)?))
}

/// Writes a row and says how many there are more now.
fn put(
    (find, insert): &mut (CachedStatement<'_>, CachedStatement<'_>),
    series: i64,
    new: &Row,
) -> Result<u64, StoreError> {
    let there = find.query_row(params![signed(new.at), series], row).optional()?;
    let more = u64::from(there.is_none());
    let merged = there.map(|mut there| {
        there.merge(new);
        there
    });
    let one = merged.as_ref().unwrap_or(new);
    let extra = (!one.extra.is_empty()).then_some(one.extra.as_str());
    insert.execute(params![
        series,
        signed(one.at),
        signed(one.requests),
        signed(one.errors),
        signed(one.wakes),
        one.cpu_us.map(signed),
        one.memory.map(signed),
        signed(one.active_ms),
        signed(one.received),
        signed(one.sent),
        pack(&one.latency),
        extra,
    ])?;
    Ok(more)
}

/// Makes the quarters that are over at `now` of their minutes; says how many rows that made.
fn sum_up(transaction: &Transaction<'_>, now: u64) -> Result<u64, StoreError> {
    let end = now / QUARTER * QUARTER;
    let newest: Option<i64> =
        transaction.query_row("SELECT MAX(at) FROM quarters", (), |row| row.get(0))?;
    // Before the oldest minute there is nothing to sum up, however long the agent was away.
    let oldest = transaction.query_row("SELECT MIN(at) FROM minutes", (), |row| row.get(0))?;
    let oldest = number(oldest) / QUARTER * QUARTER;
    let begin = newest.map_or(oldest, |newest| oldest.max(number(Some(newest)) + QUARTER));
    let mut made = 0;
    for quarter in (begin..end).step_by(QUARTER as usize) {
        let mut sums: BTreeMap<i64, (Row, u64, u64)> = BTreeMap::new();
        let sql =
            format!("SELECT {COLUMNS}, series FROM minutes WHERE at >= ?1 AND at < ?2 ORDER BY at");
        let mut statement = transaction.prepare_cached(&sql)?;
        let rows = statement
            .query_map(params![signed(quarter), signed(quarter + QUARTER)], |r| {
                Ok((r.get(11)?, row(r)?))
            })?;
        for one in rows {
            let (series, minute) = one?;
            let (sum, memory, readings) = sums.entry(series).or_default();
            sum.merge(&minute);
            if let Some(bytes) = minute.memory {
                (*memory, *readings) = (*memory + bytes, *readings + 1);
            }
        }
        let mut insert = inserting(transaction, Table::Quarters)?;
        for (series, (mut sum, memory, readings)) in sums {
            sum.at = quarter;
            sum.memory = memory.checked_div(readings);
            made += put(&mut insert, series, &sum)?;
        }
    }
    Ok(made)
}

/// Deletes what is too old, and the oldest beyond the bound; says how many rows.
fn trim(
    transaction: &Transaction<'_>,
    table: Table,
    now: u64,
    rows: u64,
    bound: u64,
) -> Result<u64, StoreError> {
    let name = table.name();
    let sql = format!("DELETE FROM {name} WHERE at < ?1");
    let mut delete = transaction.prepare_cached(&sql)?;
    let gone = delete.execute(params![signed(now.saturating_sub(table.kept()))])? as u64;
    let left = rows.saturating_sub(gone);
    if left <= bound {
        return Ok(gone);
    }
    // A whole step at once: half of one would look as if the others had slept.
    let sql = format!("SELECT at FROM {name} ORDER BY at LIMIT 1 OFFSET ?1");
    let at: Option<i64> = transaction
        .query_row(&sql, params![signed(left - bound - 1)], |row| row.get(0))
        .optional()?;
    Ok(gone + delete.execute(params![signed(number(at) + 1)])? as u64)
}
