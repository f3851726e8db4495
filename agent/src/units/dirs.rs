//! Directories made without trusting any path: step by step from the root, never through a symlink,
//! and only below parents that nobody but their trusted owner can change.

use std::io::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid, chownat, fchmod, fchown,
    fstat, mkdirat, openat, renameat_with, statat, unlinkat,
};

/// To look at and to step through, which needs no right to read it: those of instances are 0700.
const STEP: OFlags = OFlags::PATH.union(DIRECTORY);
const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// Who a directory belongs to, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

/// Opens the directory at `path`; every directory on the way, and it too, must be root's or `owner`'s
/// and writable by nobody else. Missing ones are made (0755) if `create`.
pub(crate) fn open_trusted(path: &Path, owner: u32, create: bool) -> Result<OwnedFd> {
    let refuse = |at: &Path, why: &str| Err(refused(at, why));
    if !path.is_absolute() {
        return refuse(path, "is not an absolute path");
    }
    let mut at = std::path::PathBuf::from("/");
    let mut dir = openat(CWD, "/", DIRECTORY, Mode::empty())?;
    for component in path.components() {
        let name = match component {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            _ => return refuse(path, "must not contain `.` or `..`"),
        };
        at.push(name);
        dir = match openat(&dir, name, DIRECTORY, Mode::empty()) {
            Ok(next) => next,
            Err(rustix::io::Errno::NOENT) if create => {
                let access = Access { uid: owner, gid: owner_group(owner), mode: 0o755 };
                ensure(&dir, &name.to_string_lossy(), access).map_err(|e| explain(&at, e))?
            }
            Err(error) => return Err(explain(&at, error.into())),
        };
        if !is_trusted(&fstat(&dir)?, owner) {
            let why = format!(
                "must belong to {} and be writable by nobody else",
                if owner == 0 { "root".to_owned() } else { format!("root or user {owner}") }
            );
            return refuse(&at, &why);
        }
    }
    Ok(dir)
}

/// Whether nobody but root and `owner` can change what `stat` is of. In a directory with the sticky
/// bit others can add, but not change or remove what isn't theirs, and what they add is theirs.
pub(crate) fn is_trusted(stat: &Stat, owner: u32) -> bool {
    let sticky_dir = FileType::from_raw_mode(stat.st_mode).is_dir() && stat.st_mode & 0o1000 != 0;
    (stat.st_uid == 0 || stat.st_uid == owner) && (stat.st_mode & 0o022 == 0 || sticky_dir)
}

/// Makes the directory `name` in the trusted directory `parent`, or takes the one that is there if it
/// belongs to the same user. It appears whole: it is made under another name and then renamed, so that
/// a crash leaves nothing half made and nothing existing is ever chowned.
pub(crate) fn ensure(parent: &OwnedFd, name: &str, access: Access) -> Result<OwnedFd> {
    match openat(parent, name, STEP, Mode::empty()) {
        Ok(dir) => return adopt(dir, parent, name, access),
        Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(explain(Path::new(name), error.into())),
    }
    let draft = format!(".new-{name}");
    // Left by a crash; only an empty directory can be removed so.
    let _ = unlinkat(parent, &*draft, AtFlags::REMOVEDIR);
    let dir = draft_with_mode(parent, &draft, access.mode)?;
    let me = rustix::process::geteuid().as_raw();
    if me != access.uid || access.gid != owner_group(me) {
        fchown(&dir, Some(Uid::from_raw(access.uid)), Some(Gid::from_raw(access.gid)))?;
    }
    match renameat_with(parent, &*draft, parent, name, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(dir),
        Err(rustix::io::Errno::EXIST) => {
            let _ = unlinkat(parent, &*draft, AtFlags::REMOVEDIR);
            adopt(openat(parent, name, STEP, Mode::empty())?, parent, name, access)
        }
        Err(error) => Err(error.into()),
    }
}

/// A new directory of this mode that is still ours, so that no right over others' files is needed.
///
/// The unit helper may not set a setgid bit (`RestrictSUIDSGID=`), but a new directory has that of its
/// parent as long as chmod leaves it alone, so it must be born with its mode. Changing the owner of a
/// directory keeps the bit.
fn draft_with_mode(parent: &OwnedFd, draft: &str, mode: u32) -> Result<OwnedFd> {
    let wanted = Mode::from_raw_mode(mode & 0o777);
    // Nothing is made without an explicit mode here, so the moment without a mask hurts nobody.
    let mask = rustix::process::umask(Mode::empty());
    let made = mkdirat(parent, draft, wanted);
    rustix::process::umask(mask);
    made?;
    let dir = openat(parent, draft, DIRECTORY, Mode::empty())?;
    if fstat(&dir)?.st_mode & 0o7777 != mode {
        fchmod(&dir, Mode::from_raw_mode(mode))?;
    }
    Ok(dir)
}

fn adopt(dir: OwnedFd, parent: &OwnedFd, name: &str, access: Access) -> Result<OwnedFd> {
    let stat = fstat(&dir)?;
    if stat.st_uid != access.uid {
        let why = format!(
            "belongs to user {} and not to user {}; change its owner (chown -R) or move it away",
            stat.st_uid, access.uid
        );
        return Err(refused(Path::new(name), &why));
    }
    if stat.st_gid != access.gid {
        let group = Some(Gid::from_raw(access.gid));
        chownat(parent, name, None, group, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    // The mode of a directory that is an instance's own is its business.
    let ours = stat.st_uid == rustix::process::geteuid().as_raw();
    if ours && stat.st_mode & 0o7777 != access.mode {
        let dir = openat(parent, name, DIRECTORY, Mode::empty())?;
        fchmod(&dir, Mode::from_raw_mode(access.mode))?;
    }
    Ok(dir)
}

/// The owner of the directory `name` in `parent`, if there is one.
pub(crate) fn owner_of(parent: &OwnedFd, name: &str) -> Result<Option<u32>> {
    match openat(parent, name, STEP, Mode::empty()) {
        Ok(dir) => Ok(Some(fstat(&dir)?.st_uid)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(explain(Path::new(name), error.into())),
    }
}

/// The owner of `name` in `parent`, whatever it is.
pub(crate) fn lstat_owner(parent: &OwnedFd, name: &str) -> Result<Option<u32>> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat.st_uid)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The group that a user's new files get: root's is root; a user's own is left as it is.
pub(crate) fn owner_group(uid: u32) -> u32 {
    if uid == 0 { 0 } else { rustix::process::getegid().as_raw() }
}

fn explain(at: &Path, error: Error) -> Error {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        // O_NOFOLLOW | O_DIRECTORY on a symlink gives ENOTDIR on Linux, as for a file.
        Some(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
            refused(at, "is a symlink or no directory; symlinks are not followed here")
        }
        _ => Error::new(error.kind(), format!("{}: {error}", at.display())),
    }
}

fn refused(at: &Path, why: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("{} {why}", at.display()))
}

/// Makes the empty file `name` in the trusted directory `parent` unless it is there. It appears whole:
/// nobody ever sees it with another owner or mode.
pub(crate) fn ensure_file(
    parent: &OwnedFd,
    name: &str,
    owner: Option<(u32, u32)>,
    mode: u32,
) -> Result<()> {
    if statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(());
    }
    let draft = format!(".new-{name}");
    let _ = unlinkat(parent, &*draft, AtFlags::empty());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    let file = openat(parent, &*draft, flags, Mode::from_raw_mode(0o600))?;
    // The mode first: afterwards it is another's file, whose mode the unit helper may not change.
    fchmod(&file, Mode::from_raw_mode(mode))?;
    if let Some((uid, gid)) = owner {
        fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    match renameat_with(parent, &*draft, parent, name, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::EXIST) => Ok(unlinkat(parent, &*draft, AtFlags::empty())?),
        other => Ok(other?),
    }
}
