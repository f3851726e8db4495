//! The agent: its socket, its answer, its config, its data.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tenement_wire::dto::{ConfigCheck, ConfigView, Version};
use tenement_wire::status::StateDatabase;

use super::Check;
use crate::client::Agent;
use crate::commands::config::check_command;
use crate::endpoint::{Endpoint, Mode};
use crate::error::{Kind, Result};

/// That the admin socket can be connected to, and by whom.
pub fn socket(endpoint: &Endpoint) -> Check {
    const NAME: &str = "admin socket";
    let path = &endpoint.path;
    let shown = path.display();
    let ctl = if endpoint.mode == Mode::User { "systemctl --user" } else { "sudo systemctl" };
    match UnixStream::connect(path) {
        Ok(_) => {
            let open = path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o002 != 0);
            if open {
                return Check::warn(
                    NAME,
                    format!("{shown} is open to every user of this host"),
                    format!("{ctl} restart tenement-admin.socket (its mode is 0660)"),
                );
            }
            Check::ok(NAME, format!("{shown} can be used"))
        }
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Check::fail(
            NAME,
            format!("you may not use {shown}"),
            "sudo usermod -aG tenement $USER, then log in again",
        ),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Check::fail(
            NAME,
            format!("there is no {shown}"),
            format!("{ctl} enable --now tenement-admin.socket"),
        ),
        Err(e) => Check::fail(
            NAME,
            format!("{shown}: {e}"),
            format!("{ctl} restart tenement-admin.socket tenement"),
        ),
    }
}

/// That the agent answers, and is of our version.
pub fn answers(agent: &Agent) -> Check {
    const NAME: &str = "agent";
    let own = env!("CARGO_PKG_VERSION");
    match agent.get::<Version>("/version") {
        Ok(found) if found.version == own => {
            Check::ok(NAME, format!("tenementd {own} answers ({})", found.mode))
        }
        Ok(found) => Check::warn(
            NAME,
            format!("tenementd is {}, ten is {own}", found.version),
            "restart the agent after an upgrade: sudo systemctl restart tenement",
        ),
        Err(error) => {
            let fix = error.hint.unwrap_or_default();
            let detail = match error.kind {
                Kind::Denied => "it can't be asked".to_owned(),
                _ => error.detail,
            };
            Check::fail(NAME, detail, fix)
        }
    }
}

/// That the config files are valid, as the agent's own parser sees them.
pub fn config_files(daemon: Result<PathBuf>, mode: Mode) -> Check {
    const NAME: &str = "config";
    let daemon = match daemon {
        Ok(daemon) => daemon,
        Err(error) => return Check::fail(NAME, error.detail, error.hint.unwrap_or_default()),
    };
    let shown = daemon.display();
    let done = match check_command(&daemon, mode == Mode::User, true).output() {
        Ok(done) => done,
        Err(e) => {
            return Check::fail(
                NAME,
                format!("{shown} can't be run: {e}"),
                "sudo apt install --reinstall tenement",
            );
        }
    };
    match serde_json::from_slice::<ConfigCheck>(&done.stdout) {
        Ok(check) if check.valid => {
            Check::ok(NAME, format!("{} file(s) without errors", check.files.len()))
        }
        Ok(check) => {
            let first = check.problems.first().map_or_else(String::new, |p| {
                format!("; the first: {}:{}: {}", p.file, p.line, p.message)
            });
            let detail = format!("{} error(s){first}", check.problems.len());
            Check::fail(NAME, detail, "see them all with ten config check, and correct them")
        }
        Err(_) => {
            let said = String::from_utf8_lossy(&done.stderr);
            let why = said.lines().next().map_or_else(|| done.status.to_string(), str::to_owned);
            Check::warn(
                NAME,
                format!("the files could not be checked: {why}"),
                "see whether the files exist and whether you may read them (sudo ten doctor)",
            )
        }
    }
}

/// That the agent runs on what is on disk.
pub fn config_taken(view: &ConfigView) -> Check {
    const NAME: &str = "running config";
    if view.rejected.is_empty() {
        return Check::ok(NAME, format!("{} process(es)", view.processes.len()));
    }
    Check::warn(
        NAME,
        format!("older than the files on disk, which have {} error(s)", view.rejected.len()),
        "correct the files, then ten config reload",
    )
}

/// That what is registered can be written, and that no database was damaged.
pub fn state(state: &StateDatabase) -> Check {
    const NAME: &str = "state database";
    let dir = Path::new(&state.path).parent().unwrap_or(Path::new("/")).display();
    if let Some(trouble) = &state.trouble {
        return Check::fail(
            NAME,
            trouble.clone(),
            format!(
                "see what is wrong with {dir} (df, mount) and with the agent: journalctl -u tenement"
            ),
        );
    }
    if let Some(damaged) = state.set_aside.first() {
        return Check::warn(
            NAME,
            format!("it was damaged or deleted and restored from {}", state.copy),
            format!("check the disk; once nothing is missing in ten ps: sudo rm {damaged}*"),
        );
    }
    match state.copied_ms {
        Some(_) => Check::ok(NAME, format!("{} and its verified copy are in place", state.path)),
        None => Check::warn(
            NAME,
            format!("{} has no verified copy yet", state.path),
            "run ten doctor again in a few seconds",
        ),
    }
}

/// That instances can have data directories which nobody else can tamper with.
pub fn data_dir(mode: Mode, path: &Path) -> Check {
    const NAME: &str = "data";
    let shown = path.display();
    let meta = match path.metadata() {
        Ok(meta) if meta.is_dir() => meta,
        Ok(_) => {
            return Check::fail(
                NAME,
                format!("{shown} is not a directory"),
                "choose another data_dir in [settings]",
            );
        }
        Err(e) => {
            return Check::fail(
                NAME,
                format!("{shown}: {e}"),
                format!("sudo install -d -m 0755 {shown}"),
            );
        }
    };
    let owner = match mode {
        Mode::System | Mode::Remote => 0,
        Mode::User => rustix::process::geteuid().as_raw(),
    };
    if meta.uid() != owner {
        let detail = format!("{shown} belongs to user {}, not to user {owner}", meta.uid());
        return Check::fail(NAME, detail, format!("sudo chown {owner} {shown}"));
    }
    if meta.mode() & 0o022 != 0 {
        let detail = format!("{shown} can be written by others (mode {:o})", meta.mode() & 0o7777);
        return Check::fail(NAME, detail, format!("sudo chmod go-w {shown}"));
    }
    Check::ok(NAME, format!("{shown} is in safe hands"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Status;
    use super::*;

    #[test]
    fn a_data_directory_that_others_can_write_fails() {
        let dir = tempfile::tempdir().unwrap();
        let set = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        set(0o755);
        assert_eq!(data_dir(Mode::User, dir.path()).status, Status::Ok);
        set(0o777);
        let check = data_dir(Mode::User, dir.path());
        assert_eq!(check.status, Status::Fail);
        assert!(check.fix.unwrap().contains("chmod"));
        set(0o755);
        assert_eq!(data_dir(Mode::User, &dir.path().join("none")).status, Status::Fail);
    }

    #[test]
    fn a_damaged_database_is_told_until_somebody_has_seen_to_it() {
        let mut found = StateDatabase {
            path: "/s/state.db".into(),
            copy: "/s/state.db.backup".into(),
            copied_ms: Some(1),
            set_aside: vec![],
            trouble: None,
        };
        assert_eq!(state(&found).status, Status::Ok);
        found.set_aside.push("/s/state.db.corrupt-5".into());
        let check = state(&found);
        assert_eq!(check.status, Status::Warn);
        assert!(check.fix.unwrap().contains("rm /s/state.db.corrupt-5"));
        found.trouble = Some("the disk is full".into());
        assert_eq!(state(&found).status, Status::Fail);
    }

    #[test]
    fn a_missing_socket_says_how_to_make_it() {
        let path = PathBuf::from("/nonexistent/admin.sock");
        let check = socket(&Endpoint { path, mode: Mode::System, remote: None });
        assert_eq!(check.status, Status::Fail);
        assert!(check.fix.unwrap().contains("tenement-admin.socket"));
    }
}
