//! The verbs on one instance. Each may be repeated, and ends in the state that it names.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use tenement_wire::InstanceName;

use super::builder::{Builder, done};
use super::recipe::{io_error, parent};
use super::reclaim::CGROUPS;
use super::{UnitsError, accounts, dirs, purge, secrets, uids};
use crate::kernel::cgroup;
use crate::plan::{self, Particulars};
use crate::systemd::SystemdError;

/// Beyond the config's own startup timeout, after which systemd ends the start job by itself.
const START_BOUND: Duration = Duration::from_secs(3600);

/// How long a freeze or thaw of somebody else's may take, and between two tries meanwhile.
const FREEZER_BOUND: Duration = Duration::from_secs(5);
const FREEZER_PAUSE: Duration = Duration::from_millis(5);

impl Builder {
    /// Stops and unloads the pair. Its data stays.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn unload(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let _turn = self.turn(name).await;
        self.unload_in_turn(name).await
    }

    async fn unload_in_turn(&self, name: &InstanceName) -> Result<(), UnitsError> {
        self.remove(name).await?;
        let place = self.place();
        let run = place.run_dir.join(name.process().as_str());
        match dirs::open_trusted(&run, place.owner, false) {
            Ok(run) => {
                let remove = |entry: &str| purge::remove_tree(&run, entry);
                remove(&format!("{}.busy", name.id())).map_err(|e| io_error(name, &e))?;
                remove(name.id().as_str()).map_err(|e| io_error(name, &e))
            }
            // No directory, nothing in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error(name, &error)),
        }
    }

    /// Loads the pair if need be and starts the service; returns when it is up.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn start(&self, name: &InstanceName, with: &Particulars) -> Result<(), UnitsError> {
        let _turn = self.turn(name).await;
        self.load_in_turn(name, with).await?;
        self.start_in_turn(name).await
    }

    async fn start_in_turn(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let service = name.service_unit();
        // A failed unit starts as well; this only keeps `NRestarts` and old limits out of it.
        self.manager().reset_failed(&service).await?;
        done(&service, self.manager().start_unit(&service, START_BOUND).await?)
    }

    /// Stops the service and returns when it is down. Its socket stays, so that the next request wakes
    /// it. A pair that isn't loaded is stopped already.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn stop(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let _turn = self.turn(name).await;
        self.stop_in_turn(name).await
    }

    async fn stop_in_turn(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let service = name.service_unit();
        self.thaw_first(&service).await?;
        let bound = self.stop_bound(&service).await?;
        match self.manager().stop_unit(&service, bound).await {
            Ok(result) => done(&service, result)?,
            Err(SystemdError::Absent(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        // An app that dies of the SIGTERM with a status of its own has "failed": not for us.
        Ok(self.manager().reset_failed(&service).await?)
    }

    /// Stops the service, takes the config's newest revision, and starts it again.
    ///
    /// # Errors
    /// See [`UnitsError`]. A config that can't be used is found before anything is stopped.
    pub async fn restart(&self, name: &InstanceName, with: &Particulars) -> Result<(), UnitsError> {
        let _turn = self.turn(name).await;
        let loaded = self.load_in_turn(name, with).await?;
        if loaded.stale {
            self.remove(name).await?;
            self.load_in_turn(name, with).await?;
            return self.start_in_turn(name).await;
        }
        let service = name.service_unit();
        self.thaw_first(&service).await?;
        self.manager().reset_failed(&service).await?;
        let bound = START_BOUND.saturating_add(self.stop_bound(&service).await?);
        done(&service, self.manager().restart_unit(&service, bound).await?)
    }

    /// Freezes the service: none of its processes runs until it is thawed. systemd#38517: a unit with a
    /// watchdog would be killed for it, so such a one is refused.
    ///
    /// Returns the open `cgroup.freeze` file of its control group, where there is one: writing `0` to it
    /// thaws the service at once, and systemd, which watches `cgroup.events`, follows.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn freeze(&self, name: &InstanceName) -> Result<Option<OwnedFd>, UnitsError> {
        let _turn = self.turn(name).await;
        let service = name.service_unit();
        if self.manager().has_watchdog(&service).await? {
            return Err(UnitsError::Refused(format!(
                "{service} has WatchdogSec= (by a drop-in?), and systemd's watchdog would kill it while \
                 it is frozen: remove it, or freeze_after from the config"
            )));
        }
        self.manager().freeze_unit(&service).await?;
        let group = self.manager().control_group(&service).await?.unwrap_or_default();
        match cgroup::open(Path::new(CGROUPS), &group).and_then(|g| cgroup::freezer(&g)) {
            Ok(switch) => Ok(Some(switch)),
            Err(error) => {
                log::debug!("{name} will be thawed through systemd: {error}");
                Ok(None)
            }
        }
    }

    /// Thaws a frozen service; one that isn't frozen is left as it is.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn thaw(&self, name: &InstanceName) -> Result<(), UnitsError> {
        // No turn: a request waits for this, and a stop that has the turn thaws it as well.
        let service = name.service_unit();
        let deadline = tokio::time::Instant::now() + FREEZER_BOUND;
        loop {
            match self.manager().thaw_unit(&service).await {
                // Somebody is freezing or thawing it at this moment, or has taken its turn from this one.
                Err(SystemdError::Other(error))
                    if ["UnitBusy", "FreezeCancelled"].iter().any(|word| error.contains(word))
                        && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(FREEZER_PAUSE).await;
                }
                // What has ended is not frozen.
                Err(SystemdError::Other(error)) if error.contains("UnitInactive") => return Ok(()),
                other => return Ok(other?),
            }
        }
    }

    /// Thaws a service that is frozen, or is being frozen: systemd 257 refuses to stop one (job result
    /// `frozen`), and systemd 252 waits until it kills the app.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub(super) async fn thaw_first(&self, service: &str) -> Result<(), UnitsError> {
        match self.manager().freezer_state(service).await?.as_deref() {
            None | Some("" | "running") => Ok(()),
            Some(_) => match self.manager().thaw_unit(service).await {
                Ok(()) | Err(SystemdError::Absent(_)) => Ok(()),
                // It ended meanwhile; or it was stopped by hand while it was frozen, after which systemd
                // 252 says `thawing` until the unit is unloaded. The stop itself tells what is wrong.
                Err(SystemdError::Other(error)) => {
                    log::debug!("thawing {service}: {error}");
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Forgets that the pair failed and makes its socket listen again.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn reset(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let _turn = self.turn(name).await;
        let (service, socket) = self.pair(name).await?;
        let up = service.is_some_and(|service| !service.active.is_down());
        match socket {
            // systemd refuses to start a socket whose service is up; it listens when that ends.
            Some(socket) if socket.active.is_down() && !up => self.listen_again(name).await,
            _ => Ok(self.manager().reset_failed(&name.service_unit()).await?),
        }
    }

    /// Unloads the pair and deletes the instance's data.
    ///
    /// # Errors
    /// See [`UnitsError`]. A mount point below the data directory is refused.
    pub async fn purge(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let config = self.source().load()?;
        let _turn = self.turn(name).await;
        // They could write into what is being deleted.
        self.end_tasks(name).await?;
        self.unload_in_turn(name).await?;
        let data = config.settings.data_dir.join(name.process().as_str());
        let (builder, whose) = (self.clone(), name.clone());
        let delete =
            move || builder.delete_data(&data, &whose).map_err(|error| io_error(&whose, &error));
        super::release::blocking(delete).await?;
        secrets::forget(self.place(), name).map_err(|error| io_error(name, &error))?;
        let place = self.place();
        if let Some(def) = config.processes.get(name.process())
            && let Ok(paths) = plan::paths(name, def, &config.settings, &place.run_dir)
            && let Some(link) = paths.publish
        {
            unpublish(&link, place.owner).map_err(|error| io_error(name, &error))?;
        }
        Ok(())
    }
}

/// systemd keeps the state of dynamic users here, with a symlink from `/var/lib` (systemd.exec(5),
/// `DynamicUser=`).
pub(super) const DYNAMIC_STATE: &str = "/var/lib/private";

impl Builder {
    /// Deletes the instance's directory below `data`, and forgets its user.
    fn delete_data(&self, data: &Path, name: &InstanceName) -> io::Result<()> {
        let (place, id) = (self.place(), name.id().as_str());
        let parent = match dirs::open_trusted(data, place.owner, false) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let owner = dirs::lstat_owner(&parent, id)?;
        if place.is_system()
            && let Ok(state) = data.strip_prefix("/var/lib")
            && let Ok(dir) = dirs::open_trusted(&Path::new(DYNAMIC_STATE).join(state), 0, false)
        {
            purge::remove_tree(&dir, id)?;
        }
        purge::remove_tree(&parent, id)?;
        for name in super::archive::beside(&parent, id)? {
            purge::remove_tree(&parent, &name)?;
        }
        if let (Some(userdb), Some(uid)) = (&place.userdb_dir, owner.filter(|u| uids::is_ours(*u)))
        {
            accounts::withdraw(userdb, uid);
        }
        Ok(())
    }
}

/// Removes the symlink that was published, and nothing but a symlink.
fn unpublish(link: &Path, owner: u32) -> io::Result<()> {
    use rustix::fs::{AtFlags, FileType, statat, unlinkat};
    let dir = dirs::open_trusted(parent(link)?, owner, false)?;
    let name = link.file_name().unwrap_or_default();
    let is_link = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink());
    if is_link { Ok(unlinkat(&dir, name, AtFlags::empty())?) } else { Ok(()) }
}
