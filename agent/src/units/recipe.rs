//! Everything that must be true before the units of an instance may be made: its user, its directories,
//! its plan.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use tenement_wire::InstanceName;
use tenement_wire::secrets::CREDENTIALS_TOTAL_MAX;

use super::dirs::{self, Access, open_trusted};
use super::uids::{self, Uids};
use super::{Place, UnitsError, accounts, envfile, program, secrets, source};
use crate::config::{Config, Definition, RunAs, Settings};
use crate::plan::{
    Account, Mode, Particulars, Paths, PlanContext, PlanError, ReleaseAt, Secret, UnitPlan, paths,
    plan,
};

/// The group that the agent runs in.
const AGENT_GROUP: &str = "tenement";

/// Makes plans, and the directories and users that they rely on.
#[derive(Debug)]
pub(super) struct Kitchen {
    pub(super) place: Place,
    pub(super) uids: Uids,
    pub(super) systemd: u32,
}

/// Whom the instance runs as.
#[derive(Debug, Clone, Copy)]
struct Identity {
    uid: u32,
    gid: u32,
    /// Whether it has a user id of its own, known by a record of ours.
    own: bool,
}

impl Kitchen {
    /// The plan of `name`, with its user and its directories there.
    pub(super) fn prepare(
        &self,
        config: &Config,
        name: &InstanceName,
        particulars: &Particulars,
    ) -> Result<UnitPlan, UnitsError> {
        self.cook(config, name, particulars, plan)
    }

    /// The same, with what `make` makes of it instead of its pair of units.
    pub(super) fn cook<T>(
        &self,
        config: &Config,
        name: &InstanceName,
        particulars: &Particulars,
        make: impl FnOnce(
            &InstanceName,
            &Definition,
            &Settings,
            &PlanContext<'_>,
        ) -> Result<T, PlanError>,
    ) -> Result<T, UnitsError> {
        let port = particulars.port;
        let def = config
            .processes
            .get(name.process())
            .ok_or_else(|| UnitsError::unknown_process(name))?;
        let (low, high) = config.settings.port_range;
        if !(low..=high).contains(&port) {
            let text = format!("port {port} is outside of port_range {low}-{high}");
            return Err(UnitsError::Refused(text));
        }
        let paths = paths(name, def, &config.settings, &self.place.run_dir).map_err(bad_plan)?;
        let agent = accounts::group(&self.place.etc_dir, AGENT_GROUP);
        let identity = self.identity(def, name, &paths)?;
        match identity {
            Some(identity) => self.make_directories(name, def, &paths, identity, agent)?,
            None => {
                // Whoever systemd makes up must be able to open it, and nobody knows who that is.
                let make = || {
                    let run = self.run_dir(&paths.run_dir, name, agent)?;
                    dirs::ensure_file(&run, &busy(&paths), None, 0o644)
                };
                make().map_err(|e| io_error(name, &e))?;
            }
        }
        let context = PlanContext {
            systemd: self.systemd,
            mode: if self.place.is_system() { Mode::System } else { Mode::User },
            run_dir: self.place.run_dir.clone(),
            account: identity
                .filter(|identity| identity.own)
                .map(|identity| Account { user: accounts::user_name(identity.uid), group: None }),
            socket_group: agent.map(|_| AGENT_GROUP.to_owned()),
            port,
            overrides: particulars.overrides.clone(),
            release: self.release(def, particulars)?,
            releases_dir: self.place.releases_dir.clone(),
            secrets: self.secrets(def, name)?,
            env_file_vars: self.env_files(def)?,
            exec_helper: self.place.exec_helper.clone().filter(|path| path.exists()),
            park_helper: self.place.park_helper.clone().filter(|path| path.exists()),
            relay: self.place.relay.clone(),
            find_program: &program::find,
            program_fault: &program::fault,
        };
        make(name, def, &config.settings, &context).map_err(bad_plan)
    }

    /// The release that an instance runs from: there, and nobody's but root's to change.
    fn release(
        &self,
        def: &Definition,
        particulars: &Particulars,
    ) -> Result<Option<ReleaseAt>, UnitsError> {
        let Some(name) = particulars.release.as_ref().filter(|_| def.uses_releases()) else {
            return Ok(None);
        };
        let dir = self.place.releases_dir.join(def.name.as_str()).join(name.as_str());
        open_trusted(&dir, self.place.owner, false).map_err(|error| {
            UnitsError::BadConfig(format!("release {name} of {}: {error}", def.name))
        })?;
        Ok(Some(ReleaseAt { name: name.clone(), dir }))
    }

    /// Whom it runs as, or `None` where systemd makes up a user and its directories.
    fn identity(
        &self,
        def: &Definition,
        name: &InstanceName,
        paths: &Paths,
    ) -> Result<Option<Identity>, UnitsError> {
        let Some(userdb) = self.place.userdb_dir.as_deref() else {
            let (uid, gid) = (self.place.owner, dirs::owner_group(self.place.owner));
            return Ok(Some(Identity { uid, gid, own: false }));
        };
        match &def.user {
            RunAs::Named(user) => {
                let (uid, gid) = accounts::user(&self.place.etc_dir, user).ok_or_else(|| {
                    UnitsError::BadConfig(format!(
                        "[process.{}] user = \"{user}\": /etc/passwd has no such user",
                        def.name
                    ))
                })?;
                Ok(Some(Identity { uid, gid, own: false }))
            }
            RunAs::PerInstance if accounts::userdb_is_asked(&self.place.etc_dir) => {
                let uid = self.uid(name, paths).map_err(|error| io_error(name, &error))?;
                accounts::publish(userdb, uid).map_err(|error| io_error(name, &error))?;
                Ok(Some(Identity { uid, gid: uid, own: true }))
            }
            RunAs::PerInstance | RunAs::Dynamic => Ok(None),
        }
    }

    fn uid(&self, name: &InstanceName, paths: &Paths) -> io::Result<u32> {
        let process = parent(&paths.data_dir)?;
        let dir = open_trusted(process, self.place.owner, true)?;
        match dirs::owner_of(&dir, name.id().as_str())? {
            Some(uid) if uids::is_ours(uid) => Ok(uid),
            Some(uid) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "{} belongs to user {uid}, who is no instance's; set `user` in the config or \
                     move the directory away",
                    paths.data_dir.display()
                ),
            )),
            None => self.uids.next(parent(process)?),
        }
    }

    fn make_directories(
        &self,
        name: &InstanceName,
        def: &Definition,
        paths: &Paths,
        identity: Identity,
        agent: Option<u32>,
    ) -> Result<(), UnitsError> {
        let make = || -> io::Result<()> {
            let id = name.id().as_str();
            let Identity { uid, gid, .. } = identity;
            let owner = self.place.owner;
            let data = open_trusted(parent(&paths.data_dir)?, owner, true)?;
            dirs::ensure(&data, id, Access { uid, gid, mode: 0o700 })?;
            let run = self.run_dir(&paths.run_dir, name, agent)?;
            if paths.app_dir.is_some() || def.may_park() {
                // For the app's socket and the agent's flag. The agent connects as member of its group, which the setgid bit hands on.
                let access = match agent.filter(|_| self.place.is_system()) {
                    Some(agent) => Access { uid, gid: agent, mode: 0o2770 },
                    None => Access { uid, gid, mode: 0o700 },
                };
                dirs::ensure(&run, id, access)?;
            }
            let group = agent.filter(|_| self.place.is_system()).unwrap_or(gid);
            dirs::ensure_file(&run, &busy(paths), Some((uid, group)), 0o440)?;
            match &paths.publish {
                Some(link) => publish(link, &paths.socket, owner),
                None => Ok(()),
            }
        };
        make().map_err(|error| io_error(name, &error))
    }

    /// The directory of the process's sockets. Its setgid bit gives them the agent's group, with no work
    /// for PID 1.
    fn run_dir(&self, path: &Path, name: &InstanceName, agent: Option<u32>) -> io::Result<OwnedFd> {
        let uid = self.place.owner;
        let parent = open_trusted(parent(path)?, uid, true)?;
        let access = match agent.filter(|_| self.place.is_system()) {
            Some(gid) => Access { uid, gid, mode: 0o2755 },
            None => Access { uid, gid: dirs::owner_group(uid), mode: 0o755 },
        };
        dirs::ensure(&parent, name.process().as_str(), access)
    }

    /// What was set for the instance, after a look at the files that the config names: systemd would
    /// only say "failed at step CREDENTIALS", and take a file that somebody else can write.
    fn secrets(&self, def: &Definition, name: &InstanceName) -> Result<Vec<Secret>, UnitsError> {
        let process = &def.name;
        let stored = secrets::stored(&self.place, name).map_err(|error| io_error(name, &error))?;
        let mut total: u64 = stored.iter().map(secrets::Stored::about).sum();
        for (key, credential) in &def.credentials {
            let encrypted = credential.encrypted;
            let size = source::check_secret(&credential.path, self.place.owner, encrypted);
            let size = size.map_err(|error| {
                UnitsError::BadConfig(format!("[process.{process}.credentials] {key}: {error}"))
            })?;
            // One that was set for the instance stands before it.
            if stored.iter().all(|own| own.view.name.as_str() != key.as_str()) {
                total = total.saturating_add(secrets::value_size(size, encrypted));
            }
        }
        if total > CREDENTIALS_TOTAL_MAX {
            return Err(UnitsError::BadConfig(format!(
                "the credentials of {name} have about {total} bytes together, and systemd hands a unit \
                 {CREDENTIALS_TOTAL_MAX} at most: take large files out of [process.{process}.credentials], \
                 or delete some with ten secret rm {name} NAME"
            )));
        }
        Ok(stored.into_iter().map(secrets::Stored::planned).collect())
    }

    fn env_files(&self, def: &Definition) -> Result<Vec<(String, String)>, UnitsError> {
        let mut variables = Vec::new();
        for path in &def.env_file {
            let text = source::read_trusted(path, self.place.owner).map_err(|error| {
                UnitsError::BadConfig(format!("[process.{}] env_file: {error}", def.name))
            })?;
            variables.extend(envfile::parse(&text).map_err(|(line, why)| {
                UnitsError::BadConfig(format!("{}:{line}: the line {why}", path.display()))
            })?);
        }
        Ok(variables)
    }
}

/// The name of the busy lock in the directory of its process.
fn busy(paths: &Paths) -> String {
    paths.busy.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A symlink at the configured path to the socket that the app binds. Only a symlink is replaced.
fn publish(link: &Path, target: &Path, owner: u32) -> io::Result<()> {
    use rustix::fs::{AtFlags, FileType, readlinkat, statat, symlinkat, unlinkat};
    let (Some(parent), Some(name)) = (link.parent(), link.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = open_trusted(parent, owner, true)?;
    match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_symlink() => {
            if readlinkat(&dir, name, Vec::new())?.to_bytes()
                == target.as_os_str().as_encoded_bytes()
            {
                return Ok(());
            }
            unlinkat(&dir, name, AtFlags::empty())?;
        }
        Ok(_) => {
            let text = format!("{} exists and is no symlink of ours; move it away", link.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(symlinkat(target, &dir, name)?)
}

pub(super) fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

pub(super) fn io_error(name: &InstanceName, error: &io::Error) -> UnitsError {
    if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        return UnitsError::Refused(format!(
            "{name}: {error}; if the file system is writable, tenement-unitd may not write there: \
             `systemctl edit tenement-unitd` and add ReadWritePaths="
        ));
    }
    UnitsError::Refused(format!("{name}: {error}"))
}

fn bad_plan(error: PlanError) -> UnitsError {
    UnitsError::BadConfig(error.to_string())
}
