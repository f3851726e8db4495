//! Where things are: on the host as a whole, or within one user's home.

use std::path::PathBuf;

/// Where the package has it.
const EXEC_HELPER: &str = "/usr/libexec/tenement/tenement-exec";
const RELAY: &str = "/usr/libexec/tenement/tenement-relay";
const UNPACK: &str = "/usr/libexec/tenement/tenement-unpack";

const PARK_HELPER: &str = "/usr/libexec/tenement/tenement-park";

/// The directories that a builder works in, and who must own them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `tenement.toml` and `conf.d/`.
    pub config_dir: PathBuf,
    /// Sockets.
    pub run_dir: PathBuf,
    /// The builder's own state.
    pub state_dir: PathBuf,
    /// Records of the users that instances run as; `None` in user mode.
    pub userdb_dir: Option<PathBuf>,
    /// Parent of the data directories where the config leaves it open; `None`: its own default.
    pub data_home: Option<PathBuf>,
    /// Releases, in `{process}/{release}`.
    pub releases_dir: PathBuf,
    /// `passwd`, `group` and `nsswitch.conf`.
    pub etc_dir: PathBuf,
    /// `tenement-exec`, used where it exists.
    pub exec_helper: Option<PathBuf>,
    /// `tenement-park`, used where it exists.
    pub park_helper: Option<PathBuf>,
    /// `tenement-relay`.
    pub relay: PathBuf,
    /// `tenement-unpack`.
    pub unpack: PathBuf,
    /// `systemd-creds`, which encrypts secrets where it exists; `None` in user mode.
    pub encrypter: Option<PathBuf>,
    /// The user who must own config, and the parents of what we make.
    pub owner: u32,
}

impl Place {
    /// The host: everything root's.
    #[must_use]
    pub fn system() -> Self {
        Self {
            config_dir: "/etc/tenement".into(),
            run_dir: "/run/tenement".into(),
            state_dir: "/var/lib/tenement/_unitd".into(),
            userdb_dir: Some("/run/userdb".into()),
            data_home: None,
            releases_dir: crate::plan::RELEASES_DIR.into(),
            etc_dir: "/etc".into(),
            exec_helper: Some(EXEC_HELPER.into()),
            park_helper: Some(PARK_HELPER.into()),
            relay: RELAY.into(),
            unpack: UNPACK.into(),
            encrypter: Some("/usr/bin/systemd-creds".into()),
            owner: 0,
        }
    }

    /// One user's own: config under `$XDG_CONFIG_HOME`, sockets under `$XDG_RUNTIME_DIR`, state under
    /// `$XDG_STATE_HOME`, each given as it is.
    #[must_use]
    pub fn user(config_home: PathBuf, runtime_dir: PathBuf, state_home: PathBuf) -> Self {
        Self {
            config_dir: config_home.join("tenement"),
            run_dir: runtime_dir.join("tenement"),
            state_dir: state_home.join("tenement"),
            releases_dir: state_home.join("tenement/releases"),
            userdb_dir: None,
            data_home: None,
            etc_dir: "/etc".into(),
            exec_helper: Some(EXEC_HELPER.into()),
            park_helper: Some(PARK_HELPER.into()),
            relay: RELAY.into(),
            unpack: UNPACK.into(),
            encrypter: None,
            owner: rustix::process::geteuid().as_raw(),
        }
    }

    /// Whether it is the host and not one user's own.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.userdb_dir.is_some()
    }
}
