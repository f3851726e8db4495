//! `tenement-park` in front of a command: what is agreed between the plan, the stub and the agent.

use std::path::{Path, PathBuf};

use tenement_wire::InstanceName;

use super::value::Value;
use super::{Job, text};

/// The `StatusText` of a parked service, as the stub tells it to systemd.
pub const STATUS: &str = "parked: waits for a request";

/// The name of the file in an instance's run directory that asks for one parked start.
pub const FLAG: &str = "park";

/// The run directory of an instance: `{run_dir}/{process}/{id}`.
#[must_use]
pub fn instance_dir(run_dir: &Path, name: &InstanceName) -> PathBuf {
    run_dir.join(name.process().as_str()).join(name.id().as_str())
}

/// The stub's path and its words up to the program's, for [`super::argv`]; none if the instance may not be parked.
pub(super) fn words(job: &Job, path: &str) -> Vec<String> {
    let Some(stub) = job.park_helper().map(text) else { return Vec::new() };
    vec![stub.clone(), stub, flag(job), path.to_owned()]
}

fn flag(job: &Job) -> String {
    text(&instance_dir(&job.ctx.run_dir, job.name).join(FLAG))
}

/// The stub with the command as its arguments, if the instance may be parked; else the command. `value`
/// is that of `ExecStart` or `ExecStartEx`.
pub(super) fn in_front(job: &Job, value: Value) -> Value {
    let Some(stub) = job.park_helper() else { return value };
    let stub = text(stub);
    let flag = flag(job);
    let words = |path: String, argv: Vec<String>| {
        let mut words = vec![stub.clone(), flag.clone(), path];
        words.extend(argv);
        words
    };
    match value {
        Value::Exec(list) => Value::Exec(
            list.into_iter()
                .map(|(path, argv, flags)| (stub.clone(), words(path, argv), flags))
                .collect(),
        ),
        Value::ExecPlain(list) => Value::ExecPlain(
            list.into_iter()
                // A word is expanded where a path is not.
                .map(|(path, argv, ignore)| {
                    (stub.clone(), words(path.replace('$', "$$"), argv), ignore)
                })
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stub_tells_what_the_agent_waits_for() {
        let stub = include_str!("../../../park/src/main.rs");
        assert!(stub.contains(&format!("b\"STATUS={STATUS}\"")));
    }
}
