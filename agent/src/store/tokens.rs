//! Tokens of the API, as they are stored: never the secret itself.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, params};
use tenement_wire::tokens::TokenView;
use tenement_wire::{Scope, TokenId};

use super::worker::{Answer, Replier, Request, alone};
use super::{Store, StoreError};
use crate::token::Stored;

/// A token that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// What it is.
    pub view: TokenView,
    /// What its secret is checked against.
    pub secret: Stored,
}

/// What is to be done.
pub(super) enum Order {
    All(Answer<Vec<StoredToken>>),
    Add(Box<StoredToken>, Answer<()>),
    Replace(TokenId, Stored, Answer<bool>),
    Used(TokenId, u64, Answer<()>),
    Remove(TokenId, Answer<bool>),
}

impl Order {
    /// Whether it changes nothing.
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::All(_))
    }

    pub(super) fn carry_out(self, transaction: &mut Transaction<'_>, reply: &mut Replier<'_>) {
        match self {
            Self::All(answer) => reply.add(answer, all(transaction)),
            Self::Add(token, answer) => {
                reply.add(answer, alone(transaction, |point| add(point, &token)));
            }
            Self::Replace(id, secret, answer) => {
                reply.add(answer, alone(transaction, |point| replace(point, &id, &secret)));
            }
            Self::Used(id, at_ms, answer) => {
                reply.add(answer, alone(transaction, |point| used(point, &id, at_ms)));
            }
            Self::Remove(id, answer) => {
                reply.add(answer, alone(transaction, |point| remove(point, &id)));
            }
        }
    }

    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::All(answer) => drop(answer.send(Err(error))),
            Self::Add(_, answer) | Self::Used(_, _, answer) => drop(answer.send(Err(error))),
            Self::Replace(_, _, answer) | Self::Remove(_, answer) => {
                drop(answer.send(Err(error)));
            }
        }
    }
}

impl Store {
    /// Every token, the oldest first. One that can't be read is left out and named in the log: it opens
    /// nothing then.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        self.ask(|answer| Request::Token(Order::All(answer))).await
    }

    /// Stores a token.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn add_token(&self, token: StoredToken) -> Result<(), StoreError> {
        self.ask(|answer| Request::Token(Order::Add(Box::new(token), answer))).await
    }

    /// Gives a token another secret; says whether there is one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn replace_token(&self, id: TokenId, secret: Stored) -> Result<bool, StoreError> {
        self.ask(|answer| Request::Token(Order::Replace(id, secret, answer))).await
    }

    /// Notes when a token was used, in Unix milliseconds.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn token_used(&self, id: TokenId, at_ms: u64) -> Result<(), StoreError> {
        self.ask(|answer| Request::Token(Order::Used(id, at_ms, answer))).await
    }

    /// Forgets a token; says whether there was one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove_token(&self, id: TokenId) -> Result<bool, StoreError> {
        self.ask(|answer| Request::Token(Order::Remove(id, answer))).await
    }
}

fn all(connection: &Connection) -> Result<Vec<StoredToken>, StoreError> {
    let sql = "SELECT id, name, scope, process, instance, short, hash, created_ms, created_by, expires_ms,
               last_used_ms FROM tokens ORDER BY created_ms, id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut tokens = Vec::new();
    for token in statement.query_map((), read)? {
        match token {
            Ok(token) => tokens.push(token),
            Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
                log::error!("a stored token can't be read and is not accepted: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(tokens)
}

fn add(connection: &Connection, token: &StoredToken) -> Result<(), StoreError> {
    let StoredToken { view, secret } = token;
    let sql = "INSERT INTO tokens (id, name, scope, process, instance, short, hash, created_ms, created_by,
               expires_ms, last_used_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    connection.prepare_cached(sql)?.execute(params![
        view.id.as_str(),
        view.name.as_str(),
        view.scope.as_str(),
        view.process.as_ref().map(|process| process.as_str()),
        view.instance.as_ref().map(|id| id.as_str()),
        secret.check.as_slice(),
        secret.hash,
        number(view.created_ms),
        view.created_by,
        view.expires_ms.map(number),
        view.last_used_ms.map(number),
    ])?;
    Ok(())
}

fn replace(connection: &Connection, id: &TokenId, secret: &Stored) -> Result<bool, StoreError> {
    let sql = "UPDATE tokens SET short = ?2, hash = ?3 WHERE id = ?1";
    let row = params![id.as_str(), secret.check.as_slice(), secret.hash];
    Ok(connection.prepare_cached(sql)?.execute(row)? > 0)
}

fn used(connection: &Connection, id: &TokenId, at_ms: u64) -> Result<(), StoreError> {
    let sql = "UPDATE tokens SET last_used_ms = ?2 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![id.as_str(), number(at_ms)])?;
    Ok(())
}

fn remove(connection: &Connection, id: &TokenId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM tokens WHERE id = ?1";
    Ok(connection.prepare_cached(sql)?.execute(params![id.as_str()])? > 0)
}

fn number(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredToken> {
    let ms = |column| row.get::<_, Option<i64>>(column).map(|ms| ms.map(|ms| ms.unsigned_abs()));
    let process: Option<String> = row.get(3)?;
    let instance: Option<String> = row.get(4)?;
    let short: Vec<u8> = row.get(5)?;
    let scope: Scope = parsed(2, &row.get::<_, String>(2)?)?;
    let short = short.try_into().map_err(|_| bad(5, "not as long as it should be".into()))?;
    Ok(StoredToken {
        view: TokenView {
            id: parsed(0, &row.get::<_, String>(0)?)?,
            name: parsed(1, &row.get::<_, String>(1)?)?,
            scope,
            process: process.map(|text| parsed(3, &text)).transpose()?,
            instance: instance.map(|text| parsed(4, &text)).transpose()?,
            created_ms: ms(7)?.unwrap_or(0),
            created_by: row.get(8)?,
            expires_ms: ms(9)?,
            last_used_ms: ms(10)?,
        },
        secret: Stored { check: short, hash: row.get(6)? },
    })
}

fn parsed<T>(column: usize, text: &str) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse().map_err(|error: T::Err| bad(column, error.to_string()))
}

fn bad(column: usize, error: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: u8, scope: Scope, process: Option<&str>) -> StoredToken {
        StoredToken {
            view: TokenView {
                id: TokenId::from_random([n; 12]),
                name: format!("n{n}").parse().unwrap(),
                scope,
                process: process.map(|text| text.parse().unwrap()),
                instance: process.map(|_| "prod".parse().unwrap()),
                created_ms: u64::from(n),
                created_by: "uid 0".into(),
                expires_ms: process.map(|_| 99),
                last_used_ms: None,
            },
            secret: Stored { check: [n; 4], hash: format!("hash {n}") },
        }
    }

    #[tokio::test]
    async fn tokens_come_back_as_they_were_stored_after_a_new_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let store = Store::open(&path).await.unwrap();
        let (mut a, b) = (token(1, Scope::Admin, None), token(2, Scope::Read, Some("api")));
        store.add_token(a.clone()).await.unwrap();
        store.add_token(b.clone()).await.unwrap();
        assert!(store.add_token(b.clone()).await.is_err(), "an id is there once");
        store.token_used(a.view.id.clone(), 1234).await.unwrap();
        a.secret = Stored { check: [9; 4], hash: "another".into() };
        assert!(store.replace_token(a.view.id.clone(), a.secret.clone()).await.unwrap());
        store.close().await;

        let store = Store::open(&path).await.unwrap();
        a.view.last_used_ms = Some(1234);
        assert_eq!(store.tokens().await.unwrap(), [a.clone(), b]);
        assert!(store.remove_token(a.view.id.clone()).await.unwrap());
        assert!(!store.remove_token(a.view.id.clone()).await.unwrap());
        assert!(!store.replace_token(a.view.id.clone(), a.secret).await.unwrap());
        assert_eq!(store.tokens().await.unwrap().len(), 1);
    }
}
