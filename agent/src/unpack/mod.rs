//! Floor 2: a tar file of anybody's into a fresh directory, and nothing beside it.
//!
//! ```text
//!   tarball ─ sniff ─► zstd | gzip | as it is ─ tar ─► check each entry ─► openat, step by step, in the directory
//! ```
//!
//! `tenement-unpack` runs this as a user of the build's own in the build's sandbox; that nothing gets out is true
//! without it. It refuses what has no place in a release, and says which entry that was: absolute paths and `..`,
//! links that lead out, devices, pipes, set-user-id bits, too many files, too many bytes.
//!
//! It does *not* keep owners and times of directories: the one is root's in the end, the others say nothing.

mod links;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, futimens, linkat,
    mkdirat, openat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

/// Bytes of a beginning that [`sniff`] wants to see.
pub const SNIFFED: usize = 262;
/// Deepest level below the directory: what is deeper can't be deleted again.
const DEPTH_MAX: usize = 100;
/// What an entry takes beside its bytes, on disk.
const ENTRY_COST: u64 = 512;

const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);
const NEW_FILE: OFlags = OFlags::CREATE
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::WRONLY);

/// How a tar file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Not at all.
    Plain,
    /// `.tar.gz`
    Gzip,
    /// `.tar.zst`
    Zstd,
}

/// What a file is by its first [`SNIFFED`] bytes; `None` if it is no tar file that can be read here.
#[must_use]
pub fn sniff(head: &[u8]) -> Option<Form> {
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Some(Form::Zstd);
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        return Some(Form::Gzip);
    }
    (head.get(257..262) == Some(b"ustar")).then_some(Form::Plain)
}

/// How much may come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all files, each entry counting something besides.
    pub bytes: u64,
    /// Entries.
    pub files: u64,
}

/// What came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of all files.
    pub bytes: u64,
    /// Entries.
    pub files: u64,
}

/// Unpacks `input` into the empty directory `root`.
///
/// # Errors
/// A text that names the entry and what is wrong with it. What came out before that stays.
pub fn unpack(input: &mut dyn Read, root: &OwnedFd, bounds: Bounds) -> io::Result<Unpacked> {
    let mut head = Vec::new();
    input.take(SNIFFED as u64).read_to_end(&mut head)?;
    let form = sniff(&head).ok_or_else(|| bad("it is no tar, tar.gz or tar.zst file"))?;
    let whole = io::Cursor::new(head).chain(input);
    let plain: Box<dyn Read + '_> = match form {
        Form::Plain => Box::new(whole),
        Form::Gzip => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Form::Zstd => Box::new(zstd::stream::read::Decoder::new(whole)?),
    };
    // Names and attributes have bytes too, so the stream itself is bounded: a little of zeros makes a lot.
    let most = bounds.bytes.saturating_add(bounds.files.saturating_mul(2 * ENTRY_COST));
    let bounded = Bounded { inner: plain, left: most.saturating_add(1 << 20) };
    let mut out = Out { root, bounds, cost: 0, done: Unpacked::default() };
    for entry in Archive::new(bounded).entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        out.entry(&mut entry, &path).map_err(|error| {
            let shown = String::from_utf8_lossy(&path).chars().take(200).collect::<String>();
            io::Error::new(error.kind(), format!("`{}`: {error}", shown.escape_debug()))
        })?;
    }
    Ok(out.done)
}

/// Ends with an error after so many bytes, where `take` would end as if all were read.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(too_much)?;
        Ok(read)
    }
}

/// Of such a file the entry has another name, and a map before its content.
fn must_not_be_pax_sparse<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<()> {
    let Some(mut extensions) = entry.pax_extensions()? else { return Ok(()) };
    match extensions.any(|one| one.is_ok_and(|one| one.key_bytes().starts_with(b"GNU.sparse."))) {
        true => Err(bad("it is a sparse file in pax format: make the tar file without --sparse")),
        false => Ok(()),
    }
}

fn too_much() -> io::Error {
    let text = "it has more bytes than may come out; see upload_max in [process.NAME.deploy]";
    io::Error::new(io::ErrorKind::QuotaExceeded, text)
}

struct Out<'a> {
    root: &'a OwnedFd,
    bounds: Bounds,
    cost: u64,
    done: Unpacked,
}

impl Out<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>, path: &[u8]) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            // What git archive says of the commit.
            return Ok(());
        }
        self.done.files += 1;
        if self.done.files > self.bounds.files {
            return Err(bad(&format!("it has more than {} entries", self.bounds.files)));
        }
        self.spend(ENTRY_COST)?;
        let parts = parts_of(Path::new(std::ffi::OsStr::from_bytes(path)))?;
        let mode = entry.header().mode()?;
        must_not_be_pax_sparse(entry)?;
        match kind {
            EntryType::Directory => self.directory(&parts).map(drop),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                if mode & 0o6000 != 0 {
                    return Err(bad("it is set-user-id or set-group-id"));
                }
                self.file(entry, &parts, mode)
            }
            EntryType::Symlink => {
                let target = link_name(entry)?;
                links::check(&target, parts.len().saturating_sub(1)).map_err(bad)?;
                let (dir, name) = self.place(&parts)?;
                Ok(symlinkat(&*target, &dir, name)?)
            }
            EntryType::Link => {
                let target = link_name(entry)?;
                let target = parts_of(Path::new(std::ffi::OsStr::from_bytes(&target)))?;
                let (name, above) =
                    target.split_last().ok_or_else(|| bad("it links to nothing"))?;
                let from = self.directory(above)?;
                let stat = statat(&from, *name, AtFlags::SYMLINK_NOFOLLOW);
                let stat = stat.map_err(|_| bad("it links to what did not come before it"))?;
                if !FileType::from_raw_mode(stat.st_mode).is_file() {
                    return Err(bad("it links to what is no file"));
                }
                let (dir, own) = self.place(&parts)?;
                Ok(linkat(&from, *name, &dir, own, AtFlags::empty())?)
            }
            EntryType::Block | EntryType::Char => Err(bad("it is a device")),
            EntryType::Fifo => Err(bad("it is a pipe")),
            other => Err(bad(&format!("it is of the unknown kind {:?}", other.as_byte() as char))),
        }
    }

    fn file<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        parts: &[&[u8]],
        mode: u32,
    ) -> io::Result<()> {
        let mtime = entry.header().mtime().ok().and_then(|s| i64::try_from(s).ok());
        let (dir, name) = self.place(parts)?;
        let mut file = File::from(openat(&dir, name, NEW_FILE, Mode::from_raw_mode(0o600))?);
        let mut chunk = vec![0; 128 * 1024];
        loop {
            let read = entry.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            self.spend(read as u64)?;
            self.done.bytes += read as u64;
            io::Write::write_all(&mut file, &chunk[..read])?;
        }
        if let Some(seconds) = mtime {
            let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            let at = Timespec { tv_sec: seconds, tv_nsec: 0 };
            futimens(&file, &Timestamps { last_access: omit, last_modification: at })?;
        }
        let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
        Ok(fchmod(&file, Mode::from_raw_mode(mode))?)
    }

    fn spend(&mut self, bytes: u64) -> io::Result<()> {
        self.cost = self.cost.saturating_add(bytes);
        if self.cost > self.bounds.bytes { Err(too_much()) } else { Ok(()) }
    }

    /// The directory that an entry goes into, and its name there, which is free afterwards: a later entry of the
    /// same name stands for it, as with tar(1).
    fn place<'p>(&mut self, parts: &[&'p [u8]]) -> io::Result<(OwnedFd, &'p [u8])> {
        let (name, above) = parts.split_last().ok_or_else(|| bad("it has no name"))?;
        let dir = self.directory(above)?;
        match unlinkat(&dir, *name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok((dir, name)),
            Err(Errno::ISDIR) => Err(bad("it is there already, as a directory")),
            Err(error) => Err(error.into()),
        }
    }

    /// The directory at a path; what is missing is made, and no symlink is followed.
    fn directory(&mut self, parts: &[&[u8]]) -> io::Result<OwnedFd> {
        let mut dir = self.root.try_clone()?;
        for part in parts {
            dir = match openat(&dir, *part, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => {
                    self.spend(ENTRY_COST)?;
                    mkdirat(&dir, *part, Mode::from_raw_mode(0o755))?;
                    openat(&dir, *part, DIRECTORY, Mode::empty())?
                }
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    return Err(bad("it lies behind a symlink or a file"));
                }
                other => other?,
            };
        }
        Ok(dir)
    }
}

fn link_name<R: Read>(entry: &Entry<'_, R>) -> io::Result<Vec<u8>> {
    let name = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
    name.filter(|name| !name.is_empty() && !name.contains(&0))
        .ok_or_else(|| bad("it links to nothing"))
}

/// The parts of a path below the directory. `./` before it is fine; whatever leads elsewhere is not.
fn parts_of(path: &Path) -> io::Result<Vec<&[u8]>> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) if !part.as_bytes().contains(&0) => parts.push(part.as_bytes()),
            Component::CurDir => {}
            Component::RootDir => return Err(bad("its path is absolute")),
            _ => return Err(bad("its path has `..` in it")),
        }
    }
    if parts.len() > DEPTH_MAX {
        return Err(bad(&format!("it is nested more than {DEPTH_MAX} levels deep")));
    }
    Ok(parts)
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
