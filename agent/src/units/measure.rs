//! Measures a directory tree that may be somebody else's: never through a symlink, never into another
//! mount, and no longer than a bound.

use std::ffi::CString;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

/// Each level holds a descriptor open.
const DEPTH_MAX: usize = 128;
/// About ten seconds of work on a cold disk.
const ENTRIES_MAX: u64 = 2_000_000;
/// `st_blocks` counts these, whatever the file system's own block size (inode(7)).
const BLOCK: u64 = 512;

/// Bytes on disk of `name` in `parent` with all that is in it. Nothing there is 0. A file with several
/// links counts for each of them.
pub(super) fn tree(parent: &OwnedFd, name: &str) -> Result<u64> {
    let device = fstat(parent)?.st_dev;
    let mut walk = Walk { device, entries: 0, bytes: 0 };
    walk.visit(parent, &CString::new(name)?, 0)?;
    Ok(walk.bytes)
}

struct Walk {
    device: u64,
    entries: u64,
    bytes: u64,
}

impl Walk {
    fn visit(&mut self, parent: &OwnedFd, name: &CString, depth: usize) -> Result<()> {
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            // The app deletes files while we walk.
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        self.entries += 1;
        if self.entries > ENTRIES_MAX || depth > DEPTH_MAX {
            let text = "the data directory has too many files or levels to be measured";
            return Err(Error::new(ErrorKind::QuotaExceeded, text));
        }
        if stat.st_dev != self.device {
            return Ok(());
        }
        self.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
        if !FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Ok(());
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match openat(parent, name, flags, Mode::empty()) {
            // It became something else between the two calls.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let child = entry.file_name();
            if child != c"." && child != c".." {
                self.visit(&dir, &child.to_owned(), depth + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_measured_without_following_its_symlinks() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("a/b")).unwrap();
        std::fs::write(data.join("a/b/file"), vec![1; 1 << 20]).unwrap();
        std::fs::write(dir.path().join("outside"), vec![1; 8 << 20]).unwrap();
        std::os::unix::fs::symlink("../outside", data.join("link")).unwrap();
        std::os::unix::fs::symlink("..", data.join("up")).unwrap();
        let parent = OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let size = tree(&parent, "data").unwrap();
        assert!((1 << 20..2 << 20).contains(&size), "{size}");
        assert_eq!(tree(&parent, "nothing").unwrap(), 0);
        // The directory itself may be a symlink that the tenant's neighbour would like us to follow.
        std::os::unix::fs::symlink("data", dir.path().join("alias")).unwrap();
        assert!(tree(&parent, "alias").unwrap() < 1 << 16);
    }
}
