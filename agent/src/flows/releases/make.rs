//! Makes releases: an upload, a build, a row.
//!
//! ```text
//! begin ─► Upload (its name is taken) ─ body ─► make ─► row `building` ─ unit helper ─► row `ready` or `failed`
//!                                                            └─ pipe ─► BuildLog ─► followers, and a file
//! ```
//! The upload is answered once it is whole; the build goes on by itself, whoever hangs up.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use tenement_wire::events::{Actor, Event, EventKind};
use tenement_wire::{InstanceName, ProcessName, ReleaseName, ReleaseSource};
use tokio::sync::{Semaphore, watch};

use super::ReleaseError;
use super::buildlog::BuildLog;
use super::spool::Spool;
use crate::config::Definition;
use crate::flows::ManageError;
use crate::flows::agent::Agent;
use crate::flows::clock::{mono_ms, now_ms};
use crate::flows::host::{Host, HostError};
use crate::plan::Particulars;
use crate::store::releases::{ReleaseState, StoredRelease};
use crate::units::Sealed;

/// Builds at once; more wait. Each may need all the memory that its config gives it.
const BUILDS: usize = 2;

type Key = (ProcessName, ReleaseName);

/// What is being made.
#[derive(Debug)]
pub struct Workshop {
    /// Where uploads and logs of builds lie. Set before anything is made.
    pub dir: OnceLock<PathBuf>,
    making: Arc<Mutex<HashMap<ProcessName, ReleaseName>>>,
    logs: Mutex<HashMap<Key, Arc<BuildLog>>>,
    pub(super) held: Arc<Mutex<HashMap<Key, usize>>>,
    slots: Semaphore,
}

impl Default for Workshop {
    fn default() -> Self {
        Self {
            dir: OnceLock::new(),
            making: Arc::default(),
            logs: Mutex::default(),
            held: Arc::default(),
            slots: Semaphore::new(BUILDS),
        }
    }
}

// Every change is one step, so a poisoned lock still holds what is true.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workshop {
    fn directory(&self) -> Result<&PathBuf, ReleaseError> {
        let none = || ManageError::Internal("no directory for builds".into());
        Ok(self.dir.get().ok_or_else(none)?)
    }

    /// What the build of a release prints, while it runs.
    pub(super) fn log(&self, process: &ProcessName, name: &ReleaseName) -> Option<Arc<BuildLog>> {
        locked(&self.logs).get(&(process.clone(), name.clone())).cloned()
    }

    /// Where it is afterwards.
    pub(super) fn log_file(&self, process: &ProcessName, name: &ReleaseName) -> Option<PathBuf> {
        Some(self.dir.get()?.join(process.as_str()).join(format!("{name}.log")))
    }

    fn reserve(&self, process: &ProcessName, name: &ReleaseName) -> Result<Reserved, ReleaseError> {
        let mut making = locked(&self.making);
        if let Some(other) = making.get(process) {
            return Err(ReleaseError::Building { process: process.clone(), name: other.clone() });
        }
        making.insert(process.clone(), name.clone());
        Ok(Reserved { making: self.making.clone(), process: process.clone() })
    }
}

/// The right to make a release of a process, until dropped: one at a time.
#[derive(Debug)]
struct Reserved {
    making: Arc<Mutex<HashMap<ProcessName, ReleaseName>>>,
    process: ProcessName,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        locked(&self.making).remove(&self.process);
    }
}

/// A release that is needed by whoever holds this: it is not deleted meanwhile.
#[derive(Debug)]
pub struct Hold {
    held: Arc<Mutex<HashMap<Key, usize>>>,
    key: Key,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = locked(&self.held);
        if let Some(count) = held.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}

/// An upload that is on its way.
#[derive(Debug)]
pub struct Upload {
    /// Where it goes.
    pub spool: Spool,
    name: ReleaseName,
    definition: Arc<Definition>,
    reserved: Reserved,
}

/// What is stored of a release beside its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    pub by: String,
    pub source: String,
    pub took_ms: Option<u64>,
    pub bytes: u64,
    pub files: u64,
    pub digest: String,
    pub failure: Option<String>,
}

impl Notes {
    /// What can't be read is as good as nothing: it is for people only.
    pub(super) fn of(release: &StoredRelease) -> Self {
        serde_json::from_str(&release.doc).unwrap_or_default()
    }

    pub(super) fn onto(&self, release: &mut StoredRelease) {
        release.doc = serde_json::to_string(self).unwrap_or_default();
    }
}

impl<H: Host> Agent<H> {
    /// Keeps a release from being deleted for as long as the answer lives.
    #[must_use]
    pub fn hold_release(&self, process: &ProcessName, name: &ReleaseName) -> Hold {
        let (held, key) = (self.releases.workshop.held.clone(), (process.clone(), name.clone()));
        *locked(&held).entry(key.clone()).or_default() += 1;
        Hold { held, key }
    }

    /// The same for the release that something is run from in an instance, if it is one.
    pub(in crate::flows) fn hold_release_of(
        &self,
        name: &InstanceName,
        with: &Particulars,
    ) -> Option<Hold> {
        with.release.as_ref().map(|release| self.hold_release(name.process(), release))
    }

    /// Takes a name for an upload, which is then to be written to its spool.
    ///
    /// # Errors
    /// If the process is none or uses no releases, the name is taken, or another release of it is being made.
    pub fn begin_release(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
    ) -> Result<Upload, ReleaseError> {
        let definition = self.uses_releases(process)?;
        let found = self.releases.get(process, name);
        let (process, name) = (process.clone(), name.clone());
        match found.map(|found| found.state) {
            None | Some(ReleaseState::Failed) => {}
            Some(ReleaseState::Building) => return Err(ReleaseError::Building { process, name }),
            Some(ReleaseState::Ready) => return Err(ReleaseError::Exists { process, name }),
        }
        let reserved = self.releases.workshop.reserve(&process, &name)?;
        let spool = self.releases.workshop.directory()?.join("spool");
        let spool = Spool::new(&spool, definition.deploy.upload_max)?;
        Ok(Upload { spool, name, definition, reserved })
    }

    pub(super) fn uses_releases(
        &self,
        process: &ProcessName,
    ) -> Result<Arc<Definition>, ReleaseError> {
        let config = self.config.load();
        let Some(definition) = config.processes.get(process) else {
            let known = config.processes.keys().cloned().collect();
            return Err(ManageError::UnknownProcess { process: process.clone(), known }.into());
        };
        if !definition.uses_releases() {
            return Err(ManageError::NoReleases { process: process.clone() }.into());
        }
        Ok(definition.clone())
    }

    /// Has a whole upload made into a release, and returns when that is begun.
    ///
    /// # Errors
    /// If it is no tar file, or the store can't be written.
    pub async fn make_release(
        self: &Arc<Self>,
        upload: Upload,
        source: &ReleaseSource,
        by: String,
    ) -> Result<StoredRelease, ReleaseError> {
        let Upload { spool, name, definition, reserved } = upload;
        let (tarball, _) = spool.finish().await?;
        let notes = Notes { by, source: source.to_string(), ..Notes::default() };
        let mut release = StoredRelease {
            process: definition.name.clone(),
            name,
            state: ReleaseState::Building,
            at_ms: now_ms(),
            doc: String::new(),
        };
        notes.onto(&mut release);
        let log = Arc::new(BuildLog::default());
        let key = (release.process.clone(), release.name.clone());
        // Before its row, which would look like one that an earlier agent has left.
        locked(&self.releases.workshop.logs).insert(key.clone(), log.clone());
        if let Err(error) = self.put_release(release.clone()).await {
            locked(&self.releases.workshop.logs).remove(&key);
            return Err(error.into());
        }
        let work = self.clone().work(release.clone(), notes, definition, tarball, log, reserved);
        tokio::spawn(work);
        Ok(release)
    }

    /// From the row to the end of the build, and to the row again.
    async fn work(
        self: Arc<Self>,
        mut release: StoredRelease,
        mut notes: Notes,
        definition: Arc<Definition>,
        tarball: OwnedFd,
        log: Arc<BuildLog>,
        reserved: Reserved,
    ) {
        let begun = mono_ms();
        let slot = match self.releases.workshop.slots.try_acquire() {
            Ok(slot) => Ok(slot),
            Err(_) => {
                log.add(b"tenement: waiting for other builds\n");
                self.releases.workshop.slots.acquire().await
            }
        };
        let made = self.build_wanted(&release, &definition, tarball, &log).await;
        drop(slot);
        notes.took_ms = Some(mono_ms().saturating_sub(begun));
        let message = match made {
            Ok(sealed) => {
                release.state = ReleaseState::Ready;
                (notes.bytes, notes.files) = (sealed.bytes, sealed.files);
                notes.digest = sealed.digest;
                format!("release {} of {} is ready", release.name, release.process)
            }
            Err(error) => {
                release.state = ReleaseState::Failed;
                let why = error.to_string();
                let message =
                    format!("release {} of {} failed: {why}", release.name, release.process);
                notes.failure = Some(why);
                message
            }
        };
        log.add(format!("tenement: {message}\n").as_bytes());
        notes.onto(&mut release);
        if let Err(error) = self.put_release(release.clone()).await {
            log::error!(TENEMENT_PROCESS = release.process.as_str(); "{message}, and that can't be stored: {error}");
        }
        self.keep_log(&release, &log).await;
        drop(reserved);
        log.end();
        let mut event = Event::new(EventKind::Operation, message).by(Actor::agent());
        event.process = Some(release.process.clone());
        self.record(event.with("release", release.name.as_str()));
        self.collect_releases(&release.process).await;
    }

    /// Builds it, unless it is deleted before or meanwhile.
    async fn build_wanted(
        &self,
        release: &StoredRelease,
        definition: &Definition,
        tarball: OwnedFd,
        log: &Arc<BuildLog>,
    ) -> Result<Sealed, HostError> {
        let deleted = || Err(HostError::Failed("it was deleted while it was being made".into()));
        if log.is_called_off() {
            return deleted();
        }
        let made = self.build(release, definition, tarball, log).await;
        if made.is_ok() && log.is_called_off() {
            self.host.remove_release(&release.process, &release.name).await?;
            return deleted();
        }
        made
    }

    async fn build(
        &self,
        release: &StoredRelease,
        definition: &Definition,
        tarball: OwnedFd,
        log: &Arc<BuildLog>,
    ) -> Result<Sealed, HostError> {
        let (reader, writer) = std::io::pipe().map_err(|e| HostError::Failed(e.to_string()))?;
        let (over, ended) = watch::channel(false);
        let following = tokio::spawn(log.clone().follow(reader.into(), ended));
        let streams = (tarball, OwnedFd::from(writer));
        let timeout = definition.deploy.build_timeout;
        let made = self.host.make_release(&release.process, &release.name, streams, timeout).await;
        let _ = over.send(true);
        let _ = following.await;
        made
    }

    async fn keep_log(&self, release: &StoredRelease, log: &Arc<BuildLog>) {
        let workshop = &self.releases.workshop;
        if let Some(path) = workshop.log_file(&release.process, &release.name) {
            let log = log.clone();
            let saved = tokio::task::spawn_blocking(move || log.save(&path)).await;
            if let Ok(Err(error)) = saved {
                log::warn!(
                    "the log of the build of {} {} is not kept: {error}",
                    release.process,
                    release.name
                );
            }
        }
        locked(&workshop.logs).remove(&(release.process.clone(), release.name.clone()));
    }
}
