//! What is executed.

use std::path::Path;

use super::error::PlanError;
use super::value::{Property, Value};
use super::{Job, park};
use crate::config::{Isolation, Network};

/// The first version known to survive a daemon-reload with `ExecStartEx`. 252 writes that name into the
/// unit's file, doesn't know it when it reads the file back, and the next wake fails ("bad unit file
/// setting"). 253 to 256 are untried, so they get what works everywhere.
const EXEC_EX_SINCE: u32 = 257;

/// What is executed, and what tells `tenement-exec` of it.
pub(super) struct Exec {
    /// `ExecStartEx` or `ExecStart`.
    pub(super) property: Property,
    /// Value of [`super::ARGV`], if the helper is used.
    pub(super) argv: Option<String>,
}

/// The program's whole path and the words as the config has them, `$` and all.
///
/// systemd would look a bare name up by itself, but only when the service starts; a missing program is
/// said earlier and better from here. A name with a slash counts from the working directory, as it does
/// for a shell.
pub(super) fn exec(job: &Job, directory: &str) -> Result<Exec, PlanError> {
    let argv = through_env(job, job.argv());
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
    if let Some(reason) = (job.ctx.program_fault)(Path::new(&path)) {
        return Err(PlanError::NotExecutable { path, reason });
    }
    let (path, argv) = super::network::behind_relay(job, path, argv);
    // No line break survives in a unit's file; in a variable it is written as `\n`.
    let broken = argv.iter().any(|word| word.contains(super::is_control));
    if let (true, Some(helper)) = (scoped(job) || broken, &job.ctx.exec_helper) {
        let scope = scoped(job).then_some(super::SCOPE);
        return Ok(through(job, helper, &path, &argv, scope));
    }
    if job.ctx.systemd >= EXEC_EX_SINCE {
        let value = Value::Exec(vec![(path, argv, vec!["no-env-expand".to_owned()])]);
        let value = park::in_front(job, value);
        return Ok(Exec { property: Property { name: "ExecStartEx", value }, argv: None });
    }
    // Up to 252 `$` and `;` are written to the unit's file as `\$` and `\;`, which are read back with their
    // backslashes. The environment comes back as it was.
    let parked = job.park_helper().map(|_| &path);
    let garbled = argv.iter().chain(parked).any(|word| word.contains(['$', ';']));
    let plain = |path: String, argv| Property {
        name: "ExecStart",
        value: park::in_front(job, Value::ExecPlain(vec![(path, argv, false)])),
    };
    if let (true, Some(helper)) = (garbled, &job.ctx.exec_helper) {
        return Ok(through(job, helper, &path, &argv, None));
    }
    // Variables would be expanded; `$$` stands for one `$` (systemd.service(5), "Command lines").
    let argv = argv.into_iter().map(|word| word.replace('$', "$$")).collect();
    Ok(Exec { property: plain(path, argv), argv: None })
}

/// One-off commands are looked up as a shell in the instance would: where it has a `PATH` of its own, by env(1).
fn through_env(job: &Job, argv: Vec<String>) -> Vec<String> {
    let bare = argv.first().is_some_and(|program| !program.contains('/'));
    let order = job.task.filter(|_| bare).map(|task| task.order);
    let Some(order) = order else { return argv };
    let of_files = job.ctx.env_file_vars.iter().any(|(name, _)| name == "PATH");
    let own = of_files
        || job.def.env.contains_key("PATH")
        || order.env.iter().any(|(name, _)| name == "PATH");
    if !own {
        return argv;
    }
    let mut words = vec![ENV.to_owned(), "--".to_owned()];
    words.extend(argv);
    words
}

const ENV: &str = "/usr/bin/env";

/// Whether abstract unix sockets and signals must be shut off: they belong to the network namespace, and
/// only landlock(7) can tell instances apart in it. A private one needs none of this.
fn scoped(job: &Job) -> bool {
    job.system()
        && job.def.sandbox.isolation == Isolation::Strict
        && job.def.network == Network::Host
}

/// The command by way of `tenement-exec`, which finds it in its environment.
///
/// A parked instance waits behind it: all that has to happen before the app then happened before the request
/// came, and the stub's arguments need not survive in the unit's file.
fn through(job: &Job, helper: &Path, path: &str, argv: &[String], word: Option<&str>) -> Exec {
    let stub = park::words(job, path);
    let mut words: Vec<&str> = stub.iter().map(String::as_str).collect();
    if words.is_empty() {
        words.push(path);
    }
    words.extend(argv.iter().map(String::as_str));
    let text = super::argv::encode(words);
    let helper = super::text(helper);
    let mut command = vec![helper.clone()];
    command.extend(word.map(str::to_owned));
    let (name, value) = if job.ctx.systemd >= EXEC_EX_SINCE {
        let value = Value::Exec(vec![(helper, command, vec!["no-env-expand".to_owned()])]);
        ("ExecStartEx", value)
    } else {
        ("ExecStart", Value::ExecPlain(vec![(helper, command, false)]))
    };
    Exec { property: Property { name, value }, argv: Some(text) }
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
