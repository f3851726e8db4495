//! One-off commands: asked of the helper, watched by the agent itself.

use std::time::Duration;

use tenement_wire::InstanceName;

use super::{Edge, from_systemd, from_units};
use crate::flows::host::{HostError, Stdio, TaskRun};
use crate::plan::{Particulars, TaskOrder};

/// Beyond a command's own time: its stop (SIGTERM, SIGKILL), and a busy PID 1.
const BEYOND: Duration = Duration::from_secs(180);

impl Edge {
    /// See [`crate::flows::host::Host::start_task`]. It is asked for once only: nobody knows whether a call that was
    /// cut off was carried out, and a command must not run twice.
    pub(super) async fn begin_task(
        &self,
        name: &InstanceName,
        with: &Particulars,
        order: TaskOrder,
        stdio: Stdio,
    ) -> Result<TaskRun, HostError> {
        let call = self.units.start_task(name, with, &order, stdio);
        let job = self.systemd.follow_job(call).await.map_err(from_units)?;
        let (systemd, units) = (self.systemd.clone(), self.units.clone());
        let name = name.clone();
        Ok(Box::pin(async move {
            let bound = order.timeout.saturating_add(BEYOND);
            let end = systemd.task_end(&name.task_unit(&order.tag), job, bound).await;
            let end = end.map_err(from_systemd)?;
            // One that succeeded is gone by itself.
            if !end.is_success()
                && let Err(error) = units.end_task(&name, &order.tag).await
            {
                log::warn!("the unit {} of {name} stays: {error}", order.tag);
            }
            Ok(end)
        }))
    }
}
