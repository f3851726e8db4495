//! Floor 2: the state database.
//!
//! It holds what systemd can't know: which instances are registered, each with a UUID that never
//! changes and a TCP port of its own.
//!
//! ```text
//!   Store (async) ── bounded channel ──► writer thread ── one transaction for all that waits ──► SQLite
//! ```
//!
//! A write is acknowledged only after its commit, and a commit only after fsync (WAL with
//! `synchronous=FULL`: NORMAL lost acknowledged writes in 207 of 500 simulated power cuts, FULL in none).
//! The connection belongs to one thread; reads go through it too, being rare. After each write the
//! thread makes a verified copy beside the database (`state.db.backup`), which takes its place should
//! it be damaged or deleted.
//!
//! It does *not* know what runs, and nothing per-request touches it.

pub mod backups;
mod copy;
pub mod domains;
mod error;
pub mod events;
mod failures;
pub mod history;
mod keeper;
pub mod releases;
mod schema;
pub mod series;
pub mod sessions;
mod side;
pub mod tokens;
mod worker;

use std::path::Path;

use tenement_wire::status::StateDatabase;
use tenement_wire::{InstanceName, ResourceLimits};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

pub use error::StoreError;
use worker::Request;

/// Requests that wait for the writer at most; more make their callers wait.
const QUEUE: usize = 1024;

/// Why an instance is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The config names it under `[instances]`.
    Config,
    /// Somebody spawned it.
    Api,
}

/// A registered instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// `process:id`.
    pub name: InstanceName,
    /// Never changes until it is removed; another registration gets another.
    pub uuid: Uuid,
    /// Its TCP port on 127.0.0.1, no other instance's.
    pub port: u16,
    /// When it was registered, Unix milliseconds.
    pub created_ms: u64,
    /// Why it is registered.
    pub origin: Origin,
    /// Limits that were set for it alone.
    pub overrides: ResourceLimits,
}

impl Registered {
    /// What the unit helper must know of it, but for its release.
    #[must_use]
    pub fn particulars(&self) -> crate::plan::Particulars {
        let overrides = self.overrides.clone();
        crate::plan::Particulars { port: self.port, overrides, release: None }
    }
}

/// That and why an instance has failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaveUp {
    /// What happened.
    pub reason: String,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

/// A handle to the database; clones share the writer, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct Store {
    requests: mpsc::Sender<Request>,
}

impl Store {
    /// Opens the database at `path`, making or migrating it if need be.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is damaged and there is no sound copy: nothing is written then,
    /// and the message says how to mend it. It is never made anew by itself, for then every
    /// registration would be gone.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let (opened, result) = oneshot::channel();
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || worker::run(&path, opened, queue))
            .map_err(|error| StoreError::Other(format!("no thread for the database: {error}")))?;
        result.await.map_err(|_| StoreError::closed())??;
        Ok(Self { requests })
    }

    /// Every registered instance, by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn all(&self) -> Result<Vec<Registered>, StoreError> {
        self.ask(Request::All).await
    }

    /// Registers `name` with the lowest free port of the range (inclusive), or returns it as it is if
    /// it is registered.
    ///
    /// # Errors
    /// [`StoreError::NoFreePort`], or see [`StoreError`].
    pub async fn register(
        &self,
        name: InstanceName,
        origin: Origin,
        ports: (u16, u16),
    ) -> Result<Registered, StoreError> {
        let mut registered = self.register_many(vec![name], origin, ports).await?;
        registered.pop().ok_or_else(StoreError::closed)
    }

    /// Registers all of `names` or, on an error, none; the result is in the same order.
    ///
    /// # Errors
    /// As for [`Self::register`].
    pub async fn register_many(
        &self,
        names: Vec<InstanceName>,
        origin: Origin,
        ports: (u16, u16),
    ) -> Result<Vec<Registered>, StoreError> {
        self.ask(|answer| Request::Register { names, origin, ports, answer }).await
    }

    /// Removes `name`; says whether it was registered.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove(&self, name: InstanceName) -> Result<bool, StoreError> {
        self.ask(|answer| Request::Remove { name, answer }).await
    }

    /// Replaces the limits that were set for `name` alone; says whether it is registered.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn set_overrides(
        &self,
        name: InstanceName,
        overrides: ResourceLimits,
    ) -> Result<bool, StoreError> {
        self.ask(|answer| Request::SetOverrides { name, overrides, answer }).await
    }

    /// Returns when the thread that serves this store has ended, which it does by itself only if there is
    /// nothing left to serve from.
    pub async fn ended(&self) {
        self.requests.closed().await;
    }

    /// Makes the last copy and closes the file; whoever still has a handle gets errors from then on.
    pub async fn close(&self) {
        let (answer, done) = oneshot::channel();
        if self.requests.send(Request::Close(answer)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// How the database and its copy are.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn report(&self) -> Result<StateDatabase, StoreError> {
        self.ask(Request::Report).await
    }

    /// Whether it can be written now.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn can_write(&self) -> Result<bool, StoreError> {
        self.ask(Request::CanWrite).await
    }

    /// Notes that `name` has failed for good, or (with `None`) that it has not; says whether it is
    /// registered.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn set_failed(
        &self,
        name: InstanceName,
        gave_up: Option<GaveUp>,
    ) -> Result<bool, StoreError> {
        self.ask(|answer| Request::SetFailed { name, gave_up, answer }).await
    }

    /// Every instance that has failed for good.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn failed(&self) -> Result<Vec<(InstanceName, GaveUp)>, StoreError> {
        self.ask(Request::Failed).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| StoreError::closed())?;
        result.await.map_err(|_| StoreError::closed())?
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
