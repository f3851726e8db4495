//! Backups: `tenement-archive` in the instance's own sandbox, and the swap of what it has unpacked.
//!
//! ```text
//!   {data_dir}/{process}/ID                the data
//!   {data_dir}/{process}/.restore-ID       what was unpacked; after the swap, what was the data before
//!   {data_dir}/{process}/.kept-ID-TIME     what was the data, if it is to be kept
//! ```
//! No id begins with a dot. This process opens directories and renames them, and reads nothing in them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, RenameFlags, fstat, openat, renameat_with};
use tenement_wire::{InstanceName, Limit, TaskTag};

use super::builder::Builder;
use super::dirs::{self, Access, open_trusted};
use super::recipe::io_error;
use super::{UnitsError, purge};
use crate::config::{Config, RunAs};
use crate::plan::{self, Output, Particulars, PlanContext, Task, TaskOrder, UnitSpec, Value};
use crate::systemd::Stdio;

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
            let kept = format!(".kept-{id}-{}", since.as_secs());
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
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let data = openat(&dir, name.id().as_str(), flags, Mode::empty())?;
        let stat = fstat(&data)?;
        if dynamic || (self.place().is_system() && stat.st_uid == 0) {
            let text = "its user is made up by systemd at each start (user = \"dynamic\", or no `systemd` in \
                        /etc/nsswitch.conf), so nothing can be unpacked for it";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let fresh = fresh_name(name);
        purge::remove_tree(&dir, &fresh)?;
        // It was opened before it became another's.
        dirs::ensure(&dir, &fresh, Access { uid: stat.st_uid, gid: stat.st_gid, mode: 0o700 })
    }
}

fn fresh_name(name: &InstanceName) -> String {
    format!(".restore-{}", name.id())
}

fn nothing() -> io::Result<OwnedFd> {
    Ok(std::fs::File::open("/dev/null")?.into())
}
