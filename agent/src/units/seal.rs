//! From a draft that somebody else owns to a release that nobody can change.
//!
//! The build's unit has ended, so nothing moves any more; still, no path is trusted: from directory to directory,
//! never through a symlink. Each entry is taken (its owner changed) before its mode is, for the unit helper has the
//! right to change owners and no other. A change of owner takes set-user-id bits and file capabilities away; the
//! mode that is set then masks what an access list may have given to the build's user.

use std::ffi::CString;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, fstat, openat,
    readlinkat, statat,
};
use sha2::{Digest as _, Sha256};

use super::dirs;

/// As deep as [`super::purge`] goes.
const DEPTH_MAX: usize = 128;
const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a release is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes of its files.
    pub bytes: u64,
    /// Files, directories and symlinks.
    pub files: u64,
    /// SHA-256 of their names, modes and contents, in hexadecimal.
    pub digest: String,
}

/// How much a release may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// Makes everything in the directory `name` of `parent`, and it too, `owner`'s and writable by nobody else, readable
/// by all; executable what is executable for anybody.
pub(super) fn seal(parent: &OwnedFd, name: &str, owner: u32, most: Most) -> Result<Sealed> {
    let name = CString::new(name)?;
    let stat = statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW)?;
    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(refused("the draft is no directory"));
    }
    let device = fstat(parent)?.st_dev;
    let mut sealer =
        Sealer { owner, most, device, sum: Sha256::new(), sealed: Sealed::default(), listed: 0 };
    sealer.directory(parent, &name, &stat, 0)?;
    let Sealer { sum, mut sealed, .. } = sealer;
    sealed.digest = sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(sealed)
}

struct Sealer {
    owner: u32,
    most: Most,
    device: u64,
    sum: Sha256,
    sealed: Sealed,
    /// Names read so far.
    listed: u64,
}

impl Sealer {
    fn directory(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        stat: &Stat,
        depth: usize,
    ) -> Result<()> {
        if depth >= DEPTH_MAX {
            return Err(refused("it is nested too deeply"));
        }
        if stat.st_dev != self.device {
            return Err(refused("it holds a mount point"));
        }
        // Nobody else may go in from here on.
        self.take(parent, name, stat, 0o700)?;
        let dir = openat(parent, name, DIRECTORY, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let entry = entry?.file_name().to_owned();
            if entry == *c"." || entry == *c".." {
                continue;
            }
            names.push(entry);
            // Of the whole tree, for names are held until their directory is through.
            self.listed += 1;
            if self.listed > self.most.files {
                return Err(self.too_many());
            }
        }
        // The sum must not hang on the order in which a file system lists.
        names.sort();
        for child in names {
            let told = child.to_string_lossy().into_owned();
            self.entry(&dir, &child, depth + 1).map_err(|error| within(&told, &error))?;
        }
        chmodat(parent, name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
        self.sum.update(b"up\0");
        Ok(())
    }

    fn entry(&mut self, dir: &OwnedFd, name: &CString, depth: usize) -> Result<()> {
        self.sealed.files += 1;
        if self.sealed.files > self.most.files {
            return Err(self.too_many());
        }
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.tell(b"dir", name);
                self.directory(dir, name, &stat, depth)
            }
            FileType::RegularFile => self.file(dir, name, &stat),
            FileType::Symlink => {
                self.own(dir, name, &stat)?;
                self.tell(b"link", name);
                let target = readlinkat(dir, name, Vec::new())?;
                self.sum.update(target.to_bytes_with_nul());
                Ok(())
            }
            _ => Err(refused("is a device, a pipe or a socket, which has no place in a release")),
        }
    }

    fn file(&mut self, dir: &OwnedFd, name: &CString, stat: &Stat) -> Result<()> {
        let executable = stat.st_mode & 0o111 != 0;
        self.take(dir, name, stat, if executable { 0o755 } else { 0o644 })?;
        self.tell(if executable { b"exe" } else { b"file" }, name);
        let mut file = File::from(openat(dir, name, FILE, Mode::empty())?);
        let mut chunk = vec![0; 256 * 1024];
        let before = self.sealed.bytes;
        loop {
            let read = file.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            self.sum.update(&chunk[..read]);
            self.sealed.bytes += read as u64;
            if self.sealed.bytes > self.most.bytes {
                let text = format!("the release has more than {} bytes", self.most.bytes);
                return Err(Error::new(ErrorKind::QuotaExceeded, text));
            }
        }
        self.sum.update((self.sealed.bytes - before).to_le_bytes());
        Ok(())
    }

    fn tell(&mut self, kind: &[u8], name: &CString) {
        self.sum.update(kind);
        self.sum.update(b"\0");
        self.sum.update(name.as_bytes_with_nul());
    }

    fn own(&self, dir: &OwnedFd, name: &CString, stat: &Stat) -> Result<()> {
        let group = dirs::owner_group(self.owner);
        if stat.st_uid == self.owner && stat.st_gid == group {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(self.owner), Gid::from_raw(group));
        Ok(chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// `name` is no symlink: it was looked at, and its directory is ours alone by now.
    fn take(&self, dir: &OwnedFd, name: &CString, stat: &Stat, mode: u32) -> Result<()> {
        self.own(dir, name, stat)?;
        Ok(chmodat(dir, name, Mode::from_raw_mode(mode), AtFlags::empty())?)
    }

    fn too_many(&self) -> Error {
        refused(&format!("the release has more than {} entries", self.most.files))
    }
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

fn within(name: &str, error: &Error) -> Error {
    let text = error.to_string();
    let shown: String = name.chars().take(100).collect();
    let joint = if text.starts_with('`') { "/" } else { " " };
    let text = text.strip_prefix('`').map_or(text.clone(), str::to_owned);
    match joint {
        "/" => Error::new(error.kind(), format!("`{}/{text}", shown.escape_debug())),
        _ => Error::new(error.kind(), format!("`{}` {text}", shown.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const ROOMY: Most = Most { bytes: 1 << 20, files: 100 };

    fn tree(make: impl FnOnce(&std::path::Path)) -> (tempfile::TempDir, Result<Sealed>) {
        sealed_with(ROOMY, make)
    }

    fn sealed_with(
        most: Most,
        make: impl FnOnce(&std::path::Path),
    ) -> (tempfile::TempDir, Result<Sealed>) {
        let outer = tempfile::tempdir().unwrap();
        let draft = outer.path().join("draft");
        fs::create_dir(&draft).unwrap();
        make(&draft);
        let parent = OwnedFd::from(File::open(outer.path()).unwrap());
        let me = rustix::process::geteuid().as_raw();
        let sealed = seal(&parent, "draft", me, most);
        (outer, sealed)
    }

    fn set_mode(path: &std::path::Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_sealed_is_readable_by_all_and_writable_by_nobody_else() {
        let (outer, sealed) = tree(|draft| {
            fs::create_dir(draft.join("bin")).unwrap();
            fs::write(draft.join("bin/app"), b"app").unwrap();
            fs::write(draft.join("open"), b"12345").unwrap();
            symlink("/etc/passwd", draft.join("bin/link")).unwrap();
            set_mode(&draft.join("bin/app"), 0o4711);
            set_mode(&draft.join("open"), 0o666);
            set_mode(&draft.join("bin"), 0o2777);
        });
        let sealed = sealed.unwrap();
        assert_eq!((sealed.files, sealed.bytes, sealed.digest.len()), (4, 8, 64));
        let mode = |path: &str| {
            fs::metadata(outer.path().join("draft").join(path)).unwrap().permissions().mode()
                & 0o7777
        };
        assert_eq!(
            (mode(""), mode("bin"), mode("bin/app"), mode("open")),
            (0o755, 0o755, 0o755, 0o644)
        );
    }

    #[test]
    fn the_digest_tells_contents_names_and_modes_apart_and_nothing_else() {
        let digest = |make: &dyn Fn(&std::path::Path)| tree(make).1.unwrap().digest;
        let one = digest(&|d| fs::write(d.join("a"), b"x").unwrap());
        let late = digest(&|d| {
            fs::write(d.join("z"), b"").unwrap();
            fs::remove_file(d.join("z")).unwrap();
            fs::write(d.join("a"), b"x").unwrap();
        });
        assert_eq!(one, late);
        let others = [
            digest(&|d| fs::write(d.join("a"), b"y").unwrap()),
            digest(&|d| fs::write(d.join("b"), b"x").unwrap()),
            digest(&|d| symlink("x", d.join("a")).unwrap()),
            digest(&|d| {
                fs::write(d.join("a"), b"x").unwrap();
                set_mode(&d.join("a"), 0o755);
            }),
        ];
        assert!(others.iter().all(|other| *other != one));
    }

    #[test]
    fn sockets_and_pipes_and_too_much_are_refused_with_their_path() {
        let (_outer, sealed) = tree(|draft| {
            fs::create_dir(draft.join("run")).unwrap();
            drop(std::os::unix::net::UnixListener::bind(draft.join("run/s")).unwrap());
        });
        let error = sealed.unwrap_err().to_string();
        assert!(error.contains("`run/s` is a device, a pipe or a socket"), "{error}");
        let few = Most { bytes: 10, files: 2 };
        let (_outer, sealed) = sealed_with(few, |d| fs::write(d.join("a"), [0; 11]).unwrap());
        assert!(sealed.unwrap_err().to_string().contains("more than 10 bytes"));
        let (_outer, sealed) = sealed_with(few, |d| {
            (0..3).for_each(|n| fs::write(d.join(n.to_string()), b"").unwrap());
        });
        assert!(sealed.unwrap_err().to_string().contains("more than 2 entries"));
    }
}
