//! Which kind of app a directory holds.

use std::path::{Path, PathBuf};

use super::{App, native, node, python};
use crate::error::{CliError, Kind, Result};

/// The app's directory, and the app. `path` is absolute; it may be a binary itself.
pub fn detect(path: &Path) -> Result<(PathBuf, App)> {
    if path.is_file() {
        let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
        return match native::binary(path) {
            Some(app) => Ok((parent, app)),
            None => Err(unknown(path, "it is neither a directory nor an executable ELF file")),
        };
    }
    // A project that holds several kinds is what its strongest mark says: a Python or Go service
    // with a package.json builds its front end with it, rarely the other way round.
    let app = python::project(path)
        .or_else(|| native::go(path))
        .or_else(|| native::rust(path))
        .or_else(|| node::package(path))
        .or_else(|| python::script(path))
        .or_else(|| node::script(path))
        .or_else(|| native::only_binary(path))
        .or_else(|| python::static_site(path));
    match app {
        Some(app) => Ok((path.to_owned(), app)),
        None => Err(unknown(path, "no file in it says what it is")),
    }
}

fn unknown(path: &Path, why: &str) -> CliError {
    CliError::new(
        Kind::NotFound,
        "unknown_app",
        format!("{} is not recognised: {why}", path.display()),
        "ten init knows pyproject.toml, requirements.txt, manage.py, app.py, main.py, package.json, \
         server.js, go.mod, Cargo.toml, ELF binaries and index.html; else write a [process.NAME] \
         with a command yourself",
    )
}
