//! The schema and its history. A migration that was released is never edited; another is added.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::StoreError;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const STEPS: &[M<'static>] = &[
    M::up(
        "CREATE TABLE instances (
         process    TEXT NOT NULL,
         id         TEXT NOT NULL,
         uuid       TEXT NOT NULL UNIQUE,
         port       INTEGER NOT NULL UNIQUE CHECK (port BETWEEN 1 AND 65535),
         created_ms INTEGER NOT NULL,
         origin     TEXT NOT NULL CHECK (origin IN ('config', 'api')),
         PRIMARY KEY (process, id)
     ) STRICT, WITHOUT ROWID;",
    ),
    // A JSON object of limits by name, those that `ten set` set.
    M::up("ALTER TABLE instances ADD COLUMN overrides TEXT NOT NULL DEFAULT '{}';"),
    // Instances that have failed for good, until `ten reset`.
    M::up(
        "CREATE TABLE failures (
         process TEXT NOT NULL,
         id      TEXT NOT NULL,
         reason  TEXT NOT NULL,
         at_ms   INTEGER NOT NULL,
         PRIMARY KEY (process, id),
         FOREIGN KEY (process, id) REFERENCES instances (process, id) ON DELETE CASCADE
     ) STRICT, WITHOUT ROWID;",
    ),
    // Tokens of the API: of the secret there is its argon2id hash, and a few bytes of its SHA-256.
    M::up(
        "CREATE TABLE tokens (
         id           TEXT PRIMARY KEY,
         name         TEXT NOT NULL,
         scope        TEXT NOT NULL CHECK (scope IN ('read', 'operator', 'admin')),
         process      TEXT,
         instance     TEXT CHECK (instance IS NULL OR process IS NOT NULL),
         short        BLOB NOT NULL,
         hash         TEXT NOT NULL,
         created_ms   INTEGER NOT NULL,
         created_by   TEXT NOT NULL,
         expires_ms   INTEGER,
         last_used_ms INTEGER
     ) STRICT, WITHOUT ROWID;",
    ),
    // Browser sessions end with their token, and when it gets another secret; only hashes are kept.
    M::up(
        "CREATE TABLE sessions (
         hash       BLOB PRIMARY KEY,
         token      TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
         created_ms INTEGER NOT NULL,
         used_ms    INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX sessions_of_token ON sessions (token);
     CREATE TRIGGER sessions_end AFTER UPDATE OF hash ON tokens BEGIN
         DELETE FROM sessions WHERE token = NEW.id;
     END;
     CREATE TABLE second_factors (
         token     TEXT PRIMARY KEY REFERENCES tokens (id) ON DELETE CASCADE,
         sealed    BLOB NOT NULL,
         confirmed INTEGER NOT NULL,
         last_step INTEGER NOT NULL,
         recovery  BLOB NOT NULL
     ) STRICT, WITHOUT ROWID;",
    ),
    // Custom domains: in ASCII, `*.` before wildcards. They outlive the instance that they lead to.
    // Weights end with their instance.
    M::up(
        "CREATE TABLE domains (
         name        TEXT PRIMARY KEY,
         target      TEXT NOT NULL,
         token       TEXT NOT NULL,
         http        INTEGER NOT NULL,
         created_ms  INTEGER NOT NULL,
         created_by  TEXT NOT NULL,
         proof       TEXT CHECK (proof IN ('txt', 'http')),
         verified_ms INTEGER CHECK ((verified_ms IS NULL) = (proof IS NULL))
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE weights (
         process TEXT NOT NULL,
         id      TEXT NOT NULL,
         weight  INTEGER NOT NULL CHECK (weight BETWEEN 0 AND 10000),
         PRIMARY KEY (process, id),
         FOREIGN KEY (process, id) REFERENCES instances (process, id) ON DELETE CASCADE
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE maintenance (
         process  TEXT PRIMARY KEY,
         since_ms INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;",
    ),
    // Releases, which of them a process runs from (with the one before), and instances that stay at one. What is
    // in use can't be forgotten. Of deployments, `doc` is a JSON object.
    M::up(
        "CREATE TABLE releases (
         process TEXT NOT NULL,
         name    TEXT NOT NULL,
         state   TEXT NOT NULL CHECK (state IN ('building', 'ready', 'failed')),
         at_ms   INTEGER NOT NULL,
         doc     TEXT NOT NULL,
         PRIMARY KEY (process, name)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE current_releases (
         process  TEXT PRIMARY KEY,
         name     TEXT NOT NULL,
         previous TEXT,
         FOREIGN KEY (process, name) REFERENCES releases (process, name)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE pins (
         process TEXT NOT NULL,
         id      TEXT NOT NULL,
         name    TEXT NOT NULL,
         PRIMARY KEY (process, id),
         FOREIGN KEY (process, id) REFERENCES instances (process, id) ON DELETE CASCADE,
         FOREIGN KEY (process, name) REFERENCES releases (process, name)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE deploys (
         id         TEXT PRIMARY KEY,
         process    TEXT NOT NULL,
         started_ms INTEGER NOT NULL,
         ended_ms   INTEGER,
         doc        TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX deploys_of_process ON deploys (process, started_ms);",
    ),
    // How the backups of each instance went. Which there are, the place itself says.
    M::up(
        "CREATE TABLE backups (
         process      TEXT NOT NULL,
         id           TEXT NOT NULL,
         last_ms      INTEGER,
         last_file    TEXT,
         last_bytes   INTEGER,
         last_took_ms INTEGER,
         failed_ms    INTEGER,
         error        TEXT,
         failures     INTEGER NOT NULL,
         PRIMARY KEY (process, id),
         FOREIGN KEY (process, id) REFERENCES instances (process, id) ON DELETE CASCADE
     ) STRICT, WITHOUT ROWID;",
    ),
    // For which release the command of releases was last run, by instance.
    M::up(
        "CREATE TABLE prepared (
         process TEXT NOT NULL,
         id      TEXT NOT NULL,
         name    TEXT NOT NULL,
         PRIMARY KEY (process, id),
         FOREIGN KEY (process, id) REFERENCES instances (process, id) ON DELETE CASCADE
     ) STRICT, WITHOUT ROWID;",
    ),
    // For which releases it was run, by instance: the last one has the highest number.
    M::up(
        "CREATE TABLE preparations (
         number  INTEGER PRIMARY KEY,
         process TEXT NOT NULL,
         id      TEXT NOT NULL,
         name    TEXT NOT NULL,
         UNIQUE (process, id, name),
         FOREIGN KEY (process, id) REFERENCES instances (process, id) ON DELETE CASCADE
     ) STRICT;
     INSERT INTO preparations (process, id, name) SELECT process, id, name FROM prepared;
     DROP TABLE prepared;",
    ),
];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// Opens, checks and migrates the database.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // SQLite opens what it may not write for reading instead, without a word.
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        return Err(StoreError::ReadOnly("its file or file system is read-only".into()));
    }
    // Before anything is written: a damaged file must stay as it is for whoever mends it. The file is
    // about a megabyte at 10,000 instances, so that this takes milliseconds.
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Corrupt(verdict));
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::ReadOnly(format!("journal_mode stays `{mode}`")));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    MIGRATIONS.to_latest(&mut connection)?;
    Ok(connection)
}

/// Looks through the whole file on a connection of its own: the long-lived one has pages in memory.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(StoreError::Corrupt(verdict)) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_migration_applies() {
        super::MIGRATIONS.validate().unwrap();
    }
}
