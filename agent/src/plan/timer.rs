//! A scheduled job: a timer of systemd, and the one-off unit that it starts.

use tenement_wire::{InstanceName, NameError, TaskTag};

use super::error::{self, PlanError};
use super::service::micros;
use super::task::{Output, Task, TaskOrder, task};
use super::value::{Property, UnitSpec, Value};
use super::{PlanContext, fingerprint};
use crate::config::{CronJob, Definition, Settings};

/// systemd may be late by so much to wake up less often; its own default is a minute.
const ACCURACY_US: u64 = 1_000_000;

/// The two units of a job. The timer is the one that is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerPlan {
    /// `ten-{process}@{id}.cron-{job}.timer`.
    pub timer: UnitSpec,
    /// `ten-{process}@{id}.cron-{job}.service`.
    pub service: UnitSpec,
    /// Tells whether the loaded units are these: the timer's `Description` ends with it.
    pub revision: String,
}

/// The units of the job called `name` of an instance.
///
/// # Errors
/// [`PlanError`] if the instance, or this command in it, cannot be run on this host.
pub fn timer(
    instance: &InstanceName,
    def: &Definition,
    settings: &Settings,
    ctx: &PlanContext,
    (name, job): (&str, &CronJob),
) -> Result<TimerPlan, PlanError> {
    let tag = TaskTag::cron(name).map_err(|error: NameError| PlanError::Job {
        name: name.to_owned(),
        reason: error.to_string(),
    })?;
    let (argv, env) = (job.command.clone(), Vec::new());
    let order = TaskOrder { tag: tag.clone(), argv, env, timeout: job.timeout };
    // Whether the instance will be up when it fires is not known; so it has a `/tmp` of its own.
    let one = Task { order: &order, output: Output::Log, beside: false, fill: true };
    let service = task(instance, def, settings, ctx, &one)?;
    let p = |name, value| Property { name, value };
    let mut properties = vec![
        p("TimersCalendar", Value::Pairs(vec![("OnCalendar".to_owned(), job.schedule.clone())])),
        p("AccuracyUSec", Value::U64(ACCURACY_US)),
        // Remembered in a file of systemd's, which outlives reboots.
        p("Persistent", Value::Bool(job.persistent)),
        p("CollectMode", Value::Str("inactive-or-failed".to_owned())),
    ];
    if !job.jitter.is_zero() {
        properties.push(p("RandomizedDelayUSec", micros(job.jitter)));
        // The same each day, so that an instance's jobs are as far apart as the schedule says.
        properties.push(p("FixedRandomDelay", Value::Bool(true)));
    }
    let mut timer = UnitSpec { name: instance.timer_unit(&tag), properties };
    let revision = fingerprint(&[&timer, &service], &ctx.secrets);
    let description = format!("tenement {instance}: job {name} {revision}");
    timer.properties.insert(0, p("Description", Value::Str(description)));
    error::refuse_control(&[&timer, &service])?;
    Ok(TimerPlan { timer, service, revision })
}
