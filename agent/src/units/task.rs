//! One-off units: started beside an instance or on their own, watched until they end, and forgotten.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::fs::MetadataExt as _;
use std::time::Duration;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, major, minor};
use tenement_wire::{InstanceName, TaskTag};

use super::UnitsError;
use super::builder::Builder;
use crate::plan::{self, Output, Particulars, Task, TaskEnd, TaskOrder, UnitSpec};
use crate::systemd::{Started, Stdio};

/// From SIGTERM to SIGKILL and the end of a one-off unit, and some more for a busy PID 1.
const STOP_BOUND: Duration = Duration::from_secs(120);

/// How long a command waits while the instance is being started or stopped: its caller hears of it, and nothing is
/// started for one who has given up.
const TURN_BOUND: Duration = Duration::from_secs(10);

/// The user that the agent runs as.
const AGENT_USER: &str = "tenement";

/// The major number of the devices `/dev/pts/N`, whose minor number is N (devices.txt of Linux; since 2.6 it is
/// the only one of eight).
const PTS_MAJOR: u32 = 136;

impl Builder {
    /// Starts a command once as the instance is run: as its user, in its sandbox and slice, with its environment.
    /// Whether the instance itself runs plays no part, and is not changed. Returns when systemd has taken the
    /// job, with the object path of that.
    ///
    /// # Errors
    /// See [`UnitsError`]; [`UnitsError::AlreadyRunningElsewhere`] if a unit of this tag is loaded.
    pub async fn start_task(
        &self,
        name: &InstanceName,
        with: &Particulars,
        order: &TaskOrder,
        stdio: Stdio,
    ) -> Result<String, UnitsError> {
        let config = self.source().load()?;
        let output = match &stdio {
            Stdio::Log => Output::Log,
            Stdio::Handed(_) => Output::Handed,
            Stdio::Terminal(fd) => {
                let place = self.place();
                let agent = super::user_id(&place.etc_dir, AGENT_USER).unwrap_or(place.owner);
                let path = terminal(fd, &[agent, place.owner]).map_err(|error| {
                    UnitsError::Refused(format!("the descriptor for a terminal of {name}: {error}"))
                })?;
                Output::Terminal(path)
            }
        };
        // Its directories and its user must not be taken away while the unit is made.
        let turn = tokio::time::timeout(TURN_BOUND, self.turn(name)).await;
        let _turn = turn.map_err(|_| {
            let text = format!("{name} is being started or stopped right now: try again");
            UnitsError::Timeout(text)
        })?;
        let (service, _) = self.pair(name).await?;
        let beside = service.is_some_and(|service| !service.active.is_down());
        let task = Task { order, output, beside, fill: false };
        let unit = self.kitchen().cook(&config, name, with, |name, def, settings, context| {
            plan::task(name, def, settings, context, &task)
        })?;
        self.set_totals(&config, name).await?;
        let bound = order.timeout.saturating_add(STOP_BOUND);
        let started = self.manager().start_oneshot(&unit, stdio).await?;
        let job = started.job.clone();
        hold(started, bound);
        Ok(job)
    }

    /// Stops a one-off unit of the instance, if it runs, and makes systemd forget it.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn end_task(&self, name: &InstanceName, tag: &TaskTag) -> Result<(), UnitsError> {
        Ok(self.manager().end_unit(&name.task_unit(tag), STOP_BOUND).await?)
    }

    /// Ends all one-off units of the instance.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub(super) async fn end_tasks(&self, name: &InstanceName) -> Result<(), UnitsError> {
        for tag in self.manager().tasks_of(name).await? {
            self.end_task(name, &tag).await?;
        }
        Ok(())
    }

    /// Sends a signal to the command of a one-off unit.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn signal_task(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
        signal: i32,
    ) -> Result<(), UnitsError> {
        Ok(self.manager().signal(&name.task_unit(tag), signal).await?)
    }

    /// Starts a unit of `Type=oneshot` whatever it is, waits until it has ended, and makes systemd forget it. A unit
    /// that goes on after `bound` is stopped.
    ///
    /// # Errors
    /// See [`UnitsError`]. That the unit itself failed is no error: see [`TaskEnd::is_success`].
    pub async fn run_to_end(
        &self,
        unit: &UnitSpec,
        stdio: Stdio,
        bound: Duration,
    ) -> Result<TaskEnd, UnitsError> {
        let started = self.manager().start_oneshot(unit, stdio).await?;
        let end = self.manager().task_end(&unit.name, started.end, bound).await;
        let forgotten = self.manager().end_unit(&unit.name, STOP_BOUND).await;
        let end = end?;
        if let Err(error) = forgotten {
            log::warn!("{} stays among the failed units: {error}", unit.name);
        }
        Ok(end)
    }
}

/// Keeps the terminal of a unit open until the unit has ended.
fn hold(started: Started, bound: Duration) {
    let Started { end, held: Some(held), .. } = started else { return };
    tokio::spawn(async move {
        let _ = tokio::time::timeout(bound, end.wait()).await;
        drop(held);
    });
}

/// The path of a terminal, for systemd, which opens it as root: nobody can hand over the number of another's.
/// Whoever holds a descriptor of `/dev/pts/N` could open it, and that the path is the same file is looked up here.
fn terminal(fd: &OwnedFd, owners: &[u32]) -> io::Result<String> {
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned()));
    let stat = fstat(fd.as_fd())?;
    // A descriptor with `O_PATH` needs no right on the terminal, and does not keep its number.
    if !fcntl_getfl(fd)?.contains(OFlags::RDWR) || fcntl_getfl(fd)?.contains(OFlags::PATH) {
        return refuse("it can't be read and written");
    }
    if !owners.contains(&stat.st_uid) {
        return refuse("it is another user's terminal");
    }
    let (kind, device) = (FileType::from_raw_mode(stat.st_mode), stat.st_rdev);
    if kind != FileType::CharacterDevice || major(device) != PTS_MAJOR {
        return refuse("it is no pseudo-terminal");
    }
    let path = format!("/dev/pts/{}", minor(device));
    let seen = std::fs::symlink_metadata(&path)?;
    if (seen.st_dev(), seen.st_ino()) != (stat.st_dev, stat.st_ino) {
        return refuse("it is no terminal of this host");
    }
    Ok(path)
}
