//! `tenementd check`: validates config files without a running agent.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use tenement_wire::dto::ConfigCheck;

use super::{EXIT_CONFIG, files};
use crate::config::{self, SourceFile};

/// Checks `path` (a file, or a directory laid out like `/etc/tenement`) and prints what is wrong.
#[must_use]
pub fn check(path: &Path, json: bool) -> ExitCode {
    let files = match read(path) {
        Ok(files) => files,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            return ExitCode::FAILURE;
        }
    };
    let problems = match config::parse(&files) {
        Ok(config) => files::path_problems(&config),
        Err(problems) => problems,
    };
    let valid = problems.is_empty();
    let mut out = std::io::stdout().lock();
    let written = if json {
        let files = files.into_iter().map(|f| f.name).collect();
        let check = ConfigCheck { valid, files, problems };
        serde_json::to_writer(&mut out, &check).map_err(Into::into).and_then(|()| writeln!(out))
    } else if valid {
        writeln!(out, "{}: no problems", path.display())
    } else {
        write!(out, "{}", config::render(&problems))
    };
    match (written, valid) {
        (Ok(()), true) => ExitCode::SUCCESS,
        (Ok(()), false) => ExitCode::from(EXIT_CONFIG),
        (Err(_), _) => ExitCode::FAILURE,
    }
}

fn read(path: &Path) -> Result<Vec<SourceFile>, String> {
    if path.is_dir() {
        return files::read(path);
    }
    Ok(vec![files::read_one(path)?])
}
