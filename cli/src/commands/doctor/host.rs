//! What the host itself must bring: systemd, cgroups, D-Bus, names of users.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Check;
use crate::endpoint::Mode;

/// The oldest systemd that tenement is tried on (Debian 12).
const SYSTEMD_MIN: u32 = 252;

/// systemd's version, and that it runs this host.
pub fn systemd() -> Check {
    const NAME: &str = "systemd";
    let fix =
        "tenement needs a host that systemd 252 or newer runs: Debian 12, Ubuntu 24.04, RHEL 10";
    let Some(text) = output("systemctl", &["--version"]) else {
        return Check::fail(NAME, "there is no systemctl", fix);
    };
    match version(&text) {
        Some(version) if version >= SYSTEMD_MIN => Check::ok(NAME, format!("version {version}")),
        Some(version) => Check::fail(NAME, format!("version {version} is too old"), fix),
        None => Check::fail(NAME, "its version can't be told", fix),
    }
}

/// `systemd 252 (252.39-1~deb12u1)`.
fn version(text: &str) -> Option<u32> {
    let word = text.lines().next()?.strip_prefix("systemd ")?.split_whitespace().next()?;
    let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The layout of the cgroup tree, and the controllers that limits and figures need.
pub fn cgroups(root: &Path) -> Check {
    const NAME: &str = "cgroups";
    let tree = root.join("sys/fs/cgroup");
    let fix = "boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line";
    if tree.join("unified").is_dir() {
        return Check::warn(
            NAME,
            "hybrid layout: instances run, but their memory is not shown and limits are coarser",
            fix,
        );
    }
    let Ok(controllers) = std::fs::read_to_string(tree.join("cgroup.controllers")) else {
        return Check::fail(NAME, "no unified hierarchy in /sys/fs/cgroup", fix);
    };
    let has: Vec<&str> = controllers.split_whitespace().collect();
    let lacks: Vec<&str> =
        ["cpu", "memory", "pids"].into_iter().filter(|want| !has.contains(want)).collect();
    if lacks.is_empty() {
        return Check::ok(NAME, "unified layout (v2) with cpu, memory and pids");
    }
    Check::warn(
        NAME,
        format!("unified layout without {}", lacks.join(", ")),
        "enable them on the kernel's command line (cgroup_enable=memory), or, in a container, \
         delegate them to it",
    )
}

/// The message bus, and the helper that it starts for us.
pub fn bus(mode: Mode) -> Vec<Check> {
    const NAME: &str = "dbus";
    let (which, fix) = match mode {
        Mode::System | Mode::Remote => {
            ("--system", "sudo apt install dbus && sudo systemctl start dbus.socket")
        }
        Mode::User => ("--user", "sudo apt install dbus-user-session, then log in again"),
    };
    let call = [
        which,
        "call",
        "org.freedesktop.DBus",
        "/org/freedesktop/DBus",
        "org.freedesktop.DBus",
        "ListActivatableNames",
    ];
    let Some(names) = output("busctl", &call) else {
        return vec![Check::fail(NAME, "the message bus does not answer", fix)];
    };
    let mut checks = vec![Check::ok(NAME, "the message bus answers")];
    if mode == Mode::System {
        checks.push(if names.contains("\"org.tenement.Units1\"") {
            Check::ok("unit helper", "tenement-unitd is started when it is needed")
        } else {
            Check::fail(
                "unit helper",
                "the bus does not know org.tenement.Units1 (tenement-unitd)",
                "sudo apt install --reinstall tenement && sudo systemctl reload dbus",
            )
        });
    }
    checks
}

/// That users without an entry in /etc/passwd have names.
pub fn names(root: &Path) -> Check {
    const NAME: &str = "nss-systemd";
    let text = std::fs::read_to_string(root.join("etc/nsswitch.conf")).unwrap_or_default();
    let listed = |database: &str| {
        text.lines()
            .filter_map(|line| line.trim().strip_prefix(database)?.trim_start().strip_prefix(':'))
            .any(|sources| sources.split_whitespace().any(|source| source == "systemd"))
    };
    if listed("passwd") && listed("group") {
        return Check::ok(NAME, "users of instances have names");
    }
    Check::warn(
        NAME,
        "users of instances have no names: apps that look up their own user may fail",
        "sudo apt install libnss-systemd (it adds systemd to passwd and group in /etc/nsswitch.conf)",
    )
}

/// Whether secrets lie encrypted on this host's disk.
pub fn secrets(root: &Path) -> Check {
    if root.join("usr/bin/systemd-creds").exists() {
        return Check::ok("secrets", "systemd-creds encrypts them with this host's key");
    }
    Check::warn(
        "secrets",
        "there is no systemd-creds: what `ten secret set` keeps lies on disk as it is, for root only",
        "install the systemd package's systemd-creds, then set the secrets again",
    )
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let done = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Status;
    use super::*;

    #[test]
    fn systemd_says_its_version_in_its_first_line() {
        assert_eq!(version("systemd 252 (252.39-1~deb12u1)\n+PAM"), Some(252));
        assert_eq!(version("systemd 257.5-2 (x)"), Some(257));
        assert_eq!(version("runit"), None);
    }

    #[test]
    fn each_cgroup_layout_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("sys/fs/cgroup");
        assert_eq!(cgroups(root.path()).status, Status::Fail);
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        assert_eq!(cgroups(root.path()).status, Status::Ok);
        fs::write(tree.join("cgroup.controllers"), "cpu pids\n").unwrap();
        assert!(cgroups(root.path()).detail.contains("without memory"));
        fs::create_dir_all(tree.join("unified")).unwrap();
        assert!(cgroups(root.path()).detail.contains("hybrid"));
    }

    #[test]
    fn secrets_without_systemd_creds_are_warned_of() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(secrets(dir.path()).status, Status::Warn);
        std::fs::create_dir_all(dir.path().join("usr/bin")).expect("made");
        std::fs::write(dir.path().join("usr/bin/systemd-creds"), "").expect("written");
        assert_eq!(secrets(dir.path()).status, Status::Ok);
    }

    #[test]
    fn names_need_systemd_in_both_databases() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        let file = root.path().join("etc/nsswitch.conf");
        fs::write(&file, "passwd:   files systemd\ngroup: files\n").unwrap();
        assert_eq!(names(root.path()).status, Status::Warn);
        fs::write(&file, "passwd:   files systemd\ngroup:\tfiles [SUCCESS=merge] systemd\n")
            .unwrap();
        assert_eq!(names(root.path()).status, Status::Ok);
    }
}
