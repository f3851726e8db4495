//! Reads config and env files, from places only that their owner (root, for the host) can write.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::UnitsError;
use super::dirs::{is_trusted, open_trusted};
use crate::config::{Config, SourceFile, parse, render};

/// A config file is text that a person wrote.
const FILE_MAX: u64 = 1024 * 1024;
const FILES_MAX: usize = 1000;

/// A config directory, read again whenever it has changed.
#[derive(Debug)]
pub struct Source {
    dir: PathBuf,
    owner: u32,
    data_home: Option<PathBuf>,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    stamp: Vec<FileStamp>,
    last_good: Option<Arc<Config>>,
    problems: Option<String>,
}

/// Enough of a file to see that it is another now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    name: OsString,
    identity: [i128; 6],
}

impl FileStamp {
    fn new(name: OsString, stat: &Stat) -> Self {
        let identity = [
            i128::from(stat.st_dev),
            i128::from(stat.st_ino),
            i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
            i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
            i128::from(stat.st_size),
            i128::from(stat.st_mode) << 32 | i128::from(stat.st_uid),
        ];
        Self { name, identity }
    }
}

impl Source {
    /// The config in `dir`, which must be writable by root and user `owner` only.
    #[must_use]
    pub fn new(dir: &Path, owner: u32) -> Self {
        Self { dir: dir.to_owned(), owner, data_home: None, cache: Mutex::default() }
    }

    /// The same, where data lies in `home` unless the config says otherwise.
    #[must_use]
    pub fn with_data_home(self, home: Option<PathBuf>) -> Self {
        Self { data_home: home, ..self }
    }

    /// The config as the files have it now. While they have errors, the last good one, if there is one
    /// (as the agent does; the errors are logged once).
    ///
    /// # Errors
    /// [`UnitsError::BadConfig`]: the problems as text; [`UnitsError::Refused`]: somebody else can
    /// write a file.
    pub fn load(&self) -> std::result::Result<Arc<Config>, UnitsError> {
        let stamp = self.stamp().map_err(|error| self.unreadable(&error))?;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.stamp != stamp {
            let files = self.read(&stamp).map_err(|error| self.unreadable(&error))?;
            match parse(&files) {
                Ok(mut config) => {
                    if let Some(home) = &self.data_home {
                        config.settings.default_data_dir(home);
                    }
                    cache.last_good = Some(Arc::new(config));
                    cache.problems = None;
                }
                Err(problems) => {
                    log::error!("the config has errors:\n{}", render(&problems));
                    cache.problems = Some(render(&problems));
                }
            }
            cache.stamp = stamp;
        }
        match (&cache.last_good, &cache.problems) {
            (Some(config), _) => Ok(config.clone()),
            (None, problems) => Err(UnitsError::BadConfig(problems.clone().unwrap_or_default())),
        }
    }

    fn unreadable(&self, error: &Error) -> UnitsError {
        let text = format!("the config in {} can't be read: {error}", self.dir.display());
        match error.kind() {
            ErrorKind::PermissionDenied => UnitsError::Refused(text),
            _ => UnitsError::BadConfig(text),
        }
    }

    fn stamp(&self) -> Result<Vec<FileStamp>> {
        let dir = open_trusted(&self.dir, self.owner, false)?;
        let main = "tenement.toml";
        let mut stamps = Vec::new();
        for name in std::iter::once(OsString::from(main)).chain(self.fragments(&dir)?) {
            let stat = match statat(&dir, &name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // A fragment may vanish between the listing and this; the main file must be there.
                Err(Errno::NOENT) if name != main => continue,
                Err(error) => return Err(named(&self.dir.join(&name), error.into())),
            };
            stamps.push(FileStamp::new(name, &stat));
        }
        Ok(stamps)
    }

    /// `conf.d/*.toml`, sorted.
    fn fragments(&self, dir: &OwnedFd) -> Result<Vec<OsString>> {
        let path = self.dir.join("conf.d");
        match statat(dir, "conf.d", rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            other => other.map_err(|error| named(&path, error.into()))?,
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(open_trusted(&path, self.owner, false)?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name.ends_with(b".toml") && !name.starts_with(b".") {
                let mut path = OsString::from("conf.d/");
                path.push(std::ffi::OsStr::from_bytes(name));
                names.push(path);
            }
        }
        if names.len() > FILES_MAX {
            return Err(Error::other(format!("{} has over {FILES_MAX} files", path.display())));
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, stamps: &[FileStamp]) -> Result<Vec<SourceFile>> {
        let read = |stamp: &FileStamp| {
            let path = self.dir.join(&stamp.name);
            Ok(SourceFile::new(path.to_string_lossy(), read_trusted(&path, self.owner)?))
        };
        stamps.iter().map(read).collect()
    }
}

/// Looks whether a secret's file is one that only root and `owner` can write, and, unless it is
/// encrypted, that not everybody can read.
pub(crate) fn check_secret(path: &Path, owner: u32, encrypted: bool) -> Result<u64> {
    let (_, stat) = open_file(path, owner)?;
    if !encrypted && stat.st_mode & 0o004 != 0 {
        return Err(denied(path, "is a secret that everybody may read; chmod 600 it"));
    }
    Ok(stat.st_size.unsigned_abs())
}

/// Reads a file that only root and `owner` can write, through directories that only they can.
pub(crate) fn read_trusted(path: &Path, owner: u32) -> Result<String> {
    let (file, _) = open_file(path, owner)?;
    let mut text = String::new();
    let read = std::fs::File::from(file).take(FILE_MAX + 1).read_to_string(&mut text);
    if read.map_err(|error| named(path, error))? as u64 > FILE_MAX {
        return Err(denied(path, "is larger than 1 MiB"));
    }
    Ok(text)
}

/// Opens a regular file that only root and `owner` can write, through directories that only they can.
fn open_file(path: &Path, owner: u32) -> Result<(OwnedFd, Stat)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(named(path, Error::from(ErrorKind::InvalidInput)));
    };
    let dir = open_trusted(parent, owner, false)?;
    // NONBLOCK: opening a FIFO must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(&dir, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP => denied(path, "is a symlink; write the file itself here"),
        error => named(path, error.into()),
    })?;
    let stat = fstat(&file)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(denied(path, "is not a regular file"));
    }
    if !is_trusted(&stat, owner) {
        let mut why = String::from("must belong to root and be writable by nobody else");
        // Writing to a String cannot fail.
        let _ =
            write!(why, " (it belongs to user {}, mode {:o})", stat.st_uid, stat.st_mode & 0o7777);
        return Err(denied(path, &why));
    }
    Ok((file, stat))
}

fn named(path: &Path, error: Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn denied(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("{} {why}", path.display()))
}
