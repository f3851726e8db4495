//! What systemd says of a service and what it uses, and the history of an instance.

use serde::{Deserialize, Serialize};

use crate::{InstanceName, ReleaseName};

/// An instance's service as systemd has it (org.freedesktop.systemd1(5)). What it never had, or what
/// this host or version does not know, is `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct ServiceView {
    /// `ActiveState`: `active`, `inactive`, `failed`, `activating`, `deactivating`, …
    pub active_state: String,
    /// `SubState`: `running`, `dead`, `auto-restart`, …
    pub sub_state: String,
    /// `Result` of the last run: `success`, `exit-code`, `signal`, `oom-kill`, `watchdog`, `timeout`, …
    pub result: String,
    /// `MainPID` while it has one.
    pub main_pid: Option<u32>,
    /// `InvocationID` of the newest run, 32 hex digits.
    pub invocation_id: Option<String>,
    /// `StateChangeTimestamp`, in Unix milliseconds: when systemd last saw its state change.
    pub since_ms: Option<u64>,
    /// `NRestarts`: how often systemd started it again by itself since it was last started.
    pub restarts: u32,
    /// The main process's exit status, if it ended by exiting.
    pub exit_code: Option<i32>,
    /// The signal that ended the main process, if one did.
    pub exit_signal: Option<i32>,
    /// The release that its unit was made from, if its process uses releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub release: Option<ReleaseName>,
}

/// What a service uses, as its cgroup counts it. `null`: this host does not count it, or it is down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Usage {
    /// `MemoryCurrent` in bytes.
    pub memory_bytes: Option<u64>,
    /// `MemoryPeak` in bytes: the most of this run.
    pub memory_peak_bytes: Option<u64>,
    /// `CPUUsageNSec` in microseconds: CPU time of this run, or of the last one.
    pub cpu_us: Option<u64>,
    /// `TasksCurrent`: its processes and threads.
    pub tasks: Option<u64>,
    /// `IOReadBytes`: bytes read from block devices.
    pub io_read_bytes: Option<u64>,
    /// `IOWriteBytes`: bytes written to block devices.
    pub io_write_bytes: Option<u64>,
    /// `IPIngressBytes`: bytes received over IP.
    pub ip_in_bytes: Option<u64>,
    /// `IPEgressBytes`: bytes sent over IP.
    pub ip_out_bytes: Option<u64>,
}

/// What made an instance change its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A request woke it.
    Request,
    /// Somebody told the agent to: `ten` or the API.
    Operator,
    /// Nobody used it for its idle time.
    Idle,
    /// Its process ended by itself: a bad exit status or a signal that was not ours.
    Crash,
    /// Its process ended by itself and said that all was well.
    Exit,
    /// Its health check.
    Health,
    /// It ran out of its memory and the kernel killed it.
    Oom,
    /// The config changed.
    Config,
    /// The host was short of memory.
    MemoryPressure,
    /// Too many units were loaded, and it was used longest ago.
    MakeRoom,
    /// The agent was started and found it so.
    AgentStart,
    /// Somebody or something else, such as `systemctl`.
    ByHand,
    /// systemd started it again after a crash.
    Restart,
    /// It is being removed.
    Removed,
    /// Its data is backed up or restored.
    Backup,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Request,
        Self::Operator,
        Self::Idle,
        Self::Crash,
        Self::Exit,
        Self::Health,
        Self::Oom,
        Self::Config,
        Self::MemoryPressure,
        Self::MakeRoom,
        Self::AgentStart,
        Self::ByHand,
        Self::Restart,
        Self::Removed,
        Self::Backup,
    ];

    /// Its word in the API, in the database and in `ten history`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Operator => "operator",
            Self::Idle => "idle",
            Self::Crash => "crash",
            Self::Exit => "exit",
            Self::Health => "health",
            Self::Oom => "oom",
            Self::Config => "config",
            Self::MemoryPressure => "memory-pressure",
            Self::MakeRoom => "make-room",
            Self::AgentStart => "agent-start",
            Self::ByHand => "by-hand",
            Self::Restart => "restart",
            Self::Removed => "removed",
            Self::Backup => "backup",
        }
    }

    /// From its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

/// One change of an instance's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HistoryEntry {
    /// When, in Unix milliseconds.
    pub time_ms: u64,
    /// The state before: a word of `state`, or `dormant`, `frozen`, `parked`.
    pub from: String,
    /// The state after.
    pub to: String,
    /// What made it change.
    pub cause: Cause,
}

/// Answer of `GET /api/v1/instances/{name}/history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct History {
    /// Which instance.
    pub name: InstanceName,
    /// Its UUID: entries of an earlier instance of the same name are not among these.
    pub uuid: String,
    /// Newest first, 100 at most.
    pub entries: Vec<HistoryEntry>,
    /// Changes of any instance that could not be kept since the agent started.
    pub dropped: u64,
}

/// How the state database is, as `GET /api/v1/state` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StateDatabase {
    /// Its file.
    pub path: String,
    /// Its verified copy, which takes its place should it be damaged or deleted.
    pub copy: String,
    /// When the copy was made, in Unix milliseconds.
    pub copied_ms: Option<u64>,
    /// Damaged databases that were moved aside and lie there still.
    pub set_aside: Vec<String>,
    /// Why it can't be written or copied now.
    pub trouble: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_one_word_in_all_places() {
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
        }
    }
}
