//! Releases, which of them are in use, and deployments, as they are stored.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, params};
use tenement_wire::{InstanceName, ProcessName, ReleaseName};

use super::worker::{Answer, Replier, Request, alone};
use super::{Registered, Store, StoreError};

mod moves;

use moves::{prepared, register_pinned, restored};

/// How far a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseState {
    /// It is being made.
    Building,
    /// Instances can run from it.
    Ready,
    /// It could not be made.
    Failed,
}

impl ReleaseState {
    /// The word that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRelease {
    /// Its process.
    pub process: ProcessName,
    /// Its name.
    pub name: ReleaseName,
    /// How far it is.
    pub state: ReleaseState,
    /// When it was begun, in Unix milliseconds.
    pub at_ms: u64,
    /// What else is known of it: a JSON object.
    pub doc: String,
}

/// What a process runs from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// The release.
    pub name: ReleaseName,
    /// The one before, which a rollback goes to.
    pub previous: Option<ReleaseName>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeploy {
    /// Its id.
    pub id: String,
    /// The process.
    pub process: ProcessName,
    /// When it began, in Unix milliseconds.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// What else is known of it: a JSON object.
    pub doc: String,
}

/// Everything of this kind that is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredReleases {
    /// In order of process and name.
    pub releases: Vec<StoredRelease>,
    /// By process.
    pub current: Vec<(ProcessName, Current)>,
    /// Instances that stay at one.
    pub pins: Vec<(InstanceName, ReleaseName)>,
    /// Deployments, the newest of all processes first.
    pub deploys: Vec<StoredDeploy>,
    /// Instances whose data is ready for a release: its command was run for them. Of each the last one is the last.
    pub prepared: Vec<(InstanceName, ReleaseName)>,
}

/// Deployments that are kept of each process.
const DEPLOYS_KEPT: u32 = 100;

/// What is to be done.
pub(super) enum Order {
    All(Answer<StoredReleases>),
    Put(Box<StoredRelease>, Answer<()>),
    Remove(ProcessName, ReleaseName, Answer<bool>),
    SetCurrent(ProcessName, Option<Current>, Answer<()>),
    Pin(InstanceName, Option<ReleaseName>, Answer<()>),
    PutDeploy(Box<StoredDeploy>, Answer<()>),
    Register(InstanceName, ReleaseName, (u16, u16), Answer<Registered>),
    Prepared(InstanceName, ReleaseName, Answer<()>),
    Restored(InstanceName, Option<ReleaseName>, Answer<()>),
}

impl Order {
    /// Whether it changes nothing.
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::All(_))
    }

    pub(super) fn carry_out(self, transaction: &mut Transaction<'_>, reply: &mut Replier<'_>) {
        match self {
            Self::All(answer) => reply.add(answer, all(transaction)),
            Self::Put(release, answer) => {
                reply.add(answer, alone(transaction, |point| put(point, &release)));
            }
            Self::Remove(process, name, answer) => {
                reply.add(answer, alone(transaction, |point| remove(point, &process, &name)));
            }
            Self::SetCurrent(process, current, answer) => {
                let act = |point: &Connection| set_current(point, &process, current.as_ref());
                reply.add(answer, alone(transaction, act));
            }
            Self::Pin(name, release, answer) => {
                reply.add(answer, alone(transaction, |point| pin(point, &name, release.as_ref())));
            }
            Self::PutDeploy(deploy, answer) => {
                reply.add(answer, alone(transaction, |point| put_deploy(point, &deploy)));
            }
            Self::Register(name, release, ports, answer) => {
                let act = |point: &Connection| register_pinned(point, &name, &release, ports);
                reply.add(answer, alone(transaction, act));
            }
            Self::Prepared(name, release, answer) => {
                reply.add(answer, alone(transaction, |point| prepared(point, &name, &release)));
            }
            Self::Restored(name, release, answer) => {
                let act = |point: &Connection| restored(point, &name, release.as_ref());
                reply.add(answer, alone(transaction, act));
            }
        }
    }

    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::All(answer) => drop(answer.send(Err(error))),
            Self::Remove(_, _, answer) => drop(answer.send(Err(error))),
            Self::Register(.., answer) => drop(answer.send(Err(error))),
            Self::Prepared(.., answer)
            | Self::Restored(.., answer)
            | Self::Put(_, answer)
            | Self::SetCurrent(_, _, answer)
            | Self::Pin(_, _, answer)
            | Self::PutDeploy(_, answer) => drop(answer.send(Err(error))),
        }
    }
}

impl Store {
    /// Releases, which are in use, and deployments.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn releases(&self) -> Result<StoredReleases, StoreError> {
        self.ask(|answer| Request::Release(Order::All(answer))).await
    }

    /// Stores a release, over what was stored of it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn put_release(&self, release: StoredRelease) -> Result<(), StoreError> {
        self.ask(|answer| Request::Release(Order::Put(Box::new(release), answer))).await
    }

    /// Forgets a release; says whether there was one.
    ///
    /// # Errors
    /// If it is in use or pinned; or see [`StoreError`].
    pub async fn remove_release(
        &self,
        process: ProcessName,
        name: ReleaseName,
    ) -> Result<bool, StoreError> {
        self.ask(|answer| Request::Release(Order::Remove(process, name, answer))).await
    }

    /// Notes what a process runs from.
    ///
    /// # Errors
    /// If there is no such release; or see [`StoreError`].
    pub async fn set_current_release(
        &self,
        process: ProcessName,
        current: Option<Current>,
    ) -> Result<(), StoreError> {
        self.ask(|answer| Request::Release(Order::SetCurrent(process, current, answer))).await
    }

    /// Has a registered instance stay at a release, or not.
    ///
    /// # Errors
    /// If there is no such instance or release; or see [`StoreError`].
    pub async fn pin(
        &self,
        name: InstanceName,
        release: Option<ReleaseName>,
    ) -> Result<(), StoreError> {
        self.ask(|answer| Request::Release(Order::Pin(name, release, answer))).await
    }

    /// Stores a deployment, over what was stored of it. Of those that have ended the newest are kept.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn put_deploy(&self, deploy: StoredDeploy) -> Result<(), StoreError> {
        self.ask(|answer| Request::Release(Order::PutDeploy(Box::new(deploy), answer))).await
    }
}

fn all(connection: &Connection) -> Result<StoredReleases, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT process, name, state, at_ms, doc FROM releases ORDER BY 1, 2")?;
    let releases = statement.query_map((), read)?.collect::<Result<_, _>>()?;
    let mut statement =
        connection.prepare_cached("SELECT process, name, previous FROM current_releases")?;
    let current = statement
        .query_map((), |row| {
            let previous: Option<String> = row.get(2)?;
            let previous = previous.map(|text| parsed(2, &text)).transpose()?;
            Ok((column(row, 0)?, Current { name: column(row, 1)?, previous }))
        })?
        .collect::<Result<_, _>>()?;
    let mut statement =
        connection.prepare_cached("SELECT process || ':' || id, name FROM pins ORDER BY 1")?;
    let pins = statement
        .query_map((), |row| Ok((column(row, 0)?, column(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    let mut statement = connection.prepare_cached(
        "SELECT id, process, started_ms, ended_ms, doc FROM deploys ORDER BY started_ms DESC, id",
    )?;
    let deploys = statement
        .query_map((), |row| {
            Ok(StoredDeploy {
                id: row.get(0)?,
                process: column(row, 1)?,
                started_ms: row.get::<_, i64>(2)?.unsigned_abs(),
                ended_ms: row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs),
                doc: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let mut statement = connection
        .prepare_cached("SELECT process || ':' || id, name FROM preparations ORDER BY number")?;
    let prepared = statement
        .query_map((), |row| Ok((column(row, 0)?, column(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(StoredReleases { releases, current, pins, deploys, prepared })
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredRelease> {
    let state: String = row.get(2)?;
    Ok(StoredRelease {
        process: column(row, 0)?,
        name: column(row, 1)?,
        state: match state.as_str() {
            "ready" => ReleaseState::Ready,
            "building" => ReleaseState::Building,
            _ => ReleaseState::Failed,
        },
        at_ms: row.get::<_, i64>(3)?.unsigned_abs(),
        doc: row.get(4)?,
    })
}

fn put(connection: &Connection, release: &StoredRelease) -> Result<(), StoreError> {
    // An upsert and not a replacement: that would delete the row that others refer to.
    let sql = "INSERT INTO releases (process, name, state, at_ms, doc) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (process, name) DO UPDATE SET state = ?3, at_ms = ?4, doc = ?5";
    connection.prepare_cached(sql)?.execute(params![
        release.process.as_str(),
        release.name.as_str(),
        release.state.as_str(),
        number(release.at_ms),
        release.doc,
    ])?;
    Ok(())
}

fn remove(
    connection: &Connection,
    process: &ProcessName,
    name: &ReleaseName,
) -> Result<bool, StoreError> {
    let forget = "UPDATE current_releases SET previous = NULL WHERE process = ?1 AND previous = ?2";
    let key = params![process.as_str(), name.as_str()];
    connection.prepare_cached(forget)?.execute(key)?;
    // Another one may get its name.
    let forget = "DELETE FROM preparations WHERE process = ?1 AND name = ?2";
    connection.prepare_cached(forget)?.execute(key)?;
    let sql = "DELETE FROM releases WHERE process = ?1 AND name = ?2";
    Ok(connection.prepare_cached(sql)?.execute(key)? > 0)
}

fn set_current(
    connection: &Connection,
    process: &ProcessName,
    current: Option<&Current>,
) -> Result<(), StoreError> {
    match current {
        Some(Current { name, previous }) => connection
            .prepare_cached(
                "INSERT OR REPLACE INTO current_releases (process, name, previous) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![
                process.as_str(),
                name.as_str(),
                previous.as_ref().map(ReleaseName::as_str)
            ])?,
        None => connection
            .prepare_cached("DELETE FROM current_releases WHERE process = ?1")?
            .execute([process.as_str()])?,
    };
    Ok(())
}

fn pin(
    connection: &Connection,
    name: &InstanceName,
    release: Option<&ReleaseName>,
) -> Result<(), StoreError> {
    let (process, id) = (name.process().as_str(), name.id().as_str());
    match release {
        Some(release) => connection
            .prepare_cached("INSERT OR REPLACE INTO pins (process, id, name) VALUES (?1, ?2, ?3)")?
            .execute(params![process, id, release.as_str()])?,
        None => connection
            .prepare_cached("DELETE FROM pins WHERE process = ?1 AND id = ?2")?
            .execute(params![process, id])?,
    };
    Ok(())
}

fn put_deploy(connection: &Connection, deploy: &StoredDeploy) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO deploys (id, process, started_ms, ended_ms, doc)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute(params![
        deploy.id,
        deploy.process.as_str(),
        number(deploy.started_ms),
        deploy.ended_ms.map(number),
        deploy.doc,
    ])?;
    let sql = "DELETE FROM deploys WHERE process = ?1 AND ended_ms IS NOT NULL AND id NOT IN
               (SELECT id FROM deploys WHERE process = ?1 ORDER BY started_ms DESC LIMIT ?2)";
    connection.prepare_cached(sql)?.execute(params![deploy.process.as_str(), DEPLOYS_KEPT])?;
    Ok(())
}

fn column<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    parsed(column, &row.get::<_, String>(column)?)
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
