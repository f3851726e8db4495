//! One-off units: they end by themselves, and somebody waits for how.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tenement_wire::{InstanceName, ProcessName, TaskTag};
use tokio::sync::oneshot;
use zbus::Fd;
use zbus::wire::Variant;

use super::encode::{self, Properties};
use super::manager::JobResult;
use super::{ActiveState, Manager, SystemdError};
use crate::plan::{TaskEnd, TimerPlan, UnitSpec};

/// Pauses between looks at a unit whose job is over or lost and that is not down yet.
const LOOK: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// The standard streams of a one-off unit.
#[derive(Debug)]
pub enum Stdio {
    /// No input, and the journal for what it prints.
    Log,
    /// A terminal that the unit's properties name, held open until the unit has ended: nobody else gets its
    /// number meanwhile.
    Terminal(OwnedFd),
    /// Input, output, errors.
    Handed([OwnedFd; 3]),
}

impl Stdio {
    /// Copies for the call; ours are closed with the call's message, so that the reader of a pipe sees its end.
    fn onto(self, properties: &mut Properties) -> Option<OwnedFd> {
        match self {
            Self::Log => None,
            Self::Terminal(held) => Some(held),
            Self::Handed(streams) => {
                let names = [
                    "StandardInputFileDescriptor",
                    "StandardOutputFileDescriptor",
                    "StandardErrorFileDescriptor",
                ];
                let handed = names.into_iter().zip(streams);
                properties.extend(handed.map(|(name, fd)| (name, Variant::from(Fd::from(fd)))));
                None
            }
        }
    }
}

/// The end of a job that is still to come, or came already.
#[derive(Debug)]
pub struct JobEnd(oneshot::Receiver<String>);

impl JobEnd {
    /// How it ended; `None` if the bus went away meanwhile.
    pub async fn wait(self) -> Option<JobResult> {
        self.0.await.ok().map(JobResult::parse)
    }
}

/// A one-off unit that was started.
#[derive(Debug)]
pub struct Started {
    /// The object path of its job, which other connections to the bus hear of too.
    pub job: String,
    /// The job's end.
    pub end: JobEnd,
    /// The terminal, to be dropped when the unit has ended.
    pub held: Option<OwnedFd>,
}

impl Manager {
    /// Makes a unit of `Type=oneshot` and starts it, with `others` loaded beside it. It returns when systemd has
    /// taken the job.
    ///
    /// # Errors
    /// [`SystemdError::Exists`] if it is loaded already.
    pub async fn start_oneshot(
        &self,
        unit: &UnitSpec,
        stdio: Stdio,
    ) -> Result<Started, SystemdError> {
        let mut properties = encode::properties(unit)?;
        let held = stdio.onto(&mut properties);
        self.start_with(unit, properties, held).await
    }

    /// The same with two streams that are handed over; the unit's properties say where its errors go.
    ///
    /// # Errors
    /// As for [`Self::start_oneshot`].
    pub async fn start_piped(
        &self,
        unit: &UnitSpec,
        input: OwnedFd,
        output: OwnedFd,
    ) -> Result<Started, SystemdError> {
        let mut properties = encode::properties(unit)?;
        let handed =
            [("StandardInputFileDescriptor", input), ("StandardOutputFileDescriptor", output)];
        properties.extend(handed.map(|(name, fd)| (name, Variant::from(Fd::from(fd)))));
        self.start_with(unit, properties, None).await
    }

    async fn start_with(
        &self,
        unit: &UnitSpec,
        properties: Properties,
        held: Option<OwnedFd>,
    ) -> Result<Started, SystemdError> {
        let link = self.link()?;
        let expected = link.jobs.expect();
        let call = link.manager.start_transient_unit(&unit.name, "fail", &properties, &[]);
        let path = self.call(call).await?;
        let end = JobEnd(expected.wait_for(path.as_str()));
        Ok(Started { job: path.to_string(), end, held })
    }

    /// Makes a timer with the unit that it starts, and starts the timer.
    ///
    /// # Errors
    /// [`SystemdError::Exists`] if either is loaded already; `Other` if the schedule is none.
    pub async fn start_timer(
        &self,
        plan: &TimerPlan,
        bound: Duration,
    ) -> Result<JobResult, SystemdError> {
        let timer = encode::properties(&plan.timer)?;
        let aux = [(plan.service.name.as_str(), encode::properties(&plan.service)?)];
        let link = self.link()?;
        let call = link.manager.start_transient_unit(&plan.timer.name, "fail", &timer, &aux);
        self.job(&link, call, &plan.timer.name, bound).await
    }

    /// Starts a loaded unit that ends by itself, and returns when systemd has taken the job.
    ///
    /// # Errors
    /// [`SystemdError::Absent`] if it isn't loaded.
    pub async fn trigger(&self, unit: &str) -> Result<String, SystemdError> {
        let link = self.link()?;
        Ok(self.call(link.manager.start_unit(unit, "fail")).await?.to_string())
    }

    /// Waits for the end of a job that `call` has somebody else make: what ends before the answer is here is
    /// not missed.
    ///
    /// # Errors
    /// Those of `call`, or that the bus is away.
    pub async fn follow_job<E: From<SystemdError>>(
        &self,
        call: impl Future<Output = Result<String, E>>,
    ) -> Result<JobEnd, E> {
        let link = self.link()?;
        let expected = link.jobs.expect();
        let path = call.await?;
        Ok(JobEnd(expected.wait_for(&path)))
    }

    /// How a one-off unit ended: waits for its job, and for its processes if the job was cut short.
    ///
    /// # Errors
    /// If systemd can't be asked, or [`SystemdError::Timeout`] if it is not down within `bound`.
    pub async fn task_end(
        &self,
        unit: &str,
        job: JobEnd,
        bound: Duration,
    ) -> Result<TaskEnd, SystemdError> {
        let end = async {
            let ended = job.wait().await;
            // Only a oneshot that succeeded has a job that is done, and systemd has collected it by now.
            if ended == Some(JobResult::Done) {
                return Ok(TaskEnd::success());
            }
            let mut pause = LOOK;
            loop {
                match self.unit_state(unit).await {
                    // Without the bus nobody heard of its job, and one that failed would still be loaded. If its
                    // job was cut short, somebody has stopped it and had it forgotten.
                    Ok(None) if ended.is_none() => return Ok(TaskEnd::success()),
                    Ok(None) => return Ok(TaskEnd::of("canceled", 0, 0)),
                    Ok(Some(state)) if state.active.is_down() => {
                        let (code, status) = (state.exec_main_code, state.exec_main_status);
                        return Ok(TaskEnd::of(&state.result, code, status));
                    }
                    // The bus comes back, and the unit goes on meanwhile.
                    Ok(Some(_)) | Err(SystemdError::Unreachable(_)) => {}
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LOOK_MAX);
            }
        };
        tokio::time::timeout(bound, end)
            .await
            .unwrap_or_else(|_| Err(SystemdError::Timeout(format!("{unit} does not end"))))
    }

    /// Stops a one-off unit and makes systemd forget it. One that isn't loaded is fine.
    ///
    /// # Errors
    /// [`SystemdError::Timeout`] if it does not end within `bound`.
    pub async fn end_unit(&self, unit: &str, bound: Duration) -> Result<(), SystemdError> {
        let state = self.brief(unit).await?.map(|brief| brief.active);
        if state.is_some_and(|state| !matches!(state, ActiveState::Inactive | ActiveState::Failed))
        {
            match self.stop_unit(unit, bound).await {
                Ok(_) | Err(SystemdError::Absent(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.reset_failed(unit).await
    }

    /// The tags of one-off units of `name` that are loaded.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`] and the like.
    pub async fn tasks_of(&self, name: &InstanceName) -> Result<Vec<TaskTag>, SystemdError> {
        let pattern = format!("ten-{}@{}.*.service", name.process(), name.id());
        let all = self.tasks_like(&pattern, false).await?;
        Ok(all.into_iter().filter(|(of, _)| of == name).map(|(_, tag)| tag).collect())
    }

    /// Those of them that run now, but for what packs and unpacks its data.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`] and the like.
    pub async fn running_tasks_of(
        &self,
        name: &InstanceName,
    ) -> Result<Vec<TaskTag>, SystemdError> {
        let pattern = format!("ten-{}@{}.*.service", name.process(), name.id());
        let mut all = self.tasks_like(&pattern, true).await?;
        all.retain(|(of, tag)| of == name && !["backup", "restore"].contains(&tag.as_str()));
        Ok(all.into_iter().map(|(_, tag)| tag).collect())
    }

    /// The one-off units of all instances of `process` that are loaded, scheduled jobs among them.
    ///
    /// # Errors
    /// [`SystemdError::Unreachable`] and the like.
    pub async fn tasks_of_process(
        &self,
        process: &ProcessName,
    ) -> Result<Vec<(InstanceName, TaskTag)>, SystemdError> {
        let all = self.tasks_like(&format!("ten-{process}@*.*.service"), false).await?;
        Ok(all.into_iter().filter(|(of, _)| of.process() == process).collect())
    }

    async fn tasks_like(
        &self,
        pattern: &str,
        running: bool,
    ) -> Result<Vec<(InstanceName, TaskTag)>, SystemdError> {
        let states: &[&str] = if running { &["active", "activating", "deactivating"] } else { &[] };
        let link = self.link()?;
        let rows = self.call(link.manager.list_units_by_patterns(states, &[pattern])).await?;
        let task = |unit: &str| {
            let (of, tag, _) = InstanceName::from_task_unit(unit)?;
            Some((of, tag))
        };
        Ok(rows.iter().filter_map(|(unit, ..)| task(unit)).collect())
    }

    /// Sends a signal to the main process of a unit.
    ///
    /// # Errors
    /// [`SystemdError::Absent`] if it isn't loaded.
    pub async fn signal(&self, unit: &str, signal: i32) -> Result<(), SystemdError> {
        self.call(self.link()?.manager.kill_unit(unit, "main", signal)).await
    }
}
