//! Limits beyond the unit of an instance: those that change while it runs, totals of slices, and the size
//! of its data.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use tenement_wire::{InstanceName, ResourceLimits};

use super::builder::Builder;
use super::recipe::io_error;
use super::{UnitsError, dirs, measure};
use crate::config::Config;
use crate::plan::{self, Particulars};

/// The totals that this process has set, by slice.
#[derive(Debug, Default)]
pub(super) struct Totals(Mutex<HashMap<String, ResourceLimits>>);

impl Totals {
    fn last(&self, slice: &str) -> Option<ResourceLimits> {
        self.0.lock().expect("no panic while held").get(slice).cloned()
    }

    fn note(&self, slice: &str, limits: &ResourceLimits) {
        self.0.lock().expect("no panic while held").insert(slice.to_owned(), limits.clone());
    }
}

impl Builder {
    /// Gives the running service the limits that are in force now; one that is down has them from its
    /// next start. Says whether it runs. The limits that a running service keeps are told by
    /// [`plan::is_live`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn apply(&self, name: &InstanceName, with: &Particulars) -> Result<bool, UnitsError> {
        let config = self.source().load()?;
        let def = config
            .processes
            .get(name.process())
            .ok_or_else(|| UnitsError::unknown_process(name))?;
        let limits = def.limits_of(&with.overrides, &config.settings);
        let data_dir = data_dir(&config, name);
        let _turn = self.turn(name).await;
        // systemd would make up a unit that isn't loaded, and keep its limits for later ones.
        let (service, _) = self.pair(name).await?;
        if service.is_none_or(|service| service.active.is_down()) {
            return Ok(false);
        }
        let properties = plan::live(&limits, &data_dir);
        self.manager().set_properties(&name.service_unit(), properties).await?;
        Ok(true)
    }

    /// Sets the totals of the config on the slices that hold `name`, where they are not set yet.
    pub(super) async fn set_totals(
        &self,
        config: &Config,
        name: &InstanceName,
    ) -> Result<(), UnitsError> {
        let of_process = config.processes.get(name.process()).map(|def| def.totals());
        let slices = [
            (plan::OVERALL_SLICE.to_owned(), Some(&config.settings.total)),
            (plan::process_slice(name.process()), of_process.as_ref()),
        ];
        for (slice, limits) in slices {
            let Some(limits) = limits else { continue };
            let last = self.totals().last(&slice);
            let same = match &last {
                Some(last) => last == limits,
                // Set by an earlier one of us, or not at all.
                None => limits.is_empty() && !self.has_totals(&slice),
            };
            if same {
                continue;
            }
            let properties = plan::of_slice(limits, &config.settings.data_dir);
            self.manager().set_properties(&slice, properties).await?;
            self.totals().note(&slice, limits);
        }
        Ok(())
    }

    /// Whether systemd keeps properties that were set for a slice until the next boot.
    fn has_totals(&self, slice: &str) -> bool {
        let control = if self.place().is_system() { "system.control" } else { "user.control" };
        let run = self.place().run_dir.parent().unwrap_or(Path::new("/run"));
        run.join("systemd").join(control).join(format!("{slice}.d")).is_dir()
    }

    /// Size of the instance's data on disk, in bytes; what lies on other mounts is not counted.
    ///
    /// # Errors
    /// See [`UnitsError`]; a tree with more entries or levels than an app's data has is refused.
    pub async fn measure(&self, name: &InstanceName) -> Result<u64, UnitsError> {
        let config = self.source().load()?;
        let (builder, of) = (self.clone(), name.clone());
        let data = config.settings.data_dir.join(name.process().as_str());
        let walked = data.clone();
        // A walk takes as long as there are files: not on a thread that answers calls.
        let walk = tokio::task::spawn_blocking(move || builder.size(&walked, &of));
        let size = walk.await.map_err(|e| UnitsError::Systemd(format!("measuring {name}: {e}")))?;
        let size = match size {
            // The unit helper has no right to list what belongs to an instance.
            Err(error) if is_denied(&error) && self.place().is_system() => {
                let dynamic = data
                    .strip_prefix("/var/lib")
                    .map(|state| Path::new(super::verbs::DYNAMIC_STATE).join(state));
                let trees = [Some(data.clone()), dynamic.ok()].into_iter().flatten();
                measure::elsewhere(trees.map(|tree| tree.join(name.id().as_str()))).await
            }
            size => size,
        };
        size.map_err(|error| io_error(name, &error))
    }

    fn size(&self, data: &Path, name: &InstanceName) -> io::Result<u64> {
        let (place, id) = (self.place(), name.id().as_str());
        let open = |data: &Path, owner| match dirs::open_trusted(data, owner, false) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let mut size = 0;
        // Data of dynamic users lies elsewhere, behind a symlink, which is not followed.
        if place.is_system()
            && let Ok(state) = data.strip_prefix("/var/lib")
            && let Some(dir) = open(&Path::new(super::verbs::DYNAMIC_STATE).join(state), 0)?
        {
            size += measure::tree(&dir, id)?;
        }
        if let Some(dir) = open(data, place.owner)? {
            size += measure::tree(&dir, id)?;
        }
        Ok(size)
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn data_dir(config: &Config, name: &InstanceName) -> std::path::PathBuf {
    config.settings.data_dir.join(name.process().as_str()).join(name.id().as_str())
}
