//! Deletes a directory tree that may be somebody else's: never through a symlink and never into another
//! mount. What is nested deeper than a bound is moved up and removed from there.

use std::ffi::CString;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, chmodat, chownat, fstat, openat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

/// Each level holds a descriptor open.
const DEPTH_MAX: usize = 128;

/// Deletes `name` in `parent` with all that is in it. Nothing there is no error.
pub(crate) fn remove_tree(parent: &OwnedFd, name: &str) -> Result<()> {
    let device = fstat(parent)?.st_dev;
    Removal { device, top: None, moved: 0 }.remove(parent, &CString::new(name)?, 0)
}

struct Removal {
    device: u64,
    /// The directory that is removed.
    top: Option<OwnedFd>,
    /// How many that lay too deep were moved up into it.
    moved: u32,
}

impl Removal {
    fn remove(&mut self, parent: &OwnedFd, name: &CString, depth: usize) -> Result<()> {
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if !FileType::from_raw_mode(stat.st_mode).is_dir() {
            return ignore_missing(unlinkat(parent, name, AtFlags::empty()));
        }
        let mounted = || {
            let text = format!("{} is a mount point; unmount it first", name.to_string_lossy());
            Err(Error::new(ErrorKind::PermissionDenied, text))
        };
        if stat.st_dev != self.device {
            return mounted();
        }
        take(parent, name, &stat)?;
        if depth >= DEPTH_MAX {
            return self.move_up(parent, name);
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Between the two calls it may have become a symlink: then this fails, and that is right.
        let dir = openat(parent, name, flags, Mode::empty())?;
        if fstat(&dir)?.st_dev != self.device {
            return mounted();
        }
        if depth == 0 {
            self.top = Some(dir.try_clone()?);
        }
        loop {
            let before = self.moved;
            for entry in Dir::read_from(&dir)? {
                let entry = entry?;
                let child = entry.file_name();
                if child != c"." && child != c".." {
                    self.remove(&dir, &child.to_owned(), depth + 1)?;
                }
            }
            // What was moved up may have come behind the place that was being read.
            if depth > 0 || self.moved == before {
                break;
            }
        }
        ignore_missing(unlinkat(parent, name, AtFlags::REMOVEDIR))
    }

    /// What is nested so deeply is removed later, from the top.
    fn move_up(&mut self, parent: &OwnedFd, name: &CString) -> Result<()> {
        let Some(top) = &self.top else { return Ok(()) };
        loop {
            self.moved += 1;
            let to = format!(".deep-{}", self.moved);
            match renameat_with(parent, name, top, &*to, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                other => return ignore_missing(other),
            }
        }
    }
}

/// Makes a directory ours, to be listed and emptied with no right over others' files but that of chown.
/// Its parent is ours alone by now, so nobody can put a symlink in its place before the chmod.
fn take(parent: &OwnedFd, name: &CString, stat: &rustix::fs::Stat) -> Result<()> {
    let me = rustix::process::geteuid();
    if stat.st_uid != me.as_raw() {
        chownat(parent, name, Some(me), None, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if stat.st_mode & 0o7777 != 0o700 {
        chmodat(parent, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
    }
    Ok(())
}

fn ignore_missing(result: rustix::io::Result<()>) -> Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
