//! One-off commands, from the agent's side.

use tenement_wire::{InstanceName, TaskTag};

use super::{Client, Pace, parts};
use crate::plan::{Particulars, TaskOrder};
use crate::systemd::Stdio;
use crate::units::UnitsError;
use crate::units::interface;

impl Client {
    /// See [`crate::units::Builder::start_task`]. The answer is the object path of the job.
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn start_task(
        &self,
        name: &InstanceName,
        with: &Particulars,
        order: &TaskOrder,
        stdio: Stdio,
    ) -> Result<String, UnitsError> {
        let (process, id) = parts(name);
        let bus = match self {
            Self::Local(builder) => return builder.start_task(name, with, order, stdio).await,
            Self::Bus(bus) => bus,
        };
        let streams = match stdio {
            Stdio::Log => Vec::new(),
            Stdio::Terminal(terminal) => vec![terminal.into()],
            Stdio::Handed(streams) => streams.into_iter().map(Into::into).collect(),
        };
        let micros = u64::try_from(order.timeout.as_micros()).unwrap_or(u64::MAX);
        let command = (order.tag.as_str(), &*order.argv, &*order.env, micros);
        let units = bus.proxy().await?;
        let call = units.start_task(process, id, interface::with(with), (command, streams));
        bus.call(Pace::Quick, call).await
    }

    /// See [`crate::units::Builder::end_task`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn end_task(&self, name: &InstanceName, tag: &TaskTag) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.end_task(name, tag).await,
            Self::Bus(bus) => {
                let units = bus.proxy().await?;
                bus.call(Pace::Slow, units.end_task(process, id, tag.as_str())).await
            }
        }
    }

    /// See [`crate::units::Builder::signal_task`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn signal_task(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
        signal: i32,
    ) -> Result<(), UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.signal_task(name, tag, signal).await,
            Self::Bus(bus) => {
                let units = bus.proxy().await?;
                bus.call(Pace::Quick, units.signal_task(process, id, tag.as_str(), signal)).await
            }
        }
    }

    /// See [`crate::units::Builder::set_timers`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn set_timers(
        &self,
        name: &InstanceName,
        with: Option<&Particulars>,
        known: &[TaskTag],
    ) -> Result<bool, UnitsError> {
        let (process, id) = parts(name);
        let bus = match self {
            Self::Local(builder) => return builder.set_timers(name, with, known).await,
            Self::Bus(bus) => bus,
        };
        let (none, keep) = (Particulars::default(), with.is_some());
        let jobs: Vec<&str> = known.iter().filter_map(TaskTag::job).collect();
        let units = bus.proxy().await?;
        let with = interface::with(with.unwrap_or(&none));
        bus.call(Pace::Slow, units.set_timers(process, id, with, (keep, &jobs))).await
    }

    /// See [`crate::units::Builder::start_job`].
    ///
    /// # Errors
    /// See [`UnitsError`].
    pub async fn start_job(
        &self,
        name: &InstanceName,
        tag: &TaskTag,
    ) -> Result<String, UnitsError> {
        let (process, id) = parts(name);
        match self {
            Self::Local(builder) => builder.start_job(name, tag).await,
            Self::Bus(bus) => {
                let units = bus.proxy().await?;
                bus.call(Pace::Quick, units.start_job(process, id, tag.job().unwrap_or_default()))
                    .await
            }
        }
    }
}
