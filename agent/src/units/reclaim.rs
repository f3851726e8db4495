//! Takes back the memory of an instance that runs and is idle.

use std::path::Path;

use tenement_wire::InstanceName;

use super::recipe::io_error;
use super::{Builder, UnitsError};
use crate::kernel::cgroup;

/// Where the unified hierarchy is mounted.
pub(super) const CGROUPS: &str = "/sys/fs/cgroup";

impl Builder {
    /// Has the kernel take back the memory of the service, which goes on running.
    ///
    /// # Errors
    /// See [`UnitsError`]; `Refused` where the kernel or the host can't do it, or the service is down.
    pub async fn reclaim(&self, name: &InstanceName) -> Result<(), UnitsError> {
        // No turn: it takes seconds, and a stop need not wait for it.
        let _slot = self.reclaims().acquire().await;
        let group = self.manager().control_group(&name.service_unit()).await?.unwrap_or_default();
        if group.is_empty() {
            return Err(UnitsError::Refused(format!("{name} is not running")));
        }
        let work = move || {
            let group = cgroup::open(Path::new(CGROUPS), &group)?;
            cgroup::reclaim(&group)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let (before, after) = done.map_err(|error| io_error(name, &error))?;
        log::info!(
            TENEMENT_PROCESS = name.process().as_str(), TENEMENT_INSTANCE = name.id().as_str();
            "reclaimed memory of {name}: {} kB were {} kB", after / 1024, before / 1024
        );
        Ok(())
    }
}
