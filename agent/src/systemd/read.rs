//! Reads single properties of units.
//!
//! Single ones, pipelined; `status` reads all of a service's at once, for people.

use zbus::wire::OwnedVariant;

use super::escape::unit_path;
use super::link::Link;
use super::{ActiveState, Manager, SystemdError, UnitState};

/// What [`Manager::brief`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// `ActiveState`.
    pub active: ActiveState,
    /// `Environment`, as `NAME=value`; empty for sockets.
    pub environment: Vec<String>,
}

impl Manager {
    /// What systemd says of a service or socket, or `None` if it isn't loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn unit_state(&self, unit: &str) -> Result<Option<UnitState>, SystemdError> {
        let link = self.link()?;
        // Asking for a property of a unit that isn't loaded would load it; GetUnit never does.
        if !self.is_loaded(unit).await? {
            return Ok(None);
        }
        unless_absent(self.read_state(&link, unit).await)
    }

    /// Only whether a unit is up, and its environment.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn brief(&self, unit: &str) -> Result<Option<Brief>, SystemdError> {
        let link = self.link()?;
        if !self.is_loaded(unit).await? {
            return Ok(None);
        }
        unless_absent(self.read_brief(&link, unit).await)
    }

    /// The longest that an orderly stop of a service can take: `TimeoutStopUSec`; zero if it isn't loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn stop_timeout(&self, unit: &str) -> Result<std::time::Duration, SystemdError> {
        let link = self.link()?;
        if !self.is_loaded(unit).await? {
            return Ok(std::time::Duration::ZERO);
        }
        let timeout = self.get(&link, &unit_path(unit), "Service", "TimeoutStopUSec").await;
        let timeout = unless_absent(timeout)?;
        Ok(std::time::Duration::from_micros(timeout.map_or(0, or_default::<u64>)))
    }

    /// Whether systemd kills a loaded service that does not report in time: `WatchdogUSec`. None of our
    /// plans sets it, but a drop-in may.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn has_watchdog(&self, unit: &str) -> Result<bool, SystemdError> {
        let link = self.link()?;
        let period = self.get(&link, &unit_path(unit), "Service", "WatchdogUSec").await;
        let period = unless_absent(period)?.map_or(0, or_default::<u64>);
        Ok(period != 0 && period != u64::MAX)
    }

    /// What a loaded service says of itself: `StatusText`; empty if it says nothing or isn't loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn status_text(&self, unit: &str) -> Result<String, SystemdError> {
        let link = self.link()?;
        let text = self.get(&link, &unit_path(unit), "Service", "StatusText").await;
        Ok(unless_absent(text)?.map_or_else(String::new, or_default))
    }

    /// `FreezerState` of a service: `running`, `freezing`, `frozen`, `thawing`, …; `None` if it isn't
    /// loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn freezer_state(&self, unit: &str) -> Result<Option<String>, SystemdError> {
        self.one(unit, "Unit", "FreezerState").await
    }

    /// `Description` of a unit; `None` if it isn't loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn description(&self, unit: &str) -> Result<Option<String>, SystemdError> {
        self.one(unit, "Unit", "Description").await
    }

    /// `ControlGroup` of a service; empty when it is down.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn control_group(&self, unit: &str) -> Result<Option<String>, SystemdError> {
        self.one(unit, "Service", "ControlGroup").await
    }

    /// Bytes that a loaded service has received and sent over IP since it was started; `None` if systemd does
    /// not count them.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn ip_bytes(&self, unit: &str) -> Result<Option<(u64, u64)>, SystemdError> {
        let (link, path) = (self.link()?, unit_path(unit));
        let both = async {
            let received = self.get(&link, &path, "Service", "IPIngressBytes").await?;
            let sent = self.get(&link, &path, "Service", "IPEgressBytes").await?;
            Ok((or_default::<u64>(received), or_default::<u64>(sent)))
        };
        let both = unless_absent(both.await)?;
        Ok(both.filter(|(received, sent)| *received != u64::MAX && *sent != u64::MAX))
    }

    async fn one(
        &self,
        unit: &str,
        kind: &str,
        name: &str,
    ) -> Result<Option<String>, SystemdError> {
        let link = self.link()?;
        if !self.is_loaded(unit).await? {
            return Ok(None);
        }
        let value = unless_absent(self.get(&link, &unit_path(unit), kind, name).await)?;
        Ok(value.map(or_default))
    }

    pub(super) async fn get(
        &self,
        link: &Link,
        path: &str,
        kind: &str,
        name: &str,
    ) -> Result<OwnedVariant, SystemdError> {
        let interface = format!("org.freedesktop.systemd1.{kind}");
        let body = (interface.as_str(), name);
        let call = link.connection.call_method(
            Some("org.freedesktop.systemd1"),
            path,
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &body,
        );
        Ok(self.call(call).await?.body().deserialize::<OwnedVariant>()?)
    }

    async fn read_brief(&self, link: &Link, unit: &str) -> Result<Brief, SystemdError> {
        let path = unit_path(unit);
        let active = or_default::<String>(self.get(link, &path, "Unit", "ActiveState").await?);
        let environment = if is_service(unit) {
            or_default(self.get(link, &path, "Service", "Environment").await?)
        } else {
            Vec::new()
        };
        Ok(Brief { active: ActiveState::parse(&active), environment })
    }

    async fn read_state(&self, link: &Link, unit: &str) -> Result<UnitState, SystemdError> {
        let path = unit_path(unit);
        let kind = if is_service(unit) { "Service" } else { "Socket" };
        let (active, sub, invocation, since, result, group, memory) = tokio::try_join!(
            self.get(link, &path, "Unit", "ActiveState"),
            self.get(link, &path, "Unit", "SubState"),
            self.get(link, &path, "Unit", "InvocationID"),
            self.get(link, &path, "Unit", "StateChangeTimestamp"),
            self.get(link, &path, kind, "Result"),
            self.get(link, &path, kind, "ControlGroup"),
            self.get(link, &path, kind, "MemoryCurrent"),
        )?;
        let id: Vec<u8> = or_default(invocation);
        let memory: u64 = or_default(memory);
        let mut state = UnitState {
            active: ActiveState::parse(&or_default::<String>(active)),
            sub: or_default(sub),
            result: or_default(result),
            main_pid: 0,
            exec_main_code: 0,
            exec_main_status: 0,
            invocation_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            n_restarts: 0,
            memory_current: (memory != 0 && memory != u64::MAX).then_some(memory),
            control_group: or_default(group),
            since_us: or_default(since),
            environment: Vec::new(),
        };
        if is_service(unit) {
            let (pid, code, status, restarts, environment) = tokio::try_join!(
                self.get(link, &path, kind, "MainPID"),
                self.get(link, &path, kind, "ExecMainCode"),
                self.get(link, &path, kind, "ExecMainStatus"),
                self.get(link, &path, kind, "NRestarts"),
                self.get(link, &path, kind, "Environment"),
            )?;
            state.main_pid = or_default(pid);
            state.exec_main_code = or_default(code);
            state.exec_main_status = or_default(status);
            state.n_restarts = or_default(restarts);
            state.environment = or_default(environment);
        }
        Ok(state)
    }
}

fn is_service(unit: &str) -> bool {
    unit.ends_with(".service")
}

/// A unit may be collected between the question whether it is loaded and the next one.
pub(super) fn unless_absent<T>(result: Result<T, SystemdError>) -> Result<Option<T>, SystemdError> {
    match result {
        Err(SystemdError::Absent(_)) => Ok(None),
        other => other.map(Some),
    }
}

/// A variant's inner value, or the default if it has another type.
pub(super) fn or_default<T>(variant: OwnedVariant) -> T
where
    T: Default + TryFrom<OwnedVariant>,
{
    T::try_from(variant).unwrap_or_default()
}
