//! What the flows need of systemd, as a trait, so that races can be tested without one.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use tenement_wire::metrics::HostLive;
use tenement_wire::status::{ServiceView, Usage};
use tenement_wire::{InstanceName, ProcessName, ReleaseName, SecretView, TaskTag};

use super::secrets::SecretOrder;
use crate::kernel::{Own, Stalled, Used};
use crate::plan::{Particulars, TaskEnd, TaskOrder};
pub use crate::systemd::{Stdio, TimerState};
use crate::units::Sealed;

/// `ActiveState` of a unit (org.freedesktop.systemd1(5)), with "not loaded" beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Active {
    /// No such unit is loaded.
    #[default]
    Absent = 0,
    /// `inactive`
    Inactive = 1,
    /// `activating`
    Activating = 2,
    /// `active`, `reloading`, `refreshing`, `maintenance`
    Active = 3,
    /// `deactivating`
    Deactivating = 4,
    /// `failed`
    Failed = 5,
}

impl Active {
    pub(super) fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Inactive,
            2 => Self::Activating,
            3 => Self::Active,
            4 => Self::Deactivating,
            5 => Self::Failed,
            _ => Self::Absent,
        }
    }
}

/// What systemd says of an instance's two units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Units {
    /// Its service.
    pub service: Active,
    /// Its socket.
    pub socket: Active,
    /// Whether the service says that it is parked.
    pub parked: bool,
}

/// One-off units that an agent finds at its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOver {
    /// Timers.
    pub timers: Vec<(InstanceName, TaskTag)>,
    /// Commands that nobody waits for any more.
    pub commands: Vec<(InstanceName, TaskTag)>,
}

/// A job or command in an instance whose unit is loaded, and the release that this was made from.
pub type TaskRelease = (InstanceName, TaskTag, ReleaseName);

/// A command that was started once, until its end.
pub type TaskRun = Pin<Box<dyn Future<Output = Result<TaskEnd, HostError>> + Send>>;

/// What systemd says of many.
pub type Listed = Vec<(InstanceName, Result<Units, HostError>)>;

pub use super::backups::{ArchiveDone, ArchiveOrder};
/// Steps down that this host can't do.
pub use super::descent::Without as Lacks;

/// Facts of a service, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// What systemd says of it; `None` if it isn't loaded.
    pub service: Option<ServiceView>,
    /// What it uses.
    pub usage: Usage,
    /// How its last run ended, such as `exit-code 3`, `signal KILL`, `oom-kill`.
    pub result: Option<String>,
}

/// Why systemd or the unit helper did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The instance can't be built from the config: the text says why.
    #[error("{0}")]
    Config(String),
    /// The bus, systemd or the helper can't be reached.
    #[error("{0}")]
    Unreachable(String),
    /// systemd refused or failed.
    #[error("{0}")]
    Failed(String),
}

/// systemd and the unit helper, as the flows use them. Every verb is idempotent.
pub trait Host: Send + Sync + 'static {
    /// Makes the pair of units if it isn't there in its newest revision; `false` if the service is up in an
    /// older one, which stays until it ends.
    fn load(
        &self,
        name: &InstanceName,
        with: &Particulars,
    ) -> impl Future<Output = Result<bool, HostError>> + Send;
    /// Stops both units, which also unloads them.
    fn unload(&self, name: &InstanceName) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Starts the service of a loaded pair and waits for its job.
    fn start(
        &self,
        name: &InstanceName,
        with: &Particulars,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Starts the service of a sleeping instance so that it waits for its first request, and waits for
    /// the job: what became of it, reports tell.
    fn park(
        &self,
        name: &InstanceName,
        with: &Particulars,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Sees to it that no later start is parked.
    fn forget_parking(&self, name: &InstanceName);
    /// Does what [`Host::load`] does; `false` if the service is up in another revision than it would be
    /// loaded with now.
    fn fits(
        &self,
        name: &InstanceName,
        with: &Particulars,
    ) -> impl Future<Output = Result<bool, HostError>> + Send;
    /// The host's memory in bytes; 0 if unknown.
    fn memory_bytes(&self) -> u64;
    /// Stops the service and waits until it is down; the socket stays.
    fn stop(&self, name: &InstanceName) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Freezes the service of a running instance.
    fn freeze(&self, name: &InstanceName) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Whether it is frozen; `false` if it is not loaded.
    fn is_frozen(
        &self,
        name: &InstanceName,
    ) -> impl Future<Output = Result<bool, HostError>> + Send;
    /// Whether the kernel has to be asked who was frozen or thawed by hand, because systemd doesn't tell (252).
    fn peeks(&self) -> bool;
    /// The same as the kernel has it, where systemd doesn't tell of changes (252); `None` where it does,
    /// or if it isn't known.
    fn peek_frozen(&self, name: &InstanceName) -> Option<bool>;
    /// Has the kernel take back the memory of a running instance.
    fn reclaim(&self, name: &InstanceName) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Steps that this host can't do.
    fn lacks(&self) -> Lacks;
    /// What the app of a running instance says that it is busy with: a held lock, or a notify message.
    fn busy(
        &self,
        name: &InstanceName,
        run_dir: &std::path::Path,
    ) -> impl Future<Output = Option<String>> + Send;
    /// Day (0 = Monday) and minute of the day, in the host's local time.
    fn local_time(&self) -> (usize, u16);
    /// Thaws it.
    fn thaw(&self, name: &InstanceName) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Clears the failed state of both units.
    fn reset(&self, name: &InstanceName) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Unloads the pair and deletes the data directory.
    fn purge(&self, name: &InstanceName) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Does as `order` says with the secrets of an instance, and tells those that there are then.
    fn secrets(
        &self,
        name: &InstanceName,
        order: SecretOrder,
    ) -> impl Future<Output = Result<Vec<SecretView>, HostError>> + Send;
    /// Gives a running service the limits of now; says whether it runs.
    fn apply(
        &self,
        name: &InstanceName,
        with: &Particulars,
    ) -> impl Future<Output = Result<bool, HostError>> + Send;
    /// Starts a command once as the instance, whether that runs or not; the answer ends with the command.
    fn start_task(
        &self,
        name: &InstanceName,
        with: &Particulars,
        order: TaskOrder,
        stdio: Stdio,
    ) -> impl Future<Output = Result<TaskRun, HostError>> + Send;
    /// Stops such a command if it runs, and makes systemd forget it.
    fn end_task(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Sends it a signal.
    fn signal_task(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
        signal: i32,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Makes the timers of an instance as the config has them, or none without `with`; `false` if one has to wait for
    /// its job to end. `known` are those that may be loaded.
    fn set_timers(
        &self,
        name: &InstanceName,
        with: Option<&Particulars>,
        known: &[TaskTag],
    ) -> impl Future<Output = Result<bool, HostError>> + Send;
    /// Starts a scheduled job now.
    fn start_job(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// What systemd says of a timer; `None` if it isn't loaded.
    fn timer(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
    ) -> impl Future<Output = Result<Option<TimerState>, HostError>> + Send;
    /// Timers that are loaded, and commands of an agent that is gone.
    fn left_over(&self) -> impl Future<Output = Result<LeftOver, HostError>> + Send;
    /// Size of the instance's data, in bytes.
    fn measure(&self, name: &InstanceName) -> impl Future<Output = Result<u64, HostError>> + Send;
    /// Does as `order` says with the data of an instance, for its backups.
    fn archive(
        &self,
        _name: &InstanceName,
        _with: &Particulars,
        _order: ArchiveOrder,
    ) -> impl Future<Output = Result<ArchiveDone, HostError>> + Send {
        std::future::ready(Err(HostError::Failed("this host makes no backups".into())))
    }
    /// What systemd says now.
    fn units(&self, name: &InstanceName) -> impl Future<Output = Result<Units, HostError>> + Send;
    /// Facts for people.
    fn details(
        &self,
        name: &InstanceName,
    ) -> impl Future<Output = Result<Details, HostError>> + Send;
    /// What the services of these use, in the same order; what isn't known of one is left out. Cheap, and never
    /// on a thread that serves requests.
    fn used(&self, names: Vec<InstanceName>) -> impl Future<Output = Vec<Used>> + Send {
        std::future::ready(vec![Used::default(); names.len()])
    }
    /// How busy the host is.
    fn host_load(&self) -> impl Future<Output = HostLive> + Send {
        std::future::ready(HostLive::default())
    }
    /// What its tasks have waited for, by resource.
    fn stalled(&self) -> impl Future<Output = Vec<(&'static str, Stalled)>> + Send {
        std::future::ready(Vec::new())
    }
    /// What the agent's own process uses.
    fn own(&self) -> impl Future<Output = Own> + Send {
        std::future::ready(Own::default())
    }
    /// Bytes that a running instance has received and sent over IP; `None` if nobody counts them.
    fn ip_bytes(&self, _name: &InstanceName) -> impl Future<Output = Option<(u64, u64)>> + Send {
        std::future::ready(None)
    }
    /// Makes a release of a tar file; what its build prints goes into the second descriptor. The build may take
    /// `timeout`.
    fn make_release(
        &self,
        _process: &ProcessName,
        _name: &ReleaseName,
        _streams: (OwnedFd, OwnedFd),
        _timeout: Duration,
    ) -> impl Future<Output = Result<Sealed, HostError>> + Send {
        std::future::ready(Err(HostError::Failed("no releases are made here".into())))
    }
    /// Deletes a release, or ends its build.
    fn remove_release(
        &self,
        _process: &ProcessName,
        _name: &ReleaseName,
    ) -> impl Future<Output = Result<(), HostError>> + Send {
        std::future::ready(Ok(()))
    }
    /// Releases that lie on disk.
    fn releases(
        &self,
    ) -> impl Future<Output = Result<Vec<(ProcessName, ReleaseName)>, HostError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
    /// The release that the loaded units of an instance were made from.
    fn loaded_release(
        &self,
        _name: &InstanceName,
    ) -> impl Future<Output = Result<Option<ReleaseName>, HostError>> + Send {
        std::future::ready(Ok(None))
    }
    /// What the loaded units of jobs and commands in the instances of a process were made from.
    fn task_releases(
        &self,
        _process: &ProcessName,
    ) -> impl Future<Output = Result<Vec<TaskRelease>, HostError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
    /// Jobs and commands that run in an instance now; not those of its backups.
    fn running_tasks(
        &self,
        _name: &InstanceName,
    ) -> impl Future<Output = Result<Vec<TaskTag>, HostError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
    /// Whether systemd answers.
    fn answers(&self) -> impl Future<Output = bool> + Send {
        async { true }
    }
    /// Every pair of ours that is loaded. What can't be learnt of one is that one's error.
    fn list(&self) -> impl Future<Output = Result<Listed, HostError>> + Send;
}
