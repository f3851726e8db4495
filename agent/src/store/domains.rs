//! Custom domains, weights of instances, and processes in maintenance, as they are stored.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, params};
use tenement_wire::domains::DomainProof;
use tenement_wire::{InstanceName, ProcessName, RouteTarget};

use super::worker::{Answer, Replier, Request, alone};
use super::{Store, StoreError};
use crate::routes::DomainName;

/// A custom domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDomain {
    /// Its name.
    pub name: DomainName,
    /// Where it leads.
    pub target: RouteTarget,
    /// What proves it.
    pub token: String,
    /// Whether a request over HTTP may prove it too.
    pub http: bool,
    /// When it was added, in Unix milliseconds.
    pub created_ms: u64,
    /// By whom.
    pub created_by: String,
    /// How and when it was verified.
    pub verified: Option<(DomainProof, u64)>,
}

/// Everything of this kind that is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredRouting {
    /// In order of name.
    pub domains: Vec<StoredDomain>,
    /// Those that were set.
    pub weights: Vec<(InstanceName, u32)>,
    /// Since when, in Unix milliseconds.
    pub maintenance: Vec<(ProcessName, u64)>,
}

/// What is to be done.
pub(super) enum Order {
    All(Answer<StoredRouting>),
    Put(Box<StoredDomain>, Answer<()>),
    Remove(DomainName, Answer<bool>),
    Weigh(Vec<(InstanceName, Option<u32>)>, Answer<()>),
    Maintain(ProcessName, Option<u64>, Answer<()>),
}

impl Order {
    /// Whether it changes nothing.
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::All(_))
    }

    pub(super) fn carry_out(self, transaction: &mut Transaction<'_>, reply: &mut Replier<'_>) {
        match self {
            Self::All(answer) => reply.add(answer, all(transaction)),
            Self::Put(domain, answer) => {
                reply.add(answer, alone(transaction, |point| put(point, &domain)));
            }
            Self::Remove(name, answer) => {
                reply.add(answer, alone(transaction, |point| remove(point, &name)));
            }
            Self::Weigh(weights, answer) => {
                let all = |point: &Connection| {
                    weights.iter().try_for_each(|(name, weight)| weigh(point, name, *weight))
                };
                reply.add(answer, alone(transaction, all));
            }
            Self::Maintain(process, since, answer) => {
                reply.add(answer, alone(transaction, |point| maintain(point, &process, since)));
            }
        }
    }

    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::All(answer) => drop(answer.send(Err(error))),
            Self::Put(_, answer) => drop(answer.send(Err(error))),
            Self::Remove(_, answer) => drop(answer.send(Err(error))),
            Self::Weigh(_, answer) => drop(answer.send(Err(error))),
            Self::Maintain(_, _, answer) => drop(answer.send(Err(error))),
        }
    }
}

impl Store {
    /// Domains, weights and what is in maintenance. A domain that can't be read is left out and named in the log:
    /// it routes nowhere then.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn routing(&self) -> Result<StoredRouting, StoreError> {
        self.ask(|answer| Request::Domain(Order::All(answer))).await
    }

    /// Stores a domain, over what was stored of it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn put_domain(&self, domain: StoredDomain) -> Result<(), StoreError> {
        self.ask(|answer| Request::Domain(Order::Put(Box::new(domain), answer))).await
    }

    /// Forgets a domain; says whether there was one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove_domain(&self, name: DomainName) -> Result<bool, StoreError> {
        self.ask(|answer| Request::Domain(Order::Remove(name, answer))).await
    }

    /// Sets the weights of registered instances, or forgets them: all or none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn weigh(&self, weights: Vec<(InstanceName, Option<u32>)>) -> Result<(), StoreError> {
        self.ask(|answer| Request::Domain(Order::Weigh(weights, answer))).await
    }

    /// Notes since when a process is in maintenance, or that it is not.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn maintain(
        &self,
        process: ProcessName,
        since_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        self.ask(|answer| Request::Domain(Order::Maintain(process, since_ms, answer))).await
    }
}

fn all(connection: &Connection) -> Result<StoredRouting, StoreError> {
    let sql =
        "SELECT name, target, token, http, created_ms, created_by, proof, verified_ms FROM domains
               ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut domains = Vec::new();
    for domain in statement.query_map((), read)? {
        match domain {
            Ok(domain) => domains.push(domain),
            Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
                log::error!("a stored domain can't be read and does not route: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut statement =
        connection.prepare_cached("SELECT process || ':' || id, weight FROM weights")?;
    let weights = statement
        .query_map((), |row| Ok((parsed(0, &row.get::<_, String>(0)?)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut statement = connection.prepare_cached("SELECT process, since_ms FROM maintenance")?;
    let maintenance = statement
        .query_map((), |row| {
            Ok((parsed(0, &row.get::<_, String>(0)?)?, row.get::<_, i64>(1)?.unsigned_abs()))
        })?
        .collect::<Result<_, _>>()?;
    Ok(StoredRouting { domains, weights, maintenance })
}

fn put(connection: &Connection, domain: &StoredDomain) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO domains
               (name, target, token, http, created_ms, created_by, proof, verified_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        domain.name.as_str(),
        domain.target.to_string(),
        domain.token,
        domain.http,
        number(domain.created_ms),
        domain.created_by,
        domain.verified.map(|(proof, _)| proof.as_str()),
        domain.verified.map(|(_, at)| number(at)),
    ])?;
    Ok(())
}

fn remove(connection: &Connection, name: &DomainName) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached("DELETE FROM domains WHERE name = ?1")?;
    Ok(statement.execute([name.as_str()])? > 0)
}

pub(super) fn weigh(
    connection: &Connection,
    name: &InstanceName,
    weight: Option<u32>,
) -> Result<(), StoreError> {
    let (process, id) = (name.process().as_str(), name.id().as_str());
    match weight {
        Some(weight) => connection
            .prepare_cached(
                "INSERT OR REPLACE INTO weights (process, id, weight) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![process, id, weight])?,
        None => connection
            .prepare_cached("DELETE FROM weights WHERE process = ?1 AND id = ?2")?
            .execute(params![process, id])?,
    };
    Ok(())
}

fn maintain(
    connection: &Connection,
    process: &ProcessName,
    since_ms: Option<u64>,
) -> Result<(), StoreError> {
    match since_ms {
        Some(since) => connection
            .prepare_cached(
                "INSERT OR IGNORE INTO maintenance (process, since_ms) VALUES (?1, ?2)",
            )?
            .execute(params![process.as_str(), number(since)])?,
        None => connection
            .prepare_cached("DELETE FROM maintenance WHERE process = ?1")?
            .execute([process.as_str()])?,
    };
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredDomain> {
    let proof: Option<String> = row.get(6)?;
    let proof = proof.map(|word| match word.as_str() {
        "http" => DomainProof::Http,
        _ => DomainProof::Txt,
    });
    let at: Option<i64> = row.get(7)?;
    Ok(StoredDomain {
        name: parsed(0, &row.get::<_, String>(0)?)?,
        target: parsed(1, &row.get::<_, String>(1)?)?,
        token: row.get(2)?,
        http: row.get(3)?,
        created_ms: row.get::<_, i64>(4)?.unsigned_abs(),
        created_by: row.get(5)?,
        verified: proof.zip(at.map(i64::unsigned_abs)),
    })
}

fn parsed<T>(column: usize, text: &str) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse().map_err(|error: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.to_string().into())
    })
}

fn number(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Origin;

    #[tokio::test]
    async fn domains_weights_and_maintenance_come_back_after_a_new_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let store = Store::open(&path).await.unwrap();
        let api: InstanceName = "api:a".parse().unwrap();
        store.register(api.clone(), Origin::Api, (20_000, 20_010)).await.unwrap();
        let mut domain = StoredDomain {
            name: "*.customer.com".parse().unwrap(),
            target: "api:a".parse().unwrap(),
            token: "t".into(),
            http: false,
            created_ms: 1,
            created_by: "uid 0".into(),
            verified: None,
        };
        store.put_domain(domain.clone()).await.unwrap();
        domain.verified = Some((DomainProof::Txt, 7));
        store.put_domain(domain.clone()).await.unwrap();
        store.weigh(vec![(api.clone(), Some(10))]).await.unwrap();
        assert!(
            store
                .weigh(vec![(api.clone(), Some(20)), ("api:none".parse().unwrap(), Some(1))])
                .await
                .is_err(),
            "all or none"
        );
        store.maintain("api".parse().unwrap(), Some(5)).await.unwrap();
        store.maintain("api".parse().unwrap(), Some(9)).await.unwrap();
        store.close().await;

        let store = Store::open(&path).await.unwrap();
        let found = store.routing().await.unwrap();
        assert_eq!(found.domains, [domain.clone()]);
        assert_eq!(found.weights, [(api.clone(), 10)]);
        assert_eq!(found.maintenance, [("api".parse().unwrap(), 5)], "since it began");
        store.remove(api).await.unwrap();
        assert!(store.remove_domain(domain.name.clone()).await.unwrap());
        assert!(!store.remove_domain(domain.name).await.unwrap());
        store.maintain("api".parse().unwrap(), None).await.unwrap();
        assert_eq!(store.routing().await.unwrap(), StoredRouting::default(), "weights end with it");
    }
}
