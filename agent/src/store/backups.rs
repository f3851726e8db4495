//! How the backups of instances went, as it is stored.

use rusqlite::{Connection, Row, Transaction, params};
use tenement_wire::InstanceName;

use super::worker::{Answer, Replier, Request, alone};
use super::{Store, StoreError};

/// How the backups of one instance went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupRecord {
    /// The last good one.
    pub last: Option<LastBackup>,
    /// When the last try failed, Unix milliseconds, if none was good since.
    pub failed_ms: Option<u64>,
    /// Why.
    pub error: Option<String>,
    /// Tries that failed since the last good one.
    pub failures: u32,
}

/// A good backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastBackup {
    /// When it was begun, Unix milliseconds.
    pub at_ms: u64,
    /// Its name.
    pub file: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What is to be done.
pub(super) enum Order {
    All(Answer<Vec<(InstanceName, BackupRecord)>>),
    Put(InstanceName, Box<BackupRecord>, Answer<()>),
}

impl Order {
    /// Whether it changes nothing.
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::All(_))
    }

    pub(super) fn carry_out(self, transaction: &mut Transaction<'_>, reply: &mut Replier<'_>) {
        match self {
            Self::All(answer) => reply.add(answer, all(transaction)),
            Self::Put(name, record, answer) => {
                reply.add(answer, alone(transaction, |point| put(point, &name, &record)));
            }
        }
    }

    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::All(answer) => drop(answer.send(Err(error))),
            Self::Put(_, _, answer) => drop(answer.send(Err(error))),
        }
    }
}

impl Store {
    /// How the backups of all instances went that had any.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn backups(&self) -> Result<Vec<(InstanceName, BackupRecord)>, StoreError> {
        self.ask(|answer| Request::Backup(Order::All(answer))).await
    }

    /// Notes how the backups of a registered instance went.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn put_backup(
        &self,
        name: InstanceName,
        record: BackupRecord,
    ) -> Result<(), StoreError> {
        self.ask(|answer| Request::Backup(Order::Put(name, Box::new(record), answer))).await
    }
}

const COLUMNS: &str = "last_ms, last_file, last_bytes, last_took_ms, failed_ms, error, failures";

fn all(connection: &Connection) -> Result<Vec<(InstanceName, BackupRecord)>, StoreError> {
    let sql = format!("SELECT process || ':' || id, {COLUMNS} FROM backups");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((), read)?.collect::<Result<Vec<_>, _>>()?;
    // A name that is none was not written by us; the others still count.
    Ok(rows.into_iter().filter_map(|(name, record)| Some((name.parse().ok()?, record))).collect())
}

fn read(row: &Row<'_>) -> rusqlite::Result<(String, BackupRecord)> {
    let number =
        |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(i64::unsigned_abs));
    let last = match number(1)? {
        None => None,
        Some(at_ms) => Some(LastBackup {
            at_ms,
            file: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
            bytes: number(3)?.unwrap_or(0),
            took_ms: number(4)?.unwrap_or(0),
        }),
    };
    let record =
        BackupRecord { last, failed_ms: number(5)?, error: row.get(6)?, failures: row.get(7)? };
    Ok((row.get(0)?, record))
}

fn put(
    connection: &Connection,
    name: &InstanceName,
    record: &BackupRecord,
) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT OR REPLACE INTO backups (process, id, {COLUMNS})
         SELECT process, id, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM instances WHERE process = ?1 AND id = ?2"
    );
    let last = record.last.as_ref();
    connection.prepare_cached(&sql)?.execute(params![
        name.process().as_str(),
        name.id().as_str(),
        last.map(|last| number(last.at_ms)),
        last.map(|last| last.file.as_str()),
        last.map(|last| number(last.bytes)),
        last.map(|last| number(last.took_ms)),
        record.failed_ms.map(number),
        record.error,
        record.failures,
    ])?;
    Ok(())
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Origin;

    #[tokio::test]
    async fn how_backups_went_comes_back_after_a_new_start_and_ends_with_the_instance() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let store = Store::open(&path).await.unwrap();
        let name: InstanceName = "api:a".parse().unwrap();
        let file = "api-a-x.tar.zst".to_owned();
        let last = LastBackup { at_ms: 5, file, bytes: 1 << 40, took_ms: 7 };
        let mut record = BackupRecord { last: Some(last), ..BackupRecord::default() };
        store.put_backup(name.clone(), record.clone()).await.unwrap();
        assert_eq!(store.backups().await.unwrap(), [], "of one that is not registered");
        store.register(name.clone(), Origin::Api, (20_000, 20_010)).await.unwrap();
        store.put_backup(name.clone(), record.clone()).await.unwrap();
        record =
            BackupRecord { failed_ms: Some(9), error: Some("no".into()), failures: 2, ..record };
        store.put_backup(name.clone(), record.clone()).await.unwrap();
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        assert_eq!(store.backups().await.unwrap(), [(name.clone(), record)]);
        store.remove(name).await.unwrap();
        assert_eq!(store.backups().await.unwrap(), []);
    }
}
