//! Releases: made and deleted by the helper; which of them is loaded, systemd knows.

use std::os::fd::OwnedFd;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tenement_wire::{InstanceName, ProcessName, ReleaseName, TaskTag};

use super::{Edge, from_systemd, from_units, steadily};
use crate::flows::host::{HostError, TaskRelease};
use crate::units::Sealed;

/// The variable in a unit that says what it was made from.
const RELEASE: &str = "TENEMENT_RELEASE=";
/// Units that systemd is asked about side by side.
const AT_ONCE: usize = 16;

impl Edge {
    /// See [`crate::flows::host::Host::make_release`]. It is asked for once only: what was cut off is removed, and whoever
    /// wants it uploads it again.
    pub(super) async fn release_make(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
        streams: (OwnedFd, OwnedFd),
        timeout: Duration,
    ) -> Result<Sealed, HostError> {
        let made = self.units.make_release(process, name, streams, timeout).await;
        if matches!(
            made,
            Err(crate::units::UnitsError::Unreachable(_) | crate::units::UnitsError::Timeout(_))
        ) {
            // Nobody knows how far it came.
            if let Err(error) = self.release_remove(process, name).await {
                log::warn!("what is left of release {name} of {process}: {error}");
            }
        }
        made.map_err(from_units)
    }

    pub(super) async fn release_remove(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
    ) -> Result<(), HostError> {
        steadily(|| self.units.remove_release(process, name)).await
    }

    pub(super) async fn release_list(&self) -> Result<Vec<(ProcessName, ReleaseName)>, HostError> {
        steadily(|| self.units.releases()).await
    }

    pub(super) async fn release_loaded(
        &self,
        name: &InstanceName,
    ) -> Result<Option<ReleaseName>, HostError> {
        self.release_of_unit(&name.service_unit()).await
    }

    async fn release_of_unit(&self, unit: &str) -> Result<Option<ReleaseName>, HostError> {
        let unit = self.systemd.brief(unit).await.map_err(from_systemd)?;
        let environment = unit.map(|unit| unit.environment).unwrap_or_default();
        let text = environment.iter().find_map(|variable| variable.strip_prefix(RELEASE));
        Ok(text.and_then(|text| ReleaseName::new(text).ok()))
    }

    pub(super) async fn release_of_tasks(
        &self,
        process: &ProcessName,
    ) -> Result<Vec<TaskRelease>, HostError> {
        let tasks = self.systemd.tasks_of_process(process).await.map_err(from_systemd)?;
        let ask = |(name, tag): (InstanceName, TaskTag)| async move {
            let release = self.release_of_unit(&name.task_unit(&tag)).await?;
            Ok(release.map(|release| (name, tag, release)))
        };
        let asked: Vec<Result<Option<TaskRelease>, HostError>> =
            stream::iter(tasks.into_iter().map(ask)).buffered(AT_ONCE).collect().await;
        asked.into_iter().filter_map(Result::transpose).collect()
    }
}
