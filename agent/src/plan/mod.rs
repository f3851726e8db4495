//! Floor 1: definition + instance to the typed properties of its unit pair.
//!
//! ```text
//! InstanceName + Definition + Settings ─ paths ─► where it lies and listens
//!            └───── + PlanContext ───── plan ──► UnitPlan ─ systemd::encode ─► StartTransientUnit
//! ```
//!
//! Nothing here looks at the host: what must be known of it is handed in.

pub mod argv;
mod build;
mod credentials;
pub mod directives;
mod environment;
mod error;
mod exec;
mod hidden;
mod limits;
mod network;
mod order;
mod park;
mod paths;
mod sandbox;
mod service;
mod socket;
mod task;
mod timer;
pub mod value;

use std::path::{Path, PathBuf};

use tenement_wire::{InstanceName, Limit, ReleaseName, ResourceLimits};

pub use build::{
    BUILD_SLICE, BuildContext, RELEASE_FILES_MAX, UNPACK, build, build_unit, release_bytes_max,
};
pub use credentials::Secret;
pub use environment::{bad_variable, is_control};
pub use error::PlanError;
pub use limits::{is_live, live, of_slice};
pub use park::{FLAG as PARK_FLAG, STATUS as PARK_STATUS, instance_dir};
pub use paths::{
    Address, OVERALL_SLICE, Paths, RELEASES_DIR, RUN_DIR, SOCKET_PATH_MAX, busy_lock,
    control_group, health_path, paths, process_slice, slice,
};
pub use task::{Output, Task, TaskEnd, TaskOrder, task};
pub use timer::{TimerPlan, timer};
pub use value::{Property, UnitPlan, UnitSpec, Value};

use crate::config::{Definition, RunAs, Settings};

/// Which systemd runs the units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// PID 1.
    System,
    /// A user's own manager: no other users, no sandbox that needs privileges.
    User,
}

/// What an instance has that its process doesn't say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Particulars {
    /// Its TCP port.
    pub port: u16,
    /// What `ten set` set for it.
    pub overrides: ResourceLimits,
    /// The release that it runs from, if its process uses releases.
    pub release: Option<ReleaseName>,
}

/// A release, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseAt {
    /// Its name.
    pub name: ReleaseName,
    /// Its directory.
    pub dir: PathBuf,
}

/// Whom a per-instance user id belongs to, as `User=` and `Group=` take it: names or numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// For `User=`.
    pub user: String,
    /// For `Group=`; without it systemd takes the user's own group, and has one record less to find.
    pub group: Option<String>,
}

/// What the plan must know of the host.
pub struct PlanContext<'a> {
    /// Version of systemd, such as 252.
    pub systemd: u32,
    /// Which manager.
    pub mode: Mode,
    /// `/run/tenement` or `$XDG_RUNTIME_DIR/tenement`.
    pub run_dir: PathBuf,
    /// The instance's own account, for [`RunAs::PerInstance`]; without one the unit gets
    /// a dynamic user.
    pub account: Option<Account>,
    /// The group that may connect to the listening sockets: that of the agent.
    pub socket_group: Option<String>,
    /// The instance's TCP port.
    pub port: u16,
    /// Limits that were set for this instance alone.
    pub overrides: ResourceLimits,
    /// The release that it runs from.
    pub release: Option<ReleaseAt>,
    /// The directory of all releases.
    pub releases_dir: PathBuf,
    /// Secrets that were set for this instance alone.
    pub secrets: Vec<Secret>,
    /// What the definition's env files hold, in order.
    pub env_file_vars: Vec<(String, String)>,
    /// Path of `tenement-exec`, for commands that an old systemd would garble; without it they are right
    /// only until the next daemon-reload.
    pub exec_helper: Option<PathBuf>,
    /// Path of `tenement-park`; without it no instance can be parked.
    pub park_helper: Option<PathBuf>,
    /// Path of `tenement-relay`, which instances with a port in a network of their own need.
    pub relay: PathBuf,
    /// Finds a program by its bare name in the directories of [`PROGRAM_DIRS`].
    pub find_program: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// Why the program at this absolute path can certainly not be executed.
    pub program_fault: &'a dyn Fn(&Path) -> Option<String>,
}

/// Where bare program names are looked for, in order: systemd's own default (systemd.exec(5), `PATH`).
pub const PROGRAM_DIRS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The variable that carries the command line for `tenement-exec`.
pub const ARGV: &str = "TENEMENT_ARGV";

/// The word that makes `tenement-exec` shut off abstract sockets and signals to others.
pub const SCOPE: &str = "--scope";

/// The unit pair of `name`.
///
/// # Errors
/// [`PlanError`] if the instance cannot be run as the config says on this host.
pub fn plan(
    name: &InstanceName,
    def: &Definition,
    settings: &Settings,
    ctx: &PlanContext,
) -> Result<UnitPlan, PlanError> {
    let paths = paths(name, def, settings, &ctx.run_dir)?;
    if def.uses_releases() && ctx.release.is_none() {
        return Err(PlanError::NoRelease { process: name.process().clone() });
    }
    let job = Job { name, def, settings, ctx, paths, task: None };
    let socket = UnitSpec { name: name.socket_unit(), properties: socket::properties(&job) };
    let mut service =
        UnitSpec { name: name.service_unit(), properties: service::properties(&job)? };
    let revision = fingerprint(&[&socket, &service], &ctx.secrets);
    for property in &mut service.properties {
        if let (environment::PROPERTY, Value::Strs(list)) = (property.name, &mut property.value) {
            list.push(format!("{}={revision}", environment::REVISION));
        }
    }
    let plan = UnitPlan { socket, service, revision };
    error::refuse_control(&[&plan.socket, &plan.service])?;
    Ok(plan)
}

/// Everything that the parts of a plan look at.
struct Job<'a> {
    name: &'a InstanceName,
    def: &'a Definition,
    settings: &'a Settings,
    ctx: &'a PlanContext<'a>,
    paths: Paths,
    /// The one-off command that is run instead of the app.
    task: Option<&'a Task<'a>>,
}

impl Job<'_> {
    fn system(&self) -> bool {
        self.ctx.mode == Mode::System
    }

    /// Whether systemd makes up a user: asked for, or nothing else is known.
    fn dynamic_user(&self) -> bool {
        match self.def.user {
            RunAs::Dynamic => self.system(),
            RunAs::PerInstance => self.system() && self.ctx.account.is_none(),
            RunAs::Named(_) => false,
        }
    }

    /// The stub, if the instance may be parked. A dynamic user's directories are systemd's, and the
    /// agent can't ask for a parked start there.
    fn park_helper(&self) -> Option<&Path> {
        let endless = self.limits().get(Limit::RuntimeMax).is_none();
        let may = self.task.is_none() && self.def.may_park() && endless && !self.dynamic_user();
        self.ctx.park_helper.as_deref().filter(|_| may)
    }

    /// The words to execute.
    fn argv(&self) -> Vec<String> {
        let (words, fill) = match self.task {
            Some(task) => (&task.order.argv, task.fill),
            None => (&self.def.command, true),
        };
        words.iter().map(|word| if fill { self.fill(word) } else { word.clone() }).collect()
    }

    /// The limits in force.
    fn limits(&self) -> ResourceLimits {
        self.def.limits_of(&self.ctx.overrides, self.settings)
    }

    /// `text` with its placeholders replaced.
    fn fill(&self, text: &str) -> String {
        let release = self.release().map(|release| release.dir.as_path());
        paths::fill(text, self.name, self.settings, &self.paths, (self.port(), release))
    }

    /// The release that it runs from, if its process uses releases.
    fn release(&self) -> Option<&ReleaseAt> {
        self.ctx.release.as_ref().filter(|_| self.def.uses_releases())
    }

    /// The port that the app listens on: in a network of its own it may be the same for all.
    fn port(&self) -> u16 {
        self.def.port.unwrap_or(self.ctx.port)
    }
}

/// FNV-1a over the printed properties: tells whether loaded units are those that we would make now.
fn fingerprint(units: &[&UnitSpec], secrets: &[Secret]) -> String {
    let mut hash = fnv::OFFSET;
    for unit in units {
        hash = fnv::add(hash, unit.name.as_bytes());
        for property in &unit.properties {
            hash = fnv::add(hash, property.to_string().as_bytes());
            hash = fnv::add(hash, b"\n");
        }
    }
    // Their names and paths are in the properties; this tells that one was set anew.
    for secret in secrets {
        hash = fnv::add(hash, &secret.stamp.to_le_bytes());
    }
    format!("{hash:016x}")
}

/// Fowler-Noll-Vo 1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
mod fnv {
    pub(super) const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

    pub(super) fn add(hash: u64, bytes: &[u8]) -> u64 {
        bytes.iter().fold(hash, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

/// A path as text. Every path here is made of config texts, so none is lossy.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
