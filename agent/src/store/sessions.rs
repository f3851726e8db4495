//! Browser sessions and second factors, as they are stored: hashes and sealed bytes.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, params};
use tenement_wire::TokenId;

use super::worker::{Answer, Replier, Request, alone};
use super::{Store, StoreError};

/// A stored session. It goes with its token, and when that gets another secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Keyed hash of what the cookie holds.
    pub hash: [u8; 32],
    /// The token that it stands for.
    pub token: TokenId,
    /// When it began, Unix milliseconds.
    pub created_ms: u64,
    /// When it was last used, to a few minutes.
    pub used_ms: u64,
}

/// The second factor of a token's logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFactor {
    /// Whose.
    pub token: TokenId,
    /// The secret that the authenticator app has, sealed.
    pub sealed: Vec<u8>,
    /// Whether a code has shown that the app has it.
    pub confirmed: bool,
    /// The step of the code that was used last.
    pub last_step: u64,
    /// Keyed hashes of the recovery codes that are left, 32 bytes each.
    pub recovery: Vec<u8>,
}

/// What is to be done.
pub(super) enum Order {
    All(Answer<(Vec<StoredSession>, Vec<StoredFactor>)>),
    Put(StoredSession, Answer<()>),
    Drop(Vec<[u8; 32]>, Answer<()>),
    SetFactor(Box<StoredFactor>, Answer<()>),
    DropFactor(TokenId, Answer<()>),
}

impl Order {
    /// Whether it changes nothing.
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::All(_))
    }

    pub(super) fn carry_out(self, transaction: &mut Transaction<'_>, reply: &mut Replier<'_>) {
        match self {
            Self::All(answer) => reply.add(answer, all(transaction)),
            Self::Put(session, answer) => {
                reply.add(answer, alone(transaction, |point| put(point, &session)));
            }
            Self::Drop(hashes, answer) => {
                reply.add(answer, alone(transaction, |point| remove(point, &hashes)));
            }
            Self::SetFactor(factor, answer) => {
                reply.add(answer, alone(transaction, |point| set_factor(point, &factor)));
            }
            Self::DropFactor(token, answer) => {
                reply.add(answer, alone(transaction, |point| drop_factor(point, &token)));
            }
        }
    }

    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::All(answer) => drop(answer.send(Err(error))),
            Self::Put(_, answer)
            | Self::Drop(_, answer)
            | Self::SetFactor(_, answer)
            | Self::DropFactor(_, answer) => drop(answer.send(Err(error))),
        }
    }
}

impl Store {
    /// Every session and every second factor.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn sessions(&self) -> Result<(Vec<StoredSession>, Vec<StoredFactor>), StoreError> {
        self.ask(|answer| Request::Session(Order::All(answer))).await
    }

    /// Stores a session, or when it was last used.
    ///
    /// # Errors
    /// See [`StoreError`]; one whose token is gone is refused.
    pub async fn put_session(&self, session: StoredSession) -> Result<(), StoreError> {
        self.ask(|answer| Request::Session(Order::Put(session, answer))).await
    }

    /// Forgets sessions.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn drop_sessions(&self, hashes: Vec<[u8; 32]>) -> Result<(), StoreError> {
        self.ask(|answer| Request::Session(Order::Drop(hashes, answer))).await
    }

    /// Stores a second factor in place of what there was.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn set_factor(&self, factor: StoredFactor) -> Result<(), StoreError> {
        self.ask(|answer| Request::Session(Order::SetFactor(Box::new(factor), answer))).await
    }

    /// Forgets a second factor.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn drop_factor(&self, token: TokenId) -> Result<(), StoreError> {
        self.ask(|answer| Request::Session(Order::DropFactor(token, answer))).await
    }
}

fn all(connection: &Connection) -> Result<(Vec<StoredSession>, Vec<StoredFactor>), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT hash, token, created_ms, used_ms FROM sessions ORDER BY created_ms",
    )?;
    let sessions = statement.query_map((), session)?.collect::<Result<_, _>>()?;
    let mut statement = connection.prepare_cached(
        "SELECT token, sealed, confirmed, last_step, recovery FROM second_factors ORDER BY token",
    )?;
    let factors = statement.query_map((), factor)?.collect::<Result<_, _>>()?;
    Ok((sessions, factors))
}

fn put(connection: &Connection, session: &StoredSession) -> Result<(), StoreError> {
    let sql = "INSERT INTO sessions (hash, token, created_ms, used_ms) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (hash) DO UPDATE SET used_ms = excluded.used_ms";
    connection.prepare_cached(sql)?.execute(params![
        session.hash.as_slice(),
        session.token.as_str(),
        number(session.created_ms),
        number(session.used_ms),
    ])?;
    Ok(())
}

fn remove(connection: &Connection, hashes: &[[u8; 32]]) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached("DELETE FROM sessions WHERE hash = ?1")?;
    for hash in hashes {
        statement.execute(params![hash.as_slice()])?;
    }
    Ok(())
}

fn set_factor(connection: &Connection, factor: &StoredFactor) -> Result<(), StoreError> {
    let sql =
        "INSERT OR REPLACE INTO second_factors (token, sealed, confirmed, last_step, recovery)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute(params![
        factor.token.as_str(),
        factor.sealed,
        factor.confirmed,
        number(factor.last_step),
        factor.recovery,
    ])?;
    Ok(())
}

fn drop_factor(connection: &Connection, token: &TokenId) -> Result<(), StoreError> {
    let sql = "DELETE FROM second_factors WHERE token = ?1";
    connection.prepare_cached(sql)?.execute(params![token.as_str()])?;
    Ok(())
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn session(row: &Row<'_>) -> rusqlite::Result<StoredSession> {
    let hash: Vec<u8> = row.get(0)?;
    let hash = hash.try_into().map_err(|_| bad(0, "not 32 bytes".into()))?;
    let token = token(row, 1)?;
    let ms = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(StoredSession { hash, token, created_ms: ms(2)?, used_ms: ms(3)? })
}

fn factor(row: &Row<'_>) -> rusqlite::Result<StoredFactor> {
    Ok(StoredFactor {
        token: token(row, 0)?,
        sealed: row.get(1)?,
        confirmed: row.get(2)?,
        last_step: row.get::<_, i64>(3)?.unsigned_abs(),
        recovery: row.get(4)?,
    })
}

fn token(row: &Row<'_>, column: usize) -> rusqlite::Result<TokenId> {
    TokenId::new(&row.get::<_, String>(column)?).map_err(|e| bad(column, e.to_string()))
}

fn bad(column: usize, error: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, error.into())
}
