//! Archive to directory. Everything that is read here may have been written by anybody.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, futimens, linkat,
    mkdirat, openat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::block::{BLOCK, Header, Kind, LONG_MAX};
use super::stream::{Blocks, digest};
use super::{CHUNK, DATA, DEPTH_MAX, END, End, FORMAT, JSON_MAX, MANIFEST, Manifest, Unpacked};

const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);
const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// What a file, a directory or a link costs beside its data: about what it takes on disk.
const ENTRY_COST: u64 = 4096;
/// Largest window of zstd that is taken, as a power of two: what level 19 needs, and no gigabytes.
const WINDOW_LOG_MAX: u32 = 27;
/// What is looked at for being zeros alone, and then not written.
const HOLE: usize = 4096;

/// What may be unpacked.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes on disk at most.
    pub bytes: u64,
    /// What they are limited by, for the error.
    pub why: &'static str,
}

/// Unpacks into `root`, which is empty and which nobody else writes to, and says what it was once it is sure that it
/// was whole.
///
/// # Errors
/// If the archive is damaged, cut, or holds what no data directory does; then what is in `root` is worth nothing.
pub fn unpack(root: &OwnedFd, limits: Limits, input: impl Read) -> io::Result<Unpacked> {
    let mut decoder = zstd::stream::read::Decoder::new(input)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    let blocks = Blocks::new(decoder);
    let mut unpacker =
        Unpacker { root, limits, blocks, cost: 0, entries: 0, bytes: 0, parent: None };
    let manifest = unpacker.manifest().map_err(cut)?;
    unpacker.entries().map_err(cut)?;
    let Unpacker { blocks, entries, bytes, .. } = unpacker;
    let mut decoder = blocks.into_inner();
    // The rest of the frame holds its checksum; behind it there is nothing.
    let more = decoder.read(&mut [0]).map_err(cut)?;
    if more > 0 || decoder.finish().read(&mut [0])? > 0 {
        return Err(bad("there is something behind its end"));
    }
    rustix::fs::syncfs(root)?;
    Ok(Unpacked { manifest, entries, bytes })
}

struct Unpacker<'a, R> {
    root: &'a OwnedFd,
    limits: Limits,
    blocks: Blocks<R>,
    cost: u64,
    entries: u64,
    bytes: u64,
    /// The directory that was last written into.
    parent: Option<(Vec<u8>, OwnedFd)>,
}

impl<R: Read> Unpacker<'_, R> {
    fn manifest(&mut self) -> io::Result<Manifest> {
        let header = decode(&self.blocks.block()?)?;
        if header.kind != Kind::File || header.name != MANIFEST {
            return Err(bad("it was not made by `ten backup`"));
        }
        let manifest: Manifest = self.json(&header)?;
        if manifest.format != FORMAT {
            let format = manifest.format;
            return Err(bad(&format!("it has format {format}, and this version reads {FORMAT}")));
        }
        Ok(manifest)
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, header: &Header) -> io::Result<T> {
        if header.size > JSON_MAX {
            return Err(bad("one of its own entries is too long"));
        }
        let mut text = vec![0; usize::try_from(header.size).unwrap_or(0)];
        self.blocks.fill(&mut text)?;
        self.blocks.padding(header.size)?;
        serde_json::from_slice(&text).map_err(|_| bad("one of its own entries can't be read"))
    }

    /// Everything up to the last entry, and that.
    fn entries(&mut self) -> io::Result<()> {
        let (mut name, mut link) = (None, None);
        loop {
            let before = self.blocks.so_far();
            let mut header = decode(&self.blocks.block()?)?;
            match header.kind {
                Kind::LongName => name = Some(self.long(&header)?),
                Kind::LongLink => link = Some(self.long(&header)?),
                Kind::File if header.name == END && name.is_none() => {
                    let end: End = self.json(&header)?;
                    if end.sha256 != digest(before) || end.entries != self.entries {
                        return Err(bad("its checksum does not match: it was altered"));
                    }
                    return match (self.blocks.block()?, self.blocks.block()?) {
                        ([0, ..], [0, ..]) => Ok(()),
                        _ => Err(bad("it does not end where it should")),
                    };
                }
                _ => {
                    header.name = name.take().unwrap_or(header.name);
                    header.link = link.take().unwrap_or(header.link);
                    let shown = String::from_utf8_lossy(&header.name).escape_debug().to_string();
                    self.entry(&header).map_err(|error| match error.kind() {
                        io::ErrorKind::UnexpectedEof => error,
                        kind => io::Error::new(kind, format!("{shown}: {error}")),
                    })?;
                }
            }
        }
    }

    fn long(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        if !(1..=LONG_MAX).contains(&header.size) {
            return Err(bad("a name is too long"));
        }
        let mut text = vec![0; usize::try_from(header.size).unwrap_or(1)];
        self.blocks.fill(&mut text)?;
        self.blocks.padding(header.size)?;
        text.truncate(text.iter().position(|b| *b == 0).unwrap_or(text.len()));
        Ok(text)
    }

    fn entry(&mut self, header: &Header) -> io::Result<()> {
        self.entries += 1;
        self.spend(ENTRY_COST)?;
        if header.mode & 0o6000 != 0 {
            return Err(bad("it would be set-user-id or set-group-id"));
        }
        if header.size > 0 && header.kind != Kind::File {
            return Err(bad("only files have data"));
        }
        let path = relative(&header.name)?;
        if header.kind == Kind::Directory {
            return self.directory(header, path);
        }
        let (parent, name) = self.parent_of(path)?;
        match header.kind {
            Kind::File => self.file(header, &parent, name),
            Kind::Symlink => {
                symlinkat(&*header.link, &parent, name).map_err(taken)?;
                // Best effort: the time of a symlink matters to nobody.
                let _ = utimensat(&parent, name, &times(header), AtFlags::SYMLINK_NOFOLLOW);
                Ok(())
            }
            _ => {
                let first = relative(&header.link)?;
                let (from, first) = self.parent_of(first)?;
                let stat = statat(&from, first, AtFlags::SYMLINK_NOFOLLOW)?;
                if !FileType::from_raw_mode(stat.st_mode).is_file() {
                    return Err(bad("it is another name of what is no file"));
                }
                linkat(&from, first, &parent, name, AtFlags::empty()).map_err(taken)
            }
        }
    }

    fn directory(&mut self, header: &Header, path: &[u8]) -> io::Result<()> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let dir = self.open(path)?;
        // Nothing more is put into it, so it may become read-only now.
        self.parent = None;
        futimens(&dir, &times(header))?;
        Ok(fchmod(&dir, Mode::from_raw_mode(header.mode))?)
    }

    fn file(&mut self, header: &Header, parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let file = openat(parent, name, NEW_FILE, Mode::from_raw_mode(0o600)).map_err(taken)?;
        let mut file = File::from(file);
        let mut chunk = vec![0; CHUNK];
        let mut left = header.size;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            self.blocks.fill(&mut chunk[..size])?;
            self.write(&mut file, &chunk[..size])?;
            left -= size as u64;
        }
        self.blocks.padding(header.size)?;
        self.bytes += header.size;
        file.set_len(header.size)?;
        futimens(&file, &times(header))?;
        Ok(fchmod(&file, Mode::from_raw_mode(header.mode))?)
    }

    /// Writes what is not all zeros; holes stay holes.
    fn write(&mut self, file: &mut File, chunk: &[u8]) -> io::Result<()> {
        for part in chunk.chunks(HOLE) {
            if part.iter().all(|b| *b == 0) {
                file.seek(SeekFrom::Current(part.len() as i64))?;
            } else {
                self.spend(part.len() as u64)?;
                file.write_all(part)?;
            }
        }
        Ok(())
    }

    fn spend(&mut self, bytes: u64) -> io::Result<()> {
        self.cost += bytes;
        if self.cost > self.limits.bytes {
            let text = format!(
                "what is in it takes more than {} bytes ({})",
                self.limits.bytes, self.limits.why
            );
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
        }
        Ok(())
    }

    /// The directory that `path` is in, and the last part of it.
    fn parent_of<'p>(&mut self, path: &'p [u8]) -> io::Result<(OwnedFd, &'p [u8])> {
        let at = path.iter().rposition(|b| *b == b'/');
        let (parent, name) = at.map_or((&[][..], path), |at| (&path[..at], &path[at + 1..]));
        if name.is_empty() {
            return Err(bad("it has no name"));
        }
        Ok((self.open(parent)?, name))
    }

    /// The directory at `path`; what is missing is made, and no symlink is followed.
    fn open(&mut self, path: &[u8]) -> io::Result<OwnedFd> {
        if let Some((open, dir)) = &self.parent
            && open == path
        {
            return dir.try_clone();
        }
        let mut dir = self.root.try_clone()?;
        for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            dir = match openat(&dir, part, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => {
                    self.spend(ENTRY_COST)?;
                    mkdirat(&dir, part, Mode::RWXU)?;
                    openat(&dir, part, DIRECTORY, Mode::empty())?
                }
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    return Err(bad("it lies behind a symlink or a file"));
                }
                other => other?,
            };
        }
        self.parent = Some((path.to_vec(), dir.try_clone()?));
        Ok(dir)
    }
}

/// The path below the directory that a name in the archive stands for. Nothing climbs, nothing is absolute.
fn relative(name: &[u8]) -> io::Result<&[u8]> {
    let path = name.strip_prefix(DATA).ok_or_else(|| bad("it is not below data/"))?;
    let inner = path.strip_suffix(b"/").unwrap_or(path);
    if inner.is_empty() {
        return Ok(inner);
    }
    let mut depth = 0;
    for part in inner.split(|b| *b == b'/') {
        if part.is_empty() || part == b"." || part == b".." || part.contains(&0) {
            return Err(bad("its path is absolute, climbs or is empty in parts"));
        }
        depth += 1;
    }
    if depth > DEPTH_MAX + 1 {
        return Err(bad(&format!("it is nested more than {DEPTH_MAX} levels deep")));
    }
    Ok(path)
}

fn times(header: &Header) -> Timestamps {
    let seconds = i64::try_from(header.mtime).unwrap_or(i64::MAX);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    }
}

fn decode(block: &[u8; BLOCK]) -> io::Result<Header> {
    Header::decode(block).map_err(|why| bad(&format!("an entry can't be taken: {why}")))
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn taken(error: Errno) -> io::Error {
    if error == Errno::EXIST { bad("it is there twice") } else { error.into() }
}

/// In words, what reading past the end means.
fn cut(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => bad("it ends too early: it is not whole"),
        _ => error,
    }
}
