//! The verified copy of the database, and its use when the database is damaged or gone.
//!
//! The copy is made by SQLite (`VACUUM INTO`), checked in full, and only then takes the place of the
//! older one. What it replaces is moved aside and never deleted: whoever wants to, can still mend it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, schema};

/// Where the copy of the database at `path` lies.
pub(super) fn copy_of(path: &Path) -> PathBuf {
    beside(path, ".backup")
}

/// `path` with more at its end.
pub(super) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    name.into()
}

/// Whether nothing is there. An empty file is nothing too: SQLite would take it for a new database.
fn gone(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(meta) => meta.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Opens the database, from its copy if it is damaged or gone.
///
/// # Errors
/// [`StoreError::Corrupt`] if there is no sound copy either; nothing was changed then.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let copy = copy_of(path);
    if gone(path) && !gone(&copy) {
        check(&copy).map_err(|error| {
            let copy = copy.display();
            StoreError::Corrupt(format!("it is gone, and its copy {copy} is damaged too: {error}"))
        })?;
        restore(path, "it is gone")?;
    }
    match schema::open(path) {
        Err(StoreError::Corrupt(why)) if !gone(&copy) => {
            if let Err(error) = check(&copy) {
                let copy = copy.display();
                return Err(StoreError::Corrupt(format!("{why}; its copy {copy} too: {error}")));
            }
            restore(path, &why)?;
            schema::open(path)
        }
        other => other,
    }
}

/// Puts the copy in the place of the database, which is moved aside with all that belongs to it: a
/// write-ahead log that stayed would be replayed onto a file that it does not belong to.
fn restore(path: &Path, why: &str) -> Result<(), StoreError> {
    let mut time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    while beside(path, &format!(".corrupt-{time}")).exists() {
        time += 1;
    }
    let aside = beside(path, &format!(".corrupt-{time}"));
    for part in ["", "-wal", "-shm"] {
        match fs::rename(beside(path, part), beside(&aside, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let new = beside(path, ".new");
    fs::copy(copy_of(path), &new)?;
    File::open(&new)?.sync_all()?;
    fs::rename(&new, path)?;
    sync_dir(path)?;
    log::error!(
        "the state database {} can't be used ({why}): it was RESTORED from its verified copy; what \
         was there lies beside it as {}",
        path.display(),
        aside.display()
    );
    Ok(())
}

/// Makes a new copy, checks it, and only then replaces the older one.
///
/// # Errors
/// [`StoreError::Corrupt`] if the database is damaged; the older copy stays.
pub(super) fn make(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let (copy, new) = (copy_of(path), beside(path, ".backup.new"));
    // What an agent that was killed in the middle of this left.
    for part in ["", "-journal"] {
        match fs::remove_file(beside(&new, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let made = (|| {
        let name = new.to_str().ok_or_else(|| StoreError::Other("its path is not UTF-8".into()))?;
        connection.execute("VACUUM INTO ?1", [name])?;
        check(&new)?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, &copy)?;
        Ok(sync_dir(path)?)
    })();
    if made.is_err() {
        // On a full disk every byte counts.
        let _ = fs::remove_file(&new);
    }
    made
}

/// Looks through a whole file that nobody writes.
fn check(file: &Path) -> Result<(), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    let one = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, String>(0));
    match one("PRAGMA integrity_check(1)")?.as_str() {
        "ok" => {}
        verdict => return Err(StoreError::Corrupt(verdict.to_owned())),
    }
    one("SELECT COUNT(*) || '' FROM instances").map(drop).map_err(StoreError::from)
}

/// Damaged databases that were moved aside and that nobody has taken away since, oldest first.
pub(super) fn set_aside(path: &Path) -> Vec<String> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let prefix = format!("{}.corrupt-", name.to_string_lossy());
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path().display().to_string())
        .collect();
    found.sort();
    found
}

/// When the copy was made, Unix milliseconds.
pub(super) fn made_ms(path: &Path) -> Option<u64> {
    let time = fs::metadata(copy_of(path)).and_then(|meta| meta.modified()).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_millis() as u64)
}

/// Which file lies at a path: device and inode.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The same of the database's write-ahead log.
pub(super) fn log_identity(path: &Path) -> Option<(u64, u64)> {
    identity(&beside(path, "-wal"))
}

/// Opens what can be read of a database that can't be written where it is: a copy of it and of its
/// write-ahead log, in `dir`, which is made.
pub(super) fn open_elsewhere(path: &Path, dir: &Path) -> Result<Connection, StoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(dir)?;
    let elsewhere = dir.join("state.db");
    fs::copy(path, &elsewhere)?;
    match fs::copy(beside(path, "-wal"), beside(&elsewhere, "-wal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    schema::open(&elsewhere)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}
