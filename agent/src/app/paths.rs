//! Where things are, for the system's agent and for a user's.

use std::path::{Path, PathBuf};

/// The places of one agent.
#[derive(Debug, Clone)]
pub struct Places {
    /// `tenement.toml` and `conf.d/`.
    pub config_dir: PathBuf,
    /// Sockets.
    pub run_dir: PathBuf,
    /// The state database.
    pub state_dir: PathBuf,
    /// Parent of the data directories where the config leaves it open; `None`: its own default.
    pub data_home: Option<PathBuf>,
    /// Whether this is `tenementd --user`.
    pub user: bool,
}

impl Places {
    /// Of the system's agent. Every place can be moved by the caller.
    #[must_use]
    pub fn system() -> Self {
        Self {
            config_dir: "/etc/tenement".into(),
            run_dir: "/run/tenement".into(),
            state_dir: "/var/lib/tenement/_agent".into(),
            data_home: None,
            user: false,
        }
    }

    /// Of a user's agent, after the XDG base directory specification.
    ///
    /// # Errors
    /// A text that names the environment variable that is missing.
    pub fn user(env: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, String> {
        let home = env("HOME").ok_or("HOME is not set")?;
        let runtime = env("XDG_RUNTIME_DIR").ok_or(
            "XDG_RUNTIME_DIR is not set: log in through systemd-logind, or set it to /run/user/UID",
        )?;
        let config = env("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        Ok(Self {
            config_dir: config.join("tenement"),
            run_dir: runtime.join("tenement"),
            state_dir: data_home(&home, &env).join("tenement/_agent"),
            data_home: Some(data_home(&home, &env).join("tenement")),
            user: true,
        })
    }

    /// The admin socket.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.run_dir.join("admin.sock")
    }

    /// The state database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("state.db")
    }

    /// The key of browser sessions and second factors.
    #[must_use]
    pub fn door_key(&self) -> PathBuf {
        self.state_dir.join("door.key")
    }

    /// Certificates and their keys.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        self.state_dir.join("tls")
    }

    /// All releases.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        match &self.data_home {
            Some(home) => home.join("releases"),
            None => crate::plan::RELEASES_DIR.into(),
        }
    }

    /// What builds of releases have printed, and uploads on their way.
    #[must_use]
    pub fn builds(&self) -> PathBuf {
        self.state_dir.join("builds")
    }

    /// The log index.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    /// The history of instances.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.state_dir.join("history.db")
    }

    /// The history of metrics.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.state_dir.join("metrics.db")
    }

    /// The events.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.state_dir.join("events.db")
    }
}

fn data_home(home: &Path, env: &impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    env("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_lives_in_the_xdg_places() {
        let env = |name: &str| match name {
            "HOME" => Some(PathBuf::from("/home/u")),
            "XDG_RUNTIME_DIR" => Some("/run/user/7".into()),
            _ => None,
        };
        let places = Places::user(env).unwrap();
        assert_eq!(places.admin_socket(), Path::new("/run/user/7/tenement/admin.sock"));
        assert_eq!(places.database(), Path::new("/home/u/.local/share/tenement/_agent/state.db"));
        assert!(Places::user(|_| None).unwrap_err().contains("HOME"));
    }
}
