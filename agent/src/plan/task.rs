//! One-off commands: a unit beside the instance's own, that differs from it in what must differ.
//!
//! ```text
//! properties of the instance's service ── less its life (type, restarts, readiness) ──► Type=oneshot
//!                                      ── with the command, its variables, where its output goes
//! ```
//!
//! User, sandbox, slice, network, limits, secrets, environment and working directory are those of the service,
//! because they come from the same function. The unit has no socket, so that nothing wakes the instance.

use std::time::Duration;

use tenement_wire::{InstanceName, TaskTag};

use super::error::{self, PlanError};
use super::value::{Property, UnitSpec, Value};
use super::{Job, PlanContext, environment, paths, service};
use crate::config::{Definition, Network, Settings};

/// The variable that tells a command the tag of its unit.
const TASK: &str = "TENEMENT_TASK";

/// The longest from SIGTERM to SIGKILL, whatever the instance's own `stop_timeout` is.
const STOP_MAX: Duration = Duration::from_secs(30);

/// What of the service is about the life of an app that serves.
const OF_A_SERVER: [&str; 14] = [
    "Description",
    "Type",
    "NotifyAccess",
    "Restart",
    "RestartUSec",
    "RestartSteps",
    "RestartMaxDelayUSec",
    "TimeoutStartUSec",
    "TimeoutStopUSec",
    // A oneshot unit has none: TimeoutStartUSec bounds its whole run.
    "RuntimeMaxUSec",
    "LogExtraFields",
    "UMask",
    // Of a dynamic user: it would be removed when the command ends, with the app's socket in it. The user itself is
    // the same, for systemd names it after the unit's name up to the `@`.
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
];

/// Files that a command makes are its user's alone.
const UMASK: u32 = 0o077;

/// A command that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOrder {
    /// Tells its unit from others of the instance.
    pub tag: TaskTag,
    /// The program and its arguments, taken as they are.
    pub argv: Vec<String>,
    /// Variables beside those of the instance, which they replace.
    pub env: Vec<(String, String)>,
    /// How long it may run.
    pub timeout: Duration,
}

/// Where what a command prints goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Into descriptors that are handed over with the unit (`StandardOutputFileDescriptor` and its like).
    Handed,
    /// To this terminal, which is its controlling one.
    Terminal(String),
    /// Into the journal, as lines of the instance.
    Log,
}

/// Everything about a one-off unit that the instance doesn't say.
#[derive(Debug, Clone)]
pub struct Task<'a> {
    /// The command.
    pub order: &'a TaskOrder,
    /// Its standard streams.
    pub output: Output,
    /// The instance's service is up: the command shares its private network, and `/tmp` with it.
    pub beside: bool,
    /// The command comes from the config, so its placeholders are filled.
    pub fill: bool,
}

/// How a one-off unit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEnd {
    /// systemd's word: `success`, `exit-code`, `signal`, `timeout`, `oom-kill`, …
    pub result: String,
    /// Its exit status, if it exited.
    pub status: Option<u8>,
    /// The signal that killed it, if one did.
    pub signal: Option<u8>,
}

/// `CLD_EXITED` of sigaction(2); `CLD_KILLED` and `CLD_DUMPED` come after it.
const EXITED: i32 = 1;

/// As timeout(1) says it.
const TIMED_OUT: u8 = 124;
/// The command did not get as far as to exit.
const NEVER_RAN: u8 = 125;

impl TaskEnd {
    /// The end of one that did what it should.
    #[must_use]
    pub fn success() -> Self {
        Self { result: "success".into(), status: Some(0), signal: None }
    }

    /// From systemd's `Result`, `ExecMainCode` and `ExecMainStatus`.
    #[must_use]
    pub fn of(result: &str, code: i32, status: i32) -> Self {
        let number = u8::try_from(status).ok();
        Self {
            result: result.to_owned(),
            status: number.filter(|_| code == EXITED),
            signal: number.filter(|_| code > EXITED),
        }
    }

    /// Whether it did what it should.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.result == "success"
    }

    /// What a shell would say: the exit status, 128 and the number of a signal, or 124 if its time was over.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match (self.result.as_str(), self.status, self.signal) {
            ("timeout", ..) => TIMED_OUT,
            (_, Some(status), _) => status,
            (_, None, Some(signal)) => signal.saturating_add(128),
            (_, None, None) => NEVER_RAN,
        }
    }
}

/// The one-off unit of `name` for `task`.
///
/// # Errors
/// [`PlanError`] if the instance, or this command in it, cannot be run on this host.
pub fn task(
    name: &InstanceName,
    def: &Definition,
    settings: &Settings,
    ctx: &PlanContext,
    task: &Task,
) -> Result<UnitSpec, PlanError> {
    for (name, value) in &task.order.env {
        if let Some(reason) = environment::bad_variable(name) {
            let name = name.escape_default().to_string();
            return Err(PlanError::TaskVariable { name, reason });
        }
        if value.chars().any(super::is_control) {
            let reason = "holds a control character";
            return Err(PlanError::TaskVariable { name: name.clone(), reason });
        }
    }
    if def.uses_releases() && ctx.release.is_none() {
        return Err(PlanError::NoRelease { process: name.process().clone() });
    }
    let paths = paths::paths(name, def, settings, &ctx.run_dir)?;
    let job = Job { name, def, settings, ctx, paths, task: Some(task) };
    let mut properties = service::properties(&job)?;
    properties.retain(|property| !OF_A_SERVER.contains(&property.name));
    properties.extend(of_a_command(&job, task));
    for property in &mut properties {
        if let (environment::PROPERTY, Value::Strs(list)) = (property.name, &mut property.value) {
            // Of two that are called alike the last one counts (systemd.exec(5), `Environment=`).
            list.extend(task.order.env.iter().map(|(name, value)| format!("{name}={value}")));
            list.push(format!("{TASK}={}", task.order.tag));
        }
    }
    let unit = UnitSpec { name: name.task_unit(&task.order.tag), properties };
    error::refuse_control(&[&unit])?;
    Ok(unit)
}

fn of_a_command(job: &Job, task: &Task) -> Vec<Property> {
    let p = |name, value| Property { name, value };
    let str = |text: &str| Value::Str(text.to_owned());
    let order = task.order;
    let stop = job.def.stop_timeout.min(STOP_MAX);
    let mut list = vec![
        p("Description", Value::Str(format!("tenement {}: {}", job.name, order.tag))),
        // Its start job ends when it does, and only what failed stays to be asked for its status.
        p("Type", str("oneshot")),
        p("NotifyAccess", str("none")),
        p("TimeoutStartUSec", service::micros(order.timeout)),
        p("TimeoutStopUSec", service::micros(stop)),
        p("UMask", Value::U32(UMASK)),
        p("LogExtraFields", Value::Bytes(fields(job, order))),
    ];
    match &task.output {
        Output::Log => {}
        Output::Handed => list.push(p("IgnoreSIGPIPE", Value::Bool(false))),
        Output::Terminal(path) => {
            list.push(p("IgnoreSIGPIPE", Value::Bool(false)));
            list.extend(
                ["StandardInput", "StandardOutput", "StandardError"]
                    .map(|name| p(name, str("tty"))),
            );
            list.push(p("TTYPath", str(path)));
            // A shell that reads a terminal ignores SIGTERM.
            list.push(p("SendSIGHUP", Value::Bool(true)));
        }
    }
    // Only where the instance has a network of its own. systemd keeps the service loaded for as long as this unit
    // is, so a new revision of it would have to end the command first.
    if task.beside && job.system() && job.def.network == Network::Private {
        let service = vec![job.name.service_unit()];
        list.push(p("JoinsNamespaceOf", Value::Strs(service)));
    }
    list
}

fn fields(job: &Job, order: &TaskOrder) -> Vec<Vec<u8>> {
    let field = |name: &str, value: &str| format!("{name}={value}").into_bytes();
    let mut list = service::log_fields(job.name);
    list.push(field("TENEMENT_TASK", order.tag.as_str()));
    list.extend(order.tag.job().map(|job| field("TENEMENT_CRON", job)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_a_shell_tells_it() {
        let status = |result, code, status| TaskEnd::of(result, code, status).exit_status();
        assert_eq!(status("success", 1, 0), 0);
        assert_eq!(status("exit-code", 1, 7), 7);
        assert_eq!(status("signal", 2, 9), 137);
        assert_eq!(status("core-dump", 3, 11), 139);
        assert_eq!(status("timeout", 2, 15), 124);
        assert_eq!(status("oom-kill", 2, 9), 137);
        assert_eq!(status("resources", 0, 0), 125);
        assert!(TaskEnd::success().is_success() && !TaskEnd::of("exit-code", 1, 1).is_success());
    }
}
