//! Whether somebody holds a lock on a file in a directory that an instance owns.

use std::path::Path;

use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, flock, fstat, openat};

/// Whether a process holds a flock(2) lock on the regular file at `path`. The instance owns the
/// directory, so the file may be anything: a symlink, a pipe or a device is not opened or counts as no lock.
#[must_use]
pub fn lock_is_held(path: &Path) -> bool {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let Some((dir, name)) = path.parent().zip(path.file_name()) else { return false };
    // The last directory is the instance's own and its parent is root's, so no part of `dir` can be
    // replaced by a symlink; `name` can.
    let Ok(dir) = openat(CWD, dir, flags | OFlags::DIRECTORY, Mode::empty()) else { return false };
    let Ok(file) = openat(&dir, name, flags, Mode::empty()) else { return false };
    let regular = fstat(&file).is_ok_and(|s| FileType::from_raw_mode(s.st_mode).is_file());
    // Our own lock ends with the descriptor, a few microseconds later.
    regular
        && flock(&file, FlockOperation::NonBlockingLockExclusive)
            == Err(rustix::io::Errno::WOULDBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_lock_counts_until_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busy");
        assert!(!lock_is_held(&path), "there is no file");
        let file = std::fs::File::create(&path).unwrap();
        assert!(!lock_is_held(&path), "nobody has locked it");
        flock(&file, FlockOperation::LockShared).unwrap();
        assert!(lock_is_held(&path));
        drop(file);
        assert!(!lock_is_held(&path));
    }

    #[test]
    fn what_an_instance_may_put_there_instead_neither_counts_nor_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        let file = std::fs::File::create(&target).unwrap();
        flock(&file, FlockOperation::LockShared).unwrap();
        let link = dir.path().join("busy");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(!lock_is_held(&link), "a symlink was followed");
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(!lock_is_held(&pipe));
        assert!(!lock_is_held(dir.path()), "a directory");
    }
}
