//! `SELECT … FROM logs`: the index for those who know SQL.
//!
//! A connection of its own, in memory, that knows one table: `logs`, with a row per line, over every file
//! and the tail. It can't write, attach, or set anything (an authorizer allows reading and nothing else),
//! and it is cut off after a time, a number of rows and a number of bytes.
//!
//! Columns: `timestamp` (UTC, `2026-11-21 13:20:02.123456`, so that it compares with `datetime()`), `level`,
//! `process`, `instance_id`, `message`; `rowid` is the line's `seq`. Comparisons of the first four narrow
//! down what is read. Rows come newest first unless an order is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};
use serde_json::Value;

use super::error::{Error, Result};
use super::{Index, table};
use crate::search::Stopped;

/// Instructions of SQLite's machine between two looks at the clock.
const LOOK_EVERY: i32 = 10_000;
/// The longest value or statement, bytes.
const LENGTH_MAX: i32 = 4 << 20;

/// What a query in SQL may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long.
    pub time: Duration,
    /// Rows at most.
    pub rows: usize,
    /// Bytes of values at most.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { time: Duration::from_secs(10), rows: 10_000, bytes: 16 << 20 }
    }
}

/// What a query in SQL gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// Values by row and column; a blob is given as text, as far as it is any.
    pub rows: Vec<Vec<Value>>,
    /// Set if there may be more rows.
    pub stopped: Option<Stopped>,
}

impl Index {
    /// Answers one `SELECT` over the table `logs`.
    ///
    /// # Errors
    /// [`Error::Query`] with SQLite's own words: it is no query, or asks for more than to read `logs`.
    pub fn sql(&self, query: &str, bounds: Bounds) -> Result<Rows> {
        let deadline = Instant::now() + bounds.time;
        let conn = self.connect(deadline).map_err(refused)?;
        let mut statement = conn.prepare(query).map_err(refused)?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(Error::Query("only a SELECT can be answered".to_owned()));
        }
        if statement.parameter_count() > 0 {
            return Err(Error::Query(
                "a query cannot have parameters (?, :name); write the values into it".to_owned(),
            ));
        }
        let columns: Vec<String> =
            statement.column_names().into_iter().map(str::to_owned).collect();
        let mut found = Rows { columns, rows: Vec::new(), stopped: None };
        let mut bytes = 0;
        let mut rows = statement.query([]).map_err(refused)?;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(found),
                Err(error) if is_interrupt(&error) || Instant::now() >= deadline => {
                    found.stopped = Some(Stopped::Time);
                    return Ok(found);
                }
                Err(error) => return Err(refused(error)),
            };
            let values: rusqlite::Result<Vec<_>> =
                (0..found.columns.len()).map(|at| row.get_ref(at).map(value)).collect();
            let values = values.map_err(refused)?;
            bytes += values.iter().map(|value| value.as_str().map_or(16, str::len)).sum::<usize>();
            if found.rows.len() >= bounds.rows || bytes > bounds.bytes {
                found.stopped = Some(Stopped::Memory);
                return Ok(found);
            }
            found.rows.push(values);
        }
    }

    fn connect(&self, deadline: Instant) -> rusqlite::Result<Connection> {
        let conn = Connection::open_in_memory()?;
        table::register(&conn, Arc::clone(&self.shared), deadline)?;
        conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, LENGTH_MAX)?;
        conn.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, LENGTH_MAX)?;
        conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        conn.progress_handler(LOOK_EVERY, Some(move || Instant::now() >= deadline))?;
        conn.authorizer(Some(only_reading))?;
        Ok(conn)
    }
}

fn only_reading(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name } if function_name != "load_extension" => {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }
}

fn is_interrupt(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

fn refused(error: rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::SqliteFailure(error, _)
            if error.code == ErrorCode::AuthorizationForStatementDenied =>
        {
            Error::Query("not allowed: only SELECT, from the table logs".to_owned())
        }
        error => Error::Query(error.to_string()),
    }
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            String::from_utf8_lossy(text).into_owned().into()
        }
    }
}
