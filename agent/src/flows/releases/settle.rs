//! Deletes what is not needed any more, and brings rows and directories together when the agent starts.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tenement_wire::{InstanceName, ProcessName, ReleaseName};

use super::ReleaseError;
use super::keep::{Candidate, superfluous};
use super::make::{Notes, locked};
use crate::flows::agent::Agent;
use crate::flows::clock::now_ms;
use crate::flows::host::{Host, HostError};
use crate::flows::instance::{Instance, Phase};
use crate::store::releases::{ReleaseState, StoredRelease};

/// Instances that systemd is asked about side by side.
const AT_ONCE: usize = 16;
const GONE: &str = "its directory is gone";

impl<H: Host> Agent<H> {
    /// What the units of each instance of a process were made from, where they are loaded and say so.
    ///
    /// # Errors
    /// If one of them can't be asked about: then nobody knows what is needed.
    pub(super) async fn loaded_releases(
        &self,
        process: &ProcessName,
    ) -> Result<BTreeMap<InstanceName, ReleaseName>, HostError> {
        let loaded =
            |one: &Arc<Instance>| one.name.process() == process && one.phase() != Phase::Dormant;
        let ask = |instance: Arc<Instance>| async move {
            let release = self.host.loaded_release(&instance.name).await?;
            Ok(release.map(|release| (instance.name.clone(), release)))
        };
        let instances: Vec<_> = self.all_known().into_iter().filter(loaded).collect();
        let asked: Vec<Result<Option<_>, HostError>> =
            stream::iter(instances.into_iter().map(ask)).buffered(AT_ONCE).collect().await;
        asked.into_iter().filter_map(Result::transpose).collect()
    }

    /// Those that something needs, and what.
    async fn needed(
        &self,
        process: &ProcessName,
    ) -> Result<BTreeMap<ReleaseName, String>, HostError> {
        let mut needed = BTreeMap::new();
        for (name, release) in self.loaded_releases(process).await? {
            needed.insert(release, format!("{name} was started from it"));
        }
        for (name, release) in self.releases.pins(process) {
            needed.insert(release, format!("{name} is pinned to it"));
        }
        for (_, release) in
            locked(&self.releases.workshop.held).keys().filter(|(p, _)| p == process)
        {
            needed
                .insert(release.clone(), "it is being deployed, or a command runs from it".into());
        }
        for (name, tag, release) in self.host.task_releases(process).await? {
            let what = tag.job().map_or("a command".to_owned(), |job| format!("the job {job}"));
            needed.insert(release, format!("{what} of {name} runs from it"));
        }
        // One that is out of the config, or uses releases no more, runs from none and goes back to none.
        let current =
            self.releases.current(process).filter(|_| self.uses_releases(process).is_ok());
        if let Some(current) = current {
            let previous = current.previous.map(|name| (name, "a rollback goes to it".to_owned()));
            needed.extend(previous);
            needed.insert(current.name, format!("{process} runs from it"));
        }
        Ok(needed)
    }

    /// Deletes releases of a process that are not needed any more, as its config says (`keep`). What fails is tried
    /// again the next time.
    pub async fn collect_releases(&self, process: &ProcessName) {
        let Ok(definition) = self.uses_releases(process) else { return };
        let needed = match self.needed(process).await {
            Ok(needed) => needed,
            Err(error) => return log::warn!("old releases of {process} stay for now: {error}"),
        };
        let candidate = |one: StoredRelease| Candidate {
            needed: needed.contains_key(&one.name),
            ready: match one.state {
                ReleaseState::Building => None,
                ReleaseState::Ready => Some(true),
                ReleaseState::Failed => Some(false),
            },
            name: one.name,
            at_ms: one.at_ms,
        };
        let all = self.releases.of_process(process).into_iter().map(candidate).collect();
        for name in superfluous(all, definition.deploy.keep as usize) {
            match self.delete_release(process, &name).await {
                Ok(()) => {
                    log::info!(TENEMENT_PROCESS = process.as_str(); "release {name} of {process} is deleted: newer ones are kept")
                }
                Err(error) => log::warn!("release {name} of {process} stays for now: {error}"),
            }
        }
    }

    /// Deletes a release that nothing needs, or ends its build.
    ///
    /// # Errors
    /// [`ReleaseError::Unknown`], [`ReleaseError::InUse`] with who needs it; or the helper's or the store's.
    pub async fn remove_release(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
    ) -> Result<(), ReleaseError> {
        if self.releases.get(process, name).is_none() {
            return Err(ReleaseError::Unknown { process: process.clone(), name: name.clone() });
        }
        let mut needed = self.needed(process).await.map_err(ReleaseError::host)?;
        let is_current =
            self.releases.current(process).is_some_and(|current| current.name == *name);
        if is_current && !needed.contains_key(name) {
            self.set_no_current_release(process).await?;
        }
        if let Some(why) = needed.remove(name) {
            return Err(ReleaseError::InUse { process: process.clone(), name: name.clone(), why });
        }
        if let Some(log) = self.releases.workshop.log(process, name) {
            log.call_off();
            // Its maker notes how it ended, and the row stays for that.
            return self.host.remove_release(process, name).await.map_err(ReleaseError::host);
        }
        self.delete_release(process, name).await
    }

    async fn delete_release(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
    ) -> Result<(), ReleaseError> {
        // The row first: it is what refuses if somebody has come to need it meanwhile.
        let row = self.releases.get(process, name);
        self.forget_release(process, name).await?;
        if let Err(error) = self.host.remove_release(process, name).await {
            if let Some(row) = row {
                self.put_release(row).await?;
            }
            return Err(ReleaseError::host(error));
        }
        if let Some(path) = self.releases.workshop.log_file(process, name) {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    /// Brings rows and directories together after a start of the agent, and deletes what is not needed.
    pub async fn settle_releases(self: Arc<Self>) {
        let looked_ms = now_ms();
        let on_disk: HashSet<_> = match self.host.releases().await {
            Ok(found) => found.into_iter().collect(),
            Err(error) => return log::warn!("releases are not looked through: {error}"),
        };
        for (process, name) in &on_disk {
            if self.releases.get(process, name).is_none() {
                log::warn!(TENEMENT_PROCESS = process.as_str(); "there is a directory of a release {name} of {process} that nobody knows of; delete it by hand if it is not wanted");
            }
        }
        for process in &self.releases.processes() {
            for mut row in self.releases.of_process(process) {
                // Uploads are taken meanwhile: what came after the look was not there to be seen.
                if row.at_ms >= looked_ms {
                    continue;
                }
                let there = on_disk.contains(&(process.clone(), row.name.clone()));
                if self.settle_row(&mut row, there).await
                    && let Err(error) = self.put_release(row).await
                {
                    log::warn!("what became of a release of {process} can't be stored: {error}");
                }
            }
            self.collect_releases(process).await;
        }
    }

    /// Whether a row had to be changed.
    async fn settle_row(&self, row: &mut StoredRelease, there: bool) -> bool {
        let mut notes = Notes::of(row);
        let failure = match row.state {
            ReleaseState::Ready if !there => Some(GONE),
            ReleaseState::Building
                if self.releases.workshop.log(&row.process, &row.name).is_none() =>
            {
                if let Err(error) = self.host.remove_release(&row.process, &row.name).await {
                    log::warn!("what is left of release {} of {}: {error}", row.name, row.process);
                }
                Some("the agent was started anew while it was made")
            }
            // The disk that it lies on has come back.
            ReleaseState::Failed if there && notes.failure.as_deref() == Some(GONE) => None,
            _ => return false,
        };
        row.state = if failure.is_some() { ReleaseState::Failed } else { ReleaseState::Ready };
        notes.failure = failure.map(str::to_owned);
        if let Some(failure) = failure {
            log::error!(TENEMENT_PROCESS = row.process.as_str(); "release {} of {} has failed: {failure}", row.name, row.process);
        }
        notes.onto(row);
        true
    }
}
