//! What is executed.

use super::Job;
use super::error::PlanError;
use super::value::Value;

/// `ExecStartEx`: the program's whole path, the words as the config has them, and no expansion of `$`.
///
/// systemd would look a bare name up by itself, but only when the service starts; a missing program is
/// said earlier and better from here. A name with a slash counts from the working directory, as it does
/// for a shell.
pub(super) fn exec(job: &Job, directory: &str) -> Result<Value, PlanError> {
    let argv: Vec<String> = job.def.command.iter().map(|word| job.fill(word)).collect();
    let program = argv.first().cloned().unwrap_or_default();
    let path = if program.starts_with('/') {
        program
    } else if program.contains('/') {
        normal(&format!("{directory}/{program}"))
    } else {
        match (job.ctx.find_program)(&program) {
            Some(path) => super::text(&path),
            None => return Err(PlanError::ProgramNotFound { program }),
        }
    };
    Ok(Value::Exec(vec![(path, argv, vec!["no-env-expand".to_owned()])]))
}

/// The working directory, absolute and without `//` and `/./`, which systemd refuses.
pub(super) fn directory(job: &Job) -> Result<String, PlanError> {
    let path = match &job.def.directory {
        Some(template) => job.fill(template),
        None => super::text(&job.paths.data_dir),
    };
    if !path.starts_with('/') {
        return Err(PlanError::NotAbsolute { key: "directory", path });
    }
    Ok(normal(&path))
}

fn normal(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.fold(String::new(), |path, part| path + "/" + part)
}
