//! Directory to archive.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat,
};
use rustix::io::Errno;

use super::block::{BLOCK, Header, Kind};
use super::stream::HashWriter;
use super::{CHUNK, DATA, DEPTH_MAX, END, End, MANIFEST, Manifest, Packed, sqlite};

/// Compression: of zstd's levels the one with the best return.
const LEVEL: i32 = 3;
/// Files with several links that are remembered; of more, each name gets a copy of its own.
const LINKS_MAX: usize = 100_000;
const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);
/// A pipe in the place of a file must not make us wait.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// What is packed, and how.
#[derive(Debug)]
pub struct Source<'a> {
    /// The directory.
    pub root: &'a Path,
    /// Whether the app runs: SQLite databases are then copied by SQLite.
    pub online: bool,
    /// Where those copies are made, one at a time.
    pub scratch: &'a Path,
    /// What the archive says of itself.
    pub manifest: &'a Manifest,
}

/// Writes an archive of a directory.
///
/// # Errors
/// If anything in it can't be read (the text names it), or `out` can't be written. An archive that lacks a file would
/// be taken for a whole one.
pub fn pack(source: &Source, out: impl Write) -> io::Result<Packed> {
    let root = openat(CWD, source.root, DIRECTORY, Mode::empty())
        .map_err(|error| named(source.root.as_os_str().as_bytes(), error.into()))?;
    let device = fstat(&root)?.st_dev;
    let mut encoder = zstd::stream::write::Encoder::new(Counter { out, written: 0 }, LEVEL)?;
    encoder.include_checksum(true)?;
    let out = HashWriter::new(BufWriter::with_capacity(CHUNK, encoder));
    let links = HashMap::new();
    let mut packer = Packer { source, out, device, links, packed: Packed::default() };
    packer.json(MANIFEST, &serde_json::to_vec(source.manifest)?)?;
    packer.directory(&root, b"", 0)?;
    let Packer { mut out, mut packed, .. } = packer;
    let end = End { entries: packed.entries, sha256: out.digest() };
    json(&mut out, END, &serde_json::to_vec(&end)?)?;
    out.write_all(&[0; 2 * BLOCK])?;
    let encoder = out.into_inner().into_inner().map_err(io::IntoInnerError::into_error)?;
    let mut counter = encoder.finish()?;
    counter.flush()?;
    packed.written = counter.written;
    Ok(packed)
}

/// Counts what is written.
struct Counter<W> {
    out: W,
    written: u64,
}

impl<W: Write> Write for Counter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct Packer<'a, W: Write> {
    source: &'a Source<'a>,
    out: HashWriter<W>,
    device: u64,
    /// The first name of each file that has several, by its inode.
    links: HashMap<u64, Vec<u8>>,
    packed: Packed,
}

impl<W: Write> Packer<'_, W> {
    /// Everything in `dir`, which is `path` below the root, and then the directory itself.
    fn directory(&mut self, dir: &OwnedFd, path: &[u8], depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            let why = format!("is nested more than {DEPTH_MAX} levels deep");
            return Err(named(path, io::Error::other(why)));
        }
        for entry in Dir::read_from(dir).map_err(|error| named(path, error.into()))? {
            let entry = entry.map_err(|error| named(path, error.into()))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let below = below(path, name.to_bytes());
            self.entry(dir, name, &below, depth).map_err(|error| named(&below, error))?;
        }
        let stat = fstat(dir)?;
        let mut name = DATA.to_vec();
        if !path.is_empty() {
            name.extend_from_slice(path);
            name.push(b'/');
        }
        self.header(&header(Kind::Directory, &name, &stat))
    }

    fn entry(&mut self, dir: &OwnedFd, name: &CStr, path: &[u8], depth: usize) -> io::Result<()> {
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            // The app deletes files while we walk.
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if stat.st_dev != self.device {
            self.packed.skipped += 1;
            return Ok(());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => match openat(dir, name, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
                Ok(child) => self.directory(&child, path, depth + 1),
            },
            FileType::RegularFile => self.regular(dir, name, path),
            FileType::Symlink => {
                let mut entry = header(Kind::Symlink, &data(path), &stat);
                entry.link = match readlinkat(dir, name, Vec::new()) {
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                    other => other?.into_bytes(),
                };
                self.header(&entry)
            }
            _ => {
                self.packed.skipped += 1;
                Ok(())
            }
        }
    }

    fn regular(&mut self, dir: &OwnedFd, name: &CStr, path: &[u8]) -> io::Result<()> {
        let file = match openat(dir, name, FILE, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            other => File::from(other?),
        };
        let stat = fstat(&file)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            self.packed.skipped += 1;
            return Ok(());
        }
        if self.source.online {
            if is_companion(dir, name) {
                return Ok(());
            }
            if is_database(&file)? {
                return self.database(&stat, path);
            }
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&stat.st_ino) {
                let mut entry = header(Kind::Hardlink, &data(path), &stat);
                entry.link = data(first);
                return self.header(&entry);
            }
            if self.links.len() < LINKS_MAX {
                self.links.insert(stat.st_ino, path.to_vec());
            }
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.content(&stat, path, size, &file)
    }

    /// A database, by way of a copy that SQLite makes.
    fn database(&mut self, stat: &Stat, path: &[u8]) -> io::Result<()> {
        let copy = Scratch::new(self.source.scratch)?;
        let from = self.source.root.join(OsStr::from_bytes(path));
        if let Err(error) = sqlite::copy(&from, &copy.0) {
            // The app has deleted it while we walk.
            return if from.symlink_metadata().is_err() { Ok(()) } else { Err(error) };
        }
        let file = File::open(&copy.0)?;
        let size = file.metadata()?.len();
        self.packed.databases += 1;
        self.content(stat, path, size, &file)
    }

    /// Header and `size` bytes of a file. What it has more is left out, what it has less is filled with zeros.
    fn content(&mut self, stat: &Stat, path: &[u8], size: u64, file: &File) -> io::Result<()> {
        let mut entry = header(Kind::File, &data(path), stat);
        entry.size = size;
        self.header(&entry)?;
        let copied = io::copy(&mut file.take(size), &mut self.out)?;
        let one_more = if copied == size { (&*file).read(&mut [0])? } else { 0 };
        if copied < size || one_more > 0 {
            self.packed.changed += 1;
        }
        io::copy(&mut io::repeat(0).take(size - copied), &mut self.out)?;
        self.packed.bytes += size;
        pad(&mut self.out, size)
    }

    fn header(&mut self, header: &Header) -> io::Result<()> {
        self.packed.entries += 1;
        self.out.write_all(&header.encode())
    }

    fn json(&mut self, name: &[u8], text: &[u8]) -> io::Result<()> {
        json(&mut self.out, name, text)
    }
}

fn json(out: &mut impl Write, name: &[u8], text: &[u8]) -> io::Result<()> {
    let mut header = Header::new(Kind::File, name);
    header.size = text.len() as u64;
    out.write_all(&header.encode())?;
    out.write_all(text)?;
    pad(out, header.size)
}

fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let rest = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    out.write_all(&[0; BLOCK][..if rest == 0 { 0 } else { BLOCK - rest }])
}

fn header(kind: Kind, name: &[u8], stat: &Stat) -> Header {
    let mut header = Header::new(kind, name);
    // No set-user-id and set-group-id: they would be another user's after a restore.
    header.mode = stat.st_mode & 0o1777;
    header.mtime = u64::try_from(stat.st_mtime).unwrap_or(0);
    header
}

fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

fn data(path: &[u8]) -> Vec<u8> {
    [DATA, path].concat()
}

/// The error with the name of what it is about in front, unless a deeper level has put one there.
fn named(path: &[u8], error: io::Error) -> io::Error {
    #[derive(Debug)]
    struct Named(String);
    impl std::fmt::Display for Named {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.0)
        }
    }
    impl std::error::Error for Named {}
    if error.get_ref().is_some_and(|inner| inner.is::<Named>()) {
        return error;
    }
    let name = String::from_utf8_lossy(path);
    io::Error::new(error.kind(), Named(format!("{}: {error}", name.escape_debug())))
}

fn is_database(mut file: &File) -> io::Result<bool> {
    use std::io::Seek as _;
    let mut magic = [0; 16];
    let read = file.read(&mut magic)?;
    file.rewind()?;
    Ok(read == magic.len() && magic == *sqlite::MAGIC)
}

/// Whether a file is what SQLite keeps beside a database of this directory.
fn is_companion(dir: &OwnedFd, name: &CStr) -> bool {
    let Some(base) = sqlite::database_of(name.to_bytes()) else { return false };
    let found = openat(dir, OsStr::from_bytes(base), FILE, Mode::empty());
    found.is_ok_and(|file| is_database(&File::from(file)).unwrap_or(false))
}

/// A name for a copy; what is there is deleted when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    /// In a directory of its own that nobody else can look into.
    fn new(parent: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let name = format!("tenement-{}", uuid::Uuid::new_v4().simple());
        let dir = parent.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("no copy can be made in {}: {error}", parent.display()),
            )
        })?;
        Ok(Self(dir.join("copy")))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(dir) = self.0.parent() {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}
