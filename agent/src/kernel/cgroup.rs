//! A service's control group, reached without trusting any path.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, openat};

/// The slice that all instances are in.
const SLICE: &str = "tenement.slice";

/// Opens the control group `group` (as systemd's `ControlGroup` has it, `/tenement.slice/…`) below the
/// mount point `root`, component by component and through no symlink.
///
/// # Errors
/// If it isn't below `tenement.slice`, or can't be opened.
pub fn open(root: &Path, group: &str) -> Result<OwnedFd> {
    let path = Path::new(group.strip_prefix('/').unwrap_or(group));
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            _ => return Err(refused(group)),
        }
    }
    let ours = names.iter().position(|name| *name == SLICE);
    if ours.is_none_or(|at| at + 1 >= names.len()) {
        return Err(refused(group));
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let mut dir = openat(CWD, root, flags, Mode::empty())?;
    for name in names {
        dir = openat(&dir, name, flags, Mode::empty())?;
    }
    Ok(dir)
}

fn refused(group: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("`{group}` is no control group of an instance"))
}

/// Has the kernel take back as much of the group's memory as it can (`memory.reclaim`: cgroup-v2.rst).
/// Blocks until that is done, which may take seconds. Returns the bytes before and after.
///
/// # Errors
/// If there is no such file (Linux before 5.19, no memory controller) or it can't be written. That less
/// was taken back than asked for is no error: some pages always stay.
pub fn reclaim(group: &OwnedFd) -> Result<(u64, u64)> {
    let before = current(group)?;
    let file = openat(group, "memory.reclaim", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    match std::fs::File::from(file).write_all(before.to_string().as_bytes()) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok((before, current(group)?)),
    }
}

/// The group's `cgroup.freeze`, open for writing.
///
/// # Errors
/// If there is none, or it can't be written.
pub fn freezer(group: &OwnedFd) -> Result<OwnedFd> {
    Ok(openat(group, "cgroup.freeze", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Thaws the group of a `cgroup.freeze` file. Its processes run when this returns.
///
/// # Errors
/// `ENODEV` if the group is gone.
pub fn thaw(freezer: &OwnedFd) -> Result<()> {
    rustix::io::pwrite(freezer, b"0", 0)?;
    Ok(())
}

/// Whether the group is frozen, as `cgroup.events` has it.
///
/// # Errors
/// If that can't be read.
pub fn is_frozen(group: &OwnedFd) -> Result<bool> {
    let file = openat(group, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    std::fs::File::from(file).take(256).read_to_string(&mut text)?;
    Ok(text.lines().any(|line| line == "frozen 1"))
}

fn current(group: &OwnedFd) -> Result<u64> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(group, "memory.current", flags, Mode::empty())?;
    let mut text = String::new();
    std::fs::File::from(file).take(64).read_to_string(&mut text)?;
    text.trim().parse().map_err(|_| Error::new(ErrorKind::InvalidData, "memory.current"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_below_our_slice_are_opened_and_no_symlink_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("tenement.slice/tenement-api.slice/ten-api@a.service");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::create_dir_all(dir.path().join("system.slice/ssh.service")).unwrap();
        std::os::unix::fs::symlink("../system.slice", dir.path().join("tenement.slice/link"))
            .unwrap();
        let open = |group: &str| open(dir.path(), group);
        assert!(open("/tenement.slice/tenement-api.slice/ten-api@a.service").is_ok());
        for bad in [
            "",
            "/",
            "/tenement.slice",
            "/system.slice/ssh.service",
            "/tenement.slice/../system.slice",
            "/tenement.slice/link",
            "/tenement.slice/link/ssh.service",
            "/tenement.slice/none",
        ] {
            assert!(open(bad).is_err(), "{bad} was opened");
        }
    }

    #[test]
    fn a_frozen_group_says_so_and_is_thawed_by_one_write() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("tenement.slice/x.service");
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        std::fs::write(group.join("cgroup.freeze"), "1").unwrap();
        let handle = open(dir.path(), "/tenement.slice/x.service").unwrap();
        assert!(is_frozen(&handle).unwrap());
        thaw(&freezer(&handle).unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(group.join("cgroup.freeze")).unwrap(), "0");
        std::fs::write(group.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        assert!(!is_frozen(&handle).unwrap());
    }

    #[test]
    fn all_that_there_is_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("tenement.slice/x.service");
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join("memory.current"), "4096\n").unwrap();
        let handle = open(dir.path(), "/tenement.slice/x.service").unwrap();
        assert!(reclaim(&handle).is_err(), "there is no such file");
        std::fs::write(group.join("memory.reclaim"), "").unwrap();
        assert_eq!(reclaim(&handle).unwrap(), (4096, 4096));
        assert_eq!(std::fs::read_to_string(group.join("memory.reclaim")).unwrap(), "4096");
    }
}
