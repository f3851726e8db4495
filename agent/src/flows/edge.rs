//! The real [`Host`]: reading straight from systemd, changing through the unit helper.

use tenement_wire::InstanceName;

use super::host::{Active, Details, Host, HostError, Units};
use super::observe::{Report, Unit};
use crate::plan::Particulars;
use crate::systemd::{ActiveState, Brief, Manager, SystemdError, UnitEvent, UnitKind};
use crate::units::{Client, UnitsError};

/// systemd, and the helper that may change it.
pub struct Edge {
    /// Reads and signals.
    pub systemd: Manager,
    /// Changes.
    pub units: Client,
}

impl Host for Edge {
    async fn load(&self, name: &InstanceName, with: &Particulars) -> Result<(), HostError> {
        self.units.load(name, with).await.map(|_| ()).map_err(from_units)
    }

    async fn unload(&self, name: &InstanceName) -> Result<(), HostError> {
        self.units.unload(name).await.map_err(from_units)
    }

    async fn start(&self, name: &InstanceName, with: &Particulars) -> Result<(), HostError> {
        self.units.start(name, with).await.map_err(from_units)
    }

    async fn stop(&self, name: &InstanceName) -> Result<(), HostError> {
        self.units.stop(name).await.map_err(from_units)
    }

    async fn freeze(&self, name: &InstanceName) -> Result<(), HostError> {
        self.units.freeze(name).await.map_err(from_units)
    }

    async fn thaw(&self, name: &InstanceName) -> Result<(), HostError> {
        self.units.thaw(name).await.map_err(from_units)
    }

    async fn reset(&self, name: &InstanceName) -> Result<(), HostError> {
        self.units.reset(name).await.map_err(from_units)
    }

    async fn purge(&self, name: &InstanceName) -> Result<(), HostError> {
        self.units.purge(name).await.map_err(from_units)
    }

    async fn apply(&self, name: &InstanceName, with: &Particulars) -> Result<bool, HostError> {
        self.units.apply(name, with).await.map_err(from_units)
    }

    async fn measure(&self, name: &InstanceName) -> Result<u64, HostError> {
        self.units.measure(name).await.map_err(from_units)
    }

    async fn units(&self, name: &InstanceName) -> Result<Units, HostError> {
        let (service, socket) = (name.service_unit(), name.socket_unit());
        let (service, socket) =
            tokio::join!(self.systemd.brief(&service), self.systemd.brief(&socket));
        let state = |brief: Option<Brief>| active(brief.map(|b| b.active));
        Ok(Units {
            service: state(service.map_err(from_systemd)?),
            socket: state(socket.map_err(from_systemd)?),
        })
    }

    async fn details(&self, name: &InstanceName) -> Result<Details, HostError> {
        let state = self.systemd.unit_state(&name.service_unit()).await.map_err(from_systemd)?;
        let Some(state) = state else { return Ok(Details::default()) };
        Ok(Details {
            pid: (state.main_pid > 0).then_some(state.main_pid),
            memory_bytes: state.memory_current,
            result: ended(&state.result, state.exec_main_code, state.exec_main_status),
        })
    }

    async fn list(&self) -> Result<Vec<(InstanceName, Units)>, HostError> {
        let patterns = ["ten-*@*.service", "ten-*@*.socket"];
        let rows = self.systemd.list(&patterns).await.map_err(from_systemd)?;
        let mut pairs = std::collections::HashMap::<InstanceName, Units>::new();
        for row in rows {
            let pair = pairs.entry(row.name).or_default();
            match row.kind {
                UnitKind::Service => pair.service = active(Some(row.active)),
                UnitKind::Socket => pair.socket = active(Some(row.active)),
            }
        }
        Ok(pairs.into_iter().collect())
    }
}

/// A report of one event; `None` for a resync.
#[must_use]
pub fn report(event: UnitEvent) -> Option<Report> {
    let unit = |kind| match kind {
        UnitKind::Service => Unit::Service,
        UnitKind::Socket => Unit::Socket,
    };
    match event {
        UnitEvent::Changed { name, kind, active: state, sub, .. } => Some(Report {
            name,
            unit: unit(kind),
            // systemd 254 passes through these on its way to `auto-restart`, which counts alone.
            active: match sub.ends_with("-before-auto-restart") {
                true => Active::Activating,
                false => active(Some(state)),
            },
            auto_restart: sub.starts_with("auto-restart"),
        }),
        UnitEvent::Removed { name, kind } => {
            Some(Report { name, unit: unit(kind), active: Active::Absent, auto_restart: false })
        }
        UnitEvent::Resync => None,
    }
}

fn active(state: Option<ActiveState>) -> Active {
    match state {
        None => Active::Absent,
        Some(ActiveState::Inactive) => Active::Inactive,
        Some(ActiveState::Activating) => Active::Activating,
        Some(ActiveState::Deactivating) => Active::Deactivating,
        Some(ActiveState::Failed) => Active::Failed,
        Some(ActiveState::Active | ActiveState::Reloading | ActiveState::Unknown) => Active::Active,
    }
}

/// How a run ended, in words: systemd.exec(5) "Process Exit Codes" for the codes from 200 on.
fn ended(result: &str, code: i32, status: i32) -> Option<String> {
    let exited = 1;
    match result {
        "" | "success" => None,
        "exit-code" if code == exited => Some(match status {
            200 => "its directory can't be entered (200/CHDIR)".into(),
            203 => "its command can't be executed (203/EXEC)".into(),
            217 => "its user does not exist (217/USER)".into(),
            226 => "its sandbox can't be set up (226/NAMESPACE)".into(),
            _ => format!("it exited with status {status}"),
        }),
        "signal" | "core-dump" => Some(format!("it was killed by signal {status}")),
        "oom-kill" => Some("it ran out of its memory and was killed".into()),
        "timeout" => Some("it did not start or stop in time".into()),
        other => Some(other.to_owned()),
    }
}

fn from_systemd(error: SystemdError) -> HostError {
    match error {
        SystemdError::Unreachable(_) | SystemdError::Timeout(_) => {
            HostError::Unreachable(error.to_string())
        }
        _ => HostError::Failed(error.to_string()),
    }
}

fn from_units(error: UnitsError) -> HostError {
    match &error {
        UnitsError::NotInConfig(_) | UnitsError::BadConfig(_) => {
            HostError::Config(error.to_string())
        }
        UnitsError::Unreachable(_) | UnitsError::Timeout(_) => {
            HostError::Unreachable(error.to_string())
        }
        _ => HostError::Failed(error.to_string()),
    }
}
