//! Instances that have failed for good.

use rusqlite::{Connection, OptionalExtension as _, params};
use tenement_wire::InstanceName;

use super::{GaveUp, StoreError};

/// Notes it, or forgets it; says whether the instance is registered.
pub(super) fn set(
    connection: &Connection,
    name: &InstanceName,
    gave_up: Option<&GaveUp>,
) -> Result<bool, StoreError> {
    let (process, id) = (name.process().as_str(), name.id().as_str());
    let Some(gave_up) = gave_up else {
        let sql = "DELETE FROM failures WHERE process = ?1 AND id = ?2";
        connection.prepare_cached(sql)?.execute(params![process, id])?;
        return Ok(true);
    };
    let sql = "SELECT 1 FROM instances WHERE process = ?1 AND id = ?2";
    let known = connection.prepare_cached(sql)?.query_row(params![process, id], |_| Ok(()));
    if known.optional()?.is_none() {
        return Ok(false);
    }
    let sql =
        "INSERT OR REPLACE INTO failures (process, id, reason, at_ms) VALUES (?1, ?2, ?3, ?4)";
    let at_ms = i64::try_from(gave_up.at_ms).unwrap_or(i64::MAX);
    let row = params![process, id, gave_up.reason, at_ms];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(true)
}

/// All of them.
pub(super) fn all(connection: &Connection) -> Result<Vec<(InstanceName, GaveUp)>, StoreError> {
    let sql = "SELECT process || ':' || id, reason, at_ms FROM failures ORDER BY process, id";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((), |row| {
        let (name, reason, at_ms): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let name = name.parse().map_err(|error: tenement_wire::NameError| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
        })?;
        Ok((name, GaveUp { reason, at_ms: u64::try_from(at_ms).unwrap_or(0) }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
