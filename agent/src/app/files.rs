//! Config files and paths on this host, as the agent may see them.

use std::io;
use std::path::Path;

use crate::config::{self, PathState, SourceFile};
use crate::token::KEY_LEN;

/// Reads `tenement.toml` and `conf.d/*.toml` of a config directory, in their order.
///
/// # Errors
/// A text that names the file that can't be read. A missing `conf.d` is none.
pub fn read(dir: &Path) -> Result<Vec<SourceFile>, String> {
    let mut paths = vec![dir.join("tenement.toml")];
    let conf_d = dir.join("conf.d");
    match std::fs::read_dir(&conf_d) {
        Ok(entries) => {
            let mut more = Vec::new();
            for entry in entries {
                let path = entry.map_err(|e| format!("{}: {e}", conf_d.display()))?.path();
                if path.extension().is_some_and(|e| e == "toml") {
                    more.push(path);
                }
            }
            more.sort();
            paths.extend(more);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{}: {error}", conf_d.display())),
    }
    paths.iter().map(|path| read_one(path)).collect()
}

/// Reads one file. Bytes that are not UTF-8 become U+FFFD, which no key and no name may hold, so they
/// are reported with their place like any other bad text.
///
/// # Errors
/// A text that names the file.
pub fn read_one(path: &Path) -> Result<SourceFile, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(SourceFile::new(path.display().to_string(), text))
}

/// Makes a directory, with its parents, that only this user may enter. One that is there stays as it is.
///
/// # Errors
/// As `mkdir(2)`.
pub fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The key in the file at `path`, which is made, for this user alone, where there is none.
///
/// # Errors
/// If it can't be read or made, or is not as long as a key is.
pub fn key(path: &Path) -> io::Result<[u8; KEY_LEN]> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => {
            let wrong = |_| io::Error::other("not a key; with it removed, everybody logs in anew");
            return read?.try_into().map_err(wrong);
        }
    }
    let mut key = [0; KEY_LEN];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    // Whole or not at all: the power may fail meanwhile.
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&key)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    Ok(key)
}

/// The problems of the paths that a config names.
#[must_use]
pub fn path_problems(config: &config::Config) -> Vec<tenement_wire::dto::ConfigProblem> {
    config::check_paths(config, state_of)
}

/// What stands at `path`. The agent's sandbox shows it no home directories and a /tmp of its own, so
/// nothing can be said of paths in there.
fn state_of(path: &Path) -> PathState {
    use std::os::unix::fs::PermissionsExt as _;
    let hidden = ["/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev", "/proc"];
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => PathState::Directory,
        Ok(found) => {
            let mode = found.permissions().mode();
            PathState::File { executable: mode & 0o111 != 0, public: mode & 0o004 != 0 }
        }
        Err(_) if hidden.iter().any(|top| path.starts_with(top)) => PathState::Unknown,
        Err(error) if error.kind() == io::ErrorKind::NotFound => PathState::Missing,
        Err(_) => PathState::Unknown,
    }
}
