//! What systemd says of a service, for people: its last run and what it uses.
//!
//! One `GetAll` of the service's own interface (0.45 ms of PID 1, 250 properties) instead of its 14
//! single properties, and single reads of the unit's: `GetAll` of the `Unit` interface costs PID 1
//! three times as much, for its lists of dependencies.

use std::collections::HashMap;

use tenement_wire::ReleaseName;
use tenement_wire::status::{ServiceView, Usage};
use zbus::wire::Variant;

use super::escape::unit_path;
use super::read::{or_default, unless_absent};
use super::{Manager, SystemdError};

/// `CLD_EXITED`, `CLD_KILLED` and `CLD_DUMPED` of sigaction(2), as in `ExecMainCode`.
const EXITED: i32 = 1;
const KILLED: i32 = 2;
const DUMPED: i32 = 3;

/// The variable that says what a unit was made from.
const RELEASE: &str = "TENEMENT_RELEASE=";

/// What [`Manager::service_status`] tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Its states and its last run.
    pub service: ServiceView,
    /// What it uses.
    pub usage: Usage,
}

/// Borrowed from the message: copying 250 properties costs more than asking for them.
type Properties<'a> = HashMap<&'a str, Variant<'a>>;

impl Manager {
    /// Everything that people want to know of a service, or `None` if it isn't loaded.
    ///
    /// # Errors
    /// All but [`SystemdError::Absent`].
    pub async fn service_status(&self, unit: &str) -> Result<Option<ServiceStatus>, SystemdError> {
        // Asking for a property of a unit that isn't loaded would load it; GetUnit never does.
        if !self.is_loaded(unit).await? {
            return Ok(None);
        }
        unless_absent(self.read_status(unit).await)
    }

    async fn read_status(&self, unit: &str) -> Result<ServiceStatus, SystemdError> {
        let link = self.link()?;
        let path = unit_path(unit);
        let all = async {
            let call = link.connection.call_method(
                Some("org.freedesktop.systemd1"),
                path.as_str(),
                Some("org.freedesktop.DBus.Properties"),
                "GetAll",
                &("org.freedesktop.systemd1.Service",),
            );
            self.call(call).await
        };
        let (reply, active, sub, invocation, since) = tokio::try_join!(
            all,
            self.get(&link, &path, "Unit", "ActiveState"),
            self.get(&link, &path, "Unit", "SubState"),
            self.get(&link, &path, "Unit", "InvocationID"),
            self.get(&link, &path, "Unit", "StateChangeTimestamp"),
        )?;
        let body = reply.body();
        let mut all: Properties<'_> = body.deserialize()?;
        let id: Vec<u8> = or_default(invocation);
        let since: u64 = or_default(since);
        let code: i32 = take(&mut all, "ExecMainCode");
        let status: i32 = take(&mut all, "ExecMainStatus");
        let service = ServiceView {
            active_state: or_default(active),
            sub_state: or_default(sub),
            result: take(&mut all, "Result"),
            main_pid: Some(take::<u32>(&mut all, "MainPID")).filter(|pid| *pid != 0),
            invocation_id: (!id.is_empty()).then(|| hex(&id)),
            since_ms: (since != 0).then_some(since / 1000),
            restarts: take(&mut all, "NRestarts"),
            exit_code: (code == EXITED).then_some(status),
            exit_signal: (code == KILLED || code == DUMPED).then_some(status),
            release: release(take(&mut all, "Environment")),
        };
        Ok(ServiceStatus { service, usage: usage(&mut all) })
    }
}

/// The release that a unit was made from.
fn release(environment: Vec<String>) -> Option<ReleaseName> {
    let text = environment.iter().find_map(|variable| variable.strip_prefix(RELEASE));
    text.and_then(|text| text.parse().ok())
}

/// What it uses. systemd says `u64::MAX` for what it does not count; and before 256 it has no
/// `MemoryPeak`, which the kernel (≥ 5.19) has all the same.
fn usage(all: &mut Properties<'_>) -> Usage {
    let group: String = take(all, "ControlGroup");
    let mut counted = |name: &str| {
        let value = all.remove(name).map(u64::try_from)?.ok()?;
        (value != u64::MAX).then_some(value)
    };
    // A version before 252.21 says 0 and not "unknown" where the controller is missing, and nothing
    // that runs uses no memory at all.
    let memory = counted("MemoryCurrent").filter(|bytes| *bytes != 0);
    let peak = counted("MemoryPeak").filter(|bytes| *bytes != 0);
    Usage {
        memory_bytes: memory,
        memory_peak_bytes: memory.and_then(|_| peak.or_else(|| memory_peak(&group))),
        cpu_us: counted("CPUUsageNSec").map(|nanoseconds| nanoseconds / 1000),
        tasks: counted("TasksCurrent"),
        io_read_bytes: counted("IOReadBytes"),
        io_write_bytes: counted("IOWriteBytes"),
        ip_in_bytes: counted("IPIngressBytes"),
        ip_out_bytes: counted("IPEgressBytes"),
    }
}

/// `memory.peak` of cgroup v2. The kernel answers from memory, so no thread waits for a disk.
fn memory_peak(group: &str) -> Option<u64> {
    if group.is_empty() || group.split('/').any(|part| part == "..") {
        return None;
    }
    let text = std::fs::read_to_string(format!("/sys/fs/cgroup{group}/memory.peak")).ok()?;
    text.trim().parse().ok()
}

/// A property, or the default if it isn't there (an older systemd) or of another type.
fn take<'a, T: Default + TryFrom<Variant<'a>>>(all: &mut Properties<'a>, name: &str) -> T {
    all.remove(name).and_then(|value| T::try_from(value).ok()).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties<'a>(list: &[(&'a str, u64)]) -> Properties<'a> {
        list.iter().map(|(name, value)| (*name, Variant::new(*value))).collect()
    }

    #[test]
    fn what_systemd_does_not_count_is_unknown_and_not_a_large_number() {
        let names =
            ["MemoryCurrent", "CPUUsageNSec", "TasksCurrent", "IOReadBytes", "IPIngressBytes"];
        let mut all = properties(&names.map(|name| (name, u64::MAX)));
        assert_eq!(usage(&mut all), Usage::default());
        assert_eq!(usage(&mut Properties::new()), Usage::default());
    }

    #[test]
    fn what_it_counts_is_told_in_bytes_and_microseconds() {
        let mut all = properties(&[
            ("MemoryCurrent", 4096),
            ("MemoryPeak", 8192),
            ("CPUUsageNSec", 2_500_000),
            ("IPEgressBytes", 0),
        ]);
        let usage = usage(&mut all);
        assert_eq!((usage.memory_bytes, usage.memory_peak_bytes), (Some(4096), Some(8192)));
        assert_eq!((usage.cpu_us, usage.ip_out_bytes, usage.tasks), (Some(2500), Some(0), None));
    }
}
