//! What is stored while instances move to another release.

use rusqlite::{Connection, params};
use tenement_wire::{InstanceName, ReleaseName};

use super::{Order, pin};
use crate::store::worker::{self, Request};
use crate::store::{Origin, Registered, Store, StoreError, domains};

impl Store {
    /// Registers an instance that stays at a release and has no weight: all of that or nothing. One that is
    /// registered keeps its port.
    ///
    /// # Errors
    /// If there is no such release; or see [`StoreError`].
    pub async fn register_pinned(
        &self,
        name: InstanceName,
        release: ReleaseName,
        ports: (u16, u16),
    ) -> Result<Registered, StoreError> {
        self.ask(|answer| Request::Release(Order::Register(name, release, ports, answer))).await
    }

    /// Notes that the command of a release was run for an instance.
    ///
    /// # Errors
    /// If there is no such instance; or see [`StoreError`].
    pub async fn note_prepared(
        &self,
        name: InstanceName,
        release: ReleaseName,
    ) -> Result<(), StoreError> {
        self.ask(|answer| Request::Release(Order::Prepared(name, release, answer))).await
    }

    /// Notes that the data of an instance is that of a backup, made when it ran from `release`: commands of others
    /// have not been run for it.
    ///
    /// # Errors
    /// If there is no such instance; or see [`StoreError`].
    pub async fn note_restored(
        &self,
        name: InstanceName,
        release: Option<ReleaseName>,
    ) -> Result<(), StoreError> {
        self.ask(|answer| Request::Release(Order::Restored(name, release, answer))).await
    }
}

pub(super) fn register_pinned(
    connection: &Connection,
    name: &InstanceName,
    release: &ReleaseName,
    ports: (u16, u16),
) -> Result<Registered, StoreError> {
    let mut registered =
        worker::register(connection, std::slice::from_ref(name), Origin::Api, ports)?;
    domains::weigh(connection, name, Some(0))?;
    pin(connection, name, Some(release))?;
    registered.pop().ok_or_else(|| StoreError::Other(format!("{name} was not registered")))
}

pub(super) fn prepared(
    connection: &Connection,
    name: &InstanceName,
    release: &ReleaseName,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO preparations (process, id, name) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![name.process().as_str(), name.id().as_str(), release.as_str()])?;
    Ok(())
}

pub(super) fn restored(
    connection: &Connection,
    name: &InstanceName,
    release: Option<&ReleaseName>,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM preparations WHERE process = ?1 AND id = ?2")?
        .execute(params![name.process().as_str(), name.id().as_str()])?;
    release.map_or(Ok(()), |release| prepared(connection, name, release))
}
