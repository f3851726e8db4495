//! What systemd says of timers and of the units that they start.

use std::time::Duration;

use tenement_wire::{InstanceName, TaskTag};

use super::escape::unit_path;
use super::read::{or_default, unless_absent};
use super::{ActiveState, Manager, SystemdError};
use crate::plan::TaskEnd;

/// A timer, and its last run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerState {
    /// When it is due next, Unix microseconds; `None` if never.
    pub next_us: Option<u64>,
    /// When it last fired, over reboots, or was started by hand; `None` if never.
    pub last_us: Option<u64>,
    /// Whether its unit runs now.
    pub running: bool,
    /// How the last run since the unit was loaded ended; `None` if there was none.
    pub end: Option<TaskEnd>,
}

impl Manager {
    /// What systemd says of a timer, or `None` if it isn't loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn timer(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
    ) -> Result<Option<TimerState>, SystemdError> {
        let (timer, service) = (name.timer_unit(tag), name.task_unit(tag));
        if !self.is_loaded(&timer).await? {
            return Ok(None);
        }
        unless_absent(self.read_timer(&timer, &service).await)
    }

    async fn read_timer(&self, timer: &str, service: &str) -> Result<TimerState, SystemdError> {
        let (link, timer, service) = (self.link()?, unit_path(timer), unit_path(service));
        let (next, last, begun, active, result, code, status, ended) = tokio::try_join!(
            self.get(&link, &timer, "Timer", "NextElapseUSecRealtime"),
            self.get(&link, &timer, "Timer", "LastTriggerUSec"),
            self.get(&link, &service, "Service", "ExecMainStartTimestamp"),
            self.get(&link, &service, "Unit", "ActiveState"),
            self.get(&link, &service, "Service", "Result"),
            self.get(&link, &service, "Service", "ExecMainCode"),
            self.get(&link, &service, "Service", "ExecMainStatus"),
            self.get(&link, &service, "Service", "ExecMainExitTimestamp"),
        )?;
        let time = |value: u64| (value != 0 && value != u64::MAX).then_some(value);
        let running = !ActiveState::parse(&or_default::<String>(active)).is_down();
        let result: String = or_default(result);
        let ended = or_default::<u64>(ended) != 0 || result != "success";
        let end = TaskEnd::of(&result, or_default(code), or_default(status));
        Ok(TimerState {
            next_us: time(or_default(next)),
            last_us: time(or_default::<u64>(last).max(or_default(begun))),
            running,
            end: (ended && !running).then_some(end),
        })
    }

    /// The timers of ours that are loaded, with the text that tells their revision.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`] and the like.
    pub async fn timers(&self) -> Result<Vec<(InstanceName, TaskTag)>, SystemdError> {
        let link = self.link()?;
        let call = link.manager.list_units_by_patterns(&[], &["ten-*@*.cron-*.timer"]);
        let rows = self.call(call).await?;
        let ours = |(unit, _, load, ..): super::proxy::UnitRow| {
            let (name, tag, _) =
                InstanceName::from_task_unit(&unit).filter(|_| load == "loaded")?;
            Some((name, tag))
        };
        Ok(rows.into_iter().filter_map(ours).collect())
    }

    /// One-off units that are loaded and are nobody's schedule: what is left of commands whose agent is gone.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`] and the like.
    pub async fn commands(&self) -> Result<Vec<(InstanceName, TaskTag)>, SystemdError> {
        let link = self.link()?;
        let call = link.manager.list_units_by_patterns(&[], &["ten-*@*.*.service"]);
        let rows = self.call(call).await?;
        let ours = |(unit, _, load, ..): super::proxy::UnitRow| {
            let (name, tag, _) =
                InstanceName::from_task_unit(&unit).filter(|_| load == "loaded")?;
            tag.job().is_none().then_some((name, tag))
        };
        Ok(rows.into_iter().filter_map(ours).collect())
    }

    /// Waits until a unit is not loaded any more; says whether that is so before `bound`.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`] and the like.
    pub async fn until_gone(&self, unit: &str, bound: Duration) -> Result<bool, SystemdError> {
        let gone = async {
            let mut pause = Duration::from_millis(1);
            while self.is_loaded(unit).await? {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            Ok(())
        };
        match tokio::time::timeout(bound, gone).await {
            Ok(gone) => gone.map(|()| true),
            Err(_) => Ok(false),
        }
    }
}
