//! The flag by which the agent asks for one parked start: see `tenement-park`.
//!
//! The directory belongs to the instance, so nothing in it is trusted: no symlink is followed, nothing
//! that is there is opened, and the worst that an instance can do with its flag is to park itself.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use tenement_wire::InstanceName;

use super::dirs::open_trusted;
use crate::plan::PARK_FLAG;

/// Asks for the instance's next start to be parked.
///
/// # Errors
/// If its run directory isn't there or not the agent's to write to.
pub fn raise(run_dir: &Path, name: &InstanceName) -> io::Result<()> {
    let dir = instance_dir(run_dir, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(&dir, PARK_FLAG, flags, Mode::from_raw_mode(0o640)) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes that back. It is no error if nobody asked.
///
/// # Errors
/// If the flag is there and can't be removed.
pub fn lower(run_dir: &Path, name: &InstanceName) -> io::Result<()> {
    let removed = instance_dir(run_dir, name)
        .and_then(|dir| Ok(unlinkat(&dir, PARK_FLAG, AtFlags::empty())?));
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn instance_dir(run_dir: &Path, name: &InstanceName) -> io::Result<OwnedFd> {
    let process = run_dir.join(name.process().as_str());
    let process = open_trusted(&process, rustix::process::geteuid().as_raw(), false)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    Ok(openat(&process, name.id().as_str(), flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_flag_is_raised_and_lowered_any_number_of_times() {
        let dir = tempfile::tempdir().unwrap();
        let name: InstanceName = "api:prod".parse().unwrap();
        assert_eq!(raise(dir.path(), &name).unwrap_err().kind(), io::ErrorKind::NotFound);
        lower(dir.path(), &name).unwrap();
        std::fs::create_dir_all(dir.path().join("api/prod")).unwrap();
        for _ in 0..2 {
            raise(dir.path(), &name).unwrap();
            raise(dir.path(), &name).unwrap();
            assert!(dir.path().join("api/prod/park").exists());
            lower(dir.path(), &name).unwrap();
            lower(dir.path(), &name).unwrap();
            assert!(!dir.path().join("api/prod/park").exists());
        }
    }

    #[test]
    fn an_instance_can_not_lead_the_flag_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let name: InstanceName = "api:prod".parse().unwrap();
        std::fs::create_dir_all(dir.path().join("api")).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, dir.path().join("api/prod")).unwrap();
        raise(dir.path(), &name).unwrap_err();
        std::fs::remove_file(dir.path().join("api/prod")).unwrap();
        std::fs::create_dir(dir.path().join("api/prod")).unwrap();
        symlink(elsewhere.join("made"), dir.path().join("api/prod/park")).unwrap();
        raise(dir.path(), &name).unwrap();
        assert!(!elsewhere.join("made").exists(), "the flag's symlink was followed");
        lower(dir.path(), &name).unwrap();
        assert!(!dir.path().join("api/prod/park").is_symlink());
    }
}
