//! Which agent to talk to: the host's, the user's own, or another host's.

mod remote;

use std::path::{Path, PathBuf};

pub use remote::{Remote, token};

use crate::error::{CliError, Result};

/// Where the agent of the host listens.
pub const SYSTEM_SOCKET: &str = "/run/tenement/admin.sock";

/// Whose agent it is: hints, journalctl and systemctl differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The agent of the host, under the system's systemd.
    System,
    /// The caller's own, under `systemd --user`.
    User,
    /// That of another host, over its domain.
    Remote,
}

/// Where an agent is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The path of its admin socket; empty for another host's.
    pub path: PathBuf,
    /// Whose agent.
    pub mode: Mode,
    /// The other host's, and what it is asked with.
    pub remote: Option<Remote>,
}

impl Endpoint {
    /// Chooses: `--socket`, else `--user`, else the host's if its socket is there, else the user's if
    /// that is there, else the host's (whose absence then gives the right hint).
    pub fn choose(socket: Option<&Path>, user: bool, runtime_dir: Option<&Path>) -> Result<Self> {
        let own = runtime_dir.map(|dir| dir.join("tenement/admin.sock"));
        let mode = if user { Mode::User } else { Mode::System };
        if let Some(path) = socket {
            if path.as_os_str().is_empty() {
                return Err(CliError::usage(
                    "the socket path is empty",
                    "leave --socket and TENEMENT_SOCKET out, or give a path",
                ));
            }
            let mode = if own.as_deref() == Some(path) { Mode::User } else { mode };
            return Ok(Self::local(path.to_owned(), mode));
        }
        if user {
            let path = own.ok_or_else(|| {
                CliError::usage(
                    "--user needs XDG_RUNTIME_DIR, and it is not set",
                    "log in through a session of your own (ssh, machinectl shell), not through su or sudo",
                )
            })?;
            return Ok(Self::local(path, mode));
        }
        let system = PathBuf::from(SYSTEM_SOCKET);
        match own {
            // `exists` is also false when the directory can't be entered, and then the user's is right.
            Some(own) if !system.exists() && own.exists() => Ok(Self::local(own, Mode::User)),
            _ => Ok(Self::local(system, Mode::System)),
        }
    }

    fn local(path: PathBuf, mode: Mode) -> Self {
        Self { path, mode, remote: None }
    }

    /// Refuses what looks at this very host, if the agent is another host's.
    pub fn here(&self, what: &str) -> Result<()> {
        match &self.remote {
            None => Ok(()),
            Some(remote) => Err(CliError::usage(
                format!("{what} looks at this host, and --url names {}", remote.authority()),
                "run it there, or leave --url and TENEMENT_URL out",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_socket_wins_over_everything() {
        let dir = Path::new("/run/user/7");
        let chosen = Endpoint::choose(Some(Path::new("/x.sock")), true, Some(dir)).unwrap();
        assert_eq!(chosen.path, Path::new("/x.sock"));
        assert_eq!(chosen.mode, Mode::User);
    }

    #[test]
    fn user_mode_without_a_runtime_directory_says_what_is_missing() {
        let error = Endpoint::choose(None, true, None).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.detail.contains("XDG_RUNTIME_DIR"));
    }

    #[test]
    fn user_mode_uses_the_socket_in_the_runtime_directory() {
        let chosen = Endpoint::choose(None, true, Some(Path::new("/run/user/7"))).unwrap();
        assert_eq!(chosen.path, Path::new("/run/user/7/tenement/admin.sock"));
    }
}
