//! The real [`Host`]: reading straight from systemd, changing through the unit helper.

mod archive;
mod ask;
mod ended;
mod errors;
mod releases;
mod report;
mod task;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tenement_wire::metrics::HostLive;
use tenement_wire::{InstanceName, ProcessName, ReleaseName, SecretView, TaskTag};

use ask::steadily;
use ended::ended;
use errors::{from_systemd, from_units};
use report::active;
pub use report::{freezer, report};

use super::host::{
    Active, ArchiveDone, ArchiveOrder, Details, Host, HostError, Lacks, LeftOver, Listed, Stdio,
    TaskRelease, TaskRun, TimerState, Units,
};
use super::listing;
use super::observe::{Report, Unit};
use super::secrets::SecretOrder;
use crate::kernel::{self, Kernel, OomKills, Own, Stalled, Used};
use crate::plan::{self, PARK_STATUS, Particulars, TaskOrder, busy_lock};
use crate::systemd::{ActiveState, Brief, Manager, UnitKind};
use crate::units::{Client, Sealed, flag};

/// systemd, and the helper that may change it.
pub struct Edge {
    /// Reads and signals.
    pub systemd: Manager,
    /// Changes.
    pub units: Client,
    /// `/run/tenement`, or the user's.
    pub run_dir: PathBuf,
    /// What the kernel can do.
    pub kernel: Kernel,
    /// The directory that `tenement.slice` is in, if it could be found.
    pub groups: Option<PathBuf>,
    /// Where `tenement.slice` is, if systemd does not tell who is frozen by hand.
    pub slice_root: Option<String>,
    /// Files that thaw what this agent has frozen.
    pub switches: Mutex<HashMap<InstanceName, OwnedFd>>,
    /// Who was killed for its memory.
    pub oom: OomKills,
}

impl Edge {
    fn switches(&self) -> MutexGuard<'_, HashMap<InstanceName, OwnedFd>> {
        self.switches.lock().expect("no panic while held")
    }
}

impl Host for Edge {
    async fn load(&self, name: &InstanceName, with: &Particulars) -> Result<bool, HostError> {
        steadily(|| self.units.load(name, with)).await.map(|loaded| !loaded.stale)
    }

    async fn unload(&self, name: &InstanceName) -> Result<(), HostError> {
        self.switches().remove(name);
        steadily(|| self.units.unload(name)).await
    }

    async fn start(&self, name: &InstanceName, with: &Particulars) -> Result<(), HostError> {
        self.forget_parking(name);
        steadily(|| self.units.start(name, with)).await
    }

    async fn park(&self, name: &InstanceName, with: &Particulars) -> Result<(), HostError> {
        let raise = || flag::raise(&self.run_dir, name);
        if raise().is_err() {
            // Its directory is made when its units are.
            self.load(name, with).await?;
            raise().map_err(|error| {
                HostError::Failed(format!("no parked start can be asked for: {error}"))
            })?;
        }
        self.units.start(name, with).await.map_err(from_units)
    }

    fn forget_parking(&self, name: &InstanceName) {
        if let Err(error) = flag::lower(&self.run_dir, name) {
            log::debug!("the flag of {name} stays: {error}");
        }
    }

    async fn fits(&self, name: &InstanceName, with: &Particulars) -> Result<bool, HostError> {
        self.units.load(name, with).await.map(|loaded| !loaded.stale).map_err(from_units)
    }

    fn memory_bytes(&self) -> u64 {
        let info = rustix::system::sysinfo();
        info.totalram.saturating_mul(u64::from(info.mem_unit))
    }

    async fn stop(&self, name: &InstanceName) -> Result<(), HostError> {
        self.switches().remove(name);
        steadily(|| self.units.stop(name)).await
    }

    async fn freeze(&self, name: &InstanceName) -> Result<(), HostError> {
        if let Some(switch) = steadily(|| self.units.freeze(name)).await? {
            self.switches().insert(name.clone(), switch);
        }
        Ok(())
    }

    async fn thaw(&self, name: &InstanceName) -> Result<(), HostError> {
        let switch = self.switches().remove(name);
        // One write, where it works: a request waits, and PID 1 may be busy.
        match switch.map(|switch| kernel::cgroup::thaw(&switch)) {
            Some(Ok(())) => Ok(()),
            // The service was started anew, or this agent was.
            Some(Err(_)) | None => steadily(|| self.units.thaw(name)).await,
        }
    }

    async fn is_frozen(&self, name: &InstanceName) -> Result<bool, HostError> {
        let state = self.systemd.freezer_state(&name.service_unit()).await.map_err(from_systemd)?;
        match state.as_deref() {
            None | Some("" | "running") => Ok(false),
            Some("frozen") => Ok(true),
            // On its way; or stuck, as systemd 252 is after a stop by hand. The kernel knows.
            Some(_) => {
                let group = self.systemd.control_group(&name.service_unit()).await;
                let group = group.map_err(from_systemd)?.unwrap_or_default();
                Ok(self.kernel.is_frozen(&group).unwrap_or(true))
            }
        }
    }

    fn peeks(&self) -> bool {
        self.slice_root.is_some()
    }

    fn peek_frozen(&self, name: &InstanceName) -> Option<bool> {
        let slice = self.slice_root.as_deref()?;
        self.kernel.is_frozen(&format!("{slice}/{}", plan::control_group(name))).ok()
    }

    async fn reclaim(&self, name: &InstanceName) -> Result<(), HostError> {
        self.units.reclaim(name).await.map_err(from_units)
    }

    fn lacks(&self) -> Lacks {
        let abilities = self.kernel.abilities();
        Lacks { reclaim: !abilities.reclaim, freeze: !abilities.freeze }
    }

    async fn busy(&self, name: &InstanceName, run_dir: &Path) -> Option<String> {
        let lock = busy_lock(name, run_dir);
        // Files may be slow, and the runtime has requests to serve.
        let held = tokio::task::spawn_blocking(move || kernel::lock_is_held(&lock));
        if held.await.unwrap_or(false) {
            return Some("a held busy lock".into());
        }
        let status = self.systemd.status_text(&name.service_unit()).await.ok()?;
        says_busy(&status).then(|| format!("its status: {}", status.escape_debug()))
    }

    fn local_time(&self) -> (usize, u16) {
        kernel::local_time()
    }

    async fn reset(&self, name: &InstanceName) -> Result<(), HostError> {
        steadily(|| self.units.reset(name)).await
    }

    async fn purge(&self, name: &InstanceName) -> Result<(), HostError> {
        steadily(|| self.units.purge(name)).await
    }

    async fn make_release(
        &self,
        process: &ProcessName,
        name: &ReleaseName,
        streams: (OwnedFd, OwnedFd),
        timeout: Duration,
    ) -> Result<Sealed, HostError> {
        self.release_make(process, name, streams, timeout).await
    }

    async fn remove_release(&self, of: &ProcessName, name: &ReleaseName) -> Result<(), HostError> {
        self.release_remove(of, name).await
    }

    async fn releases(&self) -> Result<Vec<(ProcessName, ReleaseName)>, HostError> {
        self.release_list().await
    }

    async fn loaded_release(&self, name: &InstanceName) -> Result<Option<ReleaseName>, HostError> {
        self.release_loaded(name).await
    }

    async fn task_releases(&self, of: &ProcessName) -> Result<Vec<TaskRelease>, HostError> {
        self.release_of_tasks(of).await
    }

    async fn running_tasks(&self, name: &InstanceName) -> Result<Vec<TaskTag>, HostError> {
        self.systemd.running_tasks_of(name).await.map_err(from_systemd)
    }

    async fn secrets(
        &self,
        name: &InstanceName,
        order: SecretOrder,
    ) -> Result<Vec<SecretView>, HostError> {
        let done = match order {
            SecretOrder::List => Ok(()),
            SecretOrder::Set(secret, value) => self.units.set_secret(name, &secret, &value.0).await,
            SecretOrder::Remove(secret) => self.units.remove_secret(name, &secret).await,
        };
        done.map_err(from_units)?;
        self.units.secrets(name).await.map_err(from_units)
    }

    async fn apply(&self, name: &InstanceName, with: &Particulars) -> Result<bool, HostError> {
        self.units.apply(name, with).await.map_err(from_units)
    }

    async fn start_task(
        &self,
        name: &InstanceName,
        with: &Particulars,
        order: TaskOrder,
        stdio: Stdio,
    ) -> Result<TaskRun, HostError> {
        self.begin_task(name, with, order, stdio).await
    }

    async fn end_task(&self, name: &InstanceName, tag: &TaskTag) -> Result<(), HostError> {
        steadily(|| self.units.end_task(name, tag)).await
    }

    async fn signal_task(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
        signal: i32,
    ) -> Result<(), HostError> {
        self.units.signal_task(name, tag, signal).await.map_err(from_units)
    }

    async fn archive(
        &self,
        name: &InstanceName,
        with: &Particulars,
        order: ArchiveOrder,
    ) -> Result<ArchiveDone, HostError> {
        archive::carry_out(&self.units, name, with, order).await
    }

    async fn set_timers(
        &self,
        name: &InstanceName,
        with: Option<&Particulars>,
        known: &[TaskTag],
    ) -> Result<bool, HostError> {
        steadily(|| self.units.set_timers(name, with, known)).await
    }

    async fn start_job(&self, name: &InstanceName, tag: &TaskTag) -> Result<(), HostError> {
        self.units.start_job(name, tag).await.map(drop).map_err(from_units)
    }

    async fn timer(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
    ) -> Result<Option<TimerState>, HostError> {
        self.systemd.timer(name, tag).await.map_err(from_systemd)
    }

    async fn left_over(&self) -> Result<LeftOver, HostError> {
        let (timers, commands) = tokio::join!(self.systemd.timers(), self.systemd.commands());
        let timers = timers.map_err(from_systemd)?;
        Ok(LeftOver { timers, commands: commands.map_err(from_systemd)? })
    }

    async fn measure(&self, name: &InstanceName) -> Result<u64, HostError> {
        self.units.measure(name).await.map_err(from_units)
    }

    async fn units(&self, name: &InstanceName) -> Result<Units, HostError> {
        let (service, socket) = (name.service_unit(), name.socket_unit());
        let (service, socket) =
            tokio::join!(self.systemd.brief(&service), self.systemd.brief(&socket));
        let state = |brief: Option<Brief>| active(brief.map(|b| b.active));
        let service = state(service.map_err(from_systemd)?);
        Ok(Units {
            service,
            socket: state(socket.map_err(from_systemd)?),
            parked: service == Active::Active && self.is_parked(name).await?,
        })
    }

    async fn details(&self, name: &InstanceName) -> Result<Details, HostError> {
        let status = self.systemd.service_status(&name.service_unit()).await;
        let Some(mut status) = status.map_err(from_systemd)? else { return Ok(Details::default()) };
        let service = &mut status.service;
        if service.result == "signal" && self.oom.is_victim(&plan::control_group(name)) {
            service.result = "oom-kill".into();
        }
        let result = ended(&status.service);
        Ok(Details { service: Some(status.service), usage: status.usage, result })
    }

    async fn used(&self, names: Vec<InstanceName>) -> Vec<Used> {
        let Some(root) = self.groups.clone() else { return vec![Used::default(); names.len()] };
        let count = names.len();
        let read = tokio::task::spawn_blocking(move || {
            names.iter().map(|name| kernel::used(&root, &plan::control_group(name))).collect()
        });
        read.await.unwrap_or_else(|_| vec![Used::default(); count])
    }

    async fn host_load(&self) -> HostLive {
        let root = self.kernel.root().to_owned();
        tokio::task::spawn_blocking(move || kernel::host(&root)).await.unwrap_or_default()
    }

    async fn stalled(&self) -> Vec<(&'static str, Stalled)> {
        let root = self.kernel.root().to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let read = |what| kernel::stalled(&root, what).map(|stalled| (what, stalled));
            ["cpu", "memory", "io"].into_iter().filter_map(read).collect()
        });
        read.await.unwrap_or_default()
    }

    async fn own(&self) -> Own {
        tokio::task::spawn_blocking(kernel::own).await.unwrap_or_default()
    }

    async fn ip_bytes(&self, name: &InstanceName) -> Option<(u64, u64)> {
        self.systemd.ip_bytes(&name.service_unit()).await.ok().flatten()
    }

    async fn answers(&self) -> bool {
        self.systemd.version().await.is_ok()
    }

    async fn list(&self) -> Result<Listed, HostError> {
        let patterns = ["ten-*@*.service", "ten-*@*.socket"];
        let rows = self.systemd.list(&patterns).await.map_err(from_systemd)?;
        let mut pairs = HashMap::<InstanceName, Units>::new();
        for row in rows {
            if row.kind == UnitKind::Service && row.active == ActiveState::Active {
                self.oom.runs(&plan::control_group(&row.name));
            }
            let pair = pairs.entry(row.name).or_default();
            match row.kind {
                UnitKind::Service => pair.service = active(Some(row.active)),
                UnitKind::Socket => pair.socket = active(Some(row.active)),
            }
        }
        Ok(listing::who_is_parked(pairs, |name| async move { self.is_parked(&name).await }).await)
    }
}

impl Edge {
    /// Corrects a report of a service that ran out of memory and of which systemd noticed the death first.
    pub fn judge(&self, report: &mut Report) {
        if report.unit != Unit::Service {
            return;
        }
        let group = plan::control_group(&report.name);
        let killed = matches!(report.result.as_str(), "signal" | "oom-kill");
        match report.active {
            Active::Absent => self.oom.forget(&group),
            Active::Active => self.oom.runs(&group),
            // Asked of a plain OOM kill, too, so that the count is not taken for another's.
            _ if killed && self.oom.was_killed(&group) => report.result = "oom-kill".into(),
            _ => {}
        }
    }

    async fn is_parked(&self, name: &InstanceName) -> Result<bool, HostError> {
        let text = self.systemd.status_text(&name.service_unit()).await.map_err(from_systemd)?;
        Ok(text == PARK_STATUS)
    }
}

/// Whether an app's `STATUS=` says that it is busy: its first word is that.
fn says_busy(status: &str) -> bool {
    let word = status.split(|c: char| !c.is_ascii_alphanumeric()).next();
    word.is_some_and(|word| word.eq_ignore_ascii_case("busy"))
}
