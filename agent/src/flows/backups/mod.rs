//! Backups of instances' data: made, kept, and restored.
//!
//! ```text
//!   held still, or online ─► tenement-archive (the instance's user and sandbox) ─► spool ─► place or client
//!   archive ─► tenement-archive ─► a fresh directory, and whole? ─► held still ─► swapped ─► open again
//! ```
//!
//! The agent passes bytes on and reads none of them. What is known of backups beyond the places that keep them is how
//! the last try went: in memory, and in the store.

mod due;
mod error;
mod head;
mod hold;
mod keep;
mod order;
mod pipe;
mod restore;
mod schedule;
mod spool;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use tenement_wire::InstanceName;
use tenement_wire::backups::{BackupMethod, BackupState, Restored, StoredBackup, StoredBackups};
use uuid::Uuid;

pub use error::BackupError;
pub use order::{ArchiveDone, ArchiveOrder};
pub use restore::{From, Restore};

use super::agent::Agent;
use super::host::Host;
use super::instance::Instance;
use super::management::ManageError;
use crate::config::BackupPlan;
use crate::store::StoreError;
use crate::store::backups::BackupRecord;
use crate::vault::{Pieces, Vault};

/// What a caller of [`Archives`] waits for.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, BackupError>>;

/// What the API needs of backups.
pub trait Archives: Send + Sync + 'static {
    /// How they stand, of every registered instance, in order of name.
    fn states(&self) -> Vec<BackupState>;
    /// Those of one instance that are kept.
    fn stored(&self, name: InstanceName) -> Reply<'_, StoredBackups>;
    /// Makes one and keeps it where the config says.
    fn run(&self, name: InstanceName) -> Reply<'_, StoredBackup>;
    /// Makes one and hands it out as it is made. `None`: by the method of the config.
    fn download(&self, name: InstanceName, method: Option<BackupMethod>) -> Reply<'_, Pieces>;
    /// Replaces the data of an instance.
    fn restore(&self, order: Restore, from: From) -> Reply<'_, Restored>;
}

/// An agent that makes none.
#[derive(Debug, Clone, Copy)]
pub struct NoArchives;

/// Makes, keeps and restores backups. Clones are the same.
pub struct Backups<H>(Arc<Inner<H>>);

impl<H> Clone for Backups<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<H> {
    agent: Arc<Agent<H>>,
    /// Where bytes are that nobody has taken yet.
    spool_dir: PathBuf,
    /// How the last try of each went, with the identity of the instance that it was.
    records: Mutex<BTreeMap<InstanceName, (Uuid, BackupRecord)>>,
    /// Failures of each since the agent started.
    failed: Mutex<BTreeMap<InstanceName, u64>>,
    /// Those that a backup or a restore is under way of.
    busy: Mutex<BTreeSet<InstanceName>>,
}

/// How the backups of one instance stand, for the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFigures {
    /// Which.
    pub name: InstanceName,
    /// When the last good one was begun, Unix milliseconds, and its size.
    pub last: Option<(u64, u64)>,
    /// When its schedule wants the one after that, Unix milliseconds.
    pub due_ms: Option<u64>,
    /// Tries that failed since the agent started.
    pub failures: u64,
}

/// The only backup or restore of an instance, until dropped.
struct Alone<H> {
    backups: Backups<H>,
    name: InstanceName,
}

impl<H> Drop for Alone<H> {
    fn drop(&mut self) {
        self.backups.busy().remove(&self.name);
    }
}

impl<H> Backups<H> {
    fn busy(&self) -> MutexGuard<'_, BTreeSet<InstanceName>> {
        self.0.busy.lock().expect("no panic while held")
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<InstanceName, (Uuid, BackupRecord)>> {
        self.0.records.lock().expect("no panic while held")
    }

    fn failed(&self) -> MutexGuard<'_, BTreeMap<InstanceName, u64>> {
        self.0.failed.lock().expect("no panic while held")
    }

    /// That nobody else backs it up or restores it.
    fn alone(&self, name: &InstanceName) -> Result<Alone<H>, BackupError> {
        if !self.busy().insert(name.clone()) {
            let what = "a backup or a restore of it is under way".to_owned();
            return Err(ManageError::Conflict { name: name.clone(), what }.into());
        }
        Ok(Alone { backups: self.clone(), name: name.clone() })
    }
}

impl<H: Host> Backups<H> {
    /// Those of an agent whose instances were admitted.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn new(agent: Arc<Agent<H>>, spool_dir: PathBuf) -> Result<Self, StoreError> {
        let stored = agent.store.backups().await?;
        let known = stored.into_iter().filter_map(|(name, record)| {
            let uuid = agent.known(&name)?.uuid;
            Some((name, (uuid, record)))
        });
        let records = Mutex::new(known.collect());
        let (failed, busy) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { agent, spool_dir, records, failed, busy })))
    }

    fn agent(&self) -> &Arc<Agent<H>> {
        &self.0.agent
    }

    fn find(&self, name: &InstanceName) -> Result<Arc<Instance>, BackupError> {
        let found = self.agent().get(name);
        found
            .ok_or_else(|| ManageError::NotFound { name: name.clone(), similar: Vec::new() }.into())
    }

    /// One whose data can be read and written: a sandbox for that is made of what the instance would run as.
    fn find_whole(&self, name: &InstanceName) -> Result<Arc<Instance>, BackupError> {
        let found = self.find(name)?;
        found.has_release()?;
        Ok(found)
    }

    fn record_of(&self, instance: &Instance) -> BackupRecord {
        let records = self.records();
        let found = records.get(&instance.name).filter(|(uuid, _)| *uuid == instance.uuid);
        found.map(|(_, record)| record.clone()).unwrap_or_default()
    }

    /// Where its backups are kept.
    async fn vault(&self, plan: &BackupPlan, name: &InstanceName) -> Result<Vault, BackupError> {
        let target = plan.to.as_ref();
        let target = target.ok_or_else(|| BackupError::NoTarget(name.process().clone()))?;
        let s3 = self.agent().config.load().settings.backup.s3.clone();
        Ok(Vault::open(target, s3.as_ref()).await?)
    }

    fn state_of(&self, instance: &Instance, zone: &TimeZone) -> BackupState {
        let plan = instance.setup().definition.backup.clone();
        let record = self.record_of(instance);
        let last = record.last.clone();
        BackupState {
            name: instance.name.clone(),
            to: plan.to.as_ref().map(ToString::to_string),
            schedule: plan.when.as_ref().map(ToString::to_string),
            method: plan.method,
            running: self.busy().contains(&instance.name),
            next_ms: schedule::next(&plan, instance, &record, zone),
            last_ms: last.as_ref().map(|last| last.at_ms),
            last_bytes: last.as_ref().map(|last| last.bytes),
            last_took_ms: last.as_ref().map(|last| last.took_ms),
            last_file: last.map(|last| last.file),
            failed_ms: record.failed_ms,
            error: record.error,
            failures: record.failures,
        }
    }

    /// What the metrics tell.
    #[must_use]
    pub fn figures(&self) -> Vec<BackupFigures> {
        let (failed, zone) = (self.failed().clone(), TimeZone::system());
        let figures = self.agent().all().into_iter().map(|one| {
            let plan = one.setup().definition.backup.clone();
            // As if no try had failed since: each of those puts off the next.
            let last = self.record_of(&one).last;
            let record = BackupRecord { last, ..BackupRecord::default() };
            BackupFigures {
                due_ms: schedule::next(&plan, &one, &record, &zone),
                last: record.last.map(|last| (last.at_ms, last.bytes)),
                failures: failed.get(&one.name).copied().unwrap_or(0),
                name: one.name.clone(),
            }
        });
        // Those with a schedule begin at 0 failures: a counter that is born at 1 has not grown.
        let told = |one: &BackupFigures| one.last.is_some() || one.due_ms.is_some();
        figures.filter(|one| told(one) || one.failures > 0).collect()
    }
}

impl<H: Host> Archives for Backups<H> {
    fn states(&self) -> Vec<BackupState> {
        let zone = TimeZone::system();
        self.agent().all().iter().map(|instance| self.state_of(instance, &zone)).collect()
    }

    fn stored(&self, name: InstanceName) -> Reply<'_, StoredBackups> {
        Box::pin(async move {
            let instance = self.find(&name)?;
            let plan = instance.setup().definition.backup.clone();
            let backups = self.vault(&plan, &name).await?.list(&name).await?;
            let to = plan.to.as_ref().map(ToString::to_string).unwrap_or_default();
            Ok(StoredBackups { name, to, backups })
        })
    }

    fn run(&self, name: InstanceName) -> Reply<'_, StoredBackup> {
        Box::pin(async move { self.make(&self.find_whole(&name)?).await })
    }

    fn download(&self, name: InstanceName, method: Option<BackupMethod>) -> Reply<'_, Pieces> {
        Box::pin(async move { self.hand_out(&self.find_whole(&name)?, method).await })
    }

    fn restore(&self, order: Restore, from: From) -> Reply<'_, Restored> {
        Box::pin(async move { self.replace(order, from).await })
    }
}

fn none<T: Send + 'static>() -> Reply<'static, T> {
    Box::pin(async { Err(BackupError::Failed("this agent makes no backups".into())) })
}

impl Archives for NoArchives {
    fn states(&self) -> Vec<BackupState> {
        Vec::new()
    }
    fn stored(&self, _: InstanceName) -> Reply<'_, StoredBackups> {
        none()
    }
    fn run(&self, _: InstanceName) -> Reply<'_, StoredBackup> {
        none()
    }
    fn download(&self, _: InstanceName, _: Option<BackupMethod>) -> Reply<'_, Pieces> {
        none()
    }
    fn restore(&self, _: Restore, _: From) -> Reply<'_, Restored> {
        none()
    }
}
