//! Which releases there are, and which of them each instance runs from.
//!
//! ```text
//! pin of the instance, else current of its process ─► Instance::set_release ─► its next start is from that
//! ```
//! All of it is in memory; the store is written first. Whoever makes releases or moves instances between them
//! calls what is here.

mod buildlog;
pub mod desk;
mod error;
pub mod keep;
pub mod make;
mod settle;
mod spool;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tenement_wire::{InstanceName, ProcessName, ReleaseName};

pub use buildlog::{BuildLog, LOG_MAX};
pub use error::ReleaseError;
pub use spool::Spool;

use super::ManageError;
use super::agent::Agent;
use super::host::Host;
use super::instance::Instance;
use crate::store::StoreError;
use crate::store::releases::{Current, ReleaseState, StoredDeploy, StoredRelease};

/// What is known of them.
#[derive(Debug, Default)]
pub struct Releases {
    known: RwLock<Known>,
    /// One change at a time, so that store and memory agree.
    changes: tokio::sync::Mutex<()>,
    /// What is being made.
    pub workshop: make::Workshop,
}

#[derive(Debug, Default)]
struct Known {
    releases: BTreeMap<(ProcessName, ReleaseName), StoredRelease>,
    current: HashMap<ProcessName, Current>,
    pins: HashMap<InstanceName, ReleaseName>,
}

impl Releases {
    // Every change is one step, so a poisoned lock still holds what is true.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of a process, by name.
    #[must_use]
    pub fn of_process(&self, process: &ProcessName) -> Vec<StoredRelease> {
        let known = self.read();
        known.releases.values().filter(|one| one.process == *process).cloned().collect()
    }

    /// Processes that have any.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessName> {
        let mut names: Vec<_> = self.read().releases.keys().map(|(name, _)| name.clone()).collect();
        names.dedup();
        names
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, process: &ProcessName, name: &ReleaseName) -> Option<StoredRelease> {
        self.read().releases.get(&(process.clone(), name.clone())).cloned()
    }

    /// What a process runs from, and the one before.
    #[must_use]
    pub fn current(&self, process: &ProcessName) -> Option<Current> {
        self.read().current.get(process).cloned()
    }

    /// Where an instance stays.
    #[must_use]
    pub fn pin_of(&self, name: &InstanceName) -> Option<ReleaseName> {
        self.read().pins.get(name).cloned()
    }

    /// Every instance of a process that stays at a release, and at which.
    #[must_use]
    pub fn pins(&self, process: &ProcessName) -> Vec<(InstanceName, ReleaseName)> {
        let known = self.read();
        let pins = known.pins.iter().filter(|(name, _)| name.process() == process);
        pins.map(|(name, release)| (name.clone(), release.clone())).collect()
    }

    /// What an instance is to run from.
    #[must_use]
    pub fn of(&self, name: &InstanceName) -> Option<ReleaseName> {
        let known = self.read();
        let current = || known.current.get(name.process()).map(|current| current.name.clone());
        known.pins.get(name).cloned().or_else(current)
    }

    /// An instance is gone, and with it its pin.
    pub(super) fn forget(&self, name: &InstanceName) {
        self.write().pins.remove(name);
    }
}

/// What one instance runs from.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// At its next start.
    next: Mutex<Option<ReleaseName>>,
    /// As its units were loaded, as far as that is known.
    loaded: Mutex<Option<ReleaseName>>,
    /// Whether its last start failed because the unit helper or systemd could not be reached.
    pub(super) unreached: AtomicBool,
}

impl Instance {
    /// The release that its next start is from, if its process uses releases.
    #[must_use]
    pub fn release(&self) -> Option<ReleaseName> {
        self.source.next.lock().expect("no panic while held").clone()
    }

    /// Whether there is what it would run from.
    ///
    /// # Errors
    /// [`ManageError::NoRelease`] if its process runs from releases and has none.
    pub(super) fn has_release(&self) -> Result<(), ManageError> {
        if self.setup().definition.uses_releases() && self.release().is_none() {
            return Err(ManageError::NoRelease { process: self.name.process().clone() });
        }
        Ok(())
    }

    /// The release that its loaded units were made from, as far as that is known.
    #[must_use]
    pub fn loaded_release(&self) -> Option<ReleaseName> {
        self.source.loaded.lock().expect("no panic while held").clone()
    }

    /// Notes that its loaded units were made from `release`.
    pub(super) fn note_loaded(&self, release: Option<ReleaseName>) {
        *self.source.loaded.lock().expect("no panic while held") = release;
    }

    /// Whether its units are known to be of another release than its next start.
    #[must_use]
    pub fn is_of_another_release(&self) -> bool {
        let loaded = self.loaded_release();
        loaded.is_some() && loaded != self.release()
    }

    /// Notes what its next start is from; says whether that is news.
    pub(super) fn assume_release(&self, release: Option<ReleaseName>) -> bool {
        let mut slot = self.source.next.lock().expect("no panic while held");
        let news = *slot != release;
        *slot = release;
        news
    }

    /// Has its next start be from another release.
    pub fn set_release(&self, release: Option<ReleaseName>) {
        if self.assume_release(release) {
            self.mark_stale();
            self.unparkable.store(false, Ordering::Relaxed);
        }
    }
}

impl<H: Host> Agent<H> {
    /// Takes in what is stored; before instances are admitted. Returns deployments, the newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn load_releases(&self) -> Result<Vec<StoredDeploy>, StoreError> {
        let stored = self.store.releases().await?;
        let mut known = self.releases.write();
        let by_name = |one: StoredRelease| ((one.process.clone(), one.name.clone()), one);
        known.releases = stored.releases.into_iter().map(by_name).collect();
        known.current = stored.current.into_iter().collect();
        known.pins = stored.pins.into_iter().collect();
        self.deploys.recall_prepared(stored.prepared);
        Ok(stored.deploys)
    }

    /// Notes a release, over what was noted of it.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn put_release(&self, release: StoredRelease) -> Result<(), ManageError> {
        let _turn = self.releases.changes.lock().await;
        self.store.put_release(release.clone()).await?;
        let key = (release.process.clone(), release.name.clone());
        self.releases.write().releases.insert(key, release);
        Ok(())
    }

    /// Forgets a release; says whether there was one.
    ///
    /// # Errors
    /// If a process runs from it or an instance stays at it, or the store can't be written.
    pub async fn forget_release(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
    ) -> Result<bool, ReleaseError> {
        let _turn = self.releases.changes.lock().await;
        // It may have come to be needed since it was looked at.
        let current = self.releases.current(process).is_some_and(|current| current.name == *name);
        let mut pins = self.releases.pins(process).into_iter();
        let pinned = pins.find(|(_, release)| release == name);
        let why = match pinned {
            Some((instance, _)) => Some(format!("{instance} is pinned to it")),
            None => current.then(|| format!("{process} runs from it")),
        };
        if let Some(why) = why {
            return Err(ReleaseError::InUse { process: process.clone(), name: name.clone(), why });
        }
        let removed = self.store.remove_release(process.clone(), name.clone()).await;
        let was = removed.map_err(ManageError::from)?;
        let mut known = self.releases.write();
        known.releases.remove(&(process.clone(), name.clone()));
        if let Some(current) = known.current.get_mut(process) {
            current.previous.take_if(|previous| previous == name);
        }
        self.deploys.forget_prepared(process, name);
        Ok(was)
    }

    /// Has the instances of a process run from `release`, each from its next start on, unless they stay at
    /// another. The one before is the one that a rollback goes to.
    ///
    /// # Errors
    /// [`ManageError::Invalid`] if there is no such release that is ready; or the store's.
    pub async fn set_current_release(
        &self,
        process: &ProcessName,
        release: &ReleaseName,
    ) -> Result<(), ManageError> {
        let _turn = self.releases.changes.lock().await;
        self.must_be_ready(process, release)?;
        let before = self.releases.current(process);
        let previous = match before {
            Some(before) if before.name == *release => return Ok(()),
            before => before.map(|before| before.name),
        };
        let current = Current { name: release.clone(), previous };
        self.store.set_current_release(process.clone(), Some(current.clone())).await?;
        self.releases.write().current.insert(process.clone(), current);
        self.assign(process);
        Ok(())
    }

    /// Has one instance stay at a release from its next start on, or (with `None`) go with its process again.
    ///
    /// # Errors
    /// As for [`Self::set_current_release`].
    pub async fn pin(
        &self,
        name: &InstanceName,
        release: Option<&ReleaseName>,
    ) -> Result<(), ManageError> {
        let _turn = self.releases.changes.lock().await;
        if let Some(release) = release {
            self.must_be_ready(name.process(), release)?;
        }
        self.store.pin(name.clone(), release.cloned()).await?;
        {
            let mut known = self.releases.write();
            match release {
                Some(release) => drop(known.pins.insert(name.clone(), release.clone())),
                None => drop(known.pins.remove(name)),
            }
        }
        if let Some(instance) = self.known(name) {
            instance.set_release(self.releases.of(name));
        }
        Ok(())
    }

    /// Puts a process back to what it ran from, with the release before that: as if it had never been moved.
    ///
    /// # Errors
    /// If that is gone, or the store can't be written.
    pub(super) async fn restore_release(
        &self,
        process: &ProcessName,
        before: Option<Current>,
    ) -> Result<(), ManageError> {
        let _turn = self.releases.changes.lock().await;
        if let Some(before) = &before {
            self.must_be_ready(process, &before.name)?;
        }
        self.store.set_current_release(process.clone(), before.clone()).await?;
        {
            let mut known = self.releases.write();
            match before {
                Some(before) => drop(known.current.insert(process.clone(), before)),
                None => drop(known.current.remove(process)),
            }
        }
        self.assign(process);
        Ok(())
    }

    /// Registers an instance that stays at a release and gets no requests by weight.
    ///
    /// # Errors
    /// If there is no such release, the name does not fit, or the store can't be written.
    pub(super) async fn register_at(
        &self,
        name: &InstanceName,
        release: &ReleaseName,
    ) -> Result<(), ManageError> {
        let _registering = self.changes.lock().await;
        let _turn = self.releases.changes.lock().await;
        self.must_be_ready(name.process(), release)?;
        let config = self.config.load_full();
        let Some(definition) = config.processes.get(name.process()) else {
            let known = config.processes.keys().cloned().collect();
            return Err(ManageError::UnknownProcess { process: name.process().clone(), known });
        };
        let fits = crate::plan::paths(name, definition, &config.settings, &self.run_dir);
        fits.map_err(|error| ManageError::Invalid {
            field: "instance",
            message: error.to_string(),
        })?;
        let (ports, release) = (config.settings.port_range, release.clone());
        let one = self.store.register_pinned(name.clone(), release.clone(), ports).await?;
        self.releases.write().pins.insert(name.clone(), release);
        self.domains.note_weights(vec![(name.clone(), Some(0))]);
        self.admit([one]);
        if let Some(instance) = self.known(name) {
            instance.set_release(self.releases.of(name));
        }
        self.publish();
        Ok(())
    }

    /// Has a process that uses no releases any more run from none.
    ///
    /// # Errors
    /// If the store can't be written.
    pub(super) async fn set_no_current_release(
        &self,
        process: &ProcessName,
    ) -> Result<(), ManageError> {
        let _turn = self.releases.changes.lock().await;
        self.store.set_current_release(process.clone(), None).await?;
        self.releases.write().current.remove(process);
        self.assign(process);
        Ok(())
    }

    pub(super) fn is_ready(&self, process: &ProcessName, release: &ReleaseName) -> bool {
        let found = self.releases.get(process, release);
        found.is_some_and(|found| found.state == ReleaseState::Ready)
    }

    pub(super) fn must_be_ready(
        &self,
        process: &ProcessName,
        release: &ReleaseName,
    ) -> Result<(), ManageError> {
        if self.is_ready(process, release) {
            return Ok(());
        }
        Err(ManageError::UnknownRelease { process: process.clone(), release: release.clone() })
    }

    /// Tells each instance of a process what it runs from.
    fn assign(&self, process: &ProcessName) {
        for instance in self.all_known() {
            if instance.name.process() == process {
                instance.set_release(self.releases.of(&instance.name));
            }
        }
    }
}
