//! Where an instance lies and listens. The agent and the unit helper compute it alike.

use std::path::{Path, PathBuf};

use tenement_wire::{InstanceName, ProcessName};

use super::error::PlanError;
use super::{fnv, text};
use crate::config::template::{self, Vars};
use crate::config::{Definition, Listen, RunAs, Settings};

/// The run directory of the system service.
pub const RUN_DIR: &str = "/run/tenement";

/// The longest path of a unix socket: `sun_path` has 108 bytes and ends with a NUL (unix(7)).
pub const SOCKET_PATH_MAX: usize = 107;

/// Where releases lie, in `{process}/{release}`, wherever `data_dir` is.
pub const RELEASES_DIR: &str = "/var/lib/tenement/releases";

/// How many slices a process has: wake costs grow with the units in a slice.
const SHARDS: u64 = 16;

/// An address of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// `127.0.0.1:port`, the port that was handed to the instance.
    Port,
}

/// The places of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Its own directory: `{data_dir}/{process}/{id}`.
    pub data_dir: PathBuf,
    /// Directory of its process's sockets: `{run_dir}/{process}`.
    pub run_dir: PathBuf,
    /// The agent's admin socket, which instances must not see.
    pub admin_socket: PathBuf,
    /// What systemd listens on: connecting to it starts the service.
    pub trigger: PathBuf,
    /// What `{socket}` stands for: where the app, or systemd for it, listens.
    pub socket: PathBuf,
    /// The directory that must be made for the app to bind its socket in; `None` if there is none to
    /// make (other modes, a named user's own path, or a dynamic user, whose directory systemd makes).
    pub app_dir: Option<PathBuf>,
    /// The file whose lock says that the instance is busy.
    pub busy: PathBuf,
    /// Where a symlink to [`Self::socket`] is to be published.
    pub publish: Option<PathBuf>,
    /// Where requests may go, best first: whichever answers is used.
    pub targets: Vec<Address>,
}

/// The places of `name`.
///
/// # Errors
/// If a socket's path would be too long or not absolute.
pub fn paths(
    name: &InstanceName,
    def: &Definition,
    settings: &Settings,
    run_dir: &Path,
) -> Result<Paths, PlanError> {
    let (process, id) = (name.process().as_str(), name.id().as_str());
    let own_run = run_dir.join(process);
    let app_dir = own_run.join(id);
    let configured = configured_socket(name, def, settings)?;
    let app_side = matches!(def.listen, Listen::Socket | Listen::Own);
    let named = matches!(def.user, RunAs::Named(_));
    // A named user may bind where the config says; any other id owns nothing but its own directory, so
    // the configured path becomes a symlink to the socket in there.
    let (socket, publish) = match (def.listen, configured) {
        (Listen::Fd, Some(path)) => (path, None),
        (Listen::Fd, None) => (own_run.join(format!("{id}.sock")), None),
        _ if def.relayed() => (own_run.join(format!("{id}.sock")), None),
        (_, Some(path)) if named => (path, None),
        (_, configured) => (app_dir.join("app.sock"), configured),
    };
    let trigger = match def.listen {
        _ if def.systemd_listens() => socket.clone(),
        _ => own_run.join(format!("{id}.wake")),
    };
    let targets = match def.listen {
        Listen::Port if def.relayed() => vec![Address::Unix(socket.clone())],
        Listen::Fd | Listen::Socket => vec![Address::Unix(socket.clone())],
        Listen::Port => vec![Address::Port],
        Listen::Own => vec![Address::Unix(socket.clone()), Address::Port],
    };
    let private = socket.starts_with(&app_dir);
    let paths = Paths {
        data_dir: settings.data_dir.join(process).join(id),
        run_dir: own_run,
        admin_socket: run_dir.join("admin.sock"),
        app_dir: (app_side && private && def.user != RunAs::Dynamic).then_some(app_dir),
        busy: busy_lock(name, run_dir),
        publish: publish.filter(|_| app_side),
        trigger,
        socket,
        targets,
    };
    let sockets = [Some(&paths.trigger), Some(&paths.socket), paths.publish.as_ref()];
    for path in sockets.into_iter().flatten() {
        let len = path.as_os_str().len();
        if len > SOCKET_PATH_MAX {
            let path = path.clone();
            return Err(PlanError::SocketPathTooLong { path, len, max: SOCKET_PATH_MAX });
        }
    }
    Ok(paths)
}

/// The file that an instance locks to say that it is busy: beside its sockets, in a directory that it
/// can't write to, so that what is opened there is always that file.
#[must_use]
pub fn busy_lock(name: &InstanceName, run_dir: &Path) -> PathBuf {
    run_dir.join(name.process().as_str()).join(format!("{}.busy", name.id()))
}

fn configured_socket(
    name: &InstanceName,
    def: &Definition,
    settings: &Settings,
) -> Result<Option<PathBuf>, PlanError> {
    let Some(template) = &def.socket else { return Ok(None) };
    let data_dir = text(&settings.data_dir);
    let (process, id) = (name.process().as_str(), name.id().as_str());
    let vars = Vars { process, id, data_dir: &data_dir, ..Vars::default() };
    let path = template::fill(template, &vars);
    if !path.starts_with('/') {
        return Err(PlanError::NotAbsolute { key: "socket", path });
    }
    Ok(Some(PathBuf::from(path)))
}

/// `template` filled for an instance.
pub(super) fn fill(
    template: &str,
    name: &InstanceName,
    settings: &Settings,
    paths: &Paths,
    (port, release): (u16, Option<&Path>),
) -> String {
    let (data_dir, socket) = (text(&settings.data_dir), text(&paths.socket));
    let vars = Vars {
        process: name.process().as_str(),
        id: name.id().as_str(),
        data_dir: &data_dir,
        socket: &socket,
        port: &port.to_string(),
        release: &release.map(text).unwrap_or_default(),
    };
    template::fill(template, &vars)
}

/// Path and query of the health check, which goes to the instance's own listener.
#[must_use]
pub fn health_path(
    name: &InstanceName,
    def: &Definition,
    settings: &Settings,
    paths: &Paths,
    port: u16,
) -> Option<String> {
    let filled = fill(def.health.as_deref()?, name, settings, paths, (port, None));
    let path = match filled.strip_prefix("http://") {
        None => filled.as_str(),
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
    };
    Some(path.to_owned())
}

/// The control group of an instance's service, below the one that `tenement.slice` is in.
#[must_use]
pub fn control_group(name: &InstanceName) -> String {
    let process = name.process().as_str().replace('-', "_");
    let (slice, unit) = (slice(name), name.service_unit());
    format!("tenement.slice/tenement-{process}.slice/{slice}/{unit}")
}

/// The slice of an instance: `tenement-{process}-{shard}.slice`. A `-` in a slice's name means nesting
/// (systemd.slice(5)), so that of a process is written `_`, which no process name holds.
#[must_use]
pub fn slice(name: &InstanceName) -> String {
    let shard = fnv::add(fnv::OFFSET, name.id().as_str().as_bytes()) % SHARDS;
    let process = escaped(name.process());
    format!("tenement-{process}-{shard:02}.slice")
}

/// The slice that holds all instances of a process, and carries `[process.x.total]`.
#[must_use]
pub fn process_slice(process: &ProcessName) -> String {
    format!("tenement-{}.slice", escaped(process))
}

/// The slice that holds all instances, and carries `[settings.total]`.
pub const OVERALL_SLICE: &str = "tenement.slice";

fn escaped(process: &ProcessName) -> String {
    process.as_str().replace('-', "_")
}
