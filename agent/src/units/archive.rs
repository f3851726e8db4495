//! Backups: `tenement-archive` in the instance's own sandbox, and the swap of what it has unpacked.
//!
//! ```text
//!   {data_dir}/{process}/ID                the data
//!   {data_dir}/{process}/.restore-ID       what was unpacked; after the swap, what was the data before
//!   {data_dir}/{process}/.kept-ID-TIME     what was the data, if it is to be kept
//!   {data_dir}/{process}/.gone-…           what a restore that was cut off has left, while it is deleted
//! ```
//! No id begins with a dot. This process opens directories and renames them, and reads nothing in them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, Mode, OFlags, RenameFlags, fstat, openat, renameat_with};
use tenement_wire::{InstanceName, Limit, ProcessName, TaskTag};

use super::builder::Builder;
use super::dirs::{self, Access, open_trusted};
use super::recipe::io_error;
use super::verbs::DYNAMIC_STATE;
use super::{UnitsError, purge};
use crate::config::{Config, RunAs};
use crate::plan::{self, Output, Particulars, PlanContext, Task, TaskOrder, UnitSpec, Value};
use crate::systemd::Stdio;

/// What the names of what is unpacked, kept and being deleted begin with.
const FRESH: &str = ".restore-";
const KEPT: &str = ".kept-";
const GONE: &str = ".gone-";
/// Where the package has it.
const PROGRAM: &str = "/usr/libexec/tenement/tenement-archive";
/// How long an archive may take to be unpacked: whoever sends it may be slow.
const UNPACK_MAX: Duration = Duration::from_secs(6 * 3600);
/// For the unit's own end, beyond the program's time.
const MARGIN: Duration = Duration::from_secs(60);

impl Builder {
    /// Packs the data of the instance into the first stream; the second hears how it went. Says whether the program
    /// ended well.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn pack(
        &self,
        name: &InstanceName,
        with: &Particulars,
        online: bool,
        timeout: Duration,
        [out, said]: [OwnedFd; 2],
    ) -> Result<bool, UnitsError> {
        let config = self.source().load()?;
        let data = config.settings.data_dir.join(name.process().as_str()).join(name.id().as_str());
        let data = behind_link(data);
        let method = if online { "online" } else { "sleep" };
        let words = ["pack", method, &data.to_string_lossy(), &name.to_string()].map(str::to_owned);
        let release = with.release.as_ref().map(ToString::to_string);
        let argv = words.into_iter().chain(release).collect();
        let unit = self.unit(&config, name, with, ("backup", argv, timeout)).await?;
        let nothing = nothing().map_err(|error| io_error(name, &error))?;
        let stdio = Stdio::Handed([nothing, out, said]);
        Ok(self.run_to_end(&unit, stdio, timeout + MARGIN).await?.is_success())
    }

    /// Unpacks the archive that comes from the first stream into a fresh directory beside the data; the second hears
    /// how it went. Says whether it was whole; if not, nothing is left of it.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn unpack(
        &self,
        name: &InstanceName,
        with: &Particulars,
        [input, said]: [OwnedFd; 2],
    ) -> Result<bool, UnitsError> {
        let config = self.source().load()?;
        let def = config
            .processes
            .get(name.process())
            .ok_or_else(|| UnitsError::unknown_process(name))?;
        let max = def.limits_of(&with.overrides, &config.settings).get(Limit::DiskMax).unwrap_or(0);
        let argv = vec!["unpack".to_owned(), max.to_string()];
        // It makes the instance's user and its directory, too.
        let unit = self.unit(&config, name, with, ("restore", argv, UNPACK_MAX)).await?;
        let fresh = {
            let _turn = self.turn(name).await;
            self.fresh(&config, name).map_err(|error| io_error(name, &error))?
        };
        let stdio = Stdio::Handed([input, fresh, said]);
        let ended = self.run_to_end(&unit, stdio, UNPACK_MAX + MARGIN).await;
        let well = ended.as_ref().is_ok_and(plan::TaskEnd::is_success);
        if !well {
            self.discard(name).await?;
        }
        ended.map(|_| well)
    }

    /// Swaps what was unpacked with the data, in one step. The service must be down. With `keep_old` the former data
    /// stays for good, and where is told.
    ///
    /// # Errors
    /// See [`UnitsError`]; nothing was changed then.
    pub async fn exchange(
        &self,
        name: &InstanceName,
        keep_old: bool,
    ) -> Result<Option<String>, UnitsError> {
        let config = self.source().load()?;
        let _turn = self.turn(name).await;
        let (service, _) = self.pair(name).await?;
        if service.is_some_and(|service| !service.active.is_down()) {
            let text = format!("{name} runs: its data can't be replaced under it");
            return Err(UnitsError::Refused(text));
        }
        if let Some(tag) = self.manager().running_tasks_of(name).await?.first() {
            let text = format!("{tag} runs in {name}: its data can't be replaced under it");
            return Err(UnitsError::Refused(text));
        }
        let swap = || -> io::Result<Option<String>> {
            let dir = self.process_dir(&config, name)?;
            let (id, fresh) = (name.id().as_str(), fresh_name(name));
            renameat_with(&dir, &*fresh, &dir, id, RenameFlags::EXCHANGE)?;
            rustix::fs::fsync(&dir)?;
            if !keep_old {
                return Ok(None);
            }
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let kept = format!("{KEPT}{id}-{}", since.as_secs());
            let aside = renameat_with(&dir, &*fresh, &dir, &*kept, RenameFlags::NOREPLACE);
            if let Err(error) = aside {
                // What is to be kept must not lie where the next step deletes it.
                renameat_with(&dir, &*fresh, &dir, id, RenameFlags::EXCHANGE)?;
                return Err(error.into());
            }
            let path = config.settings.data_dir.join(name.process().as_str()).join(kept);
            Ok(Some(path.to_string_lossy().into_owned()))
        };
        swap().map_err(|error| io_error(name, &error))
    }

    /// Deletes what was unpacked, or what was the data before a swap. Nothing there is no error.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn discard(&self, name: &InstanceName) -> Result<(), UnitsError> {
        let config = self.source().load()?;
        let _turn = self.turn(name).await;
        let removed = self
            .process_dir(&config, name)
            .and_then(|dir| purge::remove_tree(&dir, &fresh_name(name)));
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| io_error(name, &error)),
        }
    }

    /// Deletes what restores of a helper that was killed have left. Before anything is restored.
    pub fn sweep_restores(&self) {
        // A config that can't be read stops nobody from serving; the next start does it.
        let Ok(config) = self.source().load() else { return };
        let processes = config.processes.keys().cloned();
        // Nobody waits for it.
        drop(sweep(&config.settings.data_dir, processes, self.place().owner));
    }

    /// The one-off unit that runs the program with these words.
    async fn unit(
        &self,
        config: &Config,
        name: &InstanceName,
        with: &Particulars,
        (tag, words, timeout): (&str, Vec<String>, Duration),
    ) -> Result<UnitSpec, UnitsError> {
        let tag: TaskTag = tag.parse().expect("a tag");
        let argv = std::iter::once(PROGRAM.to_owned()).chain(words).collect();
        let order = TaskOrder { tag, argv, env: Vec::new(), timeout };
        let _turn = self.turn(name).await;
        let (service, _) = self.pair(name).await?;
        let beside = service.is_some_and(|service| !service.active.is_down());
        let task = Task { order: &order, output: Output::Handed, beside, fill: false };
        let make = |name: &_, def: &_, settings: &_, context: &PlanContext<'_>| {
            plan::task(name, def, settings, context, &task)
        };
        let mut unit = self.kitchen().cook(config, name, with, make)?;
        // It needs no secret, and the app's own directory need not be there.
        unit.properties.retain(|property| !property.name.contains("Credential"));
        for property in &mut unit.properties {
            if property.name == "WorkingDirectory" {
                property.value = Value::Str("/".to_owned());
            }
        }
        self.set_totals(config, name).await?;
        Ok(unit)
    }

    /// The directory of the data directories of its process.
    fn process_dir(&self, config: &Config, name: &InstanceName) -> io::Result<OwnedFd> {
        let path: PathBuf = config.settings.data_dir.join(name.process().as_str());
        open_trusted(&path, self.place().owner, false)
    }

    /// A fresh directory beside the data, and its owner's.
    fn fresh(&self, config: &Config, name: &InstanceName) -> io::Result<OwnedFd> {
        let dir = self.process_dir(config, name)?;
        let def = config.processes.get(name.process());
        let dynamic = def.is_some_and(|def| def.user == RunAs::Dynamic);
        // For a look alone, which needs no right to read it.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let data = openat(&dir, name.id().as_str(), flags, Mode::empty())?;
        let stat = fstat(&data)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if dynamic || kind.is_symlink() || (self.place().is_system() && stat.st_uid == 0) {
            let text = "its user is made up by systemd at each start (user = \"dynamic\", or no `systemd` in \
                        /etc/nsswitch.conf), so nothing can be unpacked for it";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        if !kind.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let fresh = fresh_name(name);
        purge::remove_tree(&dir, &fresh)?;
        // It was opened before it became another's.
        dirs::ensure(&dir, &fresh, Access { uid: stat.st_uid, gid: stat.st_gid, mode: 0o700 })
    }
}

/// What restores have left beside the data directory `id`: what was unpacked, and former data that is kept.
pub(super) fn beside(parent: &OwnedFd, id: &str) -> io::Result<Vec<String>> {
    let (fresh, kept) = (format!("{FRESH}{id}"), format!("{KEPT}{id}-"));
    let digits = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let mut names = names_in(parent)?;
    names.retain(|name| *name == fresh || name.strip_prefix(&kept).is_some_and(digits));
    Ok(names)
}

/// Deletes what restores were about to delete, or to put into place, when an earlier helper was killed. Nothing may be
/// restored meanwhile; the deleting itself goes on after this returns.
fn sweep(
    data_dir: &Path,
    processes: impl Iterator<Item = ProcessName>,
    owner: u32,
) -> Vec<JoinHandle<()>> {
    let mut deleting = Vec::new();
    for process in processes {
        let Ok(dir) = open_trusted(&data_dir.join(process.as_str()), owner, false) else {
            continue;
        };
        let mut gone = Vec::new();
        for name in names_in(&dir).unwrap_or_default() {
            if name.starts_with(GONE) {
                gone.push(name);
            } else if let Some(id) = name.strip_prefix(FRESH) {
                // Out of the way of a new one.
                let aside = format!("{GONE}{}-{id}", std::process::id());
                if renameat_with(&dir, &*name, &dir, &*aside, RenameFlags::NOREPLACE).is_ok() {
                    log::info!("deleting what an unfinished restore of {process}:{id} has left");
                    gone.push(aside);
                }
            }
        }
        if gone.is_empty() {
            continue;
        }
        deleting.push(std::thread::spawn(move || {
            for name in gone {
                if let Err(error) = purge::remove_tree(&dir, &name) {
                    log::warn!("what an unfinished restore has left stays: {error}");
                }
            }
        }));
    }
    deleting
}

/// Of a user that systemd makes up, the data lies elsewhere, and a symlink of systemd's leads there.
fn behind_link(data: PathBuf) -> PathBuf {
    let is_link = data.symlink_metadata().is_ok_and(|found| found.is_symlink());
    match data.strip_prefix("/var/lib") {
        Ok(state) if is_link => Path::new(DYNAMIC_STATE).join(state),
        _ => data,
    }
}

fn names_in(dir: &OwnedFd) -> io::Result<Vec<String>> {
    let names = rustix::fs::Dir::read_from(dir)?;
    let mut found = Vec::new();
    for entry in names {
        found.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(found)
}

fn fresh_name(name: &InstanceName) -> String {
    format!("{FRESH}{}", name.id())
}

fn nothing() -> io::Result<OwnedFd> {
    Ok(std::fs::File::open("/dev/null")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(names: &[&str]) -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| std::fs::create_dir_all(dir.path().join(name)).unwrap());
        let fd = std::fs::File::open(dir.path()).unwrap().into();
        (dir, fd)
    }

    #[test]
    fn what_restores_have_left_of_an_instance_is_told_from_that_of_others() {
        let names =
            ["a", "a-1", ".restore-a", ".restore-a-1", ".kept-a-17", ".kept-a-1-17", ".kept-a-"];
        let (_kept, fd) = dir(&names);
        let mut found = beside(&fd, "a").unwrap();
        found.sort();
        assert_eq!(found, [".kept-a-17", ".restore-a"]);
        let mut found = beside(&fd, "a-1").unwrap();
        found.sort();
        assert_eq!(found, [".kept-a-1-17", ".restore-a-1"]);
    }

    #[test]
    fn what_an_unfinished_restore_has_left_is_deleted_and_nothing_else() {
        let (root, _) = dir(&["api/.restore-a/sub", "api/.gone-7-b", "api/a", "api/.kept-a-17"]);
        let owner = rustix::process::getuid().as_raw();
        let both = ["api".parse().unwrap(), "none".parse().unwrap()].into_iter();
        for deleting in sweep(root.path(), both, owner) {
            deleting.join().unwrap();
        }
        let left = || {
            let names = std::fs::read_dir(root.path().join("api")).unwrap();
            let mut names: Vec<_> = names.map(|one| one.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(left(), [".kept-a-17", "a"]);
    }
}
