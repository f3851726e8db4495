//! Scheduled jobs: the timers of an instance, made as the config has them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tenement_wire::{InstanceName, TaskTag};

use super::builder::Builder;
use super::{UnitsError, dirs};
use crate::config::CronJob;
use crate::plan::{self, Particulars, TimerPlan};
use crate::systemd::{JobResult, SystemdError};

/// A timer is made in milliseconds; behind a daemon-reload of thousands of units in seconds.
const BOUND: Duration = Duration::from_secs(30);
/// From the end of a stop job until the unit is collected.
const GONE: Duration = Duration::from_secs(10);
/// A job that runs while its instance is removed has this long to end.
const STOP_BOUND: Duration = Duration::from_secs(120);
/// Where systemd remembers when a persistent timer last fired (systemd.timer(5)).
const STAMPS: &str = "/var/lib/systemd/timers";

impl Builder {
    /// Sees to it that the instance has the timers of its config and no others. Without `with` it has none any more,
    /// and what they started is stopped. `known` are jobs that may be loaded though the config has them no more.
    /// Says whether all is done: a job that runs keeps its units until it has ended.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn set_timers(
        &self,
        name: &InstanceName,
        with: Option<&Particulars>,
        known: &[TaskTag],
    ) -> Result<bool, UnitsError> {
        let config = self.source().load()?;
        let _turn = self.turn(name).await;
        let mut wanted: BTreeMap<TaskTag, TimerPlan> = BTreeMap::new();
        if let (Some(with), Some(def)) = (with, config.processes.get(name.process())) {
            let jobs = def.cron.iter().filter(|(_, job)| job.is_of(name.id()));
            let jobs: Vec<(&str, &CronJob)> = jobs.map(|(name, job)| (&**name, job)).collect();
            if !jobs.is_empty() {
                let plans =
                    self.kitchen().cook(&config, name, with, |name, def, settings, ctx| {
                        let plan = |job| plan::timer(name, def, settings, ctx, job);
                        jobs.into_iter().map(plan).collect::<Result<Vec<_>, _>>()
                    })?;
                for plan in plans {
                    if let Some((_, tag, _)) = InstanceName::from_task_unit(&plan.timer.name) {
                        wanted.insert(tag, plan);
                    }
                }
                self.set_totals(&config, name).await?;
            }
        }
        let mut done = true;
        for tag in known.iter().filter(|tag| !wanted.contains_key(*tag)) {
            self.remove_timer(name, tag).await?;
        }
        for (tag, plan) in &wanted {
            done &= self.set_timer(name, tag, plan).await?;
        }
        Ok(done)
    }

    /// Makes one timer, or makes it anew if it is of another revision; `false` if its job runs now.
    async fn set_timer(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
        plan: &TimerPlan,
    ) -> Result<bool, UnitsError> {
        let manager = self.manager();
        if let Some(description) = manager.description(&plan.timer.name).await? {
            if description.ends_with(&plan.revision) {
                return Ok(true);
            }
            if manager.timer(name, tag).await?.is_some_and(|timer| timer.running) {
                return Ok(false);
            }
        }
        self.unload_timer(name, tag).await?;
        match manager.start_timer(plan, BOUND).await? {
            JobResult::Done | JobResult::Canceled => Ok(true),
            JobResult::Failed(word) => Err(UnitsError::Systemd(format!(
                "{} could not be started ({word}); see: journalctl -u {}",
                plan.timer.name, plan.timer.name
            ))),
        }
    }

    /// Takes a timer away for good: a later one of this name begins anew.
    async fn remove_timer(&self, name: &InstanceName, tag: &TaskTag) -> Result<(), UnitsError> {
        self.unload_timer(name, tag).await?;
        if self.place().is_system() {
            forget(&name.timer_unit(tag));
        }
        Ok(())
    }

    /// Stops both units and waits until neither is loaded.
    async fn unload_timer(&self, name: &InstanceName, tag: &TaskTag) -> Result<(), UnitsError> {
        let (timer, service) = (name.timer_unit(tag), name.task_unit(tag));
        let manager = self.manager();
        match manager.stop_unit(&timer, BOUND).await {
            Ok(_) | Err(SystemdError::Absent(_)) => {}
            Err(error) => return Err(error.into()),
        }
        manager.reset_failed(&timer).await?;
        manager.end_unit(&service, STOP_BOUND).await?;
        for unit in [&timer, &service] {
            if !manager.until_gone(unit, GONE).await? {
                return Err(UnitsError::Timeout(format!("systemd keeps {unit} loaded")));
            }
        }
        Ok(())
    }

    /// Starts a job now, whatever its schedule says; the object path of systemd's job.
    ///
    /// # Errors
    /// See [`UnitsError`]; `Refused` if it runs already or has no timer.
    pub async fn start_job(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
    ) -> Result<String, UnitsError> {
        let _turn = self.turn(name).await;
        match self.manager().timer(name, tag).await? {
            None => Err(UnitsError::Refused(format!("{name} has no timer for this job"))),
            Some(timer) if timer.running => Err(UnitsError::Refused("the job runs already".into())),
            Some(_) => Ok(self.manager().trigger(&name.task_unit(tag)).await?),
        }
    }
}

/// Removes the file that remembers when the timer last fired.
fn forget(timer: &str) {
    let remove = || {
        let dir = dirs::open_trusted(Path::new(STAMPS), 0, false)?;
        let file = format!("stamp-{timer}");
        Ok::<_, std::io::Error>(rustix::fs::unlinkat(&dir, file, rustix::fs::AtFlags::empty())?)
    };
    match remove() {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            log::warn!("when {timer} last fired stays remembered: {error}");
        }
        _ => {}
    }
}
