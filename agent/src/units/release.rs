//! Makes releases, and deletes them.
//!
//! ```text
//! tar file, pipe ─► .draft-{name}, the build user's ─ unit ten-build-{process} ─► seal ─ rename ─► {name}, root's
//! ```
//! A release appears whole or not at all, and never in the place of another.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{RenameFlags, fstatvfs, renameat, renameat_with};
use tenement_wire::{ProcessName, ReleaseName};

use super::builder::Builder;
use super::dirs::{self, Access, open_trusted};
use super::seal::{Most, Sealed, seal};
use super::{UnitsError, accounts, purge};
use crate::config::{Config, Definition};
use crate::plan::{
    BuildContext, Mode, RELEASE_FILES_MAX, TaskEnd, build, build_unit, release_bytes_max,
};

/// What drafts begin with: no release is named so.
const DRAFT: &str = ".draft-";
/// What a build must leave of the disk, for the state of the agent and the data of tenants; how often that is looked
/// at.
const DISK_SPARE: u64 = 64 << 20;
const DISK_LOOK: Duration = Duration::from_millis(500);
/// Beyond a build's own time: its stop, and a busy PID 1.
const BEYOND: Duration = Duration::from_secs(60);

impl Builder {
    /// Makes a release of a tar file. What the build prints goes into `output`, and the journal.
    ///
    /// # Errors
    /// [`UnitsError::Refused`] if the process uses none or there is one of that name; [`UnitsError::Systemd`] if it
    /// can't be built, with how the build ended. Nothing is left of it then.
    pub async fn make_release(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
        tarball: OwnedFd,
        output: OwnedFd,
    ) -> Result<Sealed, UnitsError> {
        let config = self.source().load()?;
        let def = definition(&config, process)?.clone();
        let _turn = self.release_turn(process).await;
        let unit = build_unit(process);
        // Of a helper that was killed meanwhile.
        self.manager().end_unit(&unit, BEYOND).await?;
        let draft = format!("{DRAFT}{name}");
        let parent = self.open_releases(process)?;
        let dir = parent.try_clone().map_err(|error| told(process, name, &error))?;
        blocking(move || {
            sweep(&dir);
            Ok(())
        })
        .await?;
        if exists(&parent, name.as_str()).map_err(|error| told(process, name, &error))? {
            return Err(UnitsError::Refused(format!("{process} has a release {name} already")));
        }
        let made = self.build(&config, &def, name, (tarball, output)).await;
        let sealed = match made {
            Ok(()) => self.finish(&def, name, &parent).await,
            Err(error) => Err(error),
        };
        if sealed.is_err() {
            let gone = blocking(move || Ok(purge::remove_tree(&parent, &draft))).await?;
            if let Err(error) = gone {
                log::warn!("the draft of {process} {name} stays: {error}");
            }
        }
        sealed
    }

    /// Deletes a release, ending its build if one runs. One that isn't there is fine.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn remove_release(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
    ) -> Result<(), UnitsError> {
        let draft = format!("{DRAFT}{name}");
        let dir = self.releases_of(process);
        let parent = match open_trusted(&dir, self.place().owner, false) {
            Ok(parent) => parent,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(told(process, name, &error)),
        };
        if exists(&parent, &draft).map_err(|error| told(process, name, &error))? {
            self.manager().end_unit(&build_unit(process), BEYOND).await?;
        }
        let _turn = self.release_turn(process).await;
        let (process, name) = (process.clone(), name.clone());
        blocking(move || {
            let gone = || -> io::Result<()> {
                purge::remove_tree(&parent, &draft)?;
                // Under its own name it is whole or not there at all.
                match renameat(&parent, name.as_str(), &parent, &*draft) {
                    Err(rustix::io::Errno::NOENT) => return Ok(()),
                    other => other?,
                }
                purge::remove_tree(&parent, &draft)
            };
            gone().map_err(|error| told(&process, &name, &error))
        })
        .await
    }

    /// Releases that lie on disk, by process.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn releases(&self) -> Result<Vec<(ProcessName, ReleaseName)>, UnitsError> {
        let dir = self.place().releases_dir.clone();
        blocking(move || {
            let entries = |dir: &std::path::Path| match std::fs::read_dir(dir) {
                Ok(entries) => Ok(entries
                    .flatten()
                    .map(|e| e.file_name().to_string_lossy().into_owned())
                    .collect()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    Ok(Vec::new())
                }
                Err(error) => Err(UnitsError::Refused(format!("{}: {error}", dir.display()))),
            };
            let mut found = Vec::new();
            for process in entries(&dir)? {
                let Ok(name) = ProcessName::new(&process) else { continue };
                let names = entries(&dir.join(&process))?;
                let names = names.iter().filter_map(|text| ReleaseName::new(text).ok());
                found.extend(names.map(|release| (name.clone(), release)));
            }
            found.sort();
            Ok(found)
        })
        .await
    }

    fn releases_of(&self, process: &ProcessName) -> PathBuf {
        self.place().releases_dir.join(process.as_str())
    }

    fn open_releases(&self, process: &ProcessName) -> Result<OwnedFd, UnitsError> {
        let dir = self.releases_of(process);
        open_trusted(&dir, self.place().owner, true)
            .map_err(|error| UnitsError::Refused(format!("releases of {process}: {error}")))
    }

    /// Runs the build to its end in a new draft.
    async fn build(
        &self,
        config: &Config,
        def: &Arc<Definition>,
        name: &ReleaseName,
        (tarball, output): (OwnedFd, OwnedFd),
    ) -> Result<(), UnitsError> {
        let place = self.place();
        let dir = self.releases_of(&def.name);
        let draft = format!("{DRAFT}{name}");
        let uid = self.builder_uid(config)?;
        let parent = self.open_releases(&def.name)?;
        let owner = uid.unwrap_or(place.owner);
        let gid = uid.unwrap_or_else(|| dirs::owner_group(place.owner));
        let access = Access { uid: owner, gid, mode: 0o700 };
        dirs::ensure(&parent, &draft, access).map_err(|error| told(&def.name, name, &error))?;
        let (from, to) = (dir.join(&draft), dir.join(name.as_str()));
        let hidden = hidden(config, place);
        let ctx = BuildContext {
            mode: if place.is_system() { Mode::System } else { Mode::User },
            user: uid.map(accounts::user_name),
            draft: &from,
            place: &to,
            releases_dir: &place.releases_dir,
            data_dir: &config.settings.data_dir,
            hidden: &hidden,
            unpack: &place.unpack,
        };
        let spec = build(def, name, &ctx);
        let run = async {
            let started = self.manager().start_piped(&spec, tarball, output).await?;
            let bound = def.deploy.build_timeout.saturating_add(BEYOND);
            self.manager().task_end(&spec.name, started.end, bound).await
        };
        let (end, full) = tokio::select! {
            end = run => (end, false),
            () = until_full(&parent) => (Ok(TaskEnd::of("disk-full", 0, 0)), true),
        };
        if full {
            self.manager().end_unit(&spec.name, BEYOND).await?;
        }
        if let (Some(userdb), Some(uid)) = (&place.userdb_dir, uid) {
            accounts::withdraw(userdb, uid);
        }
        match end {
            Ok(end) if end.is_success() => Ok(()),
            Ok(end) => {
                self.manager().end_unit(&spec.name, BEYOND).await?;
                Err(UnitsError::Systemd(failure(def, &end)))
            }
            Err(error) => {
                // Whatever it is that can't be told of, it must not go on.
                self.manager().end_unit(&spec.name, BEYOND).await?;
                Err(error.into())
            }
        }
    }

    /// A user of the build's own, so that no other can meddle with it; `None` in user mode.
    fn builder_uid(&self, config: &Config) -> Result<Option<u32>, UnitsError> {
        let place = self.place();
        let Some(userdb) = &place.userdb_dir else { return Ok(None) };
        if !accounts::userdb_is_asked(&place.etc_dir) {
            return Err(UnitsError::Refused(
                "builds run as users of their own, whom only nss-systemd knows: put `systemd` into the lines passwd \
                 and group of /etc/nsswitch.conf (Debian: apt install libnss-systemd)"
                    .into(),
            ));
        }
        let refuse =
            |error: io::Error| UnitsError::Refused(format!("no user for the build: {error}"));
        let uid = self.kitchen().uids.next(&config.settings.data_dir).map_err(refuse)?;
        accounts::publish(userdb, uid).map_err(refuse)?;
        Ok(Some(uid))
    }

    /// Seals the draft and gives it its name.
    async fn finish(
        &self,
        def: &Arc<Definition>,
        name: &ReleaseName,
        parent: &OwnedFd,
    ) -> Result<Sealed, UnitsError> {
        let most = Most { bytes: release_bytes_max(def), files: RELEASE_FILES_MAX };
        let owner = self.place().owner;
        let (process, name) = (def.name.clone(), name.clone());
        let parent = parent.try_clone().map_err(|error| told(&process, &name, &error))?;
        let draft = format!("{DRAFT}{name}");
        blocking(move || {
            let refuse = |error: &io::Error| told(&process, &name, error);
            let sealed = seal(&parent, &draft, owner, most).map_err(|error| refuse(&error))?;
            // On disk before anybody is told of it.
            rustix::fs::syncfs(&parent).map_err(|error| refuse(&error.into()))?;
            renameat_with(&parent, &*draft, &parent, name.as_str(), RenameFlags::NOREPLACE)
                .map_err(|error| refuse(&error.into()))?;
            rustix::fs::fsync(&parent).map_err(|error| refuse(&error.into()))?;
            Ok(sealed)
        })
        .await
    }
}

fn definition<'c>(
    config: &'c Config,
    process: &ProcessName,
) -> Result<&'c Arc<Definition>, UnitsError> {
    let unknown = || UnitsError::NotInConfig(format!("the config has no process `{process}`"));
    let def = config.processes.get(process).ok_or_else(unknown)?;
    if def.uses_releases() {
        return Ok(def);
    }
    Err(UnitsError::Refused(format!(
        "{process} runs from no release: nothing in [process.{process}] mentions {{release}}"
    )))
}

/// What a build must not read, wherever the config has it.
fn hidden(config: &Config, place: &super::Place) -> Vec<PathBuf> {
    let mut paths = vec![place.config_dir.clone(), place.run_dir.clone(), place.state_dir.clone()];
    for def in config.processes.values() {
        paths.extend(def.env_file.iter().cloned());
        paths.extend(def.credentials.values().map(|credential| credential.path.clone()));
    }
    paths.sort();
    paths.dedup();
    paths
}

/// Until a build has left so little of the disk that others are next.
async fn until_full(dir: &OwnedFd) {
    loop {
        tokio::time::sleep(DISK_LOOK).await;
        if let Ok(disk) = fstatvfs(dir)
            && disk.f_bavail.saturating_mul(disk.f_frsize) < DISK_SPARE
        {
            return;
        }
    }
}

fn failure(def: &Definition, end: &TaskEnd) -> String {
    let unit = build_unit(&def.name);
    let how = match end.result.as_str() {
        "timeout" => {
            format!("took longer than build_timeout ({} s)", def.deploy.build_timeout.as_secs())
        }
        "oom-kill" => {
            format!("needed more than build_memory_max ({} bytes)", def.deploy.build_memory_max)
        }
        "disk-full" => format!("less than {} MiB of the disk were left", DISK_SPARE >> 20),
        other => match (end.status, end.signal) {
            (Some(status), _) => format!("exit status {status}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => other.to_owned(),
        },
    };
    format!("the build failed: {how}; see its log, or journalctl -u {unit}")
}

/// Removes drafts that a crash has left. One that can't be removed is no reason to make no other.
fn sweep(parent: &OwnedFd) {
    let Ok(entries) = rustix::fs::Dir::read_from(parent) else { return };
    let names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(DRAFT) || name.starts_with(".new-"))
        .collect();
    for name in names {
        if let Err(error) = purge::remove_tree(parent, &name) {
            log::warn!("the old draft {name} of a release stays: {error}");
        }
    }
}

fn exists(parent: &OwnedFd, name: &str) -> io::Result<bool> {
    dirs::lstat_owner(parent, name).map(|owner| owner.is_some())
}

fn told(process: &ProcessName, name: &ReleaseName, error: &io::Error) -> UnitsError {
    UnitsError::Refused(format!("release {name} of {process}: {error}"))
}

/// Hashing or deleting a large tree takes seconds, and others' verbs must not wait for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UnitsError> + Send + 'static,
) -> Result<T, UnitsError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(UnitsError::Refused(error.to_string())))
}
