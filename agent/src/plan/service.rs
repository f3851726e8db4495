//! Properties of the service unit.

use std::time::Duration;

use tenement_wire::InstanceName;

use super::error::PlanError;
use super::value::{Property, Value};
use super::{
    Job, credentials, directives, environment, exec, limits, network, paths, sandbox, text,
};
use crate::config::{Listen, Restart, RunAs};

/// Pause before systemd starts a crashed instance again.
const RESTART_US: u64 = 1_000_000;

/// The first version in which the pause can grow with each failure, and to what it grows.
const RESTART_STEPS_SINCE: u32 = 254;
const RESTART_MAX_US: u64 = 60_000_000;

/// Everything in one call: nothing is set later.
pub(super) fn properties(job: &Job) -> Result<Vec<Property>, PlanError> {
    let p = |name, value| Property { name, value };
    let str = |text: &str| Value::Str(text.to_owned());
    if let Some((name, since)) = directives::too_new(&job.def.sandbox.directives, job.ctx.systemd) {
        return Err(PlanError::DirectiveTooNew { name, since, systemd: job.ctx.systemd });
    }
    let directory = exec::directory(job)?;
    let unit = job.name.service_unit();
    let stem = unit.trim_end_matches(".service");
    let exec = exec::exec(job, &directory)?;
    let mut environment = environment::environment(job)?;
    environment.extend(exec.argv.map(|argv| format!("{}={argv}", super::ARGV)));
    let mut list = vec![
        p("Description", Value::Str(format!("tenement {}", job.name))),
        p("Slice", Value::Str(paths::slice(job.name))),
        // `exec` and not `simple`: a program that cannot be executed is a failed start, not a success.
        p("Type", str("exec")),
        exec.property,
        p("WorkingDirectory", Value::Str(directory)),
        p(environment::PROPERTY, Value::Strs(environment)),
    ];
    if !job.def.systemd_listens() {
        // The app would take the trigger for its own listener. A relay takes the names away itself: the
        // stub of a parked instance closes what is not passed on.
        let names = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];
        list.push(p("UnsetEnvironment", Value::Strs(names.map(str::to_owned).to_vec())));
    }
    list.extend([
        p("SyslogIdentifier", str(stem)),
        p("LogExtraFields", Value::Bytes(log_fields(job.name))),
        p("CollectMode", str("inactive")),
        // The stub tells that it is parked, and an app that it is busy. What else runs in the instance has
        // no say: a child could put off the end of a stop, and the exposure would be higher.
        p("NotifyAccess", str("main")),
        p("KillMode", str("mixed")),
        p("TimeoutStartUSec", micros(job.def.startup_timeout)),
        p("TimeoutStopUSec", micros(job.def.stop_timeout)),
        p("LimitCORE", Value::U64(0)),
        p("OOMPolicy", str("kill")),
    ]);
    restart(job, &mut list);
    account(job, &mut list)?;
    sandbox::properties(job, &mut list);
    network::properties(job, &mut list)?;
    credentials::properties(job, &mut list)?;
    limits::properties(job, &mut list);
    // Last: what the config says stands in place of ours.
    directives::replace(&job.def.sandbox.directives, &mut list);
    Ok(list)
}

/// What each line of the instance carries in the journal.
pub(super) fn log_fields(name: &InstanceName) -> Vec<Vec<u8>> {
    let field = |name: &str, value: &str| format!("{name}={value}").into_bytes();
    vec![
        // What the reader of the journal asks for: one match for all instances.
        field("TENEMENT", "1"),
        field("TENEMENT_PROCESS", name.process().as_str()),
        field("TENEMENT_INSTANCE", name.id().as_str()),
    ]
}

pub(super) fn micros(duration: Duration) -> Value {
    Value::U64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

fn restart(job: &Job, list: &mut Vec<Property>) {
    let p = |name, value| Property { name, value };
    let word = match job.def.restart {
        Restart::No => "no",
        Restart::OnFailure => "on-failure",
        Restart::Always => "always",
    };
    list.push(p("Restart", Value::Str(word.to_owned())));
    list.push(p("RestartUSec", Value::U64(RESTART_US)));
    if job.ctx.systemd >= RESTART_STEPS_SINCE {
        list.push(p("RestartSteps", Value::U32(6)));
        list.push(p("RestartMaxDelayUSec", Value::U64(RESTART_MAX_US)));
    }
    // The back-off of wakes is the agent's; a limit here would count naps as failures.
    list.push(p("StartLimitIntervalUSec", Value::U64(0)));
    list.push(p("StartLimitBurst", Value::U32(0)));
}

fn account(job: &Job, list: &mut Vec<Property>) -> Result<(), PlanError> {
    let p = |name, value| Property { name, value };
    if !job.system() {
        return match &job.def.user {
            RunAs::Named(user) => Err(PlanError::UserInUserMode { user: user.clone() }),
            RunAs::Dynamic => Err(PlanError::UserInUserMode { user: "dynamic".to_owned() }),
            RunAs::PerInstance => Ok(()),
        };
    }
    match (&job.def.user, &job.ctx.account) {
        (RunAs::Named(user), _) => list.push(p("User", Value::Str(user.clone()))),
        (RunAs::PerInstance, Some(account)) => {
            list.push(p("User", Value::Str(account.user.clone())));
            list.extend(account.group.clone().map(|group| p("Group", Value::Str(group))));
            // The id is its own, so what it leaves in System V and POSIX IPC is nobody else's.
            list.push(p("RemoveIPC", Value::Bool(true)));
        }
        (RunAs::PerInstance | RunAs::Dynamic, _) => dynamic(job, list)?,
    }
    Ok(())
}

/// A dynamic user: its id differs from start to start, so systemd itself must hand it its directories.
fn dynamic(job: &Job, list: &mut Vec<Property>) -> Result<(), PlanError> {
    let p = |name, value| Property { name, value };
    let Ok(state) = job.paths.data_dir.strip_prefix("/var/lib") else {
        let data_dir = job.settings.data_dir.clone();
        return Err(PlanError::DynamicOutsideState { data_dir });
    };
    list.push(p("DynamicUser", Value::Bool(true)));
    list.push(p("StateDirectory", Value::Strs(vec![text(state)])));
    list.push(p("StateDirectoryMode", Value::U32(0o700)));
    if let (Listen::Socket | Listen::Own, Ok(run)) =
        (job.def.listen, job.paths.socket.strip_prefix("/run"))
        && let Some(run) = run.parent()
    {
        list.push(p("RuntimeDirectory", Value::Strs(vec![text(run)])));
        // The agent is in no group of a dynamic user: it must be let in as anybody.
        list.push(p("RuntimeDirectoryMode", Value::U32(0o711)));
    }
    Ok(())
}
