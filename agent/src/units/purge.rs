//! Deletes a directory tree that may be somebody else's: never through a symlink, never into another
//! mount, and never deeper than a bound.

use std::ffi::CString;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, chmodat, chownat, fstat, openat, statat, unlinkat,
};
use rustix::io::Errno;

/// Each level holds a descriptor open; a tree deeper than this is not an app's data.
const DEPTH_MAX: usize = 128;

/// Deletes `name` in `parent` with all that is in it. Nothing there is no error.
pub(crate) fn remove_tree(parent: &OwnedFd, name: &str) -> Result<()> {
    let name = CString::new(name)?;
    let device = fstat(parent)?.st_dev;
    remove(parent, &name, device, 0)
}

fn remove(parent: &OwnedFd, name: &CString, device: u64, depth: usize) -> Result<()> {
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
        return ignore_missing(unlinkat(parent, name, AtFlags::empty()));
    }
    let refuse = |why: &str| {
        Err(Error::new(ErrorKind::PermissionDenied, format!("{} {why}", name.to_string_lossy())))
    };
    if depth >= DEPTH_MAX {
        return refuse("is nested too deeply");
    }
    if stat.st_dev != device {
        return refuse("is a mount point; unmount it first");
    }
    take(parent, name, &stat)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Between the two calls it may have become a symlink: then this fails, and that is right.
    let dir = openat(parent, name, flags, Mode::empty())?;
    if fstat(&dir)?.st_dev != device {
        return refuse("is a mount point; unmount it first");
    }
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let child = entry.file_name();
        if child != c"." && child != c".." {
            remove(&dir, &child.to_owned(), device, depth + 1)?;
        }
    }
    ignore_missing(unlinkat(parent, name, AtFlags::REMOVEDIR))
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
