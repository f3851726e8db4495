//! Config files and paths on this host, as the agent may see them.

use std::io;
use std::path::Path;

use crate::config::{self, PathState, SourceFile};

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
